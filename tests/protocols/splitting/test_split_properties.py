"""Properties of every split of every small log."""

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from protocols.audit.leak_audit import audit
from protocols.dataset import Dataset
from protocols.errors import DataError
from protocols.splitting.presets import Rolling7d
from protocols.splitting.rolling import DAY, ROLES, window_rows

MANY = settings(max_examples=500, suppress_health_check=list(HealthCheck), database=None)
USERS, ITEMS, QUARTERS = 4, 8, 15 * 4

# Two bytes a row: a user, an item and a time on a grid of quarter days, so that ties in time, and events exactly on
# borders, are common. Bytes are drawn at once, which a list of tuples is not.
ROWS = st.binary(min_size=60, max_size=110).map(
    lambda b: [(x % USERS, x // USERS % ITEMS, y % (QUARTERS + 1)) for x, y in zip(b[::2], b[1::2], strict=False)]
)
PROTOCOLS = st.builds(
    Rolling7d,
    window=st.sampled_from(["2d", "3d", "36h"]),
    stride=st.sampled_from(["3d", "4d"]),
    folds=st.integers(1, 2),
    validation_window=st.sampled_from(["2d", "3d"]),
    train_window=st.sampled_from([None, "6d"]),
    gap=st.sampled_from(["0d", "1d"]),
    min_history=st.integers(1, 2),
    k_core=st.sampled_from([1, 1, 2]),
    targets=st.sampled_from(["all", "first", "successive"]),
    candidates=st.sampled_from(["auto", "released", "warm", "catalogue"]),
    refit=st.booleans(),
)


def named(rows, shift=0):
    """Rows and releases with ids and milliseconds."""
    release = {f"i{i}": (2 * i - 6) * DAY + shift for i in range(ITEMS)}
    return [(f"u{u}", f"i{i}", t * DAY // 4 + shift) for u, i, t in rows], release


def canonical(rows, shift=0):
    """A dataset in canonical order as `Dataset.build` would make it, for a tenth of the time."""
    log, release = named(rows, shift)
    columns = zip(*sorted(set(log), key=lambda e: (e[2], e[0], e[1])), strict=True)
    frame = pd.DataFrame(dict(zip(("user_id", "item_id", "timestamp"), columns, strict=True)))
    items = pd.DataFrame({"release": release.values()}, index=pd.Index(release, name="item_id"))
    return Dataset("tiny", "1", frame, items)


def unhashed(dataset):
    """With a fingerprint that costs nothing."""
    dataset.__dict__["fingerprint"] = "tiny"
    return dataset


def split(protocol, dataset):
    try:
        return protocol.split(dataset)
    except DataError:
        assume(False)


def dates(fold):
    return {
        name: fold.info[name] for name in ("validation_border", "validation_end", "border", "end", "fitted", "refitted")
    }


@MANY
@given(rows=ROWS, protocol=PROTOCOLS)
def test_nothing_at_or_after_a_border_is_seen_and_targets_are_new(rows, protocol):
    dataset = unhashed(canonical(rows))
    log, items = dataset.interactions.copy(deep=True), dataset.items.copy(deep=True)
    events = list(zip(*(log[c].tolist() for c in ("user_id", "item_id", "timestamp")), strict=True))
    release = items["release"].to_dict()
    times = log["timestamp"].to_numpy()
    for fold in split(protocol, dataset):
        assert (times[fold.fit] < fold.validation_border).all()
        assert (times[fold.refit] < fold.border).all()
        assert fold.validation_border < fold.validation_end <= fold.border < fold.end
        for stage, rows_of_stage in (("validation", fold.fit), ("test", fold.refit)):
            problem = protocol.problem(dataset, fold, stage)
            border, end = fold.window(stage)
            past = [e for e in events if e[2] < border]
            inside = [e for e in events if border <= e[2] < end]
            learned(problem.training, [events[r] for r in rows_of_stage], border, release)
            known = {e[1] for e in past} | {
                i for i, r in release.items() if r < end or protocol.candidates == "catalogue"
            }
            assert set(problem.training.items) <= known
            ranked(problem, past, inside, protocol)
            audit(dataset, fold, problem, stage)
    assert dataset.interactions.equals(log)
    assert dataset.items.equals(items)


def learned(training, fitted, border, release):
    """Whatever training data holds is counted from fitted events, and those are before the border."""
    assert training.border == border
    assert all(time < border for _, _, time in fitted)
    names, users = training.items, training.users
    assert [
        (users[u], names[i], t) for u, i, t in zip(training.user, training.item, training.timestamp, strict=True)
    ] == fitted
    warm = [e[1] for e in fitted]
    assert set(names[: training.n_warm]) == set(warm)
    assert training.counts.tolist() == [warm.count(i) for i in names]
    for item, since in zip(names, training.release, strict=True):
        assert since == min([release[item], *(t for _, i, t in fitted if i == item)])


def ranked(problem, past, inside, protocol):
    """Histories end at the border (or the target, if successive); targets are in the window and new to the user."""
    names, task = problem.training.items, problem.task
    for user, history, targets in zip(task.users, task.histories, task.targets, strict=True):
        before = [i for u, i, _ in past if u == user]
        shown = names[history].tolist()
        if protocol.targets == "successive":
            own = before + [i for u, i, _ in inside if u == user]
            own = [i for i in own if i in set(names)]
            assert shown == own[: len(shown)]
            assert len(shown) >= len(before)
        else:
            assert shown == before
        assert len(before) >= protocol.min_history
        assert len(targets) >= 1
        found = {names[t] for t in targets if t >= 0}
        assert not found & {*before, *shown}
        assert found <= {i for u, i, _ in inside if u == user}


@MANY
@given(rows=ROWS, protocol=PROTOCOLS)
def test_every_row_of_a_window_is_in_one_fold_with_one_role(rows, protocol):
    dataset = unhashed(canonical(rows))
    log = dataset.indexed_log
    seen = []
    for fold in split(protocol, dataset):
        found = window_rows(log, fold.border, fold.end, min_history=protocol.min_history, targets=protocol.targets)
        assert found.row.tolist() == np.flatnonzero((log.time >= fold.border) & (log.time < fold.end)).tolist()
        assert sum(found.counts().values()) == len(found.row) == fold.info["interactions"]
        dropped = fold.info["dropped"]
        assert set(dropped) == set(ROLES) - {"target", "not_drawn"}
        assert fold.info["targets"] + sum(dropped.values()) == len(found.row)
        task = protocol.problem(dataset, fold, "test").task
        assert sum(map(len, task.targets)) == fold.info["targets"]
        assert len(set(task.users)) == fold.info["users"]
        seen.extend(found.row)
    assert len(seen) == len(set(seen))


@MANY
@given(rows=ROWS, protocol=PROTOCOLS, order=st.randoms(use_true_random=False), days=st.integers(-400, 20_000))
def test_row_order_changes_nothing_and_a_shift_by_days_moves_borders_only(build_dataset, rows, protocol, order, days):
    """Whole days: windows end with a UTC day by definition, so another shift moves events from one day to the next."""
    dataset, moved = unhashed(canonical(rows)), unhashed(canonical(rows, shift=days * DAY))
    mixed, release = named(rows)
    order.shuffle(mixed)
    same = unhashed(build_dataset(mixed, items=release, release=release))
    assert same.interactions.equals(dataset.interactions)  # and so their fingerprints are
    for a, b, c in zip(split(protocol, dataset), protocol.split(same), protocol.split(moved), strict=True):
        assert a.fingerprint == b.fingerprint
        assert a.info == b.info
        assert [c.validation_border - a.validation_border, c.border - a.border, c.end - a.end] == [days * DAY] * 3
        assert a.info["validation"] == c.info["validation"]
        assert {**a.info, **dates(c)} == {**c.info, **dates(c)}
        for stage in ("validation", "test"):
            one, two, three = (protocol.problem(d, f, stage) for d, f in ((dataset, a), (same, b), (moved, c)))
            assert content(one) == content(two)
            assert content(one) == content(three, days * DAY)


def content(problem, shift=0):
    """All of a problem as plain values, its times moved back by `shift`."""
    training, task = problem.training, problem.task
    return [
        training.items.tolist(),
        training.n_warm,
        training.users.tolist(),
        training.user.tolist(),
        training.item.tolist(),
        (training.timestamp - shift).tolist(),
        (training.release - shift).tolist(),
        training.border - shift,
        task.users.tolist(),
        task.candidates.tolist(),
        [h.tolist() for h in task.histories],
        [t.tolist() for t in task.targets],
    ]
