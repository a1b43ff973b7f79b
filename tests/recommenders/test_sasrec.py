"""SASRec: learns what is planted, whatever else lies around."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from protocols.errors import BenchError, DataError, UserError
from protocols.evaluation.ranking import Ranker
from protocols.ranking_problem import Problem, RankingTask
from recommenders.base import FitRequest
from recommenders.encoder.fusions import FUSIONS
from recommenders.pop import Pop
from recommenders.sasrec import SASRec

SMALL = {"dim": 16, "batch": 256, "inner": 16}
N_ITEMS = 30


def fit(data, fusion="id", features=None, epochs=3, seed=1, **options):
    return SASRec(**{**SMALL, **options}).fit(FitRequest(data, features, fusion, seed, epochs=epochs))


def scores(result, data):
    return result.scorer.score(list(data.users[:20]), data.sequences[:20])


def test_learns_a_planted_chain_and_popularity_does_not(make_data, planted):
    sequences, follows = planted
    data = make_data(sequences)
    users = data.users[:60]
    task = RankingTask(users, data.sequences[:60], data.warm, [follows[s[-1:]] for s in data.sequences[:60]])
    judge = Ranker(Problem(data, task), 0)
    unseen = [int(t[0]) not in h for h, t in zip(task.histories, task.targets, strict=True)]
    assert sum(unseen) > 10  # seen items are masked
    ceiling = np.mean(unseen)
    result = SASRec(**SMALL, max_epochs=25, lr=0.01).fit(FitRequest(data, validate=judge.ndcg, seed=1))
    popularity = judge.ndcg(Pop().fit(FitRequest(data)).scorer)
    found = judge.ndcg(result.scorer)
    assert found == max(epoch["ndcg@10"] for epoch in result.curve)
    assert found > 0.85 * ceiling and found > 2 * popularity
    assert result.epochs == 1 + int(np.argmax([epoch["ndcg@10"] for epoch in result.curve]))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_cold_items_change_no_bit_of_known_ones(fusion, make_data, make_features, make_views, planted):
    values = np.random.default_rng(3).normal(size=(N_ITEMS + 50, 12)).astype(np.float32)
    found = []
    for n_cold in (0, 1, 50):
        data = make_data(planted[0], n_cold=n_cold)
        features = make_views(fusion, make_features(0, N_ITEMS, values=values[: N_ITEMS + n_cold]))
        found.append(scores(fit(data, fusion, features), data)[:, :N_ITEMS])
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_content_tells_cold_items_apart(make_data, make_features):
    """Users like one of two kinds; the features tell the kind; a cold item of the right kind comes first."""
    rng = np.random.default_rng(0)
    kind = np.arange(44) % 2
    values = rng.normal(size=(44, 8)).astype(np.float32)
    values[:, 0] += 6 * kind
    sequences = [rng.permutation(np.arange(u % 2, 40, 2))[:10] for u in range(80)]
    data = make_data(sequences, n_warm=40, n_cold=4)
    found = scores(fit(data, "gate", make_features(44, 40, values=values), epochs=30, batch=128), data)
    right = found[np.arange(20)[:, None], [[40, 42] if u % 2 == 0 else [41, 43] for u in range(20)]]
    wrong = found[np.arange(20)[:, None], [[41, 43] if u % 2 == 0 else [40, 42] for u in range(20)]]
    assert (right.mean(axis=1) > wrong.mean(axis=1)).all()


def test_users_are_scored_alone_as_in_company(make_data, planted):
    data = make_data(planted[0])
    result = fit(data)
    together = scores(result, data)
    for row in (0, 7):
        alone = result.scorer.score([data.users[row]], [data.sequences[row]])
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4, atol=1e-5)


def test_an_item_is_no_negative_before_its_release(make_data):
    """Users take at random what is out; half of the items come out when nine tenths of the time are over."""
    rng = np.random.default_rng(0)
    late = np.arange(20, 40)
    times = np.sort(rng.integers(0, 10, (400, 8)), axis=1)
    data = make_data([*np.where(times < 9, rng.integers(0, 20, times.shape), rng.integers(0, 40, times.shape))], 40)
    data = replace(data, timestamp=times.ravel(), release=np.where(np.arange(40) < 20, 0, 9))
    share = {}
    for negatives in ("released", "warm"):
        result = fit(data, negatives=negatives, epochs=15)
        found = result.scorer.score(["u"] * 50, [s[:4] for s in data.sequences[:50]])
        logits = torch.from_numpy(found).double()
        share[negatives] = torch.softmax(logits, dim=1)[:, late].sum(dim=1).mean().item()
    assert share["warm"] < 0.15  # as in the log as a whole
    assert 0.3 < share["released"] < 0.75  # as at the end: about half


def test_bad_input(make_data, make_features, planted):
    data = make_data(planted[0])
    with pytest.raises(UserError, match="needs item features"):
        fit(data, "gate", None)
    with pytest.raises(DataError, match="two events"):
        fit(make_data([[0], [1]]))
    with pytest.raises(UserError, match="multiple"):
        fit(data, heads=3)
    with pytest.raises(UserError, match=r"sasrec\.dropout"):
        fit(data, dropout=1.0)
    with pytest.raises(UserError, match=r"sasrec\.patience"):
        fit(data, patience=0)
    with pytest.raises(BenchError, match="either"):
        fit(data, epochs=None)
    with pytest.raises(BenchError, match="single user"):
        SASRec(**SMALL).fit(FitRequest(data, validate=lambda scorer: float("nan")))


def test_divergence_is_named(make_data, planted):
    with pytest.raises(BenchError, match=r"training diverged.*epoch") as caught:
        fit(make_data(planted[0]), lr=1e30)
    assert "learning rate" in caught.value.remedy


def test_nothing_is_written_where_it_runs(make_data, planted, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    fit(make_data(planted[0]))
    assert list(tmp_path.iterdir()) == []
