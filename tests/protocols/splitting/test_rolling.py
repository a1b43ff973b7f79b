import json
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from protocols.dataset import Dataset
from protocols.errors import DataError, UserError
from protocols.splitting.presets import Daily7, Rolling, Rolling7d, Sliding7d
from protocols.splitting.rolling import DAY, ROLES, fitted_rows, k_core, milliseconds, rolling_borders, utc, window_rows

HOUR = DAY // 24

# user, item, day; two windows of two days: [6, 8) and [8, 10); the last event is on day 9
ROWS = [
    ("a", "x", 0.0),  # 0
    ("b", "y", 1.0),  # 1
    ("a", "y", 2.5),  # 2  first validation window starts with day 4
    ("b", "x", 4.0),  # 3
    ("a", "z", 5.9),  # 4
    ("a", "w", 6.0),  # 5  exactly on the first border: in the window
    ("a", "x", 6.5),  # 6  repeat of row 0
    ("a", "w", 7.0),  # 7  again, row 5 is the target
    ("c", "x", 7.5),  # 8  no history
    ("b", "z", 8.0),  # 9  exactly on the second border
    ("c", "z", 9.0),  # 10 c has a history now
    ("c", "x", 9.5),  # 11 repeat of row 8
]
SMALL = {"window": "2d", "stride": "2d", "folds": 2, "validation_window": "2d"}


@pytest.fixture
def small(build_dataset):
    return build_dataset([(u, i, int(day * DAY)) for u, i, day in ROWS])


def test_the_windows_end_with_the_last_day_and_every_row_has_a_role(small):
    first, second = Rolling7d(**SMALL).split(small)
    assert [first.validation_border, first.validation_end, first.border, first.end] == [
        4 * DAY,
        6 * DAY,
        6 * DAY,
        8 * DAY,
    ]
    assert (second.border, second.end) == (8 * DAY, 10 * DAY)
    assert first.fit.tolist() == [0, 1, 2]
    assert first.refit.tolist() == [0, 1, 2, 3, 4]
    assert second.refit.tolist() == list(range(9))
    log = small.indexed_log
    rows = window_rows(log, first.border, first.end)
    assert [(int(r), ROLES[k]) for r, k in zip(*rows, strict=True)] == [
        (5, "target"), (6, "repeat"), (7, "again"), (8, "short_history"),
    ]  # fmt: skip
    assert window_rows(log, second.border, second.end).of("target").tolist() == [9, 10]


def test_info_says_what_a_fold_holds(small):
    info = Rolling7d(**SMALL).split(small)[0].info
    assert info["border"] == "1970-01-07T00:00:00Z"
    assert info["refitted"] | {"first": 0, "last": 0} == {
        "interactions": 5,
        "users": 2,
        "items": 3,
        "first": 0,
        "last": 0,
    }
    test = {
        "interactions": 4, "users": 1, "targets": 1, "targets_per_user_mean": 1.0, "targets_per_user_median": 1.0,
        "cold_targets": 1, "dropped": {"repeat": 1, "again": 1, "later": 0, "short_history": 1},
    }  # fmt: skip
    assert {name: info[name] for name in test} == test
    assert "released_in_window" not in info
    assert info["validation"]["users"] == 2
    assert info["candidates"] == "warm"
    json.dumps(info)


def test_the_share_of_targets_released_inside_the_window(build_dataset):
    rows = [("a", "old", 0), ("a", "o2", 7 * DAY), ("a", "o3", 8 * DAY), ("a", "new", 9 * DAY)]
    release = {"old": 0, "o2": 0, "o3": 0, "new": 9 * DAY - 1}
    fold = Rolling7d(**SMALL | {"folds": 1}).split(build_dataset(rows, release=release))[0]
    assert fold.info["released_in_window"] == 0.5
    assert fold.info["candidates"] == "released"


def test_targets_first_keeps_one_new_item_a_user(build_dataset):
    rows = [
        ("a", "x", 0),
        ("b", "x", 0),
        ("a", "x", 8 * DAY),
        ("a", "y", 8 * DAY),
        ("a", "z", 9 * DAY),
        ("b", "z", 9 * DAY),
    ]
    log = build_dataset(rows).indexed_log
    found = window_rows(log, 8 * DAY, 10 * DAY, targets="first")
    assert [log.items[log.item[r]] for r in found.of("target")] == ["y", "z"]
    assert found.counts() == {"target": 2, "repeat": 1, "again": 0, "later": 1, "short_history": 0}


def test_gap_and_train_window_limit_what_is_fitted_and_nothing_else(small):
    plain = Rolling7d(**SMALL | {"folds": 1}).split(small)[0]
    fold = Rolling7d(**SMALL | {"folds": 1}, gap="1d", train_window="3d").split(small)[0]
    assert (fold.border, fold.end) == (plain.border, plain.end)
    assert (fold.validation_border, fold.validation_end) == (5 * DAY, 7 * DAY)
    assert small.interactions["timestamp"][fold.refit].between(4 * DAY, 7 * DAY - 1).all()
    assert fold.refit.tolist() == [3, 4, 5, 6]
    assert fold.fit.tolist() == [1, 2]
    protocol = Rolling7d(**SMALL | {"folds": 1}, gap="1d", train_window="3d")
    for ours, theirs in zip(
        protocol.problem(small, fold, "test").task.histories,
        Rolling7d(**SMALL | {"folds": 1}).problem(small, plain, "test").task.histories,
        strict=True,
    ):
        assert len(ours) == len(theirs)


def test_without_refit_the_final_parameters_see_the_rows_of_early_stopping(small):
    fold = Rolling7d(**SMALL, refit=False).split(small)[0]
    assert fold.refit.tolist() == fold.fit.tolist() == [0, 1, 2]
    problem = Rolling7d(**SMALL, refit=False).problem(small, fold, "test")
    assert [problem.training.items[i] for i in problem.task.histories[0]] == ["x", "y", "z"]


def test_min_history_counts_events_before_the_border(small):
    fold = Rolling7d(**SMALL | {"folds": 1}, min_history=2).split(small)[0]
    assert fold.info["users"] == 1
    assert fold.info["dropped"]["short_history"] == 2


def test_k_core_is_iterated():
    user, item = np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 0, 1, 1, 2])
    assert k_core(user, item, 2).tolist() == [True, True, True, True, False, False]
    assert not k_core(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).any()  # drops one after the other
    assert k_core(user, item, 1).all()


def test_the_k_core_is_that_of_the_fitted_rows(simulated):
    log = simulated.indexed_log
    rows = fitted_rows(log, 30 * DAY, k=8)
    assert 0 < len(rows) < log.before(30 * DAY)
    assert np.bincount(log.item[rows])[np.unique(log.item[rows])].min() >= 8
    assert np.bincount(log.user[rows])[np.unique(log.user[rows])].min() >= 8


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", "x", 5), ("b", "y", 5)], ["all 2 timestamps are equal"]),
        ([("a", "x", 0), ("a", "y", 9 * DAY)], ["spans 10 days", "4 test window(s) of 7 days", "take 35 days"]),
        ([("a", "x", 0), ("a", "y", 34 * DAY)], ["spans 35 days"]),
        ([("a", "x", 0), ("b", "y", 40 * DAY)], ["fold 0, validation window (1970-01-07T0", "0 rows by 0 users"]),
        ([], ["no interactions"]),
    ],
)  # fmt: skip
def test_logs_that_cannot_be_split_are_refused_with_numbers(build_dataset, rows, words):
    with pytest.raises(DataError) as caught:
        Rolling7d().split(build_dataset(rows))
    for word in words:
        assert word in str(caught.value)


def test_a_test_window_without_users_is_refused_with_numbers(build_dataset):
    rows = [("a", "x", 0), ("a", "y", 7 * DAY), ("b", "x", 8 * DAY), ("a", "y", 9 * DAY)]
    with pytest.raises(
        DataError,
        match=r"fold 0, test window .* no user to rank: 2 rows by 2 users, of which 1 with .* 1 row with items",
    ):
        Rolling7d(**SMALL | {"folds": 1}).split(build_dataset(rows))


def test_a_fold_without_rows_to_fit_on_is_refused(build_dataset):
    rows = [("a", "x", 0), ("a", "y", 6.5 * DAY), ("a", "z", 9 * DAY)]
    with pytest.raises(DataError, match="no rows to fit on, of 1 before it"):
        Rolling7d(**SMALL | {"folds": 1}, train_window="1d").split(build_dataset(rows))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"stride": "1d"}, "overlap"),
        ({"window": "week"}, "rolling-7d.window='week' is no duration"),
        ({"window": "0d"}, "longer than nothing"),
        ({"folds": "0"}, "folds=0"),
        ({"candidates": "some"}, "expected one of"),
        ({"targets": "last"}, "expected one of"),
        ({"fold": 1}, "did you mean 'folds'"),
    ],
)
def test_knobs_are_checked(options, word):
    with pytest.raises(UserError) as caught:
        Rolling7d.from_options(options)
    assert word in str(caught.value) + caught.value.remedy


def test_overlapping_windows_are_there_when_asked_for(simulated):
    folds = Rolling7d.from_options({"stride": "3d", "overlap": "true"}).split(simulated)
    assert [b.border - a.border for a, b in pairwise(folds)] == [3 * DAY] * 3


def test_durations_and_times():
    assert milliseconds("36h", "x") == 36 * HOUR
    assert milliseconds(" 2w ", "x") == 14 * DAY
    assert utc(4_102_444_800_000) == "2100-01-01T00:00:00Z"
    assert utc(-1) == "1969-12-31T23:59:59Z"


def test_the_fingerprint_follows_data_and_knobs_and_nothing_else(simulated, simulate_dataset):
    plain = Rolling7d()
    same = Rolling7d.from_options({"window": "168h", "train_window": "none", "candidates": "released"})
    assert plain.fingerprint(simulated) == same.fingerprint(simulated)
    assert plain.split(simulated)[1].fingerprint == same.split(simulated)[1].fingerprint
    others = [Rolling7d(folds=3), Rolling7d(gap="1d"), Rolling7d(candidates="warm"), Rolling7d(refit=False)]
    prints = {p.fingerprint(simulated) for p in [plain, *others]} | {plain.fingerprint(simulate_dataset(seed=1))}
    assert len(prints) == 6
    folds = plain.split(simulated)
    assert len({f.fingerprint for f in folds}) == len(folds)


def compare_with_rectools(frame, start, oracle):
    """Compare the rows of all windows with RecTools' (user, item, second in `frame`); how many were compared."""
    log = pd.DataFrame(
        {
            "user_id": frame["user"].astype(str),
            "item_id": frame["item"].map("{:06d}".format),
            "timestamp": (frame["second"] + start) * 1000,
        }
    )
    dataset = Dataset.build("oracle", "1", log, pd.DataFrame(index=log["item_id"].unique()))
    number = {tuple(row): n for n, row in enumerate(log.itertuples(index=False))}
    ours = np.array([number[tuple(row)] for row in dataset.interactions.itertuples(index=False)])
    indexed, compared = dataset.indexed_log, 0
    for window in ("7d", "1d"):
        span, expected = milliseconds(window, "window"), oracle[window]
        borders = rolling_borders(
            indexed.time, window=span, stride=span, folds=len(expected["all"]), validation_window=DAY
        )
        for fold, whole, filtered in zip(borders, expected["all"], expected["filtered"], strict=True):
            rows = window_rows(indexed, fold.border, fold.end)
            assert sorted(ours[rows.row].tolist()) == whole
            assert sorted(ours[[*rows.of("target"), *rows.of("again")]].tolist()) == filtered
            compared += len(whole)
    return compared


def test_our_windows_hold_the_rows_of_rectools():
    oracle = json.loads((Path(__file__).parent / "rectools_oracle.json").read_text())
    assert len(oracle["cases"]) == 50
    assert (
        sum(
            compare_with_rectools(pd.DataFrame({n: case[n] for n in ("user", "item", "second")}), oracle["start"], case)
            for case in oracle["cases"]
        )
        > 2000
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="RecTools needs an environment of its own, made by uv")
def test_our_windows_hold_the_rows_of_rectools_on_ml_100k(tmp_path):
    import recbole

    path = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
    frame = pd.read_csv(path, sep="\t").iloc[:, [0, 1, 3]].set_axis(["user", "item", "second"], axis=1).astype(int)
    frame.to_csv(tmp_path / "log.csv", index=False)
    script = Path(__file__).parent / "make_rectools_oracle.py"
    command = ["uv", "run", "-q", "--isolated", "--no-project", "--with", "rectools", "python", script]
    done = subprocess.run([*command, tmp_path / "log.csv"], capture_output=True, text=True, check=True)
    assert compare_with_rectools(frame, 0, json.loads(done.stdout)) > 4000


def test_presets_are_parameter_sets(simulated):
    assert Rolling7d().identity(simulated) == Rolling().identity(simulated)
    by_hand = Rolling(window="1d", stride="24h", folds=7, validation_window="1d")
    assert Daily7().identity(simulated) == by_hand.identity(simulated)
    assert Daily7().fingerprint(simulated) != Sliding7d().fingerprint(simulated)


@pytest.mark.parametrize("preset", [Daily7, Sliding7d])
def test_daily_presets_test_each_of_the_last_seven_days(preset, simulated):
    folds = preset().split(simulated)
    last = int(simulated.interactions["timestamp"].iloc[-1]) // DAY + 1
    assert [(f.border // DAY, f.end // DAY) for f in folds] == [(d, d + 1) for d in range(last - 7, last)]
    log = simulated.indexed_log
    for fold in folds:
        assert fold.validation_border == fold.border - DAY == fold.validation_end - DAY
        oldest = 0 if preset is Daily7 else fold.border - 7 * DAY
        assert np.array_equal(fold.refit, np.flatnonzero((log.time < fold.border) & (log.time >= oldest)))
        task = preset().problem(simulated, fold, "test").task
        counts = np.bincount(log.user[: log.before(fold.border)], minlength=len(log.users))
        assert [len(h) for h in task.histories] == counts[np.searchsorted(log.users, task.users)].tolist()


def test_sequences_without_times_cannot_be_rolled(small):
    with pytest.raises(DataError, match="without times") as caught:
        Rolling7d(**SMALL).split(replace(small, timed=False))
    assert "microlens-loo" in caught.value.remedy
