"""Export of folds to files that other software reads: csv, RecTools' columns, RecBole's atomic files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from bench.runs.context import RunContext
from protocols.atomic_write import PART
from protocols.errors import UserError
from protocols.ranking_problem import Problem, Stage

STAGES: tuple[Stage, ...] = ("validation", "test")
GUIDE = """\
Folds of {dataset} by the protocol {protocol}, in the format {form}. manifest.json holds borders and counts.

fold-N-validation: to choose epochs and options on. fold-N-test: to be ranked, with the parameters fitted on its `fit`.

  fit         events to learn from, all before the border, oldest first
  histories   events of the users to recommend to, position 0 the oldest; masked: no item of them may be recommended
  candidates  items that may be recommended, those without events to learn from included
  targets     items that are to be found

Recommend at least 20 candidates to every user in histories and targets of fold-N-test, write columns
user_id, item_id, rank (1 is the best; or score), fold (N) as csv or parquet, and rank them:

  bench import lists.parquet --name NAME --dataset {dataset} --protocol {protocol}
"""
RECBOLE = """\

RecBole: data_path: this folder, dataset: fold-N-test, benchmark_filename: [fit, targets, targets]. `timestamp` is the
number of the event in order of time, since RecBole rounds times to 131 s. Targets without events to learn from are new
tokens. Stop early on fold-N-validation only: in fold-N-test the targets are those that are ranked.
"""


def export(context: RunContext, form: str, out: Path) -> list[str]:
    """Write all folds of a run.

    Parameters
    ----------
    form
        `csv`, `rectools` or `recbole`.
    out
        Folder that is made.

    Returns
    -------
    list
        A line for each folder of a fold.

    Raises
    ------
    UserError
        If the folder is there already, or an id cannot be written in the format.
    """
    if out.exists():
        raise UserError(f"{out} is there already", remedy="choose another folder with -o, or delete this one")
    part = out.with_name(out.name + PART)
    shutil.rmtree(part, ignore_errors=True)
    lines, folds = [], []
    for fold in context.folds:
        for stage in STAGES:
            problem = context.protocol.problem(context.dataset, fold, stage)
            name = f"fold-{fold.index}-{stage}"
            tables = tables_of(problem)
            (part / name).mkdir(parents=True)
            for what, table in tables.items():
                FORMATS[form](part / name, what, table)
            counts = {what: len(table) for what, table in tables.items()}
            border, end = fold.window(stage)
            folds.append({"folder": name, "border": border, "end": end, **counts})
            lines.append(f"{name}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    manifest = {
        "dataset": {"name": context.dataset.name, "fingerprint": context.dataset.fingerprint},
        "protocol": {"name": context.protocol.name, **context.protocol.options()},
        "board": context.board,
        "folds": folds,
    }
    (part / "manifest.json").write_text(json.dumps(manifest, indent=1, default=str) + "\n", encoding="utf-8")
    guide = GUIDE + (RECBOLE if form == "recbole" else "")
    words = {"dataset": context.dataset.name, "protocol": context.protocol.name, "form": form}
    (part / "README.txt").write_text(guide.format(**words), encoding="utf-8")
    part.rename(out)
    return lines


def tables_of(problem: Problem) -> dict[str, pd.DataFrame]:
    """Make the tables of a ranking problem, with raw ids: fit, histories, targets, candidates."""
    training, task = problem.training, problem.task
    fit = {"user_id": training.users[training.user], "item_id": training.items[training.item]}
    histories = _pairs(task.users, task.histories, training.items)
    histories["position"] = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(h)) for h in task.histories)])
    return {
        "fit": pd.DataFrame({**fit, "timestamp": training.timestamp}),
        "histories": histories,
        "targets": _pairs(task.users, [t[t >= 0] for t in task.targets], training.items),
        "candidates": pd.DataFrame({"item_id": training.items[task.candidates]}),
    }


def _pairs(users: np.ndarray, lists: Iterable[np.ndarray], items: np.ndarray) -> pd.DataFrame:
    lists = list(lists)
    taken = items[np.concatenate([np.zeros(0, np.int64), *lists])]
    return pd.DataFrame({"user_id": np.repeat(users, [len(one) for one in lists]), "item_id": taken})


def write_csv(folder: Path, what: str, table: pd.DataFrame) -> None:
    """Write a table as csv."""
    table.to_csv(folder / f"{what}.csv", index=False)


def write_rectools(folder: Path, what: str, table: pd.DataFrame) -> None:
    """Write a table as csv; of events with the columns of `rectools.Columns` (weight, datetime)."""
    if "timestamp" in table:
        times = pd.to_datetime(table["timestamp"], unit="ms").dt.strftime("%Y-%m-%dT%H:%M:%S.%f")
        table = table.drop(columns="timestamp").assign(weight=1.0, datetime=times)
    write_csv(folder, what, table)


def write_recbole(folder: Path, what: str, table: pd.DataFrame) -> None:
    """Write events and targets as atomic files, `FOLDER.WHAT.inter`, the other tables as csv."""
    if what not in ("fit", "targets"):
        return write_csv(folder, what, table)
    ids = table[["user_id", "item_id"]]
    bad = ids.apply(lambda column: column.str.contains(r"[\t\r\n]")).any(axis=1)
    if bad.any():
        row = ids[bad].iloc[0]
        raise UserError(
            f"user {row['user_id']!r}, item {row['item_id']!r}: a tab or line break does not fit an atomic file",
            remedy="use --format csv",
        )
    # the number of the event: RecBole keeps times in single precision
    times = np.arange(len(table)) if what == "fit" else np.full(len(table), 2**24)
    named = ids.assign(timestamp=times)
    named.columns = pd.Index(["user_id:token", "item_id:token", "timestamp:float"])
    named.to_csv(folder / f"{folder.name}.{what}.inter", sep="\t", index=False, quoting=3)
    return None


FORMATS: dict[str, Callable[[Path, str, pd.DataFrame], None]] = {
    "csv": write_csv,
    "rectools": write_rectools,
    "recbole": write_recbole,
}
