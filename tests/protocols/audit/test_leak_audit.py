"""Leaks injected into the code that makes problems, and found by the audit that runs inside every run."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from protocols.audit.feature_statistics import wrong_statistics
from protocols.audit.leak_audit import KINDS, audit, verdicts
from protocols.audit.log_facts import LogFacts
from protocols.errors import BenchError, DataError
from protocols.features import Features, FeatureSpace
from protocols.indexed_log import IndexedLog, sorted_rows
from protocols.splitting import presets, problem_builder
from protocols.splitting.leave_one_out import MicroLensLoo
from protocols.splitting.presets import Rolling7d

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
    honest = problem_builder.item_flags
    monkeypatch.setattr(
        problem_builder,
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
    honest = IndexedLog.spans_of
    monkeypatch.setattr(IndexedLog, "spans_of", lambda self, users, limit: honest(self, users, limit + 30))
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
    honest = problem_builder.candidate_flags
    monkeypatch.setattr(
        problem_builder,
        "candidate_flags",
        lambda log, policy, warm, end: honest(log, policy, warm, end + shift * 86_400_000 * 14),
    )
    with pytest.raises(BenchError, match="candidate"):
        run(data)


def test_first_seen_in_the_window_makes_no_candidate(data, monkeypatch):
    honest = problem_builder.candidate_flags

    def seen(log, policy, warm, end):
        flags = honest(log, policy, warm, end)
        flags[log.item[log.time < end]] = True
        return flags

    monkeypatch.setattr(problem_builder, "candidate_flags", seen)
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


def test_successive_histories_are_checked_row_by_row(data):
    protocol = Rolling7d(targets="successive", candidates="warm")
    assert all(v["ok"] for v in run(data, protocol=protocol))

    def change(problem):
        histories = list(problem.task.histories)
        at = next(i for i, t in enumerate(problem.task.targets) if t[0] >= 0 and len(histories[i]) > 1)
        histories[at] = np.append(histories[at], problem.task.targets[at])  # the target is shown
        return replace(problem, task=replace(problem.task, histories=histories))

    with pytest.raises(BenchError, match=r"histories: the history of user '\w+' with \d+ events is not what comes"):
        run(data, protocol=protocol, change=change)


def test_a_target_that_is_left_out_is_found(data):
    def change(problem):
        task = problem.task
        at = next(i for i, t in enumerate(task.targets) if len(t) > 1)
        targets = [t[:-1] if i == at else t for i, t in enumerate(task.targets)]
        return replace(problem, task=replace(task, targets=targets))

    with pytest.raises(BenchError, match=r"targets: user '\w+' has \d+ target\(s\), the window holds \d+"):
        run(data, change=change)


def test_items_numbered_in_another_order_are_found(data):
    def change(problem):
        items = problem.training.items.copy()
        items[[0, 1]] = items[[1, 0]]
        item = np.array([1, 0, *range(2, len(items))])[problem.training.item]
        histories = [np.array([1, 0, *range(2, len(items))])[h] for h in problem.task.histories]
        training = replace(problem.training, items=items, item=item, release=problem.training.release)
        return replace(problem, training=training, task=replace(problem.task, histories=histories))

    with pytest.raises(BenchError, match="id maps: warm items are not numbered in the order of their raw ids"):
        run(data, change=change)


@pytest.mark.parametrize("rows", [5, 400])
def test_whitening_of_the_fitted_items_passes_and_any_other_does_not(rows):
    rng = np.random.default_rng(rows)
    values = (rng.normal(size=(rows, 8)) @ rng.normal(size=(8, 30))).astype(np.float32)  # fewer directions than columns
    items = np.array([f"i{n}" for n in range(rows)], dtype=object)
    ok = np.full(rows, "ok", dtype=object)
    space = FeatureSpace("test", 1, "vector", {})
    warm = np.arange(rows) < rows * 0.8
    features = Features(space, list(items), values, ok, ok, np.zeros(rows, np.float32)).align(list(items), warm)
    assert wrong_statistics(features.standardised("whiten", warm), warm, items) == ""
    assert "whitening" in wrong_statistics(features.standardised("whiten", warm | True), warm, items)
    fewer = warm & (np.arange(rows) > 0)
    assert "whitening" in wrong_statistics(features.standardised("whiten", fewer), warm, items)


def test_a_log_out_of_order_is_refused(data):
    backwards = data.interactions.iloc[::-1].reset_index(drop=True)
    with pytest.raises(DataError, match="row 1 of the log is older than the row before it"):
        LogFacts.of(replace(data, interactions=backwards))


def test_ledger_and_index_agree_with_a_plain_reading(data):
    log, ledger = data.indexed_log, LogFacts.of(data)
    frame = data.interactions
    assert ledger.order.tolist() == log.by_user.tolist()
    assert ledger.item.tolist() == log.item_by_user.tolist() == log.item[ledger.order].tolist()
    first = frame.reset_index().groupby(["user_id", "item_id"])["index"].transform("first")
    assert ledger.first.tolist() == log.first_row.tolist() == first.tolist()
    assert log.first.tolist() == (~frame.duplicated(["user_id", "item_id"])).tolist()
    assert log.by_user.tolist() == np.argsort(log.user, kind="stable").tolist()
    wide = np.array([2**61, 5, 2**61, 0])
    assert sorted_rows(wide).tolist() == np.argsort(wide, kind="stable").tolist()


@pytest.fixture
def leave_one_out(build_dataset):
    """A log of 6 users with 6 events each, ann's all before anybody else's, and its one retrospective fold."""
    times = {u: range(6) if u == "ann" else range(10, 16) for u in ("ann", "bob", "cem", "dea", "eve", "fay")}
    rows = [(u, f"i{(n * 5 + k) % 9}", t * 3_600_000) for n, u in enumerate(times) for k, t in enumerate(times[u])]
    dataset = build_dataset(rows)
    (fold,) = MicroLensLoo().split(dataset)
    return dataset, fold


@pytest.mark.parametrize("stage", ["validation", "test"])
def test_a_retrospective_protocol_is_said_to_leak_and_is_no_error(leave_one_out, stage):
    dataset, fold = leave_one_out
    problem = MicroLensLoo().problem(dataset, fold, stage)
    found = {v["check"]: v for v in audit(dataset, fold, problem, stage)}
    assert tuple(found) == KINDS
    good = {kind for kind, verdict in found.items() if verdict["ok"]}
    assert good == {"histories", "feature statistics"}
    assert all(v["by_construction"] for kind, v in found.items() if kind not in good)
    assert found["feature statistics"]["detail"] == "no features in this run"
    told = found["parameters"]["detail"]
    assert told.startswith("leaks the future by construction: row 6 (user 'bob'")
    assert "later than the target in row" in told


def test_what_no_protocol_may_do_is_an_error_in_a_retrospective_one_too(leave_one_out):
    dataset, fold = leave_one_out
    everything = replace(fold, refit=np.arange(len(dataset.interactions)), fit=np.arange(len(dataset.interactions)))
    problem = MicroLensLoo().problem(dataset, everything, "test")
    with pytest.raises(BenchError, match=r"parameters: the target itself is fitted on: row \d+"):
        audit(dataset, everything, problem)
    problem = MicroLensLoo().problem(dataset, fold, "test")
    shown = replace(problem, task=replace(problem.task, histories=problem.task.targets))
    with pytest.raises(BenchError, match="histories: the history of user 'ann' holds its own target"):
        audit(dataset, fold, shown)
