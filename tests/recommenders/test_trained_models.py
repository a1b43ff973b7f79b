"""Every trained recommender learns what is planted, and with `replace` follows the features exactly."""

import numpy as np
import pytest

from bench import registry
from protocols.errors import UserError
from protocols.evaluation.ranking import Ranker
from protocols.ranking_problem import Problem, RankingTask
from recommenders.base import FitRequest

SEQUENCE = {
    "sasrec": {"inner": 16},
    "gru4rec": {"hidden": 24},
    "nextitnet": {},
    "bert4rec": {"inner": 16},
    "two-towers": {"hidden": 24},
    "esasrec": {"inner": 16},
    "hstu": {},
    "lrurec": {"inner": 16},
}
PAIR = {"bpr": {}, "vbpr": {}, "lightgcn": {}}
SMALL = {name: {"dim": 16, "batch": 256, "lr": 0.01, **more} for name, more in {**SEQUENCE, **PAIR}.items()}
ITEMS, COLD = 30, 4


def fit(name, data, fusion="id", features=None, epochs=2, seed=1, **options):
    model = registry.create("model", name, {name: {**SMALL[name], **options}})
    return model.fit(FitRequest(data, features, fusion, seed, epochs=epochs))


def tastes(make_data, groups=5, users=100, n_cold=0):
    """Every user takes items of one group only; the target is an item of the group that he has not had."""
    rng = np.random.default_rng(0)
    size = ITEMS // groups
    sequences, targets = [], []
    for user in range(users):
        own = rng.permutation(size) + user % groups * size
        sequences.append(own[:-2])
        targets.append(own[-2:])
    data = make_data(sequences, n_warm=ITEMS, n_cold=n_cold)
    task = RankingTask(data.users, data.sequences, data.warm, targets)
    return data, Ranker(Problem(data, task), 0)


@pytest.mark.parametrize("name", SMALL)
def test_learns_the_tastes_that_are_planted(name, make_data):
    data, judge = tastes(make_data)
    epochs = 60 if name in PAIR or name == "bert4rec" else 15
    result = fit(name, data, epochs=epochs, weight_decay=0.01)
    popularity = judge.ndcg(registry.create("model", "pop", {}).fit(FitRequest(data)).scorer)
    assert judge.ndcg(result.scorer) > max(0.85, 2 * popularity)


@pytest.mark.parametrize("name", ["sasrec", "esasrec", "hstu", "lrurec", "gru4rec", "nextitnet", "bert4rec"])
def test_learns_what_follows_what(name, make_data, planted):
    sequences, follows = planted
    data = make_data(sequences)
    last = data.users[:60], data.sequences[:60]
    targets = [follows[s[-1:]] for s in last[1]]
    unseen = [int(t[0]) not in h for h, t in zip(last[1], targets, strict=True)]
    judge = Ranker(Problem(data, RankingTask(*last, data.warm, targets)), 0)
    # of masks in the middle the item behind them tells more than the one before: what follows is learned late
    share, epochs = (0.4, 60) if name == "bert4rec" else (0.8, 15)
    result = fit(name, data, epochs=epochs, weight_decay=0.01)
    popularity = judge.ndcg(registry.create("model", "pop", {}).fit(FitRequest(data)).scorer)
    assert judge.ndcg(result.scorer) > max(share * np.mean(unseen), 1.5 * popularity)


@pytest.mark.parametrize("name", SMALL)
def test_with_replace_scores_follow_the_features_exactly(name, make_data, make_features, planted):
    sequences = [s for s in planted[0] if not {0, 1} & set(s)] + [[0, 2], [1, 2]]
    data, features = make_data(sequences, n_warm=ITEMS, n_cold=COLD), make_features(ITEMS + COLD, ITEMS)
    model = registry.create("model", name, {name: SMALL[name]})
    result = model.fit(FitRequest(data, features, "replace", 1, epochs=2))
    encoder, history = result.encoder, [data.sequences[0]]

    def scores():
        encoder.train().eval()  # forgets a table that was kept
        return result.rescore().score([data.users[0]], history)[0]

    before = scores()
    # in the graph of lightgcn a warm item's vector is made of its neighbours' too: only cold ones follow exactly
    pairs = [(ITEMS, ITEMS + 1)] if name == "lightgcn" else [(0, 1), (ITEMS, ITEMS + 1)]
    for one, two in pairs:
        encoder.content.features[[one, two]] = encoder.content.features[[two, one]]
        swapped = scores()
        expected = before.copy()
        expected[[one, two]] = before[[two, one]]
        np.testing.assert_array_equal(swapped, expected)
        encoder.content.features[[one, two]] = encoder.content.features[[two, one]]
        kept = encoder.content.features[one].clone()
        encoder.content.features[one] = encoder.content.features[two]
        same = scores()
        assert same[one] == same[two] == before[two]
        encoder.content.features[one] = kept


def test_two_towers_do_not_know_the_order(make_data, planted):
    data = make_data(planted[0])
    for pooling in ("mean", "attention"):
        scorer = fit("two-towers", data, pooling=pooling).scorer
        forward, backward = ([s[:: 1 if turn else -1] for s in data.sequences[:5]] for turn in (True, False))
        users = list(data.users[:5])
        np.testing.assert_allclose(scorer.score(users, forward), scorer.score(users, backward), rtol=1e-4, atol=1e-4)


def test_users_without_events_are_shown_what_is_popular(make_data, planted):
    data = make_data(planted[0], n_cold=2)
    found = fit("bpr", data).scorer.score(["nobody", data.users[0]], [np.array([1]), data.sequences[0]])
    np.testing.assert_allclose(found[0, :ITEMS], np.log1p(data.counts[:ITEMS]), rtol=1e-6)
    assert (found[0, ITEMS:] == -np.inf).all()
    assert not np.allclose(found[0, :ITEMS], found[1, :ITEMS])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gru4rec", {"hidden": 0}, "gru4rec.hidden=0: expected a number above 0"),
        ("bert4rec", {"mask": 1.0}, "bert4rec.mask=1.0: expected a share"),
        ("bert4rec", {"heads": 3}, "not a multiple"),
        ("nextitnet", {"dropout": 1.0}, "nextitnet.dropout"),
        ("bpr", {"lr": 0}, "bpr.lr"),
        ("lightgcn", {"layers": 0}, "lightgcn.layers"),
        ("two-towers", {"loss": "bpr"}, "two-towers.loss"),
        ("sasrec", {"loss": "gbce"}, "sasrec.loss"),
        ("esasrec", {"calibration": 1.5}, "esasrec.calibration"),
        ("hstu", {"heads": 3}, "not a multiple"),
        ("lrurec", {"inner": 0}, "lrurec.inner"),
    ],
)
def test_options_without_sense_are_refused_by_name(name, options, message, make_data, planted):
    with pytest.raises(UserError, match=message):
        fit(name, make_data(planted[0]), **options)


def test_concat_needs_an_even_width(make_data, make_features, planted):
    with pytest.raises(UserError, match="half of the width"):
        fit("bpr", make_data(planted[0]), "concat", make_features(ITEMS, ITEMS), dim=15)
