"""RecBole models tried with an item encoder, with the outcome; written by `bench.diagnostics.recbole_compatibility`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LIST = Path(__file__).parent / "models.csv"
#: Packages of `recbole.model`.
PACKAGES = ("sequential_recommender", "general_recommender")
COLUMNS = ("model", "family", "outcome", "cold_items", "ndcg@10", "reason")


def rows() -> list[dict[str, str]]:
    """Rows by column name: `outcome` is `works`, `learns nothing`, `fails` or `no item table`, `reason` says why."""
    if not LIST.exists():
        return []
    with LIST.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def refusal(name: str, untouched: bool) -> str:
    """Return the reason why a model is known not to work here; empty for all others.

    Parameters
    ----------
    untouched
        Whether its options are those that RecBole ships: with others a model that fails may not.
    """
    known = next((row for row in rows() if row["model"] == name), {"outcome": ""})
    if known["outcome"] == "no item table":
        return known["reason"]
    return f"RecBole's {name} fails here: {known['reason']}" if known["outcome"] == "fails" and untouched else ""


def defined() -> set[str]:
    """Return the names of all classes in RecBole's sequential and general models, without importing any."""
    recbole = find_spec("recbole")
    folders = (Path(str(recbole.origin)).parent / "model" / package for package in PACKAGES) if recbole else ()
    sources = (file.read_text(encoding="utf-8") for folder in folders for file in folder.glob("*.py"))
    return {name for source in sources for name in re.findall(r"^class (\w+)", source, re.MULTILINE)}


def write(found: Iterable[Mapping[str, Any]]) -> None:
    """Replace the list; sequential models first, by name."""
    with LIST.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(found, key=lambda row: (row["family"] != "sequential", row["model"])))
