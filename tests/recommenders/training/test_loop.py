"""The training loop: resumes a killed fit to the same numbers, keeps averages, takes epoch snapshots."""

import os
import runpy
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import registry
from protocols.errors import BenchError
from recommenders.base import FitRequest
from recommenders.sasrec import SASRec
from recommenders.training import checkpoint, epoch_snapshots, loop

HERE = Path(__file__).parent
PEAK = 0.27  # mean absolute score at which the validation metric is highest
OPTIONS = {"dim": 16, "batch": 128, "inner": 16, "max_epochs": 6, "patience": 3}


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)


def request(folder, report=lambda epoch, note: None, seed=1):
    """A search; its validation metric falls when the scores have grown to a size, so that the best is not the last."""
    helpers = runpy.run_path(str(HERE.parent / "conftest.py"))
    data = helpers["training_data"](helpers["chains"](users=30)[0], n_cold=3)
    features = helpers["item_features"](33, 30)

    def validate(scorer):
        found = scorer.score(list(data.users[:5]), data.sequences[:5])[:, :30]
        return 1.0 - abs(float(np.abs(found).mean()) - PEAK)

    return data, FitRequest(data, features, "gate", seed, validate, checkpoint=folder, report=report)


def outcome(folder, report=lambda epoch, note: None, seed=1):
    data, made = request(folder, report, seed)
    result = SASRec(**OPTIONS).fit(made)
    return result.epochs, result.curve, result.scorer.score(list(data.users), data.sequences)


def same(first, second):
    return first[:2] == second[:2] and np.array_equal(first[2], second[2])


class InterruptedFitError(Exception):
    """Ends a fit after an epoch."""


@pytest.mark.parametrize("stop", [1, 4])
def test_interrupted_fit_resumes_to_the_same_bits(stop, tmp_path):
    expected = outcome(None)
    epochs = []

    def report(epoch, note):
        epochs.append(epoch)
        if epoch == stop and len(epochs) == stop:
            raise InterruptedFitError

    with pytest.raises(InterruptedFitError):
        outcome(tmp_path / "fit", report)
    assert (tmp_path / "fit" / "state.pt").exists()
    assert same(outcome(tmp_path / "fit", report), expected)
    assert epochs == list(range(1, len(expected[1]) + 1))  # no epoch was trained twice
    assert list((tmp_path / "fit").iterdir()) == []  # a finished fit cleans up


def test_sigkill_and_resume(tmp_path):
    code = (
        "import os, runpy, signal, sys, pathlib; import torch; torch.set_num_threads(1)\n"
        "from recommenders.training import checkpoint; checkpoint.SECONDS_BETWEEN = 0.0\n"
        "test = runpy.run_path(sys.argv[1])\n"
        "kill = lambda epoch, note: os.kill(os.getpid(), signal.SIGKILL) if epoch == 2 else None\n"
        "test['outcome'](pathlib.Path(sys.argv[2]), kill)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, __file__, str(tmp_path / "fit")],
        cwd=HERE.parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert (tmp_path / "fit" / "state.pt").exists()
    epochs = []
    assert same(outcome(tmp_path / "fit", lambda epoch, note: epochs.append(epoch)), outcome(None))
    assert epochs[0] == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "pickle"])
def test_a_damaged_checkpoint_costs_time_only(damage, tmp_path):
    def report(epoch, note):
        if epoch == 2:
            raise InterruptedFitError

    with pytest.raises(InterruptedFitError):
        outcome(tmp_path, report)
    state = tmp_path / "state.pt"
    if damage == "pickle":
        torch.save({"key": InterruptedFitError("never unpickled")}, state)
    else:
        state.write_bytes(state.read_bytes()[:-100] if damage == "cut" else b"")
    assert same(outcome(tmp_path), outcome(None))


def test_the_checkpoint_of_another_fit_is_not_taken(tmp_path):
    def report(epoch, note):
        if epoch == 2:
            raise InterruptedFitError

    with pytest.raises(InterruptedFitError):
        outcome(tmp_path, report, seed=5)
    assert same(outcome(tmp_path), outcome(None))


def test_a_checkpoint_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BenchError, match="cannot write the training checkpoint") as caught:
        outcome(tmp_path / "file" / "fit")
    assert "cache" in caught.value.remedy


def test_the_kept_parameters_are_the_moving_average(make_data, planted):
    data = make_data(planted[0])
    steps = {}
    for average in (0.0, 0.9):
        plugin = SASRec(**{**OPTIONS, "average": average})
        made = FitRequest(data, seed=1, epochs=1)
        model, encoder, batches, count, _ = plugin.prepare(made)
        with loop.seeded(1, 1, "cpu"):
            expected = [p.detach().clone() for p in model.parameters()]
            fit = loop.Fit(model, encoder, batches, count, made, plugin.plan())
            for number, batch in enumerate(list(batches(1)), start=1):
                model.train()
                fit.step(batch)
                decay = min(average, number / (10 + number))
                for mean, p in zip(expected, model.parameters(), strict=True):
                    mean.lerp_(p.detach(), 1 - decay)
        fit.keep_best()
        steps[average] = number
        for mean, p in zip(expected, model.parameters(), strict=True):
            torch.testing.assert_close(p.detach(), mean)
    assert steps[0.9] > 3


def refit(snapshots, epochs, seed=1, report=lambda epoch, note: None):
    data, made = request(None, report, seed)
    made = replace(made, validate=None, epochs=epochs, snapshots=snapshots)
    result = SASRec(**OPTIONS).fit(made)
    return result.epochs, result.curve, result.scorer.score(list(data.users), data.sequences)


def left_by_a_search(folder):
    _, made = request(None)
    return SASRec(**OPTIONS).fit(replace(made, snapshots=folder))


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_refit_for_fewer_epochs_than_a_search_is_its_snapshot_bit_by_bit(epochs, tmp_path):
    searched = left_by_a_search(tmp_path)
    assert epochs <= len(searched.curve)
    trained = []
    taken = refit(tmp_path, epochs, report=lambda epoch, note: trained.append(epoch))
    assert trained == []
    assert same(taken, refit(None, epochs))


@pytest.mark.parametrize("reason", ["another seed", "longer than the search", "damaged"])
def test_a_refit_without_a_snapshot_is_trained(reason, tmp_path):
    searched = left_by_a_search(tmp_path)
    epochs = len(searched.curve) + 1 if reason == "longer than the search" else 2
    seed = 2 if reason == "another seed" else 1
    if reason == "damaged":
        (tmp_path / "epoch-2.pt").write_bytes(b"PK\x03\x04")
    trained = []
    taken = refit(tmp_path, epochs, seed, lambda epoch, note: trained.append(epoch))
    assert trained == list(range(1, epochs + 1))
    assert same(taken, refit(None, epochs, seed))


def test_snapshots_that_would_fill_a_disk_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(epoch_snapshots, "MAX_BYTES", 1000)
    left_by_a_search(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sasrec", "gru4rec", "two-towers", "bpr"])
def test_bfloat16_changes_the_arithmetic_and_not_what_is_learned(name, make_data, make_features, planted):
    data = make_data(planted[0])
    features = make_features(len(data.items), data.n_warm)
    found = {}
    for precision in ("auto", "float32", "bfloat16"):
        options = {"dim": 16, "batch": 128, "precision": precision}
        model = registry.create("model", name, {name: options})
        result = model.fit(FitRequest(data, features, "gate", 1, epochs=3))
        found[precision] = result.scorer.score(list(data.users[:20]), data.sequences[:20])
        assert found[precision].dtype == np.float32
    np.testing.assert_array_equal(found["auto"], found["float32"])  # on this device
    difference = np.abs(found["bfloat16"] - found["float32"])
    assert difference.max() > 0 and difference.mean() < 0.15 * found["float32"].std()


@pytest.mark.parametrize("loss", ["in-batch", "in-batch-plain", "sampled", "bce"])
def test_large_features_are_learned_from_row_by_row_to_the_same_model(
    loss, make_data, make_features, planted, monkeypatch
):
    data = make_data(planted[0], n_cold=3)
    features = make_features(len(data.items), data.n_warm)
    model = registry.create("model", "sasrec", {"sasrec": {"dim": 8, "inner": 8, "batch": 64, "loss": loss}})
    found = []
    for limit in (1 << 30, 0):
        monkeypatch.setattr("protocols.features.LARGE", limit)
        result = model.fit(FitRequest(data, features, "gate", 1, epochs=2))
        found.append(result.scorer.score(list(data.users[:9]), data.sequences[:9]))
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)
    with pytest.raises(BenchError, match="too large"):
        registry.create("model", "sasrec", {"sasrec": {"dim": 8}}).fit(FitRequest(data, features, "gate", 1, epochs=1))
