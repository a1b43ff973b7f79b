"""Records of a run as text: the run as a whole, its learning curves, one user, the items shown most."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench import records
from bench.boards.cell_results import CellResults
from bench.console import printable
from bench.records import Record
from bench.report import formulas, sheet, user_results
from bench.report.run_view import RECORD_TITLES, record_row
from bench.report.text import percent
from protocols.errors import UserError
from protocols.progress import Progress
from protocols.wording import counted

# Items listed for all users together.
LISTED = 20


def titles(
    cell: CellResults, cache: Path, progress: Progress, places: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Load the dataset of a cell, and return its titles by raw item id; arguments as of `sheet.make`."""
    _, dataset = sheet.dataset_of(cell, cache, progress, places)
    found = dataset.items.get("title")
    return {} if found is None else {str(item): str(title) for item, title in found.dropna().items()}


def text(found: Mapping[Path, Record]) -> str:
    """Write one record as a whole, or several as a table with a row for each seed and fold."""
    if len(found) == 1:
        return _whole(next(iter(found.values())))
    first = next(iter(found.values()))
    rows = [record_row(record) for record in found.values()]
    errors = [f"seed {r.seed}, fold {r.fold}: {r.error}" for r in found.values() if r.error]
    return "\n".join(
        [
            _head(first),
            f"board {first.board[:12]}, {counted(len(found), 'record')} in {next(iter(found)).parent}\n",
            tabulate(rows, list(RECORD_TITLES), tablefmt="github", disable_numparse=True),
            *errors,
        ]
    )


def _head(record: Record) -> str:
    cell = records.Cell(**record.cell)
    return f"{cell.label}: {cell.dataset}{' (simulated)' if record.simulated else ''}, {cell.protocol}"


def _whole(record: Record) -> str:
    lines = [_head(record), f"seed {record.seed}, fold {record.fold}, board {record.board[:12]}, {record.status}"]
    if record.error:
        lines.append(record.error)
    for title, content in (("fold", record.fold_info), ("metrics", record.metrics), ("seconds", record.seconds)):
        lines.append(f"{title}:")
        for key, value in content.items():
            lines.append(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
    lines.append(f"audit: {sum(v['ok'] for v in record.audit)} of {counted(len(record.audit), 'check')} passed")
    if record.features:
        lines.append(f"features: {record.features.get('space')}, coverage {percent(record.features.get('coverage'))}")
    lines.append(f"epochs: {record.training.get('epochs')}, parameters: {record.training.get('parameters')}")
    return "\n".join(lines)


def curves(found: Mapping[Path, Record]) -> str:
    """Write the learning curves, an epoch a line."""
    lines = []
    for record in found.values():
        curve: list[Any] = record.training.get("search_curve") or []
        lines.append(f"learning curve, seed {record.seed}, fold {record.fold}{'' if curve else ': not kept'}")
        lines += [f"  {row}" for row in curve]
    return "\n".join(lines)


def user(found: Mapping[Path, Record], name: str, topk: bool, with_formulas: bool, titles: Mapping[str, str]) -> str:
    """Write the history length, targets and metrics of one user, fold by fold.

    Parameters
    ----------
    topk, with_formulas
        Also the top list; also the metrics worked out.
    titles
        Of items, by raw id.

    Raises
    ------
    UserError
        If no seed and fold has finished, or none of them ranked the user.
    """
    known = {
        path: record for path, record in found.items() if record.status == "ok" and name in user_results.users_of(path)
    }
    if not known:
        some = next((path for path, record in found.items() if record.status == "ok"), None)
        if some is None:
            raise UserError("no seed and fold of this run has finished", remedy="run the cell again")
        user_results.user(some, name)  # raises, naming users that were ranked
    lines = [_head(next(iter(found.values())))]
    for path, record in known.items():
        one = user_results.user(path, name)
        values = ", ".join(f"{metric} {one.metrics[metric]:.4f}" for metric in ("hr@10", "ndcg@10"))
        had = "" if one.history is None else f", {counted(one.history, 'event')} before"
        lines.append(f"\nuser {printable(name)}, seed {record.seed}, fold {record.fold}{had}: {values}")
        for item, rank, events in one.targets or []:
            place = f"rank {rank}" if rank else "not found"
            lines.append(f"  took {_named(item, titles)}: {place}, {events} fitted events")
        if topk:
            lines += _top(one, titles)
        if with_formulas:
            lines += [
                f"  {x}" for x in formulas.worked([rank for _, rank, _ in user_results.require_targets(one, path)])
            ]
    return "\n".join(lines)


def _top(one: user_results.User, titles: Mapping[str, str]) -> list[str]:
    if one.top is None:
        return [f"  no list is kept here: {user_results.REMEDY}"]
    taken = {item for item, _, _ in one.targets or []}
    return [f"  {at:>3} {'*' if item in taken else ' '} {_named(item, titles)}" for at, item in enumerate(one.top, 1)]


def _named(item: str | None, titles: Mapping[str, str]) -> str:
    if item is None:
        return "(no item of this problem)"
    title = titles.get(item)
    return printable(f"{item}  {title}" if title else item)


def most_shown(found: Mapping[Path, Record], titles: Mapping[str, str]) -> str:
    """Write the items that are in most top-10 lists, with their share of the lists."""
    lines = []
    for path, record in found.items():
        if record.status != "ok":
            continue
        items, lists = user_results.most_shown(path)
        lines.append(
            f"\nin the first ten of {counted(lists, 'user')}, seed {record.seed}, fold {record.fold}: "
            f"{counted(len(items), 'item')}"
        )
        lines += [f"  {times / lists:6.1%}  {_named(item, titles)}" for item, times in items[:LISTED]]
    return "\n".join(lines)


def metric_formulas() -> str:
    """Write the formula of each metric."""
    return "\n".join(["\nformulas:", *(f"  {name}: {text}" for name, text in formulas.FORMULAS.items())])
