"""Leave-one-out split of MicroLens, for reproduction only: it leaks the future."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from protocols.dataset import Dataset
from protocols.errors import DataError, UserError
from protocols.hashing import digest, drawn
from protocols.indexed_log import IndexedLog
from protocols.ranking_problem import Fold, Problem, RankingTask, Stage
from protocols.splitting.base import ProtocolPlugin
from protocols.splitting.problem_builder import item_flags, split_by, training_data

MIN_EVENTS = 5
SHOWN = 10


@dataclass(frozen=True)
class MicroLensLoo(ProtocolPlugin):
    """Last event of every user as target, fitted on all but everybody's last two. LEAKS THE FUTURE.

    Users with fewer than 5 events are dropped; of the others the last `cut` events are kept; items that vanish by this
    are gone. Fitted (and counted) on each kept sequence without its last two events; validated on the second last,
    tested on the last; a model is shown the last 10 events before the target; everything kept of the user is masked;
    all kept items are candidates; there is no refit. What one user did later than another's target is fitted on: the
    numbers compare with published ones of the same protocol and with nothing else.

    Source: Ni et al., A Content-Driven Micro-Video Recommendation Dataset at Scale (arXiv 2309.15379) and its code.

    Attributes
    ----------
    cut
        Number of newest events of a user that are kept; none: all.
    rank_users
        Rank at most so many users, drawn with a seed, in validation and test alike; 0: all of them. All are fitted
        on. A board of its own.
    """

    name: ClassVar[str] = "microlens-loo"
    retrospective: ClassVar[bool] = True
    epochs_from: ClassVar[str] = "each"
    later_options: ClassVar[tuple[str, ...]] = ("rank_users",)

    cut: int | None = 13
    rank_users: int = 0

    def __post_init__(self) -> None:
        if self.cut is not None and self.cut < 3:
            raise UserError(
                f"microlens-loo.cut={self.cut}: must be at least 3, for an event each to fit on and to find"
            )
        if self.rank_users < 0:
            raise UserError(f"microlens-loo.rank_users={self.rank_users}: must be at least 1, or 0 for all")

    def split(self, dataset: Dataset) -> list[Fold]:
        """Make the one fold; see `ProtocolPlugin.split`."""
        log = dataset.indexed_log
        rows, counts, dropped = self._kept(log)
        if not len(counts):
            most = int(np.bincount(log.user, minlength=1).max())
            raise DataError(f"no user of {dataset.name} has {MIN_EVENTS} events: the longest sequence has {most}")
        place, left = _places(counts)
        ranked = self._ranked(log.users[log.user[rows[place == 0]]])
        if not ranked.all():
            dropped["not_drawn"] = int((~ranked).sum())
        fit = np.sort(rows[left >= 2])
        identity = self.identity(dataset)
        warm = item_flags(log, fit)
        end = int(log.time[-1]) + 1
        info: dict[str, Any] = {
            "retrospective": True,
            "order": "time" if dataset.timed else "position in the user's sequence",
            "users": int(ranked.sum()),
            **({} if ranked.all() else {"drawn_from": len(counts)}),
            "items": int(item_flags(log, rows).sum()),
            "interactions": len(rows),
            "targets": int(ranked.sum()),
            "targets_per_user_mean": 1.0,
            "targets_per_user_median": 1.0,
            "cold_targets": int((~warm[log.item[rows[left == 0]]])[ranked].sum()),
            "dropped": dropped,
            "candidates": "kept",
            "refitted": {"interactions": len(fit), "users": len(counts), "items": int(warm.sum())},
            "knobs": {**self.options(), "refit": False, "epochs_from": self.epochs_from},
        }
        return [
            Fold(
                index=0,
                validation_border=end,
                validation_end=end,
                border=end,
                end=end,
                fit=fit,
                refit=fit,
                info=info,
                fingerprint=digest({**identity, "index": 0}),
            )
        ]

    def problem(self, dataset: Dataset, fold: Fold, stage: Stage) -> Problem:
        """Build one of the two problems; both are fitted on the same rows."""
        log = dataset.indexed_log
        rows, counts, _ = self._kept(log)
        training, codes, position = training_data(log, fold.fit, item_flags(log, rows), fold.border, fold.end)
        training = replace(training, dated=False)  # places in sequences, not a clock, say what was known
        # this protocol knows no time: every item is released from the beginning
        training = replace(training, release=np.full(len(codes), log.time[0], dtype=np.int64))
        place, left = _places(counts)
        held = 0 if stage == "test" else 1
        before = left > held
        seen = split_by(position[log.item[rows[before]]], counts - 1 - held)
        task = RankingTask(
            users=log.users[log.user[rows[place == 0]]],
            histories=[s[-SHOWN:] for s in seen],
            candidates=np.ones(len(codes), dtype=bool),
            targets=list(position[log.item[rows[left == held]]][:, None]),
            seen=seen,
        )
        return Problem(training, task.of_users(self._ranked(task.users)))

    def identity(self, dataset: Dataset) -> dict[str, object]:
        """Dataset content, the cut, and the number of ranked users if not all are."""
        return {"dataset": dataset.fingerprint, "protocol": self.name, "version": 1, **self.options()}

    def _ranked(self, users: np.ndarray) -> np.ndarray:
        """Draw the users [V] that are ranked: bool [V]."""
        return drawn(users, self.rank_users or len(users))

    def _kept(self, log: IndexedLog) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
        """Kept rows by user, oldest first; how many each user has; and how many rows were dropped, and why."""
        rows = log.by_user[log.first[log.by_user]]
        counts = np.bincount(log.user[rows], minlength=len(log.users))
        enough = counts >= MIN_EVENTS
        dropped = {"repeat": len(log.user) - len(rows), "short_history": int(counts[~enough].sum()), "cut": 0}
        rows, counts = rows[enough[log.user[rows]]], counts[enough]
        if self.cut is not None:
            newest = _places(counts)[1] < self.cut
            dropped["cut"] = int((~newest).sum())
            rows, counts = rows[newest], np.minimum(counts, self.cut)
        return rows, counts, dropped


def _places(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the rows of runs of the given lengths from the front and from the back, from 0."""
    start = np.repeat(np.cumsum(counts) - counts, counts)
    place = np.arange(len(start)) - start
    return place, np.repeat(counts, counts) - 1 - place
