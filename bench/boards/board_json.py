"""Boards as JSON: one shape for all commands, which `board.schema.json` beside this file describes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from bench.boards.leaderboard import Board
from bench.record_schema import CLOSED, OPEN, Count
from protocols import json_text

#: Of this shape; a field more leaves it.
VERSION = 1
Values = Annotated[dict[str, float | None], Field(description="by metric; null where undefined")]


@with_config(OPEN)
class DeltaContent(TypedDict):
    """Paired difference of the board's metric, with its 95% interval; p-values from five seeds on."""

    value: float
    low: float | None
    high: float | None
    p: NotRequired[float]
    p_holm: NotRequired[float]


@with_config(CLOSED)
class RowContent(TypedDict):
    """Row of a board, see `bench.boards.rows.BoardRow`."""

    model: str
    extractor: str
    fusion: str
    cell: str
    checkpoints: str
    seeds: list[int]
    mean: Values
    low: Values
    high: Values
    seed_sd: Values
    delta_vs_baseline: DeltaContent | None
    delta_vs_id: DeltaContent | None
    delta_vs_shuffled: DeltaContent | None
    tied: bool | None
    rank_interval: list[int]
    slices: dict[str, float | None]
    coverage: float | None
    degenerate: str
    doubts: list[int]
    tie_share: float
    parameters: int
    seconds: float
    costs: dict[str, float | None]
    reason: Annotated[str, Field(description="why the row is not ranked; empty for ranked rows")]
    failed: bool


@with_config(CLOSED)
class BoardContent(TypedDict):
    """Board, see `bench.boards.leaderboard.Board`: rows with one fingerprint, best first by `metric`."""

    fingerprint: str
    simulated: bool
    id: Annotated[str, Field(description="of its table, for bench verify-table")]
    metric: str
    baseline: Annotated[str, Field(description="label of the row that differences are taken to; empty: none")]
    facts: dict[str, Any]
    rows: list[RowContent]
    unranked: list[RowContent]


@with_config(CLOSED)
class RunContent(TypedDict):
    """Additions of a run: results of earlier runs, seconds by stage, anchors and contrasts that its file asks for."""

    cached: Count
    seconds: dict[str, float]
    anchors: list[dict[str, Any]]
    contrasts: list[dict[str, Any] | str]


@with_config(CLOSED)
class Document(TypedDict):
    """Output of `bench leaderboard --format json` and `bench run --json`."""

    schema: int
    boards: list[BoardContent]
    run: NotRequired[RunContent]


def dumps(boards: Iterable[Board], run: Mapping[str, Any] | None = None) -> str:
    """Write boards, and what a run adds, see `RunContent`."""
    content: dict[str, Any] = {"schema": VERSION, "boards": [board.as_json() for board in boards]}
    return json_text.dumps(content if run is None else {**content, "run": run})


def read(path: Path) -> list[Board]:
    """Read boards that a command has printed.

    Raises
    ------
    OSError, ValueError, TypeError, KeyError
        If the file cannot be read or holds none.
    """
    return [Board.from_json(board) for board in json.loads(path.read_text(encoding="utf-8"))["boards"]]


def schema() -> dict[str, Any]:
    """Make the JSON schema of `Document`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TypeAdapter(Document).json_schema()}


def committed() -> str:
    """Return the schema that the package holds."""
    return files("bench").joinpath("boards/board.schema.json").read_text(encoding="utf-8")
