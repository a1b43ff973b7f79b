"""RecBole's own models around an item encoder: what they are fed, what they give, and what is refused."""

import numpy as np
import pytest
import torch

from bench import registry
from bench.runs import rows
from protocols.errors import BenchError, UserError
from recommenders.base import FitRequest
from recommenders.recbole import catalogue, runner
from recommenders.recbole.dataset import WarmDataset
from recommenders.recbole_model import RecBole

ITEMS, COLD = 30, 3
# plain, a mask row, a reversed history, attributes, a second table; pairs, points, a graph, item by item
MODELS = ["SASRec", "BERT4Rec", "SHAN", "GRU4RecF", "HGN", "BPR", "ENMF", "LightGCN", "NNCF"]


def fit(name, data, features=None, fusion="gate", epochs=1, seed=1, **options):
    model = registry.create("model", f"recbole:{name}", {"recbole": {"batch": 256, "max_length": 10, **options}})
    return model.fit(FitRequest(data, features, fusion, seed, epochs=epochs))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_each_kind_trains_and_scores_everything(name, make_data, make_features, planted):
    data, features = make_data(planted[0], n_cold=COLD), make_features(ITEMS + COLD, ITEMS)
    found, states = [], (np.random.get_state()[1].copy(), torch.get_rng_state())  # noqa: NPY002
    for _ in range(2):
        scorer = fit(name, data, features).scorer
        found.append(scorer.score(list(data.users[:3]), data.sequences[:3]))
    assert found[0].shape == (3, ITEMS + COLD) and found[0].dtype == np.float32
    assert np.isfinite(found[0][:, :ITEMS]).all() and not np.isnan(found[0]).any()
    assert np.array_equal(found[0], found[1])  # also where a model draws from numpy or `random`
    assert np.array_equal(np.random.get_state()[1], states[0]) and torch.equal(torch.get_rng_state(), states[1])  # noqa: NPY002


@pytest.mark.parametrize(("name", "knows"), [("SASRec", True), ("BPR", True), ("BERT4Rec", False), ("LightGCN", False)])
def test_cold_items_are_scored_where_the_model_has_a_place_for_them(name, knows, make_data, make_features, planted):
    data, features = make_data(planted[0], n_cold=COLD), make_features(ITEMS + COLD, ITEMS)
    cold = fit(name, data, features).scorer.score(list(data.users[:2]), data.sequences[:2])[:, ITEMS:]
    assert np.isfinite(cold).all() if knows else (cold == -np.inf).all()
    cold = fit(name, data, fusion="id").scorer.score(list(data.users[:2]), data.sequences[:2])[:, ITEMS:]
    assert not np.isfinite(cold).any() or knows


def test_a_sequential_model_learns_what_follows_what(make_data, planted):
    sequences, follows = planted
    data = make_data(sequences)
    scorer = fit("GRU4Rec", data, fusion="id", epochs=25, lr=0.01, batch=128).scorer
    found = scorer.score(list(data.users[:60]), data.sequences[:60]).argmax(axis=1)
    assert (found == follows[[s[-1] for s in data.sequences[:60]]]).mean() > 0.7


def test_a_model_that_does_not_read_its_table_is_refused(make_data, make_features, planted, monkeypatch):
    from recbole.model.general_recommender.bpr import BPR

    def stale(self, interaction):
        return torch.zeros(len(interaction[self.USER_ID]), self.n_items)

    monkeypatch.setattr(BPR, "full_sort_predict", stale, raising=False)
    with pytest.raises(BenchError, match="do not reach the scores of BPR"):
        fit("BPR", make_data(planted[0]), make_features(ITEMS, ITEMS))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("SASRek", {}, UserError, "did you mean 'SASRec'"),
        ("NeuMF", {}, UserError, "no item table"),
        ("EASE", {}, UserError, "no item table"),
        ("SASRec", {"config": "[1]"}, UserError, "expected a mapping"),
        ("SASRec", {"config": "{a: "}, UserError, "no YAML"),
        ("SASRec", {"prefixes": 0}, UserError, "recbole.prefixes=0"),
        ("KSR", {}, UserError, "KSR fails here: the RecBole model asks for field"),
        ("KSR", {"config": "{embedding_size: 8}"}, BenchError, "field"),
    ],
)
def test_what_cannot_be_is_refused(name, options, error, message, make_data, planted):
    with pytest.raises(error, match=message):
        fit(name, make_data(planted[0]), fusion="id", **options)


@pytest.mark.parametrize("name", ["NeuMF", "KSR"])
def test_a_model_that_cannot_work_is_refused_before_data_are_loaded(name):
    """The other rows of a run would be trained before it fails."""
    with pytest.raises(UserError, match=name):
        rows.check([rows.RowSpec("pop"), rows.RowSpec(f"recbole:{name}", fusion="id")], "demo", "rolling-7d", {})


def test_options_go_under_recboles_names(make_data, planted):
    few, many = (
        fit("SASRec", make_data(planted[0]), fusion="id", dim=16, config=f"{{n_layers: {n}, n_heads: 2}}").parameters
        for n in (1, 3)
    )
    assert many > 1.5 * few


def test_the_list_holds_every_model_once_and_what_it_says_holds(make_data, make_features, planted):
    listed = {row["model"]: row for row in catalogue.rows()}
    assert len(listed) >= 60
    assert sum(row["outcome"] == "works" for row in listed.values()) >= 36
    assert listed["NeuMF"]["outcome"] == "no item table" and listed["SASRec"]["outcome"] == "works"
    assert all(row["reason"] for row in listed.values() if row["outcome"] != "works")


def test_the_dataset_that_models_see(make_data):
    data = make_data([[0, 1, 1], [2]], n_warm=3, n_cold=2)
    seen = WarmDataset(data, 5)
    assert (seen.user_num, seen.item_num, seen.num("item_id")) == (3, 4, 4)  # with padding, without cold items
    assert seen.inter_matrix(form="csr").toarray().tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    ids, ones, length = seen.history_item_matrix()
    assert ids.tolist() == [[0, 0], [1, 2], [3, 0]] and ones.sum() == 3 and length.tolist() == [0, 2, 1]
    ids, _, length = seen.history_user_matrix(max_history_len=1)
    assert ids.tolist() == [[0], [1], [1], [2]] and length.tolist() == [0, 1, 1, 1]
    assert seen.inter_feat["item_id"].tolist() == [1, 2, 2, 3]
    with pytest.raises(BenchError, match="'get_preload_weight'"):
        seen.get_preload_weight("x")


def test_extra_rows_stand_behind_the_warm_items(make_data, make_features, planted):
    data = make_data(planted[0], n_cold=COLD)
    request = FitRequest(data, make_features(ITEMS + COLD, ITEMS), "gate", 1)
    model = RecBole(model="BERT4Rec", max_length=10).prepare(request).model
    table = model.item_embedding
    assert isinstance(table, runner.ExtraRows)
    for mode in (True, False):
        model.train(mode)
        assert table.weight.shape[0] == 1 + ITEMS + len(table.extra)
        assert torch.equal(table.weight[1 + ITEMS :], table.extra)
