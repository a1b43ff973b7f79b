"""One unknown release switches off the term by age for all items: folds say so, and count those that matter."""

from dataclasses import replace

import numpy as np
import pytest

from bench.runs.run import fold_notes
from protocols.splitting.presets import Rolling7d

PROTOCOL = Rolling7d(folds=2)


def without_release(dataset, *items):
    frame = dataset.items.copy()
    frame["release"] = frame["release"].astype(float)
    frame.loc[list(items), "release"] = np.nan
    return replace(dataset, items=frame)


def test_nothing_is_said_where_all_releases_are_known_or_there_are_none(simulated, simulate_dataset):
    assert not fold_notes(fold.info for fold in PROTOCOL.split(simulated))
    assert not fold_notes(fold.info for fold in PROTOCOL.split(simulate_dataset(releases=False)))


def test_one_unknown_release_is_said_once_a_run_and_matches_what_models_get(simulated):
    dataset = without_release(simulated, simulated.interactions["item_id"][0])
    folds = PROTOCOL.split(dataset)
    assert not PROTOCOL.problem(dataset, folds[-1], "test").training.dated
    (note,) = fold_notes(fold.info for fold in folds)
    known = dataset.interactions["item_id"][dataset.interactions["timestamp"] < folds[-1].border].nunique()
    assert note.startswith(f"releases: 1 of {known} items have no release: the term by age is off for all items")


@pytest.mark.parametrize(("candidates", "told"), [("released", False), ("warm", False), ("catalogue", True)])
def test_an_item_that_is_in_no_problem_does_not_count(simulated, candidates, told):
    frame = simulated.items.copy()
    frame.loc["never taken"] = {"release": np.nan}
    dataset = replace(simulated, items=frame.sort_index())
    protocol = replace(PROTOCOL, candidates=candidates)
    folds = protocol.split(dataset)
    assert protocol.problem(dataset, folds[-1], "test").training.dated is not told
    assert bool(fold_notes(fold.info for fold in folds)) is told
