"""Whatever happens at or after a border, a model fitted at it gives the same scores, bit for bit."""

import numpy as np
import pytest

from protocols.audit.future_perturbation import changed_scores, randomised_future, without_future
from protocols.errors import BenchError
from protocols.evaluation.ranking import Ranker
from protocols.features import Features, FeatureSpace
from protocols.splitting.presets import Rolling7d


class Popularity:
    def __init__(self, training):
        self.scores = np.where(training.warm, training.counts, -np.inf).astype(np.float32)

    def score(self, users, histories):
        return np.tile(self.scores, (len(users), 1))


class Content:
    """Cosine-like similarity of standardised features to the mean of the history."""

    def __init__(self, training, features):
        self.values = (features.values - features.mean) / features.scale

    def score(self, users, histories):
        return np.stack([self.values[h].mean(axis=0) for h in histories]) @ self.values.T


def features_of(dataset, problem):
    """Features of the whole catalogue, one absent, aligned as a run aligns them."""
    n = len(dataset.items)
    values = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    values[3] = 0
    status = np.array(["ok"] * n, dtype=object)
    status[3] = "undecodable"
    space = FeatureSpace("test", 1, "vector", {})
    features = Features(space, list(dataset.items.index), values, status, status, np.zeros(n, np.float32))
    return features.align(list(problem.training.items), problem.training.warm)


@pytest.fixture(params=["released", "warm", "catalogue"])
def protocol(request):
    return Rolling7d(candidates=request.param, folds=2)


def futures(dataset, border):
    return [
        without_future(dataset, border),
        randomised_future(dataset, border, 0),
        randomised_future(dataset, border, 1),
    ]


@pytest.mark.parametrize("index", [0, 1])
def test_popularity_and_content_do_not_see_the_future(simulated, protocol, index):
    fold = protocol.split(simulated)[index]
    others = futures(simulated, fold.border)
    assert all(len(o.interactions) != len(simulated.interactions) for o in others)
    changed_scores(simulated, protocol, fold, lambda data, validation, test: Popularity(test.training), others)
    changed_scores(
        simulated,
        protocol,
        fold,
        lambda data, validation, test: Content(test.training, features_of(simulated, test)),
        others,
    )


def test_the_validation_problem_is_the_same_whatever_the_future(simulated, protocol):
    fold = protocol.split(simulated)[0]
    for other in futures(simulated, fold.border):
        one, two = (protocol.problem(d, fold, "validation") for d in (simulated, other))
        assert one.task.users.tolist() == two.task.users.tolist()
        for a, b in zip(one.task.targets, two.task.targets, strict=True):
            assert a.tolist() == b.tolist()
        assert Ranker(one, 0).ndcg(Popularity(one.training)) == Ranker(two, 0).ndcg(Popularity(two.training))


def test_a_model_that_peeks_is_caught(simulated):
    protocol = Rolling7d(folds=2)
    fold = protocol.split(simulated)[0]

    def peeking(data, validation, test):
        scorer = Popularity(test.training)
        for targets in test.task.targets:
            scorer.scores[targets] += 1
        return scorer

    with pytest.raises(BenchError, match=r"changed future 0: the score of item '\w+' for user '\w+' changed"):
        changed_scores(simulated, protocol, fold, peeking, futures(simulated, fold.border))


def test_items_of_the_future_are_caught(simulated, monkeypatch):
    from protocols.splitting import problem_builder

    honest = problem_builder.item_flags
    monkeypatch.setattr(
        problem_builder, "item_flags", lambda log, rows: honest(log, slice(None) if isinstance(rows, slice) else rows)
    )
    protocol = Rolling7d(folds=2, candidates="warm")
    fold = protocol.split(simulated)[0]
    with pytest.raises(BenchError, match="the items of the problem changed"):
        changed_scores(
            simulated, protocol, fold, lambda d, v, t: Popularity(t.training), futures(simulated, fold.border)
        )


@pytest.mark.parametrize(
    ("name", "fusion"), [("pop", "id"), ("content-mean", "replace"), ("sasrec", "id"), ("sasrec", "gate")]
)
def test_recommenders_do_not_see_the_future(simulated, name, fusion):
    from recommenders.base import FitRequest
    from recommenders.content_mean import ContentMean
    from recommenders.pop import Pop
    from recommenders.sasrec import SASRec

    small = SASRec(dim=8, layers=1, heads=1, inner=8, max_epochs=3)
    model = {"pop": Pop(), "content-mean": ContentMean()}.get(name, small)
    protocol = Rolling7d(folds=2)
    fold = protocol.split(simulated)[0]

    def fit(data, validation, test):
        def request(problem, **more):
            features = features_of(simulated, problem) if fusion != "id" else None
            return FitRequest(problem.training, features, fusion, seed=3, **more)

        epochs = None
        if model.trains_epochs:
            found = model.fit(request(validation, validate=Ranker(validation, 0).ndcg))
            epochs = found.epochs
        return model.fit(request(test, epochs=epochs)).scorer

    changed_scores(simulated, protocol, fold, fit, futures(simulated, fold.border)[:2])
