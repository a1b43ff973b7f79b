"""The parameters of a finished fit, kept as safetensors and taken up again when asked for."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from recommenders.base import FitRequest
from recommenders.bpr import BPR
from recommenders.sasrec import SASRec
from recommenders.training import loop


@pytest.fixture
def untrained(monkeypatch):
    """After this, an epoch of training is a failure."""

    def forbid():
        def fail(*_):
            raise AssertionError("trained")

        monkeypatch.setattr(loop.Fit, "train_to", fail)

    return forbid


@pytest.mark.parametrize("model", [SASRec(dim=8, inner=8, batch=64), BPR(dim=8)], ids=lambda model: model.name)
def test_a_fit_is_taken_up_again_to_the_bit(make_data, make_features, planted, tmp_path, untrained, model):
    data = make_data(planted[0], n_cold=3)
    features = make_features(len(data.items), data.n_warm)
    request = FitRequest(data, features, "gate", seed=4, epochs=2, weights=tmp_path / "deep" / "fit.safetensors")
    fitted = model.fit(request)
    users, histories = data.users[:5], [np.array(s) for s in planted[0][:5]]
    scores = fitted.scorer.score(users, histories)
    kept = load_file(request.weights)
    assert sum(values.size for values in kept.values()) == fitted.parameters
    untrained()
    again = model.fit(replace(request, reuse=True))
    assert (again.epochs, again.curve) == (fitted.epochs, fitted.curve)
    np.testing.assert_array_equal(again.scorer.score(users, histories), scores)
    with pytest.raises(AssertionError, match="trained"):  # a run trains, whatever lies there
        model.fit(request)
    with pytest.raises(AssertionError, match="trained"):
        model.fit(replace(request, reuse=True, seed=5))
    request.weights.write_bytes(request.weights.read_bytes()[:200])
    with pytest.raises(AssertionError, match="trained"):
        model.fit(replace(request, reuse=True))


def test_a_folder_that_cannot_be_written_costs_no_fit(make_data, planted, tmp_path):
    (tmp_path / "file").write_text("")
    request = FitRequest(make_data(planted[0]), seed=4, epochs=1, weights=tmp_path / "file" / "fit.safetensors")
    assert BPR(dim=8).fit(request).epochs == 1
