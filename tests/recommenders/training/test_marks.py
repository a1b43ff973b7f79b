"""When a fit is validated, when early stopping ends it, and which searches are doubted."""

from itertools import islice

import numpy as np
import pytest

from recommenders.base import FitRequest
from recommenders.bpr import BPR
from recommenders.sasrec import SASRec
from recommenders.training import loop


def test_small_epochs_are_validated_whole_and_large_ones_in_quarters_at_first():
    assert list(islice(loop.marks(15), 3)) == [1.0, 2.0, 3.0]
    found = list(islice(loop.marks(16), 18))
    assert found[:4] == [0.25, 0.5, 0.75, 1.0] and found[15:] == [4.0, 5.0, 6.0]


def plateau(length, then):
    """Validation that stays where popularity ranks for some marks, and then rises to a peak."""
    calls = iter(range(10_000))

    def validate(scorer):
        at = next(calls)
        return 0.03 + (at >= length) * 0.01 * min(at - length, then)

    return validate


@pytest.mark.parametrize("length", [1, 20])
def test_patience_outlasts_a_plateau_of_small_epochs(make_data, planted, length):
    data = make_data(planted[0])
    model = BPR(dim=8, batch=256, max_epochs=300)
    result = model.fit(FitRequest(data, seed=1, validate=plateau(length, 5)))
    steps = -(-len(data.item) // 256)
    assert result.epochs == length + 6
    assert (result.curve[-1]["epoch"] - result.epochs) * steps >= model.patience_steps
    assert result.doubts == []


def test_few_epochs_and_a_curve_that_still_rises_are_doubted(make_data, planted):
    data = make_data(planted[0])
    model = BPR(dim=8, batch=256, max_epochs=12, patience=2, min_steps=0, patience_steps=0)
    falling = model.fit(FitRequest(data, seed=1, validate=plateau(-1, 0)))
    assert falling.epochs == 1 and falling.doubts == ["kept 1 epochs"]
    assert falling.curve[-1]["epoch"] == model.min_epochs
    rising = model.fit(FitRequest(data, seed=1, validate=plateau(0, 1000)))
    assert rising.epochs == 12 and rising.doubts == ["still rising after 12 epochs"]


def test_a_fit_whose_first_epoch_is_its_best_still_takes_the_least_number_of_steps(make_data, planted):
    data = make_data(planted[0])
    model = BPR(dim=8, batch=256, max_epochs=10_000, patience=1, patience_steps=0, min_steps=200)
    result = model.fit(FitRequest(data, seed=1, validate=plateau(-1, 0)))
    steps = -(-len(data.item) // 256)
    assert result.epochs == 1 and result.curve[-1]["epoch"] == max(-(-200 // steps), model.min_epochs)


def test_a_refit_of_a_part_of_an_epoch_takes_its_share_of_steps(make_data, planted):
    data = make_data(planted[0])
    model = BPR(dim=8, batch=16)
    steps = -(-len(data.item) // 16)
    assert steps >= loop.PARTED_STEPS
    result = model.fit(FitRequest(data, seed=1, epochs=1.5))
    assert result.epochs == 1.5
    assert [note["epoch"] for note in result.curve] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5]


def test_rows_longer_than_a_batch_leave_steps_for_every_mark(make_data):
    rng = np.random.default_rng(0)
    data = make_data([rng.permutation(40)[:30] for _ in range(30)])
    model = SASRec(dim=8, inner=8, batch=8, max_length=50)
    result = model.fit(FitRequest(data, seed=1, epochs=1))
    assert [note["epoch"] for note in result.curve][-1] == 1.0
    assert all(np.isfinite(note["loss"]) for note in result.curve)
