import math
from dataclasses import replace

import numpy as np
import pytest

from protocols.errors import BenchError
from protocols.evaluation.fold_metrics import user_metrics
from protocols.evaluation.ranking import Ranker, best, rank_users
from protocols.hashing import seeded_order
from protocols.splitting.presets import Rolling7d
from protocols.splitting.rolling import DAY


class Fixed:
    """Gives every user a row of scores drawn before; on a coarse grid so that ties abound."""

    def __init__(self, problem, seed=0, levels=6, hide=None):
        rng = np.random.default_rng(seed)
        shape = (len(problem.task.users), len(problem.training.items))
        self.scores = dict(zip(problem.task.users, rng.integers(0, levels, shape).astype(np.float32), strict=True))
        if hide is not None:
            for row in self.scores.values():
                row[hide] = -np.inf

    def score(self, users, histories):
        return np.stack([self.scores[u] for u in users])


@pytest.fixture(scope="module")
def problem(simulated):
    protocol = Rolling7d()
    return protocol.problem(simulated, protocol.split(simulated)[1], "test")


def by_hand(problem, scorer, seed):
    """Every user's ranked list, one user and one comparison at a time."""
    order = seeded_order(problem.training.items, seed)
    task, out = problem.task, []
    for user, history in zip(task.users, task.histories, strict=True):
        scores = scorer.scores[user]
        items = [
            i for i in range(len(scores)) if task.candidates[i] and i not in set(history) and scores[i] > -math.inf
        ]
        out.append(sorted(items, key=lambda i: (-scores[i], order[i])))
    return out


@pytest.mark.parametrize("hide", [None, slice(10, 20)])
@pytest.mark.parametrize("seed", [0, 1])
def test_ranks_lists_and_ties_equal_a_ranking_by_hand(problem, seed, hide):
    scorer = Fixed(problem, seed, hide=hide)
    ranking = rank_users(scorer, problem, seed, chunk=7)
    lists = by_hand(problem, scorer, seed)
    n_warm = problem.training.n_warm
    at = 0
    for row, (ranked, targets) in enumerate(zip(lists, problem.task.targets, strict=True)):
        warm, cold = ([i for i in ranked if (i < n_warm) == side] for side in (True, False))
        for target in targets:
            assert ranking.target_user[at] == row
            assert ranking.rank[at] == (ranked.index(target) + 1 if target in ranked else math.inf)
            assert ranking.rank_warm[at] == (warm.index(target) + 1 if target in warm else math.inf)
            assert ranking.rank_cold[at] == (cold.index(target) + 1 if target in cold else math.inf)
            assert ranking.target_warm[at] == (0 <= target < n_warm)
            at += 1
        assert ranking.top[row].tolist() == (ranked + [-1] * 20)[:20]
        scores = scorer.scores[problem.task.users[row]]
        assert ranking.tied[row] == (len(ranked) > 10 and scores[ranked[9]] == scores[ranked[10]])
    assert at == len(ranking.rank) == len(ranking.target)
    assert np.isfinite(ranking.rank).any()
    assert 0 < ranking.tie_share <= 1
    assert ranking.top_ids()[0] == [problem.training.items[i] for i in lists[0][:20]]


class Alike:
    """Gives every user the same scores, and says so or not."""

    def __init__(self, scores, says_so):
        self.scores = scores
        self.shared = scores if says_so else None

    def score(self, users, histories):
        assert self.shared is None, "asked for single users"
        return np.tile(self.scores, (len(users), 1))


@pytest.mark.parametrize("levels", [1, 3, 10**6])
@pytest.mark.parametrize("hidden", [0, 10, 20])
def test_scores_that_all_users_share_are_ranked_as_if_each_had_his_own(problem, levels, hidden):
    scores = np.random.default_rng([levels, hidden]).integers(0, levels, len(problem.training.items))
    scores = scores.astype(np.float32)
    scores[:hidden] = -np.inf
    seen = [np.concatenate([history, history[:2]]) for history in problem.task.histories]  # items twice, and a target
    seen[0] = np.append(seen[0], problem.task.targets[0])
    problem = replace(problem, task=replace(problem.task, seen=seen))
    slow, fast = (rank_users(Alike(scores, says_so), problem, 1, depth=20) for says_so in (False, True))
    for name in ("rank", "rank_warm", "rank_cold", "top", "tied"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)
    assert np.isfinite(slow.rank).any()
    assert np.isinf(slow.rank).any()
    ranker = Ranker(problem, 1)
    assert ranker.ndcg(Alike(scores, True)) == ranker.ndcg(Alike(scores, False))


def test_shared_scores_that_are_nan_or_too_few_are_errors(problem):
    scores = np.zeros(len(problem.training.items), np.float32)
    scores[5] = np.nan
    with pytest.raises(BenchError, match="is NaN"):
        rank_users(Alike(scores, True), problem, 0)
    with pytest.raises(BenchError, match="shape"):
        rank_users(Alike(scores[:3], True), problem, 0)


def test_threads_change_no_rank(problem):
    one, three = (rank_users(Fixed(problem, 2), problem, 0, chunk=3, threads=n) for n in (1, 3))
    for name in ("rank", "rank_warm", "rank_cold", "top", "tied"):
        np.testing.assert_array_equal(getattr(three, name), getattr(one, name), err_msg=name)


def test_some_targets_are_cold_and_some_warm(problem):
    warm = Ranker(problem, 0).target_warm
    assert warm.any()
    assert not warm.all()


def test_the_short_way_gives_the_same_ndcg(problem):

    scorer = Fixed(problem, 3)
    expected = user_metrics(rank_users(scorer, problem, 5))["ndcg@10"].mean()
    assert Ranker(problem, 5, chunk=1000).ndcg(scorer) == expected


def test_blocks_of_targets_change_nothing(problem, monkeypatch):
    scorer = Fixed(problem, 3)
    expected = rank_users(scorer, problem, 0)
    monkeypatch.setattr("protocols.evaluation.ranking._BLOCK", 1)
    found = rank_users(scorer, problem, 0, chunk=5)
    assert found.rank.tolist() == expected.rank.tolist()
    assert found.top.tolist() == expected.top.tolist()


def test_ties_depend_on_the_seed_and_on_raw_ids_not_on_positions(problem):
    flat = Fixed(problem, 0, levels=1)
    a, b, again = (rank_users(flat, problem, seed) for seed in (0, 1, 0))
    assert a.tie_share == 1.0
    assert a.top.tolist() == again.top.tolist() != b.top.tolist()
    scores = np.zeros((1, 4), np.float32)
    ids = np.array(["d", "b", "c", "a"], dtype=object)
    listed = ids[best(scores, seeded_order(ids, 0), 11)[0][0, :4]]
    mixed = ids[[2, 0, 3, 1]]
    assert listed.tolist() == mixed[best(scores, seeded_order(mixed, 0), 11)[0][0, :4]].tolist()


def test_nan_and_wrong_shapes_are_errors(problem):
    scorer = Fixed(problem)
    user, item = problem.task.users[3], problem.training.items[5]
    scorer.scores[user][5] = np.nan
    with pytest.raises(BenchError, match=f"item '{item}' for user '{user}' is NaN"):
        rank_users(scorer, problem, 0)

    class Short:
        def score(self, users, histories):
            return np.zeros((len(users), 3), np.float32)

    with pytest.raises(BenchError, match="shape"):
        rank_users(Short(), problem, 0)


def test_the_scorers_arrays_are_not_changed(problem):
    class Same:
        table = np.ones((64, len(problem.training.items)), np.float32)

        def score(self, users, histories):
            return self.table[: len(users)]

    rank_users(Same(), problem, 0)
    assert (Same.table == 1).all()


def test_progress_is_told_after_each_chunk(problem):
    done = []
    rank_users(Fixed(problem), problem, 0, chunk=10, on_chunk=done.append)
    assert done[-1] == len(problem.task.users)
    assert done == sorted(done)


def test_validation_averages_over_users_also_where_users_are_ranked_after_each_target(build_dataset):
    rows = [("ann", i, d) for d, i in enumerate("abcde")] + [("bob", i, d) for d, i in enumerate("edcb")]
    rows = [(u, i, d * DAY) for u, i, d in rows] + [("bob", "a", 4 * DAY + 1)]
    protocol = Rolling7d(window="2d", stride="2d", folds=1, validation_window="1d", targets="successive")
    dataset = build_dataset(rows)
    problem = protocol.problem(dataset, protocol.split(dataset)[0], "test")
    assert len(problem.task.users) == 4
    ranker = Ranker(problem, 0)

    class Alphabet:
        def score(self, users, histories):
            order = np.argsort(np.argsort(problem.training.items))
            return np.tile(-order.astype(np.float32), (len(users), 1))

    frame = user_metrics(ranker.rank(Alphabet()))
    assert len(frame) == 2
    assert ranker.ndcg(Alphabet()) == pytest.approx(frame["ndcg@10"].mean())


@pytest.mark.parametrize("columns", [19, 5120, 5121, 7000])
@pytest.mark.parametrize("levels", [3, 40, 10**9])
def test_the_top_of_a_wide_list_is_that_of_a_sorted_one(columns, levels):
    """Few levels make ties by the hundred; many rows have hardly any finite score."""
    rng = np.random.default_rng([columns, levels])
    scores = rng.integers(levels, size=(6, columns)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    scores[4, 5:] = -np.inf
    scores[5] = -np.inf
    order = rng.permutation(columns)
    top, tied = best(scores, order, 20)
    for row, found, tie in zip(scores, top, tied, strict=True):
        full = np.lexsort((order, -row))
        full = full[row[full] > -np.inf][:20]
        assert found[: len(full)].tolist() == full.tolist() and (found[len(full) :] == -1).all()
        assert tie == (len(full) > 10 and row[full[9]] == row[full[10]])
