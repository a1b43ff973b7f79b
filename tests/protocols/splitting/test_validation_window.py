"""A validation window must leave early stopping half of the rows to fit on, or it is shortened, or named."""

import numpy as np
import pandas as pd
import pytest

from protocols.audit.leak_audit import audit
from protocols.dataset import Dataset
from protocols.splitting.presets import Daily7, Rolling7d
from protocols.splitting.rolling import DAY


def evenly(days, rows=1200):
    """A log with the same number of events every day."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, days * DAY, rows))
    users, items = rng.integers(0, 60, rows), rng.integers(0, 30, rows)
    log = pd.DataFrame({"user_id": [f"u{u}" for u in users], "item_id": [f"i{i}" for i in items], "timestamp": times})
    return Dataset.build("even", "1", log, pd.DataFrame(index=[f"i{i}" for i in range(30)]))


def share(fold):
    return len(fold.fit) / len(fold.refit)


def test_a_log_too_short_for_the_presets_window_gets_the_longest_that_leaves_half():
    dataset = evenly(15)
    (fold,) = Rolling7d(folds=1).split(dataset)
    days = (fold.border - fold.validation_border) // DAY
    assert fold.info["validation_window"] == f"{days}d" and share(fold) >= 0.5
    (longer,) = Rolling7d(folds=1, validation_window=f"{days + 1}d").split(dataset)
    assert share(longer) < 0.5
    note = fold.info["validation_note"]
    assert "too short for a validation window of 7d" in note and f"it is {days}d here" in note
    assert fold.info["border"] == longer.info["border"]
    audit(dataset, fold, Rolling7d(folds=1).problem(dataset, fold, "validation"), "validation")


def test_its_fingerprint_is_that_of_the_window_and_not_that_of_the_preset():
    dataset = evenly(15)
    shortened, kept = Rolling7d(folds=1), Rolling7d(folds=1, validation_window="168h")
    found = shortened.split(dataset)[0].info["validation_window"]
    given = Rolling7d(folds=1, validation_window=found)
    assert shortened.fingerprint(dataset) != kept.fingerprint(dataset)
    assert shortened.split(dataset)[0].fingerprint != kept.split(dataset)[0].fingerprint
    assert given.identity(dataset)["validation_window"] == shortened.identity(dataset)["validation_window"]


def test_all_folds_get_the_window_that_does_for_the_earliest():
    folds = Rolling7d(folds=2).split(evenly(22))
    assert len({fold.info["validation_window"] for fold in folds}) == 1
    assert all(share(fold) >= 0.5 for fold in folds)


def test_a_window_of_the_users_own_is_kept_and_named_with_the_one_that_would_do():
    (fold,) = Rolling7d(folds=1, validation_window="5d").split(evenly(15))
    assert fold.border - fold.validation_border == 5 * DAY
    note = fold.info["validation_note"]
    assert note.startswith("the validation window of 5d leaves early stopping ")
    better = note.split("protocol.validation_window=")[1].split()[0]
    (mended,) = Rolling7d(folds=1, validation_window=better).split(evenly(15))
    assert "validation_note" not in mended.info and share(mended) >= 0.5


@pytest.mark.parametrize("protocol", [Rolling7d(folds=1), Daily7(folds=2)])
def test_a_log_that_is_long_enough_is_left_alone(protocol):
    dataset = evenly(60)
    for fold in protocol.split(dataset):
        assert fold.info["validation_window"] == protocol.validation_window
        assert "validation_note" not in fold.info


def test_without_refit_the_share_is_that_of_the_rows_before_the_border():
    (fold,) = Rolling7d(folds=1, refit=False, validation_window="5d").split(evenly(15))
    assert "of the rows to fit on" in fold.info["validation_note"]


def test_a_window_of_hours_where_a_day_is_too_long():
    (fold,) = Daily7(folds=1, window="12h", stride="12h").split(evenly(2))
    assert fold.info["validation_window"] == "12h" and share(fold) >= 0.5
