"""Findings of `bench explain` about a run, kept as JSON beside its records, for the run's page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench import board_files
from bench.boards.cell_results import CellResults
from bench.report import layers
from bench.report.charts import Chart
from bench.report.text import printable
from protocols import json_text, object_store
from protocols.errors import DataError

SCHEMA = 1
# Clips shown of those that lean on early layers, and of those that lean on late ones.
SHOWN = 10


def path_of(record: Path) -> Path:
    """Return the file of the findings about a record."""
    board = board_files.file_of(record)
    if board is not None:
        return board.with_name(f"explain-{record.parent.name}-{record.stem}.json")
    return record.with_name(f"explain-{record.stem}.json")


def write(record: Path, content: dict[str, Any]) -> Path:
    """Keep findings beside the record."""
    path = path_of(record)
    object_store.write(path, json_text.dumps({"schema": SCHEMA, **content}, indent=1))
    return path


def read(record: Path) -> dict[str, Any] | None:
    """Return the findings about a record, or None where there are none of this layout.

    Raises
    ------
    DataError
        If the file is no JSON.
    """
    path = path_of(record)
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}", remedy="delete it, and run bench explain again") from error
    return content if isinstance(content, dict) and content.get("schema") == SCHEMA else None


def for_page(run: CellResults) -> dict[str, Any] | None:
    """Prepare the findings about a run (the last seed and fold that has some) for its page; None: there are none."""
    found = next((one for path in reversed(run.found) if (one := read(path)) is not None), None)
    if found is None:
        return None
    gate = [(name, f"{value:.3f}") for name, value in (found.get("gate") or {}).items()]
    items = found.get("items") or []
    return {**found, "gate": gate, "leaning": leaning(items), "charts": [layer_chart(items)] if items else []}


def leaning(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """List the clips whose weights lie on early layers and on late ones."""
    if not items:
        return []
    order = sorted(items, key=lambda item: item["centre"])
    return [
        {"title": "Clips that lean on early layers", "items": order[:SHOWN]},
        {"title": "Clips that lean on late layers", "items": order[::-1][:SHOWN]},
    ]


def layer_chart(items: list[dict[str, Any]]) -> Chart:
    """Draw the layer weights of the clips that lean most to either side, earliest on top."""
    early, late = leaning(items)
    shown = early["items"] + late["items"][::-1]
    unique = list({item["id"]: item for item in shown}.values())
    return layers.heat(
        "item-weights",
        "Weights of layers, clip by clip",
        "The clips whose weights lie earliest (top) and latest (bottom), of all items of the fold with a feature.",
        [printable(item["title"] or item["id"]) for item in unique],
        [np.array(item["weights"]) for item in unique],
    )
