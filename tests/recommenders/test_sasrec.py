"""SASRec: learns what is planted, whatever else lies around."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from protocols.errors import BenchError, DataError, UserError
from protocols.evaluation.ranking import Ranker
from protocols.problem import Problem, RankingTask
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
def test_scores_are_float32_finite_and_complete(fusion, make_data, make_features, make_views, planted):
    data = make_data(planted[0], n_cold=4)
    features = make_views(fusion, make_features(N_ITEMS + 4, N_ITEMS))
    result = fit(data, fusion, features)
    found = result.scorer.score(
        ["u0000", "new", "nobody"], [np.arange(N_ITEMS + 4).repeat(4), np.array([31, 2]), np.array([], dtype=np.int64)]
    )
    assert found.shape == (3, N_ITEMS + 4) and found.dtype == np.float32
    assert np.isfinite(found[:, :N_ITEMS]).all()
    cold = found[:, N_ITEMS:]
    assert (cold == -np.inf).all() if fusion == "id" else np.isfinite(cold).all()
    assert (result.epochs, len(result.curve)) == (3, 3) and result.parameters > 1000


@pytest.mark.parametrize("fusion", FUSIONS)
def test_cold_items_change_no_bit_of_known_ones(fusion, make_data, make_features, make_views, planted):
    values = np.random.default_rng(3).normal(size=(N_ITEMS + 50, 12)).astype(np.float32)
    found = []
    for n_cold in (0, 1, 50):
        data = make_data(planted[0], n_cold=n_cold)
        features = make_views(fusion, make_features(0, N_ITEMS, values=values[: N_ITEMS + n_cold]))
        found.append(scores(fit(data, fusion, features), data)[:, :N_ITEMS])
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_same_seed_same_bits_other_seed_other_bits(make_data, make_features, planted):
    data, features = make_data(planted[0]), make_features(N_ITEMS, N_ITEMS)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    first = scores(fit(data, "gate", features), data)
    assert torch.equal(torch.get_rng_state(), before)  # the caller's random state is his own
    torch.rand(3)
    np.random.seed(5)  # noqa: NPY002
    assert np.array_equal(scores(fit(data, "gate", features), data), first)
    assert not np.array_equal(scores(fit(data, "gate", features, seed=2), data), first)


def test_features_stay_the_callers(make_data, make_features, planted):
    data, features = make_data(planted[0]), make_features(N_ITEMS, N_ITEMS)
    before = features.values.tobytes()
    result = fit(data, "gate", features)
    assert features.values.tobytes() == before
    assert result.scorer.encoder.content.features.numpy().tobytes() == before


def test_with_replace_an_item_is_its_features(make_data, make_features, planted):
    """Cold items take no part in training: swapping the features of two swaps their scores, equal ones tie."""
    data = make_data(planted[0], n_cold=4)
    features = make_features(N_ITEMS + 4, N_ITEMS)
    a, b, c = N_ITEMS, N_ITEMS + 2, N_ITEMS + 3
    first = scores(fit(data, "replace", features), data)
    features.values[[a, b]] = features.values[[b, a]]
    features.values[c] = features.values[a]
    second = scores(fit(data, "replace", features), data)
    np.testing.assert_allclose(second[:, [a, b]], first[:, [b, a]], rtol=1e-5)
    assert np.array_equal(second[:, c], second[:, a])
    assert np.array_equal(second[:, :N_ITEMS], first[:, :N_ITEMS])
    assert not np.allclose(first[:, a], first[:, b])


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


def test_scoring_equals_the_last_state_of_training(make_data, planted):
    """The short cut through the topmost block gives what the whole network gives."""
    data = make_data(planted[0])
    model = fit(data, layers=2).scorer.model
    ids = torch.tensor([[3, 4, 5, 0], [1, 2, 3, 4]])
    with torch.no_grad():
        whole = model.states(ids)[[0, 1], [2, 3]]
        torch.testing.assert_close(model(ids, torch.tensor([3, 4])), whole)
        assert torch.equal(model.states(ids)[0, :3], model.states(ids * (ids != 0))[0, :3])
        item = {model.ITEM_SEQ: ids, model.ITEM_SEQ_LEN: torch.tensor([3, 4]), model.ITEM_ID: torch.tensor([7, 8])}
        torch.testing.assert_close(model.predict(item), model.full_sort_predict(item)[[0, 1], [7, 8]])


def test_a_position_sees_no_later_item(make_data, planted):
    model = fit(make_data(planted[0]), layers=2).scorer.model
    with torch.no_grad():
        first, second = model.states(torch.tensor([[3, 4, 5, 6], [3, 4, 9, 1]]))
    torch.testing.assert_close(first[:2], second[:2])
    assert not torch.allclose(first[2], second[2])


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
