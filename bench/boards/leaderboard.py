"""Boards: records of one fingerprint, aggregated over users, folds and seeds into ranked rows."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import records
from bench.boards import lookup
from bench.boards.cell_results import by_board, by_cell
from bench.boards.rows import CEILING, BoardRow, aggregate
from protocols import json_text
from protocols.errors import BenchWarning, UserError
from protocols.evaluation import metrics, statistics
from protocols.hashing import digest
from protocols.wording import counted

PRIMARY = metrics.PRIMARY
METRICS = ("hr@10", PRIMARY)
# The extractor that stands for none: where no baseline is named, the best such row is it.
BASELINE = "id"


class Replaced(BenchWarning):
    """Warning that newer records replace older ones of the same cell, seed and fold."""


@dataclass
class Board:
    """Board: ranked rows that share one fingerprint.

    Attributes
    ----------
    fingerprint
        Dataset content, protocol with all knobs, folds, candidate policy.
    simulated
        The data are simulated.
    facts
        Dataset, protocol, folds with borders and counts, seeds, how many records were replaced by newer ones.
    rows, unranked
        Ranked best first by `metric`; and those with a missing seed or fold, with the reason.
    metric
        The metric of ranks, differences, warm and cold values.
    baseline
        Label of the row that differences are taken to; "" where there is none.
    id
        Hash of the records, see `table_id`: tables carry it, and `bench verify-table` finds the records by it.
    """

    fingerprint: str
    simulated: bool
    facts: dict[str, Any]
    rows: list[BoardRow]
    unranked: list[BoardRow]
    metric: str = PRIMARY
    baseline: str = ""
    id: str = ""

    @property
    def metrics(self) -> list[str]:
        """Metrics that every row has: the usual two, and the one that ranks where it is another."""
        return list(dict.fromkeys([*METRICS, self.metric]))

    @property
    def best(self) -> BoardRow | None:
        """The best row that is no ceiling."""
        return next((row for row in self.rows if row.model != CEILING), None)

    @property
    def these_seeds_only(self) -> bool:
        """True where rows depend on seeds and have fewer than five: intervals are over users, for these seeds."""
        return 0 < len(self.facts["seeds"]) < statistics.MIN_SEEDS

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        lists = {name: [row.as_json() for row in getattr(self, name)] for name in ("rows", "unranked")}
        return {**vars(self), **lists, "facts": json_text.plain(self.facts)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Board:
        """Undo `as_json`."""
        lists = {name: [BoardRow.from_json(row) for row in content[name]] for name in ("rows", "unranked")}
        return cls(**{**content, **lists})


def table_id(found: Iterable[records.Record]) -> str:
    """Hash the records of a table, whatever their order, place and compactness.

    Compact copies (`bench leaderboard --publish`) have the id of the records that they were made from.
    """
    return digest(
        sorted(digest([*_identity(r), *_shared_digests(r)]) for r in found),
        16,
    )


def _identity(r: records.Record) -> list[Any]:
    return [r.cell, r.board, r.metrics_version, r.seed, r.fold, r.key, r.status, sorted(r.metrics.items())]


def _shared_digests(record: records.Record) -> list[list[tuple[str, str]]]:
    """Take the hashes of per-user columns that published copies share; nothing of a record that has none."""
    shared = [(name, record.users_digest[name]) for name in records.SHARED_COLUMNS if name in record.users_digest]
    return [shared] if shared else []


def build(
    source: Iterable[Path] | Mapping[Path, records.Record], metric: str = PRIMARY, baseline: str | None = None
) -> Board:
    """Aggregate the records of one board.

    Parameters
    ----------
    source
        Their paths, or the records by path.
    metric
        The metric that ranks the rows.
    baseline
        Row to take differences to, as model/extractor/fusion or some of these words; None: the best row without
        features of a model that can have them.

    Raises
    ------
    UserError
        If there are none, they belong to different boards, or no row is the baseline.
    """
    metrics.parse(metric)
    found = dict(source) if isinstance(source, Mapping) else {path: records.read(path) for path in source}
    kinds = {(record.board, metrics.fingerprint(record.metrics_version)) for record in found.values()}
    if len(kinds) != 1:
        raise UserError(
            f"{counted(len(kinds), 'board')} in these records: rows of different fingerprints are never ranked together"
        )
    cells = by_cell(found)
    first = cells[0].any_record
    folds = max(cell.folds for cell in cells)
    seeds = max((cell.seeds for cell in cells), key=len)
    facts = _facts(list(found.values()), seeds, folds)
    # without failures: the table that a run prints is found again among the boards that leave them out
    name = table_id(record for record in found.values() if record.status == "ok")
    board = Board(first.board, first.simulated, facts, [], [], metric, id=name)
    both = [aggregate(cell, seeds, folds, board.metrics, metric) for cell in cells]
    ranking = sorted((b for b in both if not b[0].reason), key=lambda b: (-b[0].mean[metric], b[0].label))
    board.rows = [row for row, _ in ranking]
    board.unranked = sorted((row for row, _ in both if row.reason), key=lambda row: row.label)
    for name in board.metrics:
        panel = statistics.Panel(
            [values[name] for _, values in ranking],
            [row.label for row in board.rows],
            seeded=[bool(row.seeds) for row in board.rows],
        )
        for at, row in enumerate(board.rows):
            row.low[name], row.high[name] = panel.interval(at)
        if name == metric:
            for row, ranks in zip(board.rows, panel.rank_intervals(), strict=True):
                row.rank_interval = list(ranks)
            _compare(board, panel, baseline)
    return board


def boards(
    root: Path,
    dataset: str | None = None,
    protocol: str | None = None,
    metric: str = PRIMARY,
    baseline: str | None = None,
) -> list[Board]:
    """Build every board below a results folder, see `groups`; most rows first."""
    return most_rows_first([build(group, metric, baseline) for group in groups(root, dataset, protocol)])


def most_rows_first(built: Iterable[Board]) -> list[Board]:
    """Put boards into the order in which they are shown."""
    return sorted(built, key=lambda board: (-len(board.rows), board.fingerprint))


def groups(root: Path, dataset: str | None = None, protocol: str | None = None) -> list[dict[Path, records.Record]]:
    """Group the records below a results folder by board, the newest of each cell, seed and fold.

    Results that failed are left out: `bench runs --failed` lists them.

    Warns
    -----
    Replaced
        If records were replaced by newer ones of the same cell, seed and fold.
    """
    found = {path: record for path, record in records.read_all(root).items() if record.status == "ok"}
    latest = records.newest(found)
    if len(latest) < len(found):
        warnings.warn(
            f"{len(found) - len(latest)} of {len(found)} records in {root} are older ones of a cell, seed and fold "
            "that was run again: the newest is taken",
            Replaced,
            stacklevel=2,
        )
    boards = by_board(by_cell(latest, dataset, protocol))
    return [{path: record for cell in cells for path, record in cell.found.items()} for cells in boards]


def nothing_in(root: Path) -> UserError:
    """Make the error of a results folder without a board to show."""
    if any(records.find(root)):
        return UserError(f"no finished results in {root} that fit", remedy="bench runs lists what there is")
    return UserError(f"no records in {root}", remedy="bench run --extractor captions --model sasrec")


def _compare(board: Board, panel: statistics.Panel, baseline: str | None) -> None:
    """Enter the differences of every row to the baseline, to its id row and to its shuffled control, and the ties."""
    rows = board.rows
    base = _baseline(board, baseline)
    if base is not None:
        board.baseline = rows[base].label
        for at, delta in _family(panel, base, range(len(rows))).items():
            rows[at].delta_vs_baseline = delta
    places = {(row.model, row.extractor, row.fusion): at for at, row in enumerate(rows)}
    for at, row in enumerate(rows):
        without = places.get((row.model, BASELINE, BASELINE))
        if without not in (None, base, at):
            row.delta_vs_id = _delta(panel.compare(at, without))
        shuffled = places.get((row.model, f"shuffled:{row.extractor}", row.fusion))
        if shuffled is not None:
            row.delta_vs_shuffled = _delta(panel.compare(at, shuffled))
    competitors = [at for at, row in enumerate(rows) if row.model != CEILING]
    if competitors and not board.these_seeds_only:
        best = competitors[0]
        rows[best].tied = True
        for at, delta in _family(panel, best, competitors).items():
            rows[at].tied = not delta.get("p_holm", 1.0) < 0.05


def _baseline(board: Board, name: str | None) -> int | None:
    """Find the named row, the best where the name fits several; without a name the best row without features."""
    if name is None:
        return next((at for at, row in enumerate(board.rows) if row.extractor == BASELINE), None)
    labels = [row.label for row in board.rows]
    found = lookup.positions(name, labels, [row.cell for row in board.rows])
    if not found:
        known = lookup.known(name, labels)
        raise UserError(f"no ranked row {name!r} on board {board.fingerprint[:12]}; {known}")
    return found[0]


def _family(panel: statistics.Panel, base: int, among: Iterable[int]) -> dict[int, dict[str, float]]:
    """Compare rows with one row as a Holm family, by position."""
    others = [at for at in among if at != base]
    found = panel.family([(at, base) for at in others])
    return {at: _delta(comparison, p) for at, (comparison, p) in zip(others, found, strict=True)}


def _delta(found: statistics.Comparison, p_holm: float = float("nan")) -> dict[str, float]:
    """Return a difference; without p-values where there are none, under five seeds."""
    numbers = {"value": found.effect, "low": found.low, "high": found.high}
    return numbers | {name: p for name, p in (("p", found.p), ("p_holm", p_holm)) if not math.isnan(p)}


def _facts(found: list[records.Record], seeds: list[int], folds: int) -> dict[str, Any]:
    first = found[0]
    infos = {record.fold: record.fold_info for record in found}
    return {
        "dataset": first.cell["dataset"],
        "dataset_options": first.cell["options"].get("dataset", {}),
        "dataset_version": str(first.dataset.get("version", "")),
        "dataset_fingerprint": first.dataset.get("fingerprint", "")[:16],
        "protocol": first.cell["protocol"],
        "seeds": seeds,
        "folds": folds,
        "fold_info": [infos[fold] for fold in sorted(infos)],
        "left_out": sorted({line for record in found for line in record.fold_info.get("left_out", ())}),
        "chosen_by_size": sorted({r.fold_info["chosen_by_size"] for r in found if r.fold_info.get("chosen_by_size")}),
        "validated_on": next((v for r in found if (v := r.training.get("validated_on"))), ""),
        "retrospective": any(info.get("retrospective") for info in infos.values()),
        "audit_failures": sum(
            not verdict["ok"] and not verdict.get("by_construction") for record in found for verdict in record.audit
        ),
        "commits": dict(Counter(str(record.environment.get("commit"))[:12] for record in found)),
        "made_with": _made_with(found),
    }


def _made_with(found: Iterable[records.Record]) -> list[str]:
    """List the versions of the main packages, one line for each combination among the records."""
    names = ("torch", "transformers", "recbole", "numpy")
    packages = [record.environment.get("packages", {}) for record in found]
    lines = (", ".join(f"{name} {have[name]}" for name in names if have.get(name)) for have in packages)
    return sorted({line or "versions unknown" for line in lines})
