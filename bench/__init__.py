"""Top floor: command line, runs, records, boards and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.boards.frame import load_results
    from bench.own_data import dataset

__all__ = ["dataset", "load_results"]


def __getattr__(name: str) -> Any:
    """Import a function when it is asked for: `import bench` stays light."""
    if name == "load_results":
        from bench.boards.frame import load_results

        return load_results
    if name == "dataset":
        from bench.own_data import dataset

        return dataset
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
