"""Lines on a job: at most one every two seconds, with epochs, metric and the time that is left."""

from types import SimpleNamespace

import pytest

from bench.runs import job_progress

JOB = SimpleNamespace(cell=SimpleNamespace(label="sasrec id id"), seed=1, fold=3)


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(value=100.0)
    monkeypatch.setattr(job_progress.time, "monotonic", lambda: now.value)
    return now


def test_epochs_are_shown_every_two_seconds_with_the_time_left(clock):
    lines = []
    shown = job_progress.JobProgress(JOB, "search", lines.append)
    for step in range(21):  # 0.1 epochs in half a second
        shown.epochs(2 + step * 0.1, 6, "ndcg@10 0.0312", fixed=False)
        clock.value += 0.5
    assert lines[0] == (
        "sasrec id id, seed 1, fold 3, search: epoch 2.40 of at most 6, ndcg@10 0.0312, 0:00:18 left at most"
    )
    assert len(lines) == 5


def test_users_are_shown_with_the_time_left(clock):
    lines = []
    shown = job_progress.JobProgress(JOB, "test", lines.append)
    shown.users(64, 6464)
    clock.value += 4
    shown.users(1664, 6464)
    assert lines == ["sasrec id id, seed 1, fold 3, test: 1,664 of 6,464 users ranked, 0:00:12 left"]


def test_nobody_who_looks_costs_nothing(clock):
    shown = job_progress.JobProgress(JOB, "refit", None)
    shown.epochs(0.0, 2, "", fixed=True)
    clock.value += 10
    shown.epochs(1.0, 2, "", fixed=True)
    shown.say("done")
