"""A seeded sample of users to rank: a board of its own, whose targets are those of the whole window."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.audit import leak_audit
from protocols.errors import BenchError, UserError
from protocols.evaluation.user_sample import for_validation
from protocols.splitting.presets import Rolling7d

WHOLE = Rolling7d(folds=2)
PART = Rolling7d(folds=2, rank_users=7)


@pytest.mark.parametrize("targets", ["all", "first", "successive"])
@pytest.mark.parametrize("stage", ["validation", "test"])
def test_drawn_users_have_the_task_that_they_have_among_all(simulated, targets, stage):
    whole, part = replace(WHOLE, targets=targets), replace(PART, targets=targets)
    fold, drawn = whole.split(simulated)[1], part.split(simulated)[1]
    full, sample = whole.problem(simulated, fold, stage), part.problem(simulated, drawn, stage)
    assert len(np.unique(sample.task.users)) == 7 < len(np.unique(full.task.users))
    assert sample.training.items.tolist() == full.training.items.tolist()
    kept = np.flatnonzero(np.isin(full.task.users, sample.task.users))
    assert sample.task.users.tolist() == full.task.users[kept].tolist()
    for name in ("histories", "targets"):
        for at, own in zip(kept, getattr(sample.task, name), strict=True):
            assert own.tolist() == getattr(full.task, name)[at].tolist()
    leak_audit.audit(simulated, drawn, sample, stage)


def test_the_sample_is_in_the_fingerprint_and_the_counts_of_a_fold(simulated):
    whole, part = WHOLE.split(simulated)[0], PART.split(simulated)[0]
    assert whole.fingerprint != part.fingerprint
    assert whole.fingerprint == Rolling7d(folds=2, rank_users=0).split(simulated)[0].fingerprint
    assert "rank_users" not in WHOLE.options() and "rank_users" not in whole.info["knobs"]
    assert part.info["users"] == 7 and part.info["drawn_from"] == whole.info["users"]
    assert part.info["targets"] + part.info["dropped"]["not_drawn"] == whole.info["targets"]
    assert "drawn_from" not in whole.info and "not_drawn" not in whole.info["dropped"]


def test_a_sample_larger_than_the_window_is_everybody(simulated):
    fold = Rolling7d(folds=2, rank_users=10**6).split(simulated)[0]
    assert fold.info["users"] == WHOLE.split(simulated)[0].info["users"]
    assert "drawn_from" not in fold.info
    with pytest.raises(UserError, match="rank_users=-1"):
        Rolling7d(rank_users=-1)


def test_users_picked_by_hand_are_found_by_the_audit(simulated):
    fold = PART.split(simulated)[1]
    full = WHOLE.problem(simulated, WHOLE.split(simulated)[1], "test")
    drawn = PART.problem(simulated, fold, "test")
    most = np.argsort([-len(targets) for targets in full.task.targets], kind="stable")[:7]
    chosen = np.sort(most)
    assert full.task.users[chosen].tolist() != drawn.task.users.tolist()
    task = replace(
        full.task,
        users=full.task.users[chosen],
        histories=[full.task.histories[at] for at in chosen],
        targets=[full.task.targets[at] for at in chosen],
    )
    with pytest.raises(BenchError, match="target"):
        leak_audit.audit(simulated, fold, replace(drawn, task=task), "test")


def test_early_stopping_goes_by_drawn_users_where_there_are_many(simulated):
    problem = WHOLE.problem(simulated, WHOLE.split(simulated)[1], "validation")
    assert for_validation(problem) == (problem, "")
    sample, words = for_validation(problem, most=5)
    assert len(sample.task.users) == len(sample.task.histories) == len(sample.task.targets) == 5
    assert words == f"5 of {len(problem.task.users)} users, drawn with a seed"
    assert sample.training is problem.training
    again, _ = for_validation(problem, most=5)
    assert again.task.users.tolist() == sample.task.users.tolist()
