"""Metrics on slices of users or targets, computed from per-target values beside the per-user metrics.

A per-user frame carries, for each user, parallel lists over his targets: raw id, events in the fitted rows, rank among
all candidates, rank among the warm ones and among the cold ones, and duration where it is known. From these any metric
at any cut-off, on any subset of targets, can be computed long after the run.

A slice of *users* keeps their values. A slice of *targets* computes each user's metric anew with only those targets
counting (nDCG's ideal list too), ranked among all candidates as ever; only `warm` ranks among warm candidates, and
`cold among cold` among cold ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from protocols.errors import DataError
from protocols.evaluation.metrics import PRIMARY, mean_over_lists, parse
from protocols.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from protocols.evaluation.ranking import Ranking
    from protocols.ranking_problem import Problem

# Clips up to this long are a class of their own, in seconds, unless an option says otherwise.
SHORT = 30.0
# Lists over a user's targets; a rank of 0 stands for one that cannot be found.
COLUMNS = ("target_events", "target_rank", "target_rank_warm")
# Not in every frame: compact copies may leave ids out, a dataset may know no durations, older records rank no cold
# targets among cold candidates.
ITEM, DURATION, RANK_COLD = "target", "target_duration", "target_rank_cold"
# All columns that slices can make use of.
NEEDED = ("user_id", "n_targets", "n_lists", "n_history", *COLUMNS, ITEM, DURATION, RANK_COLD)


@dataclass(frozen=True, eq=False)
class Targets:
    """The targets of a per-user frame, one entry a target.

    Attributes
    ----------
    row
        int64 [L]: user (row of the frame) of every ranked list; L > V only where users were ranked more than once.
    of_list
        int64 [T]: the list each target belongs to.
    item
        object [T]: raw ids; None for a target that was no item of the problem (no model could have named it), and
        where the frame holds no ids.
    events
        int64 [T]: events of the item in the fitted rows; 0 = cold.
    rank, rank_warm
        float64 [T]: 1-based, among all and among warm candidates; inf where it cannot be found.
    rank_cold
        float64 [T]: among cold candidates, inf for warm targets too; None in records that are older than it.
    duration
        float64 [T]: seconds, NaN where unknown; None where no target's is known.
    n_users
        V.
    """

    row: np.ndarray
    of_list: np.ndarray
    item: np.ndarray
    events: np.ndarray
    rank: np.ndarray
    rank_warm: np.ndarray
    rank_cold: np.ndarray | None
    duration: np.ndarray | None
    n_users: int

    @classmethod
    def of(cls, users: pd.DataFrame) -> Targets:
        """Read the targets of a per-user frame.

        Raises
        ------
        DataError
            If it was written without them, or its lists are of unequal length.
        """
        missing = [c for c in COLUMNS if c not in users]
        if missing:
            raise DataError(
                f"these records hold no rank per target (column {missing[0]!r} is missing)",
                remedy="use the local records instead of a compact copy; delete older ones and run the cell again",
            )
        length = users["n_targets"].to_numpy(np.int64)
        lists = users["n_lists"].to_numpy(np.int64) if "n_lists" in users else np.ones(len(users), dtype=np.int64)
        start = np.cumsum(lists) - lists
        place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        flat = {c: _flat(users[c], int(length.sum())) for c in (*COLUMNS, ITEM, DURATION, RANK_COLD) if c in users}
        ranks = {c: np.where(flat[c] > 0, flat[c], np.inf) for c in (*COLUMNS[1:], RANK_COLD) if c in flat}
        return cls(
            row=np.repeat(np.arange(len(users)), lists),
            of_list=np.repeat(start, length) + np.where(np.repeat(lists, length) > 1, place, 0),
            item=flat.get(ITEM, np.full(length.sum(), None, dtype=object)),
            events=flat["target_events"].astype(np.int64),
            rank=ranks["target_rank"],
            rank_warm=ranks["target_rank_warm"],
            rank_cold=ranks.get(RANK_COLD),
            duration=flat[DURATION].astype(np.float64) if DURATION in flat else None,
            n_users=len(users),
        )

    @property
    def user(self) -> np.ndarray:
        """int64 [T]: row of the user of each target."""
        return self.row[self.of_list]

    def values(self, metric: str, counting: np.ndarray | None = None) -> np.ndarray:
        """Compute a metric of every user anew.

        Parameters
        ----------
        metric
            Such as `ndcg@10` or `hr@50_warm`.
        counting
            Bool [T]: the targets that count; None: all.

        Returns
        -------
        np.ndarray
            float64 [V]; NaN for users without such a target.

        Raises
        ------
        DataError
            If the records are too old for the metric.
        """
        formula, k, part = parse(metric)
        rank = {"": self.rank, "warm": self.rank_warm, "cold": self.rank, "cold_among_cold": self.rank_cold}[part]
        if rank is None:
            raise DataError(
                f"these records hold no {metric}: they are older than it (column {RANK_COLD!r} is missing)",
                remedy="delete them and run the cell again",
            )
        kept = np.ones(len(self.rank), dtype=bool) if counting is None else counting
        if part:
            kept = kept & ((self.events > 0) == (part == "warm"))
        return mean_over_lists(formula(rank[kept], self.of_list[kept], len(self.row), k), self.row, self.n_users)


def required(metric: str) -> set[str]:
    """Columns of a per-user frame that a metric can be computed from."""
    return {*COLUMNS, RANK_COLD} if parse(metric)[2] == "cold_among_cold" else set(COLUMNS)


def _flat(column: pd.Series, size: int) -> np.ndarray:
    """Join the lists of a column."""
    parts = [np.asarray(part) for part in column]
    out = np.concatenate(parts) if parts else np.zeros(0)
    if len(out) != size:
        raise DataError(f"column {column.name!r} holds {counted(len(out), 'target')} where n_targets says {size}")
    return out


def with_targets(
    users: pd.DataFrame, ranking: Ranking, problem: Problem, durations: Mapping[str, float] | pd.Series | None = None
) -> pd.DataFrame:
    """Add one list column for each per-target value, see `Targets`.

    Parameters
    ----------
    users
        As `metrics.user_metrics` returned it for this ranking.
    durations
        Seconds by raw item id, as far as known.
    """
    import pandas as pd

    item, known = ranking.target, ranking.target >= 0
    raw = np.full(len(item), None, dtype=object)
    raw[known] = ranking.items[item[known]]
    columns: dict[str, np.ndarray] = {
        ITEM: raw,
        "target_events": np.where(known, problem.training.counts[item], 0).astype(np.int32),
        "target_rank": _whole(ranking.rank),
        "target_rank_warm": _whole(ranking.rank_warm),
        RANK_COLD: _whole(ranking.rank_cold),
    }
    if durations is not None:
        by_item = pd.Series(durations, dtype=np.float64).reindex(ranking.items).to_numpy()
        columns[DURATION] = np.where(known, by_item[item], np.nan).astype(np.float32)
    cuts = np.cumsum(users["n_targets"].to_numpy())[:-1]
    lists = {name: np.split(values, cuts) if len(users) else [] for name, values in columns.items()}
    return users.assign(**{name: pd.Series(parts, users.index, dtype=object) for name, parts in lists.items()})


def _whole(rank: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(rank), rank, 0).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Slice:
    """A metric on part of a fold.

    Attributes
    ----------
    group, name
        Property that splits the fold, and the part.
    values
        float64 [V]: the metric of every user, NaN outside the slice.
    targets
        How many targets count.
    low, high
        Smallest and largest value of the property inside the slice (events, seconds); None if it is no number.
    """

    group: str
    name: str
    values: np.ndarray
    targets: int
    low: float | None = None
    high: float | None = None


def slices(
    users: pd.DataFrame,
    metric: str = PRIMARY,
    *,
    targets: Targets | None = None,
    audio_heavy: Mapping[str, bool] | None = None,
    short: float = SHORT,
) -> list[Slice]:
    """Compute a metric on every slice of a fold.

    - `targets`: warm ones among warm candidates, cold ones among all, and cold ones among cold candidates.
    - `user activity`: quartiles of the fold's users by events before the border.
    - `item popularity`: quartiles of the fold's warm targets by fitted events of their item (a quarter of the targets
      each, not of the items: the rarest quarter of items has next to no targets); cold targets are the `targets` slice.
    - `clip duration`: at most and over `short` (30 s), targets of known duration only.
    - `audio`: speech or music in over half of the clip, by `audio_heavy`.

    Equal numbers are never parted, so a quartile may be larger or, where few numbers occur, empty: then it is left
    out. So is a group whose numbers are not known. Everything but the ranks is the same for all rows of a board, and
    so are its slices.

    Parameters
    ----------
    users
        A per-user frame with its targets.
    metric
        Such as `ndcg@10`, without `_warm` or `_cold`.
    targets
        Its targets, where they are read already.
    audio_heavy
        By raw item id; items that are not in it are in neither part.
    short
        Longest short clip, in seconds.

    Raises
    ------
    DataError
        If the frame holds no targets.
    """
    targets = Targets.of(users) if targets is None else targets
    warm = targets.events > 0
    found = [
        Slice("targets", "warm", targets.values(f"{metric}_warm"), int(warm.sum())),
        Slice("targets", "cold", targets.values(f"{metric}_cold"), int((~warm).sum())),
    ]
    if targets.rank_cold is not None:
        values = targets.values(f"{metric}_cold_among_cold")
        found.append(Slice("targets", "cold among cold", values, int((~warm).sum())))
    if "n_history" in users:
        history = users["n_history"].to_numpy()
        overall, n_targets = targets.values(metric), users["n_targets"].to_numpy()
        for name, chosen in quartiles(history, np.ones(len(users), dtype=bool)).items():
            values, size = np.where(chosen, overall, np.nan), int(n_targets[chosen].sum())
            found.append(Slice("user activity", name, values, size, *_span(history[chosen])))
    parts = [
        ("item popularity", name, chosen, targets.events) for name, chosen in quartiles(targets.events, warm).items()
    ]
    if targets.duration is not None:
        parts.append(("clip duration", f"<= {short:g} s", targets.duration <= short, targets.duration))
        parts.append(("clip duration", f"> {short:g} s", targets.duration > short, targets.duration))
    for group, name, chosen, number in parts:
        found.append(Slice(group, name, targets.values(metric, chosen), int(chosen.sum()), *_span(number[chosen])))
    if audio_heavy is not None:
        said = np.array([audio_heavy.get(i) for i in targets.item], dtype=object)
        for name, answer in (("heavy", True), ("not heavy", False)):
            chosen = np.array([value is not None and bool(value) == answer for value in said], dtype=bool)
            found.append(Slice("audio", name, targets.values(metric, chosen), int(chosen.sum())))
    return [part for part in found if part.targets]


def quartiles(numbers: np.ndarray, among: np.ndarray) -> dict[str, np.ndarray]:
    """Split into four parts of about equal size, Q1 the lowest; equal numbers stay together in the lower part.

    Parameters
    ----------
    numbers
        [N].
    among
        Bool [N]: entries that are split; the others are in no part.

    Returns
    -------
    dict
        Bool [N] by name.

    Examples
    --------
    >>> {q: mask.nonzero()[0].tolist() for q, mask in quartiles(np.array([5, 1, 2, 9]), np.ones(4, bool)).items()}
    {'Q1': [1], 'Q2': [2], 'Q3': [0], 'Q4': [3]}
    """
    if not among.any():
        return {}
    edges = np.quantile(numbers[among], [0.25, 0.5, 0.75], method="inverted_cdf")
    part = np.searchsorted(edges, numbers, side="left")
    return {f"Q{q + 1}": among & (part == q) for q in range(4)}


def _span(numbers: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    return (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
