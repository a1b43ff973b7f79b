"""Boards: records of one fingerprint, aggregated over users, folds and seeds into ranked rows."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.boards import records
from bench.boards.rows import CEILING, Row, aggregate, incomplete, seeds_of
from protocols.errors import UserError, nearest_names
from protocols.evaluation import metrics, significance_tests, statistics
from protocols.hashing import digest

__all__ = [
    "METRICS",
    "PRIMARY",
    "Board",
    "Replaced",
    "Row",
    "boards",
    "build",
    "groups",
    "incomplete",
    "seeds_of",
    "table_id",
]

PRIMARY = metrics.PRIMARY
METRICS = ("hr@10", PRIMARY)
# The extractor that stands for none: where no baseline is named, the best such row is it.
BASELINE = "id"


class Replaced(UserWarning):
    """Some records are older ones of a cell, seed and fold that was run again."""


@dataclass
class Board:
    """Rows that share one fingerprint.

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
        What ranks the rows, and what differences, warm and cold are of.
    baseline
        Label of the row that differences are taken to; "" where there is none.
    id
        Hash of the records, see `table_id`: tables carry it, and `bench verify-table` finds the records by it.
    """

    fingerprint: str
    simulated: bool
    facts: dict[str, Any]
    rows: list[Row]
    unranked: list[Row]
    metric: str = PRIMARY
    baseline: str = ""
    id: str = ""

    @property
    def metrics(self) -> list[str]:
        """Metrics that every row has: the usual two, and the one that ranks where it is another."""
        return list(dict.fromkeys([*METRICS, self.metric]))

    @property
    def best(self) -> Row | None:
        """The best row that is no ceiling."""
        return next((row for row in self.rows if row.model != CEILING), None)

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Board:
        """Undo `as_json`."""
        lists = {name: [Row(**row) for row in content[name]] for name in ("rows", "unranked")}
        return cls(**{**content, **lists})


def table_id(found: Iterable[records.Record]) -> str:
    """Hash of what the records of a table are and hold, whatever their order, place and compactness.

    Compact copies (`bench leaderboard --publish`) have the id of the records that they were made from.
    """
    return digest(
        sorted(
            digest([r.cell, r.board, r.metrics_version, r.seed, r.fold, r.key, r.status, sorted(r.metrics.items())])
            for r in found
        ),
        16,
    )


def build(
    source: Iterable[Path] | Mapping[Path, records.Record], metric: str = PRIMARY, baseline: str | None = None
) -> Board:
    """Aggregate the records of one board.

    Parameters
    ----------
    source
        Their paths, or the records by path.
    metric
        What ranks the rows.
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
            f"{len(kinds)} boards in these records: rows of different fingerprints are never ranked together"
        )
    by_cell: dict[str, dict[Path, records.Record]] = defaultdict(dict)
    for path, record in found.items():
        by_cell[records.Cell(**record.cell).id][path] = record
    first = next(iter(found.values()))
    folds = max(r.fold_info.get("folds", r.fold + 1) for r in found.values())
    seeds = max((seeds_of(cell.values()) for cell in by_cell.values()), key=len)
    board = Board(
        first.board,
        first.simulated,
        _facts(list(found.values()), seeds, folds),
        [],
        [],
        metric,
        id=table_id(found.values()),
    )
    both = [aggregate(cell, seeds, folds, board.metrics, metric) for cell in by_cell.values()]
    ranking = sorted((b for b in both if not b[0].reason), key=lambda b: (-b[0].mean[metric], b[0].label))
    board.rows = [row for row, _ in ranking]
    board.unranked = sorted((row for row, _ in both if row.reason), key=lambda row: row.label)
    for name in board.metrics:
        panel = statistics.Panel(
            [frames[name] for _, frames in ranking],
            [row.label for row in board.rows],
            seeded=[bool(row.seeds) for row in board.rows],
        )
        for at, row in enumerate(board.rows):
            row.low[name], row.high[name] = panel.interval(at)
        if name == metric:
            _Comparisons(board, panel, enough=len(seeds) >= statistics.MIN_SEEDS).fill(baseline)
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
    """Records below a results folder by board, the newest of each cell, seed and fold.

    Warns
    -----
    Replaced
        If records were replaced by newer ones of the same cell, seed and fold.
    """
    found = records.read_all(root)
    latest = records.newest(found)
    by_board: dict[tuple[str, int], dict[Path, records.Record]] = defaultdict(dict)
    for path in latest.values():
        record = found[path]
        if dataset in (None, record.cell["dataset"]) and protocol in (None, record.cell["protocol"]):
            by_board[record.board, record.metrics_version][path] = record
    if len(latest) < len(found):
        warnings.warn(
            f"{len(found) - len(latest)} of {len(found)} records in {root} are older ones of a cell, seed and fold "
            "that was run again: the newest is taken",
            Replaced,
            stacklevel=2,
        )
    return list(by_board.values())


class _Comparisons:
    """Everything on a board that needs two rows; each pair is tested once."""

    def __init__(self, board: Board, panel: statistics.Panel, enough: bool) -> None:
        self.board, self.rows, self.panel, self.enough = board, board.rows, panel, enough
        self._known: dict[tuple[int, int], dict[str, float]] = {}

    def fill(self, baseline: str | None) -> None:
        """Enter the differences to baseline, own row without features and shuffled twin, and who is tied."""
        base = self._baseline(baseline)
        if base is not None:
            self.board.baseline = self.rows[base].label
            for at, difference in self._family(base, range(len(self.rows))).items():
                self.rows[at].difference = difference
        places = {(row.model, row.extractor, row.fusion): at for at, row in enumerate(self.rows)}
        for at, row in enumerate(self.rows):
            own = places.get((row.model, BASELINE, BASELINE))
            if own not in (None, base, at):
                row.own = self._difference(at, own)
            twin = places.get((row.model, f"shuffled:{row.extractor}", row.fusion))
            row.twin = None if twin is None else self._difference(at, twin)
        self._ties()

    def _baseline(self, name: str | None) -> int | None:
        """Position of the named row, the best where it fits several."""
        for at, row in enumerate(self.rows):
            if name is None and row.extractor == BASELINE:
                return at
            words = name.replace(" ", "/").split("/") if name is not None else []
            label = row.label.split(" ")
            if words and any(label[start : start + len(words)] == words for start in range(len(label))):
                return at
        if name is not None:
            known = nearest_names(name, (row.label.replace(" ", "/") for row in self.rows))
            raise UserError(f"no ranked row {name!r} on board {self.board.fingerprint[:12]}; {known}")
        return None

    def _ties(self) -> None:
        competitors = [at for at, row in enumerate(self.rows) if row.model != CEILING]
        if not competitors or not self.enough:
            return
        best = competitors[0]
        self.rows[best].tied = True
        for at, difference in self._family(best, competitors).items():
            self.rows[at].tied = difference["p_holm"] >= 0.05

    def _family(self, base: int, among: Iterable[int]) -> dict[int, dict[str, float]]:
        """Differences to one row by position, one Holm family; corrected p only with enough seeds."""
        others = [at for at in among if at != base]
        found = [self._difference(at, base) for at in others]
        adjusted = significance_tests.holm([difference["p"] for difference in found])
        return {
            at: difference | ({"p_holm": float(p)} if self.enough else {})
            for at, difference, p in zip(others, found, adjusted, strict=True)
        }

    def _difference(self, row: int, base: int) -> dict[str, float]:
        if (row, base) not in self._known:
            found = self.panel.compare(row, base)
            self._known[row, base] = {
                "value": found.effect,
                "low": found.low,
                "high": found.high,
                "p": found.p_permutation,
                "p_t": found.p_t,
            }
        return self._known[row, base]


def _facts(found: list[records.Record], seeds: list[int], folds: int) -> dict[str, Any]:
    first = found[0]
    infos = {record.fold: record.fold_info for record in found}
    return {
        "dataset": first.cell["dataset"],
        "dataset_options": first.cell["options"].get("dataset", {}),
        "dataset_fingerprint": first.dataset.get("fingerprint", "")[:16],
        "protocol": first.cell["protocol"],
        "seeds": seeds,
        "folds": folds,
        "fold_info": [infos[fold] for fold in sorted(infos)],
        "retrospective": any(info.get("retrospective") for info in infos.values()),
        "audit_failures": sum(
            not verdict["ok"] and not verdict.get("by_construction") for record in found for verdict in record.audit
        ),
        "commits": dict(Counter(str(record.environment.get("commit"))[:12] for record in found)),
        "made_with": _made_with(found),
    }


def _made_with(found: Iterable[records.Record]) -> list[str]:
    """Versions of the packages that decide most, one line for each combination among the records."""
    names = ("torch", "transformers", "recbole", "numpy")
    packages = [record.environment.get("packages", {}) for record in found]
    lines = (", ".join(f"{name} {have[name]}" for name in names if have.get(name)) for have in packages)
    return sorted({line or "versions unknown" for line in lines})
