"""Leaks injected into the code that makes problems, and found by the audit that runs inside every run."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from protocols import presets, tasks
from protocols.audit import KINDS, audit, verdicts
from protocols.errors import BenchError
from protocols.features import Features, FeatureSpace
from protocols.presets import Rolling7d

PROTOCOL = Rolling7d()


@pytest.fixture
def data(simulate_dataset):
    return simulate_dataset(seed=5)


def run(dataset, stage="test", protocol=PROTOCOL, change=None, with_features=False):
    fold = protocol.split(dataset)[1]
    problem = protocol.problem(dataset, fold, stage)
    if change is not None:
        problem = change(problem)
    features = aligned(problem) if with_features else None
    return audit(dataset, fold, problem, stage, features)


def aligned(problem, training=None):
    rng = np.random.default_rng(0)
    n = len(problem.training.items)
    features = Features(
        FeatureSpace("test", 1, "vector", {}),
        list(problem.training.items),
        rng.normal(size=(n, 6)).astype(np.float32),
        np.array(["ok"] * (n - 1) + ["missing"], dtype=object),
        np.array([""] * n, dtype=object),
        np.zeros(n, np.float32),
    )
    return features.align(list(problem.training.items), problem.training.warm if training is None else training)


@pytest.mark.parametrize("stage", ["validation", "test"])
@pytest.mark.parametrize(
    "options", [{}, {"candidates": "warm"}, {"candidates": "catalogue"}, {"gap": "2d", "k_core": 3}, {"refit": False}]
)
def test_what_the_protocol_makes_passes(data, stage, options):
    found = run(data, stage, Rolling7d(**options), with_features=True)
    assert [v["check"] for v in found] == [*KINDS, "targets"]
    assert all(v["ok"] and v["detail"] for v in found)


def test_fitting_on_the_window_is_found(data, monkeypatch):
    honest = presets.fitted_rows
    monkeypatch.setattr(presets, "fitted_rows", lambda log, border, **k: honest(log, border + 3_600_000 * 24, **k))
    with pytest.raises(BenchError, match=r"fold 1, test: parameters: fitted row \d+ \(user 'u\d+', item 'i\d+', 19"):
        run(data)
    with pytest.raises(BenchError, match="fold 1, validation: parameters"):
        run(data, "validation")


def test_early_stopping_on_the_test_window_is_found(data, monkeypatch):
    honest = presets.rolling_borders
    monkeypatch.setattr(
        presets, "rolling_borders", lambda *a, **k: [b._replace(validation_end=b.end) for b in honest(*a, **k)]
    )
    with pytest.raises(BenchError, match="early stopping: the validation window of fold 1 ends"):
        run(data)


def test_a_k_core_over_the_whole_log_is_found(data, monkeypatch):
    honest = presets.fitted_rows

    def core_of_all(log, border, **knobs):
        whole = honest(log, int(log.time[-1]) + 1, **knobs)
        return whole[log.time[whole] < border]

    monkeypatch.setattr(presets, "fitted_rows", core_of_all)
    with pytest.raises(BenchError, match=r"k-core: row \d+ \(user '\w+', item '\w+', .*\) is (not )?fitted on"):
        run(data, protocol=Rolling7d(k_core=8))


def test_popularity_over_the_whole_log_is_found(data):
    def change(problem):
        problem.training.__dict__["counts"] = problem.training.counts + 1
        return problem

    with pytest.raises(BenchError, match=r"popularity: item '\w+' counts \d+ events"):
        run(data, change=change)


def test_items_known_only_from_the_future_are_found(data, monkeypatch):
    honest = tasks.item_flags
    monkeypatch.setattr(
        tasks,
        "item_flags",
        lambda log, rows: honest(log, slice(None)) if isinstance(rows, slice) else honest(log, rows),
    )
    with pytest.raises(BenchError, match=r"id maps: item '\w+' has no event before the border and is no candidate"):
        run(data)


def test_warm_items_that_were_not_fitted_are_found(data):
    def change(problem):
        return replace(problem, training=replace(problem.training, n_warm=problem.training.n_warm + 1))

    with pytest.raises(BenchError, match=r"id maps: item '\w+' is not in the fitted rows"):
        run(data, change=change)


def test_histories_that_reach_into_the_window_are_found(data, monkeypatch):
    honest = tasks.IndexedLog.rows_of
    monkeypatch.setattr(tasks.IndexedLog, "rows_of", lambda self, users, limit: honest(self, users, limit + 30))
    with pytest.raises(BenchError, match=r"histories: the history of user 'u\d+' has \d+ events, \d+ are before"):
        run(data)


def test_histories_of_somebody_else_are_found(data):
    def change(problem):
        by_length = np.argsort([len(h) for h in problem.task.histories])
        histories = list(problem.task.histories)
        for a, b in pairwise(by_length):
            if len(histories[a]) == len(histories[b]) and histories[a].tolist() != histories[b].tolist():
                histories[a], histories[b] = histories[b], histories[a]
                return replace(problem, task=replace(problem.task, histories=histories))
        raise AssertionError("no two users have as many events")

    with pytest.raises(BenchError, match=r"histories: a history has item '\w+' in the place of row \d+"):
        run(data, change=change)


def test_targets_the_user_already_had_are_found(data, monkeypatch):
    honest = presets.window_rows

    def with_repeats(log, border, end, **knobs):
        rows = honest(log, border, end, **knobs)
        return rows._replace(role=np.where(rows.role == 1, 0, rows.role))

    monkeypatch.setattr(presets, "window_rows", with_repeats)
    with pytest.raises(BenchError, match=r"targets: a target is not new to its user: row \d+ \(user"):
        run(data)


def test_targets_from_after_the_window_are_found(data, monkeypatch):
    honest = presets.window_rows
    monkeypatch.setattr(presets, "window_rows", lambda log, border, end, **k: honest(log, border, end + 10**10, **k))
    with pytest.raises(BenchError, match="targets: "):
        run(data)


@pytest.mark.parametrize("shift", [-1, 1])
def test_candidates_of_another_time_are_found(data, monkeypatch, shift):
    honest = tasks.candidate_flags
    monkeypatch.setattr(
        tasks,
        "candidate_flags",
        lambda log, policy, warm, end: honest(log, policy, warm, end + shift * 86_400_000 * 14),
    )
    with pytest.raises(BenchError, match="candidate"):
        run(data)


def test_first_seen_in_the_window_makes_no_candidate(data, monkeypatch):
    honest = tasks.candidate_flags

    def seen(log, policy, warm, end):
        flags = honest(log, policy, warm, end)
        flags[log.item[log.time < end]] = True
        return flags

    monkeypatch.setattr(tasks, "candidate_flags", seen)
    with pytest.raises(BenchError, match=r"id maps: item '\w+' has no event before the border and is no candidate"):
        run(data, protocol=Rolling7d(candidates="warm"))


def test_feature_statistics_over_all_items_are_found(data):
    fold = PROTOCOL.split(data)[1]
    problem = PROTOCOL.problem(data, fold, "test")
    everything = np.ones(len(problem.training.items), dtype=bool)
    with pytest.raises(BenchError, match="feature statistics: mean or scale of test-v1-"):
        audit(data, fold, problem, "test", aligned(problem, everything))


def test_verdicts_report_where_the_audit_raises(data):
    fold = PROTOCOL.split(data)[1]
    problem = PROTOCOL.problem(data, fold, "test")
    broken = replace(problem, task=replace(problem.task, candidates=~problem.task.candidates))
    found = {v["check"]: v["ok"] for v in verdicts(data, fold, broken)}
    assert found["candidate set"] is False
    assert found["histories"] is True
