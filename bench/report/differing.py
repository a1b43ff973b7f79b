"""Boards told apart: in what those of one dataset and protocol differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.boards.cell_results import CellResults

#: Facts that are named only where version and options do not suffice.
LAST = ("windows from", "metrics version", "data", "board")


def facts(runs: Sequence[CellResults]) -> dict[str, str]:
    """List what may tell the board of some runs from others, in words."""
    first = runs[0].any_record
    found: dict[str, Any] = {"version": str(first.dataset.get("version", "")).partition(",")[0]}
    for kind in ("dataset", "protocol"):
        found |= first.cell["options"].get(kind, {})
    border, data = first.fold_info.get("border", ""), first.dataset.get("fingerprint", "")
    last = [str(border)[:10], first.metrics_version, str(data)[:12], runs[0].board[:12]]
    return {name: str(value) for name, value in [*found.items(), *zip(LAST, last, strict=True)]}


def names(boards: Sequence[Sequence[CellResults]]) -> list[str]:
    """Name boards by what differs among those of the same dataset and protocol; "" for one that is alone.

    Facts are named until no two boards have the same name, options of dataset and protocol before fingerprints.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for at, runs in enumerate(boards):
        groups.setdefault((runs[0].cell.dataset, runs[0].cell.protocol), []).append(at)
    out = [""] * len(boards)
    for places in groups.values():
        known = [facts(boards[at]) for at in places]
        keys = dict.fromkeys(key for one in known for key in one if key not in LAST)
        differing = [key for key in [*keys, *LAST] if len({one.get(key) for one in known}) > 1]
        chosen = _telling(known, differing)
        for at, one in zip(places, known, strict=True):
            out[at] = ", ".join(f"{key.replace('_', ' ')} {one[key]}" for key in chosen if one.get(key))
    return out


def _telling(known: Sequence[dict[str, str]], differing: Sequence[str]) -> list[str]:
    """Choose keys, the coarsest first, until each board has a name of its own."""
    chosen: list[str] = []
    for key in differing:
        if len({tuple(one.get(name) for name in chosen) for one in known}) == len(known):
            break
        chosen.append(key)
    return chosen
