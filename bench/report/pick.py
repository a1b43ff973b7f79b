"""The one run, and the one record of it, that a user's words mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.boards.lookup import Run, select
from protocols.errors import UserError


def run(name: str, among: Sequence[Run]) -> Run:
    """Find one run by a record's path, a cell's folder or id, or model, extractor and fusion; see `lookup.select`.

    Raises
    ------
    UserError
        If the name fits none or several.
    """
    found = select(name, among)
    if len(found) > 1:
        several = "; ".join(f"{one.label} ({one.cell.id}, board {one.board[:12]})" for one in found)
        raise UserError(
            f"{name!r} fits {len(found)} runs: {several}",
            remedy="name model/extractor/fusion, a cell's id or a record's path",
        )
    return found[0]


def record(chosen: Run, name: str, seed: int | None = None, fold: int | None = None) -> Path:
    """Pick one record of a run: the one that was named by its path, or of a seed and a fold.

    Parameters
    ----------
    name
        What the user typed for the run.
    seed, fold
        None: the first seed; the last fold, which has most to fit on.

    Raises
    ------
    UserError
        If there is no such record.
    """
    if name.endswith(".json") and seed is None and fold is None:
        named = Path(name).resolve()
        return next(path for path in chosen.found if path.resolve() == named)
    finished = {(one.seed, one.fold): path for path, one in chosen.found.items() if one.status == "ok"}
    if not finished:
        raise UserError(f"{chosen.label}: no seed and fold has finished", remedy="run the cell again")
    seed = min(s for s, _ in finished) if seed is None else seed
    if fold is None:
        fold = max((f for s, f in finished if s == seed), default=max(f for _, f in finished))
    if (seed, fold) not in finished:
        known = ", ".join(f"seed {s} fold {f}" for s, f in sorted(finished))
        raise UserError(f"{chosen.label}: no seed {seed} fold {fold}; there are: {known}")
    return finished[seed, fold]
