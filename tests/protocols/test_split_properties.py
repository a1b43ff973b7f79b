"""Properties of every split of every small log."""

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from protocols.audit import audit
from protocols.errors import DataError
from protocols.indexed import IndexedLog
from protocols.presets import Rolling7d
from protocols.splits import DAY, ROLES, window_rows

FEW = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))

# Times on a grid of quarter days: ties in time, and events exactly on borders, are common.
ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 15 * 4)), min_size=15, max_size=60)
PROTOCOLS = st.builds(
    Rolling7d,
    window=st.sampled_from(["1d", "2d", "36h"]),
    stride=st.sampled_from(["2d", "3d"]),
    folds=st.integers(1, 2),
    validation_window=st.sampled_from(["2d", "3d"]),
    train_window=st.sampled_from([None, "6d"]),
    gap=st.sampled_from(["0d", "1d"]),
    min_history=st.integers(1, 2),
    k_core=st.sampled_from([1, 1, 2]),
    targets=st.sampled_from(["all", "first"]),
    candidates=st.sampled_from(["auto", "released", "warm", "catalogue"]),
    refit=st.booleans(),
)


def make(build, rows, shift=0):
    log = [(f"u{u}", f"i{i}", t * DAY // 4 + shift) for u, i, t in rows]
    release = {f"i{i}": (2 * i - 6) * DAY + shift for i in range(8)}
    return build(log, items=release, release=release)


def split(protocol, dataset):
    try:
        return protocol.split(dataset)
    except DataError:
        assume(False)


def dates(fold):
    return {
        name: fold.info[name] for name in ("validation_border", "validation_end", "border", "end", "fitted", "refitted")
    }


@FEW
@given(rows=ROWS, protocol=PROTOCOLS)
def test_nothing_at_or_after_a_border_is_seen_and_targets_are_new(build_dataset, rows, protocol):
    dataset = make(build_dataset, rows)
    time = dataset.interactions["timestamp"].to_numpy()
    events = list(dataset.interactions.itertuples(index=False))
    for fold in split(protocol, dataset):
        assert (time[fold.fit] < fold.validation_border).all()
        assert (time[fold.refit] < fold.border).all()
        for stage in ("validation", "test"):
            problem = protocol.problem(dataset, fold, stage)
            border, end = fold.window(stage)
            training, task = problem.training, problem.task
            assert (training.timestamp < border).all()
            assert training.border == border
            assert set(training.items[: training.n_warm]) == {training.items[i] for i in training.item}
            past = [e for e in events if e.timestamp < border]
            window = {(e.user_id, e.item_id) for e in events if border <= e.timestamp < end}
            released = {i for i, r in dataset.items["release"].items() if r < end}
            allowed = {e.item_id for e in past} | (
                set(dataset.items.index) if protocol.candidates == "catalogue" else released
            )
            assert set(training.items) <= allowed
            for user, history, targets in zip(task.users, task.histories, task.targets, strict=True):
                assert [training.items[i] for i in history] == [e.item_id for e in past if e.user_id == user]
                assert len(history) >= protocol.min_history
                assert len(targets) >= 1
                assert not set(targets[targets >= 0]) & set(history)
                assert {(user, training.items[t]) for t in targets if t >= 0} <= window
            audit(dataset, fold, problem, stage)


@FEW
@given(rows=ROWS, protocol=PROTOCOLS)
def test_every_row_of_a_window_is_in_one_fold_with_one_role(build_dataset, rows, protocol):
    dataset = make(build_dataset, rows)
    log = IndexedLog.of(dataset)
    seen = []
    for fold in split(protocol, dataset):
        found = window_rows(log, fold.border, fold.end, min_history=protocol.min_history, targets=protocol.targets)
        assert found.row.tolist() == np.flatnonzero((log.time >= fold.border) & (log.time < fold.end)).tolist()
        assert sum(found.counts().values()) == len(found.row) == fold.info["interactions"]
        dropped = fold.info["dropped"]
        assert set(dropped) == set(ROLES) - {"target"}
        assert fold.info["targets"] + sum(dropped.values()) == len(found.row)
        task = protocol.problem(dataset, fold, "test").task
        assert sum(map(len, task.targets)) == fold.info["targets"]
        assert len(task.users) == fold.info["users"]
        seen.extend(found.row)
    assert len(seen) == len(set(seen))


@FEW
@given(rows=ROWS, protocol=PROTOCOLS, order=st.randoms(use_true_random=False), days=st.integers(-400, 20_000))
def test_row_order_changes_nothing_and_a_shift_by_days_moves_borders_only(build_dataset, rows, protocol, order, days):
    dataset = make(build_dataset, rows)
    mixed = list(rows)
    order.shuffle(mixed)
    same, moved = make(build_dataset, mixed), make(build_dataset, mixed, shift=days * DAY)
    for a, b, c in zip(split(protocol, dataset), protocol.split(same), protocol.split(moved), strict=True):
        assert a.fingerprint == b.fingerprint
        assert a.info == b.info
        assert [c.validation_border - a.validation_border, c.border - a.border, c.end - a.end] == [days * DAY] * 3
        assert a.info["validation"] == c.info["validation"]
        assert {**a.info, **dates(c)} == {**c.info, **dates(c)}
        for stage in ("validation", "test"):
            one, two, three = (protocol.problem(d, f, stage) for d, f in ((dataset, a), (same, b), (moved, c)))
            for other in (two, three):
                assert one.training.items.tolist() == other.training.items.tolist()
                assert one.training.user.tolist() == other.training.user.tolist()
                assert one.training.item.tolist() == other.training.item.tolist()
                assert one.task.candidates.tolist() == other.task.candidates.tolist()
                assert one.task.users.tolist() == other.task.users.tolist()
                for x, y in zip(
                    one.task.targets + one.task.histories, other.task.targets + other.task.histories, strict=True
                ):
                    assert x.tolist() == y.tolist()


@FEW
@given(rows=ROWS, protocol=PROTOCOLS)
def test_inputs_are_not_changed(build_dataset, rows, protocol):
    dataset = make(build_dataset, rows)
    log, items = dataset.interactions.copy(deep=True), dataset.items.copy(deep=True)
    for fold in split(protocol, dataset):
        fit = fold.fit.copy()
        for stage in ("validation", "test"):
            protocol.problem(dataset, fold, stage)
        assert fold.fit.tolist() == fit.tolist()
    assert dataset.interactions.equals(log)
    assert dataset.items.equals(items)
