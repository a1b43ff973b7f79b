"""Full ranking: exact ranks of targets and top-k lists, in chunks of users that stay in cache.

A scorer that gives all users the same scores says so by an attribute `shared` and is ranked by one sorted list, see
`protocols.evaluation.shared_ranking`: the same ranks and lists.

Seen items and items that are no candidates are masked for every model alike. Equal scores are ordered by a seeded
hash of the raw item id, so a tie is broken the same way whatever the model, and never by the position in an array.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from protocols.errors import BenchError
from protocols.evaluation.metrics import mean_over_lists, ndcg
from protocols.evaluation.shared_ranking import SharedOrder
from protocols.hashing import seeded_order
from protocols.ranking_problem import Problem, Scorer

# Elements compared at once when targets are ranked: bounds memory where users have many targets.
_BLOCK = 4_000_000


@dataclass(frozen=True, eq=False)
class Ranking:
    """Ranks and top-k lists of one ranking task.

    Attributes
    ----------
    users
        Raw ids [V].
    items
        Raw ids [M] of the problem's items.
    n_history
        int64 [V]: events before the border.
    candidates
        Bool [M], as in the task.
    target_user
        int64 [T]: row in `users` of every target, ascending.
    target
        int64 [T]: position in `items`, -1 for a target that is no item of the problem.
    target_warm
        Bool [T]: the target has an event in the fitted rows.
    rank
        float64 [T]: 1-based rank among all unseen candidates; inf where the target is no candidate or scores -inf.
    rank_warm
        float64 [T]: 1-based rank of warm targets among warm unseen candidates; inf for the others.
    rank_cold
        float64 [T]: 1-based rank of cold targets among cold unseen candidates; inf for the others.
    top
        int64 [V, depth]: positions of the best items, best first; -1 where a user has fewer with a finite score.
    tied
        Bool [V]: the 10th and the 11th score are equal, so the tie-break decides what is in the top ten.
    """

    users: np.ndarray
    items: np.ndarray
    n_history: np.ndarray
    candidates: np.ndarray
    target_user: np.ndarray
    target: np.ndarray
    target_warm: np.ndarray
    rank: np.ndarray
    rank_warm: np.ndarray
    rank_cold: np.ndarray
    top: np.ndarray
    tied: np.ndarray

    @property
    def tie_share(self) -> float:
        """Share of users whose top ten is decided by the tie-break; above 0.01 boards warn."""
        return float(self.tied.mean()) if len(self.tied) else 0.0

    def top_ids(self) -> list[list[str]]:
        """Raw ids of the top lists, best first."""
        return [[str(self.items[i]) for i in row if i >= 0] for row in self.top]


class Ranker:
    """Ranker of one task for repeated use (validation after every epoch).

    Parameters
    ----------
    problem
        Problem with the task to rank.
    seed
        Of the tie-break.
    chunk
        Users scored at once. About 64: their scores then stay in cache.
    threads
        Threads that rank what the model has scored. Ranks are whole numbers: they do not depend on it.
    """

    def __init__(self, problem: Problem, seed: int, *, chunk: int = 64, threads: int = 1) -> None:
        task = problem.task
        self.problem = problem
        self.chunk, self.threads = chunk, threads
        self.order = seeded_order(problem.training.items, seed)
        self.n_history = np.array([len(h) for h in task.histories], dtype=np.int64)
        n_targets = np.array([len(t) for t in task.targets], dtype=np.int64)
        self.target_user = np.repeat(np.arange(len(task.users)), n_targets)
        self.target = np.concatenate([np.zeros(0, np.int64), *task.targets])
        self.target_warm = (self.target >= 0) & (self.target < problem.training.n_warm)
        self._out = np.flatnonzero(~task.candidates)
        self._seen = np.concatenate([np.zeros(0, np.int64), *task.masked])
        self._n_seen = np.array([len(s) for s in task.masked], dtype=np.int64)
        self._seen_from = np.concatenate([[0], np.cumsum(self._n_seen)])
        self._target_from = np.concatenate([[0], np.cumsum(n_targets)])

    def rank(self, scorer: Scorer, *, depth: int = 20, on_chunk: Callable[[int], None] | None = None) -> Ranking:
        """Rank all users.

        Parameters
        ----------
        scorer
            A fitted recommender.
        depth
            Length of the lists kept, at least 11.
        on_chunk
            Called with the number of users done, after each chunk.

        Raises
        ------
        BenchError
            If a score is NaN or the scorer returns the wrong shape.
        """
        task, training = self.problem.task, self.problem.training
        depth = max(depth, 11)
        ranks = self._unranked()
        top = np.full((len(task.users), depth), -1, dtype=np.int64)
        tied = np.zeros(len(task.users), dtype=bool)
        if (shared := self._shared(scorer)) is not None:
            ranks, (top, tied) = shared.ranks(self.target_user, self.target), shared.top(depth)
        else:

            def listed(scores: np.ndarray, start: int, stop: int, part: slice) -> None:
                ranks[:, part] = self._ranks(scores, start, part)
                top[start:stop], tied[start:stop] = best(scores, self.order, depth)

            self._by_chunk(scorer, listed, on_chunk)
        rank, rank_warm, rank_cold = ranks
        rank_warm[~self.target_warm] = rank_cold[self.target_warm] = np.inf
        return Ranking(
            users=task.users,
            items=training.items,
            n_history=self.n_history,
            candidates=task.candidates,
            target_user=self.target_user,
            target=self.target,
            target_warm=self.target_warm,
            rank=rank,
            rank_warm=rank_warm,
            rank_cold=rank_cold,
            top=top,
            tied=tied,
        )

    def ndcg(self, scorer: Scorer, k: int = 10, on_chunk: Callable[[int], None] | None = None) -> float:
        """Compute the mean nDCG@k over users without lists, for early stopping; `on_chunk` as in `rank`."""
        users = self.problem.task.users
        ranks = self._unranked()
        if (shared := self._shared(scorer)) is not None:
            ranks = shared.ranks(self.target_user, self.target)
        else:

            def ranked(scores: np.ndarray, start: int, stop: int, part: slice) -> None:
                ranks[:, part] = self._ranks(scores, start, part)

            self._by_chunk(scorer, ranked, on_chunk)
        values = ndcg(ranks[0], self.target_user, len(users), k)
        ids, user = np.unique(users, return_inverse=True)
        return float(mean_over_lists(values, user, len(ids)).mean())

    def _unranked(self) -> np.ndarray:
        return np.full((3, len(self.target)), np.inf)

    def _shared(self, scorer: Scorer) -> SharedOrder | None:
        """Sort the candidates once for a scorer that gives all users the same scores; None for another."""
        scores = getattr(scorer, "shared", None)
        if scores is None:
            return None
        self._require(scores[None], 0, 1)
        scores = np.where(self.problem.task.candidates, scores, -np.inf)
        row = np.repeat(np.arange(len(self._n_seen)), self._n_seen)
        return SharedOrder(scores, self.order, row, self._seen, len(self._n_seen), self.problem.training.n_warm)

    def _by_chunk(
        self,
        scorer: Scorer,
        work: Callable[[np.ndarray, int, int, slice], None],
        on_chunk: Callable[[int], None] | None = None,
    ) -> None:
        """Score all users in order, and hand the masked scores of each chunk to threads."""
        n_users, task = len(self.problem.task.users), self.problem.task

        def masked(scores: np.ndarray, start: int, stop: int) -> int:
            self._require(scores, start, stop)
            scores[:, self._out] = -np.inf
            seen = slice(self._seen_from[start], self._seen_from[stop])
            scores[np.repeat(np.arange(stop - start), self._n_seen[start:stop]), self._seen[seen]] = -np.inf
            work(scores, start, stop, slice(self._target_from[start], self._target_from[stop]))
            return stop

        with ThreadPoolExecutor(self.threads) as pool:
            waiting: deque[Future[int]] = deque()
            for start in range(0, n_users, self.chunk):
                stop = min(start + self.chunk, n_users)
                # in an array of our own: it is written into, and the model may use its own again
                scores = np.array(scorer.score(list(task.users[start:stop]), task.histories[start:stop]))
                waiting.append(pool.submit(masked, scores, start, stop))
                # one thread: no chunk is scored while another is ranked
                while len(waiting) >= self.threads or (stop == n_users and waiting):
                    done = waiting.popleft().result()
                    if on_chunk is not None:
                        on_chunk(done)

    def _require(self, scores: np.ndarray, start: int, stop: int) -> None:
        """Refuse scores of the wrong shape and NaN."""
        users, items = self.problem.task.users, self.problem.training.items
        if scores.shape != (stop - start, len(items)):
            raise BenchError(f"the model returned scores of shape {scores.shape}, not {(stop - start, len(items))}")
        if np.isnan(scores.max(initial=-np.inf)):  # one pass, nothing written
            broken = np.isnan(scores)
            row, column = np.argwhere(broken)[0]
            raise BenchError(
                f"the model's score of item {items[column]!r} for user {users[start + row]!r} is NaN "
                f"({int(broken.sum())} of {scores.size} in this chunk)",
                remedy="training diverged: lower the learning rate, or look at the features for inf",
            )

    def _ranks(self, scores: np.ndarray, start: int, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ranks [T] of a chunk's targets among all candidates, among the warm ones, and among the cold ones."""
        user, target = self.target_user[part] - start, self.target[part]
        n_warm = self.problem.training.n_warm
        rank, rank_warm, rank_cold = np.full((3, len(target)), np.inf)
        reach = np.flatnonzero(target >= 0)
        own = scores[user[reach], target[reach]]
        reach, own = reach[own > -np.inf], own[own > -np.inf]
        step = max(1, _BLOCK // max(scores.shape[1], 1))
        for at in range(0, len(reach), step):
            which, mine = reach[at : at + step], own[at : at + step, None]
            one_each = len(which) == len(scores) and np.array_equal(user[which], np.arange(len(scores)))
            rows = scores if one_each else scores[user[which]]  # the usual case needs no copy
            ahead = rows > mine
            ties = rows == mine
            # a tie counts as ahead if its hash comes first; every target ties with itself
            some = np.flatnonzero(np.count_nonzero(ties, axis=1) > 1)
            ahead[some] |= ties[some] & (self.order[None, :] < self.order[target[which[some]], None])
            warm, cold = (np.count_nonzero(side, axis=1) for side in (ahead[:, :n_warm], ahead[:, n_warm:]))
            rank[which], rank_warm[which], rank_cold[which] = 1 + warm + cold, 1 + warm, 1 + cold
        return rank, rank_warm, rank_cold


# Scores in a group that is represented by its largest at first.
_GROUP = 64


def _floor(scores: np.ndarray, depth: int) -> np.ndarray:
    """Return a lower bound for each row [B, 1] that at least `depth` of its scores reach, and usually few more.

    The depth-th of the largest scores of disjoint groups is one: each of `depth` groups has a score that reaches it.
    """
    rows, columns = scores.shape
    groups = columns // _GROUP
    if groups < 4 * depth:
        return np.partition(scores, columns - depth, axis=1)[:, columns - depth, None]
    # a group is every `groups`-th score, so that the maxima are taken along memory; a rest joins the first groups
    largest = scores[:, : groups * _GROUP].reshape(rows, _GROUP, groups).max(axis=1)
    rest = scores[:, groups * _GROUP :]
    np.maximum(largest[:, : rest.shape[1]], rest, out=largest[:, : rest.shape[1]])
    return np.partition(largest, groups - depth, axis=1)[:, groups - depth, None]


def best(scores: np.ndarray, order: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the best items of each row, ties in the given order.

    Parameters
    ----------
    scores
        float [B, M]; -inf is never listed.
    order
        int64 [M]: lower wins a tie.
    depth
        Length of the lists, at least 11.

    Returns
    -------
    tuple
        int64 [B, depth] of columns, -1 where a row has no more; bool [B]: 10th and 11th score are equal.
    """
    rows, columns = scores.shape
    floor = _floor(scores, depth) if columns > depth else np.full((rows, 1), -np.inf)
    # everything not below it, all its ties included, so that the tie-break sees them
    row, column = np.divmod(np.flatnonzero((scores >= floor) & (scores > -np.inf)), columns)
    value = scores[row, column]
    sort = np.lexsort((order[column], -value, row))
    row, column, value = row[sort], column[sort], value[sort]
    count = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    keep = place < depth
    top = np.full((rows, depth), -1, dtype=np.int64)
    top[row[keep], place[keep]] = column[keep]
    sorted_scores = np.full((rows, depth), -np.inf, dtype=scores.dtype)
    sorted_scores[row[keep], place[keep]] = value[keep]
    return top, (top[:, 10] >= 0) & (sorted_scores[:, 9] == sorted_scores[:, 10])


def rank_users(
    scorer: Scorer,
    problem: Problem,
    seed: int,
    *,
    depth: int = 20,
    chunk: int = 64,
    threads: int = 1,
    on_chunk: Callable[[int], None] | None = None,
) -> Ranking:
    """Rank all users of a problem once; see `Ranker`."""
    return Ranker(problem, seed, chunk=chunk, threads=threads).rank(scorer, depth=depth, on_chunk=on_chunk)
