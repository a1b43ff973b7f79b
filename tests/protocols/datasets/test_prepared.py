"""Prepared data are mapped: worker processes are sent a name and no rows, and codes are those of the files."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from protocols.dataset import Dataset
from protocols.datasets import prepared
from protocols.errors import DataError
from protocols.indexed_log import IndexedLog
from protocols.progress import Quiet
from protocols.splitting.presets import Rolling7d


def same(a, b):
    pd.testing.assert_frame_equal(a.interactions, b.interactions)
    pd.testing.assert_frame_equal(a.items, b.items)
    for name in ("users", "items", "user", "item", "time", "release"):
        np.testing.assert_array_equal(getattr(a.indexed_log, name), getattr(b.indexed_log, name), err_msg=name)


@pytest.fixture
def mapped(tmp_path, simulated):
    prepared.save(tmp_path, "mine", simulated, "bench data prepare files --name mine")
    return prepared.Prepared("mine").load(tmp_path, Quiet())


def test_a_worker_process_is_sent_no_rows(mapped):
    sent = pickle.dumps(mapped)
    assert len(sent) < 1000 < len(pickle.dumps(mapped.interactions))
    found = pickle.loads(sent)
    same(found, mapped)
    assert found.fingerprint == mapped.fingerprint
    assert len(pickle.dumps(found)) < 1000  # and may send it on


def test_codes_of_the_files_are_those_that_the_frames_give(mapped, simulated):
    same(mapped, replace(simulated, name="mine"))
    by_frames = IndexedLog.of(mapped.interactions, mapped.items)
    np.testing.assert_array_equal(mapped.indexed_log.user, by_frames.user)
    np.testing.assert_array_equal(mapped.indexed_log.item, by_frames.item)


def test_a_changed_copy_is_sent_as_it_is(mapped):
    changed = replace(mapped, interactions=mapped.interactions[:50])
    assert len(pickle.loads(pickle.dumps(changed)).interactions) == 50
    assert len(changed.indexed_log.user) == 50


def test_data_prepared_anew_meanwhile_are_not_taken(mapped, tmp_path, simulate_dataset):
    sent = pickle.dumps(mapped)
    prepared.save(tmp_path, "mine", simulate_dataset(seed=3), "bench data prepare files --name mine")
    with pytest.raises(DataError, match="prepared anew while it was in use"):
        pickle.loads(sent)


def test_a_fold_is_sent_as_numbers_of_rows(simulated):
    fold = Rolling7d().split(simulated)[2]
    sent = pickle.dumps(replace(fold, info={}))
    assert len(sent) < 1000 < fold.fit.nbytes
    found = pickle.loads(sent)
    assert found.fit.tolist() == fold.fit.tolist() and found.refit.tolist() == fold.refit.tolist()
    scattered = pickle.loads(pickle.dumps(replace(fold, fit=fold.fit[::2])))
    assert scattered.fit.tolist() == fold.fit[::2].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_ids_as_categories_make_the_same_dataset(seed, simulated):
    rng = np.random.default_rng(seed)
    log = simulated.interactions.sample(frac=1.5, replace=True, random_state=seed)  # repeated rows, any order
    log["timestamp"] = log["timestamp"] // 10**8 * 10**8  # and equal times
    coded = log.copy()
    for name in ("user_id", "item_id"):
        words = rng.permutation([*log[name].unique(), "in no row"])
        coded[name] = pd.Categorical(log[name], categories=words)
    plain, found = (Dataset.build("d", "1", frame, simulated.items) for frame in (log, coded))
    same(found, plain)
    assert plain.duplicates == found.duplicates > 0
    keys = ["timestamp", "user_id", "item_id"]
    expected = log.drop_duplicates().sort_values(keys, kind="stable").reset_index(drop=True)
    pd.testing.assert_frame_equal(plain.interactions, expected)
    same(plain, replace(plain))
