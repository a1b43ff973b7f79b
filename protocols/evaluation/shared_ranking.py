"""Full ranking where all users get the same scores: one sorted list, from which each user's seen items are taken out.

Popularity scores nobody by himself. Sorting the candidates once gives the ranks and lists of a dense ranking, exactly,
at a cost that grows with the events of the users and not with users times items.
"""

from __future__ import annotations

import numpy as np

from protocols.row_numbers import distinct


class SharedOrder:
    """Candidates in the order in which every user would see them, and the places of seen items in it.

    Parameters
    ----------
    scores
        float [M]: of all items; -inf for items that are no candidates or have no score.
    order
        int64 [M]: lower wins a tie.
    row, seen
        int64 [S]: user (ascending, from 0) and item position of each seen item.
    users
        Number of users.
    n_warm
        Items below are warm.
    """

    def __init__(
        self, scores: np.ndarray, order: np.ndarray, row: np.ndarray, seen: np.ndarray, users: int, n_warm: int
    ) -> None:
        self.scores, self.users = scores, users
        listed = np.flatnonzero(scores > -np.inf)
        self.listed = listed[np.lexsort((order[listed], -scores[listed]))]
        self.place = np.full(len(scores), -1, dtype=np.int64)
        self.place[self.listed] = np.arange(len(self.listed))
        self._width = len(self.listed) + 1
        there = self.place[seen] >= 0
        #: Place of each seen candidate, by user and place, once.
        self._keys = distinct(row[there] * self._width + self.place[seen[there]])
        self._begin = np.searchsorted(self._keys, np.arange(users + 1) * self._width)
        warm = self.listed < n_warm
        self._warm_before = np.concatenate([[0], np.cumsum(warm)])
        self._warm_seen = np.concatenate([[0], np.cumsum(warm[self._keys % self._width])])

    def ranks(self, row: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Rank targets among all unseen candidates, the warm ones, and the cold ones.

        Parameters
        ----------
        row, item
            int64 [T]: user and position of each target; -1 for one that is no item of the problem.

        Returns
        -------
        np.ndarray
            float64 [3, T], inf where the target is seen or has no place.
        """
        out = np.full((3, len(row)), np.inf)
        place = np.where(item >= 0, self.place[item], -1)
        key = row * self._width + place
        at = np.searchsorted(self._keys, key)
        is_seen = at < len(self._keys)
        is_seen[is_seen] = self._keys[at[is_seen]] == key[is_seen]
        reach = np.flatnonzero((place >= 0) & ~is_seen)
        place, at, first = place[reach], at[reach], self._begin[row[reach]]
        ahead = place - (at - first)
        warm = self._warm_before[place] - (self._warm_seen[at] - self._warm_seen[first])
        out[:, reach] = 1 + ahead, 1 + warm, 1 + ahead - warm
        return out

    def top(self, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """List the best unseen candidates of each user; see `protocols.evaluation.ranking.best`.

        Returns
        -------
        tuple
            int64 [V, depth] of positions, -1 where a user has no more; bool [V]: 10th and 11th score are equal.
        """
        # the i-th seen place p has p - i unseen ones before it: the j-th unseen place is j plus those with p - i <= j
        user = self._keys // self._width
        unseen_before = self._keys - (np.arange(len(self._keys)) - self._begin[user])
        wanted = np.arange(self.users)[:, None] * self._width + np.arange(depth)
        skipped = np.searchsorted(unseen_before, wanted, side="right") - self._begin[:-1, None]
        place = np.arange(depth) + skipped
        found = place < len(self.listed)
        top = np.full((self.users, depth), -1, dtype=np.int64)
        top[found] = self.listed[place[found]]
        tied = (top[:, 10] >= 0) & (self.scores[top[:, 9]] == self.scores[top[:, 10]])
        return top, tied
