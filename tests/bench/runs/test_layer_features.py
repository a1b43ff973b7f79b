"""Features of kind `layers` on the top floor: what can be done with them, and what is refused before it costs time."""

import numpy as np
import pandas as pd
import pytest

from bench.diagnostics.probe import probe, probe_layers
from bench.runs import rows as row_specs
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from protocols.errors import UserError
from protocols.features import Features, FeatureSpace
from protocols.progress import Quiet


@pytest.mark.parametrize("extractor", ["hidden-states", "shuffled:hidden-states", "mean:hidden-states"])
def test_a_run_with_layers_is_refused_before_anything_is_loaded(extractor, tmp_path):
    row = RowSpec("sasrec", extractor, "gate")
    with pytest.raises(UserError, match="does not say what becomes of the layers") as caught:
        runs.run(runs.Request(rows=[row], cache=tmp_path / "cache", results=tmp_path / "results"), Quiet())
    assert caught.value.exit_code == 2
    assert "--fusion gate/softmax" in caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("extractor", "fusion", "message"),
    [
        ("titles", "gate/softmax", "no layers to choose among"),
        ("hidden-states", "gate/softmux", "did you mean 'softmax'"),
        ("hidden-states", "gates/softmax", "did you mean 'gate'"),
        ("hidden-states", "id/last", "fusion 'id' uses none"),
    ],
)
def test_a_fusion_that_cannot_be_is_refused_before_anything_is_loaded(extractor, fusion, message, tmp_path):
    row = RowSpec("sasrec", extractor, fusion)
    with pytest.raises(UserError, match=message):
        runs.run(runs.Request(rows=[row], cache=tmp_path / "cache", results=tmp_path / "results"), Quiet())
    assert not list(tmp_path.iterdir())


def test_controls_of_a_row_with_layers():
    rows = row_specs.with_controls([RowSpec("sasrec", "hidden-states", "gate/softmax")])
    assert RowSpec("sasrec", "random:hidden-states", "gate") in rows  # noise has no layers
    assert RowSpec("sasrec", "shuffled:hidden-states", "gate/softmax") in rows


def planted(n=300, layers=3, seed=0):
    """`colour` stands in the second readout of the last layer, `number` in the first one of layer 1; noise else."""
    rng = np.random.default_rng(seed)
    colour, number = rng.integers(0, 4, n), rng.normal(size=n)
    states = rng.normal(size=(n, layers, 2, 12))
    states[:, -1, 1, :4] += 4 * np.eye(4)[colour]
    states[:, 1, 0, 7] = 5 * number
    states[:, -1] /= 4096
    scales = np.array([1] * (layers - 1) + [4096], dtype=np.float32)
    status = np.array(["ok"] * (n - 1) + ["error"], dtype=object)
    space = FeatureSpace("toy.layers", 1, "layers", {"readouts": ["visual", "last"]})
    ids, nothing = [f"i{k}" for k in range(n)], np.full(n, "", dtype=object)
    features = Features(space, ids, states.astype(np.float16), status, nothing, np.zeros(n), scales)
    columns = {"colour": [f"c{c}" for c in colour], "number": number, "hidden": rng.choice(["a", "b"], n)}
    return features, pd.DataFrame(columns, index=features.item_ids)


def test_each_layer_and_readout_is_probed_by_itself():
    features, factors = planted()
    found = probe_layers(features, factors)
    assert list(found.columns) == ["visual", "last"]
    assert list(found.index) == [(name, layer) for name in ("colour", "number", "hidden") for layer in range(3)]
    assert found.loc[("colour", 2), "last"] > 0.9
    assert found.loc[("number", 1), "visual"] > 0.6
    elsewhere = found.drop(index=[("colour", 2), ("number", 1)])
    assert elsewhere.to_numpy().max() < 0.65


def test_the_place_is_chosen_without_a_look_at_the_items_scored():
    features, factors = planted()
    found = probe(features, factors)
    assert found.loc["colour", "accuracy"] == probe_layers(features, factors).loc[("colour", 2), "last"]
    # of 400 places that all hold noise, the best one looks good, but choosing it tells nothing about other items
    many, factors = planted(n=120, layers=200)
    chosen, best = probe(many, factors).loc["hidden", "accuracy"], probe_layers(many, factors).loc["hidden"].max().max()
    assert best > 0.6
    assert abs(chosen - 0.5) < 0.12


def test_more_dimensions_than_items_have_the_same_solution():
    rng = np.random.default_rng(1)
    n, colour = 60, rng.integers(0, 3, 60)
    values = np.concatenate([2 * np.eye(3)[colour], rng.normal(size=(n, 97))], axis=1).astype(np.float32)
    status, nothing = np.full(n, "ok", dtype=object), np.full(n, "", dtype=object)
    factors = pd.DataFrame({"colour": [f"c{c}" for c in colour]}, index=[f"i{k}" for k in range(n)])
    features = Features(FeatureSpace("toy", 1, "vector", {}), list(factors.index), values, status, nothing, np.zeros(n))
    x = values - values.mean(axis=0, dtype=np.float64)
    x = np.concatenate([x / x.std(), np.ones((n, 1))], axis=1)
    part, right = np.random.default_rng(0).permutation(n) % 5, 0
    for held in range(5):
        a, y = x[part != held], np.eye(3)[colour][part != held]
        said = x[part == held] @ np.linalg.solve(a.T @ a + np.eye(101), a.T @ y)
        right += (said.argmax(axis=1) == colour[part == held]).sum()
    assert 0.5 < right / n < 1
    assert probe(features, factors).loc["colour", "accuracy"] == right / n
