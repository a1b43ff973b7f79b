"""Oracle scorer: the true probability that a user takes a clip in a window, the ceiling of ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protocols.datasets.demo.population import Clips, Users, start_of_world
from protocols.datasets.demo.utility import Utility
from protocols.datasets.demo.world import WEEK

BATCH = 2048


@dataclass(frozen=True, eq=False)
class Oracle:
    """Scorer that simulates the world forward from the border.

    Known are the parameters of the world and each user's clips before the border; nothing of the log at or after it.
    Each rollout draws how often and when a user comes and what is taken; what is averaged over rollouts are not the
    takes but the choice probabilities (Rao-Blackwell), which needs far fewer rollouts.

    Attributes
    ----------
    utility
        The world's, or one blind to some groups.
    user_index
        Raw user id -> index.
    items
        int [M]: clip index of each item of the problem.
    border, end
        Window [border, end), milliseconds UTC.
    rollouts
        Per user; on the default world HR@10 is the same with 8 as with 64.
    seed
        Of the rollouts; a user's scores depend on it and on the user alone, not on the batch.
    """

    utility: Utility
    user_index: dict[str, int]
    items: np.ndarray
    border: int
    end: int
    rollouts: int = 8
    seed: int = 0

    @property
    def clips(self) -> Clips:
        """Clips of the world."""
        return self.utility.clips

    @property
    def users(self) -> Users:
        """Users of the world."""
        return self.utility.users

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Compute the probability that each user takes each item in the window.

        Parameters
        ----------
        users
            Raw ids [B].
        histories
            Item positions of all their events before the border, oldest first.

        Returns
        -------
        np.ndarray
            float32 [B, M]; 0 for what the user has taken already.
        """
        index = np.array([self.user_index[user] for user in users], dtype=int)
        taken = np.zeros((len(users), len(self.clips.release)), dtype=bool)
        previous = np.full(len(users), -1)
        for row, history in enumerate(histories):
            seen = self.items[history]
            taken[row, seen] = True
            previous[row] = seen[-1] if len(seen) else -1
        scores = np.zeros(taken.shape, dtype=np.float32)
        rows = np.repeat(np.arange(len(users)), self.rollouts)
        plans = [plan for user in index for plan in self._plans(user)]
        for begin in range(0, len(rows), BATCH):
            part = rows[begin : begin + BATCH]
            gained = self._roll(index[part], taken[part], previous[part], plans[begin : begin + BATCH])
            np.add.at(scores, part, gained)
        scores *= ((1 - self._absent(index).prod(axis=1)) / self.rollouts)[:, None]
        # The mean of sums of conditional probabilities is unbiased, but with few rollouts it can pass 1.
        return np.minimum(scores, 1)[:, self.items]

    def _weeks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weeks that the window touches: their numbers, and where its part of each begins and ends."""
        begin = start_of_world()
        weeks = np.arange((self.border - begin) // WEEK, (self.end - 1 - begin) // WEEK + 1)
        edges = begin + weeks * WEEK
        return weeks, np.maximum(edges, self.border), np.minimum(edges + WEEK, self.end)

    def _absent(self, users: np.ndarray) -> np.ndarray:
        """Probability float64 [B, weeks] that a user takes nothing in the window's part of a week."""
        weeks, low, high = self._weeks()
        u = self.users
        come = u.come[users, None] * (weeks >= u.joins[users, None])
        return 1 - come + come * np.exp(-u.rate[users, None] * (high - low) / WEEK)

    def _plans(self, user: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Times of takes and a uniform number for each choice, one pair a rollout.

        Rollouts are drawn given that there is a take at all; `score` multiplies by the probability of that. First the
        week k of the first take, from P(none before k) P(some in k); then in k the number n given n >= 1, as one plus
        the Poisson number after the first arrival, whose time is a truncated exponential; later weeks are free.
        """
        rng, r = np.random.default_rng([self.seed, user]), self.rollouts
        weeks, low, high = self._weeks()
        expected = self.users.rate[user] * (high - low) / WEEK
        absent = self._absent(np.array([user]))[0]
        first = np.r_[1, absent.cumprod()[:-1]] * (1 - absent)
        first = first / first.sum() if first.sum() > 0 else np.full(len(weeks), 1 / len(weeks))
        k = rng.choice(len(weeks), size=(r, 1), p=first)
        comes = (rng.random((r, len(weeks))) < self.users.come[user]) & (weeks >= self.users.joins[user])
        arrival = -np.log1p(-rng.random((r, len(weeks))) * -np.expm1(-expected)) / expected
        some = 1 + rng.poisson(expected * (1 - np.minimum(arrival, 1)))
        free = rng.poisson(expected * comes)
        counts = np.where(np.arange(len(weeks)) == k, some, np.where(np.arange(len(weeks)) > k, free, 0))
        plans = []
        for row in counts:
            week = np.repeat(np.arange(len(weeks)), row)
            times = low[week] + (rng.random(len(week)) * (high - low)[week]).astype(np.int64)
            plans.append((np.sort(times), rng.random(len(week), dtype=np.float32)))
        return plans

    def _roll(
        self,
        users: np.ndarray,
        taken: np.ndarray,
        previous: np.ndarray,
        plans: list[tuple[np.ndarray, np.ndarray]],
    ) -> np.ndarray:
        """Simulate one rollout a row; sum of choice probabilities over its takes, float32 [rows, I]."""
        gained = np.zeros(taken.shape, dtype=np.float32)
        counts = np.array([len(times) for times, _ in plans])
        for step in range(counts.max()):
            rows = np.flatnonzero(counts > step)
            times = np.array([plans[row][0][step] for row in rows])
            draws = np.array([plans[row][1][step] for row in rows])
            p = self.utility(users[rows], times, previous[rows])
            p -= p.max(axis=1, keepdims=True)
            np.exp(p, out=p)
            p[taken[rows] | (self.clips.release > times[:, None])] = 0
            p /= np.maximum(p.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
            gained[rows] += p
            choice = (p.cumsum(axis=1) < draws[:, None] * p.sum(axis=1, keepdims=True)).sum(axis=1)
            choice = np.minimum(choice, p.shape[1] - 1)
            taken[rows, choice] = True
            previous[rows] = choice
        return gained
