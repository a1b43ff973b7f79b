"""The watch over the ranker agrees with every honest ranking, ties and cold items included."""

import numpy as np
import pytest

from protocols.audit.ranker_watch import RankerWatch
from protocols.evaluation.ranking import rank_users
from protocols.splitting.presets import Rolling7d


class Coarse:
    """Scores with many ties and some -inf."""

    def __init__(self, n_items):
        self.n_items = n_items

    def score(self, users, histories):
        rng = np.random.default_rng(len(users))
        scores = rng.integers(0, 4, (len(users), self.n_items)).astype(np.float32)
        scores[:, ::7] = -np.inf
        return scores


@pytest.mark.parametrize("options", [{}, {"candidates": "warm"}, {"targets": "successive"}, {"targets": "first"}])
@pytest.mark.parametrize("depth", [11, 100])
def test_an_honest_ranking_is_good(simulated, options, depth):
    protocol = Rolling7d(folds=2, **options)
    fold = protocol.split(simulated)[1]
    problem = protocol.problem(simulated, fold, "test")
    watch = RankerWatch(Coarse(len(problem.training.items)), problem)
    verdict = watch.verdict(rank_users(watch, problem, 3, depth=depth, chunk=5), 3)
    assert verdict["ok"], verdict["detail"]
    other = RankerWatch(Coarse(len(problem.training.items)), problem)
    assert "the list of user" in other.verdict(rank_users(other, problem, 4, depth=depth, chunk=5), 3)["detail"]


class Same:
    """The same coarse scores for everybody, and says so."""

    def __init__(self, n_items):
        self.shared = (np.arange(n_items) % 5).astype(np.float32)

    def score(self, users, histories):
        raise AssertionError("asked for single users")


def test_scores_that_all_users_share_are_watched_too(simulated):
    protocol = Rolling7d(folds=2)
    problem = protocol.problem(simulated, protocol.split(simulated)[1], "test")
    watch = RankerWatch(Same(len(problem.training.items)), problem)
    verdict = watch.verdict(rank_users(watch, problem, 3), 3)
    assert verdict["ok"], verdict["detail"]
    assert "the same scores for all" in verdict["detail"]
    other = RankerWatch(Same(len(problem.training.items)), problem)
    assert "the list of user" in other.verdict(rank_users(other, problem, 4), 3)["detail"]
