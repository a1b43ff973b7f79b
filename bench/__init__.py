"""Top floor: command line, runs, records, boards and pages; the commands as functions (`bench.api`)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import board, compare, extract, grid, run
    from bench.boards.frame import load_results
    from bench.own_data import dataset

_WHERE = {
    **dict.fromkeys(("board", "compare", "extract", "grid", "run"), "bench.api"),
    "load_results": "bench.boards.frame",
    "dataset": "bench.own_data",
}

__all__ = ["board", "compare", "dataset", "extract", "grid", "load_results", "run"]


def __getattr__(name: str) -> Any:
    """Import a function when it is asked for: `import bench` stays light."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
