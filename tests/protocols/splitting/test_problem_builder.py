import numpy as np
import pytest

from protocols.errors import DataError
from protocols.splitting.presets import Rolling7d
from protocols.splitting.rolling import DAY

SMALL = {"window": "2d", "stride": "2d", "folds": 1, "validation_window": "2d"}
ROWS = [
    ("ann", "c", 0),
    ("bob", "a", 1 * DAY),
    ("ann", "a", 5 * DAY),
    ("ann", "b", 6 * DAY),  # in the validation window: warm only after the refit
    ("bob", "c", 7 * DAY),
    ("ann", "new", 8 * DAY),  # the test window starts here
    ("bob", "b", 8 * DAY),
    ("bob", "gone", 9 * DAY),
]
RELEASE = {"a": 0, "b": 0, "c": 0, "new": 9 * DAY, "gone": 0, "later": 10 * DAY}


def problems(dataset, **options):
    protocol = Rolling7d(**SMALL | options)
    fold = protocol.split(dataset)[0]
    return protocol.problem(dataset, fold, "validation"), protocol.problem(dataset, fold, "test")


def names(problem, positions):
    return [problem.training.items[p] if p >= 0 else None for p in positions]


def test_warm_items_come_first_then_cold_ones_each_sorted(build_dataset):
    dataset = build_dataset(ROWS, items=RELEASE, release=RELEASE)
    validation, test = problems(dataset)
    assert validation.training.items.tolist() == ["a", "c", "b", "gone"]
    assert validation.training.n_warm == 2
    assert test.training.items.tolist() == ["a", "b", "c", "gone", "new"]
    assert test.training.n_warm == 3
    assert test.task.candidates.all()
    assert test.task.users.tolist() == ["ann", "bob"]
    assert [names(test, h) for h in test.task.histories] == [["c", "a", "b"], ["a", "c"]]
    assert [names(test, t) for t in test.task.targets] == [["new"], ["b", "gone"]]
    assert validation.task.users.tolist() == ["ann", "bob"]
    assert [names(validation, t) for t in validation.task.targets] == [["b"], ["c"]]


def test_warm_candidates_cannot_reach_what_first_appears_in_the_window(build_dataset):
    _, test = problems(build_dataset(ROWS))
    assert test.training.items.tolist() == ["a", "b", "c"]
    assert [names(test, t) for t in test.task.targets] == [[None], ["b", None]]


def test_catalogue_candidates_are_all_items(build_dataset):
    _, test = problems(build_dataset(ROWS, items=RELEASE, release=RELEASE), candidates="catalogue")
    assert test.training.items.tolist() == ["a", "b", "c", "gone", "later", "new"]
    assert test.task.candidates.all()


def test_items_of_histories_outside_the_fitted_rows_are_cold_and_no_warm_candidates(build_dataset):
    _, test = problems(build_dataset(ROWS), train_window="3d")
    assert test.training.items.tolist() == ["a", "b", "c"]
    _, test = problems(build_dataset(ROWS), train_window="2d")
    assert test.training.items.tolist() == ["b", "c", "a"]
    assert test.task.candidates.tolist() == [True, True, False]
    assert [names(test, h) for h in test.task.histories] == [["c", "a", "b"], ["a", "c"]]


def test_released_candidates_need_releases(build_dataset):
    with pytest.raises(DataError, match="`release` column"):
        problems(build_dataset(ROWS), candidates="released")


def test_items_of_unknown_release_are_candidates_once_they_were_fitted_on(build_dataset):
    dataset = build_dataset(ROWS, items=RELEASE, release=RELEASE)
    dataset.items["release"] = dataset.items["release"].astype(float)
    dataset.items.loc[["b", "gone"], "release"] = np.nan
    validation, test = problems(dataset)
    candidates = [set(p.training.items[p.task.candidates]) for p in (validation, test)]
    assert candidates == [{"a", "c"}, {"a", "b", "c", "new"}]


def test_an_item_could_be_taken_from_its_release_or_its_first_event_on(build_dataset):
    release = RELEASE | {"a": 3 * DAY}  # though bob had it on day 1
    _, test = problems(build_dataset(ROWS, items=release, release=release))
    assert dict(zip(test.training.items, test.training.release, strict=True)) == {
        name: release[name] for name in ("b", "c", "gone", "new")
    } | {"a": DAY}
    _, test = problems(build_dataset(ROWS))  # releases unknown
    assert dict(zip(test.training.items, test.training.release, strict=True)) == {"a": DAY, "b": 6 * DAY, "c": 0}
    _, test = problems(build_dataset(ROWS), train_window="2d")
    assert test.training.release[test.training.items == "a"] == test.training.border  # a cold item


def test_successive_targets_come_after_the_users_own_events_of_the_window(build_dataset):
    rows = [*ROWS, ("ann", "b", 8 * DAY + 1), ("ann", "gone", 9 * DAY + 1)]
    _, whole = problems(build_dataset(rows, items=RELEASE, release=RELEASE))
    _, test = problems(build_dataset(rows, items=RELEASE, release=RELEASE), targets="successive")
    assert test.task.users.tolist() == ["ann", "ann", "bob", "bob"]
    assert [names(test, t) for t in test.task.targets] == [["new"], ["gone"], ["b"], ["gone"]]
    assert [names(test, h) for h in test.task.histories] == [
        ["c", "a", "b"],
        ["c", "a", "b", "new", "b"],
        ["a", "c"],
        ["a", "c", "b"],
    ]
    assert test.training.items.tolist() == whole.training.items.tolist()
    assert np.array_equal(test.training.item, whole.training.item)  # parameters stay those of the border


def test_successive_histories_leave_out_what_has_no_place_in_the_problem(build_dataset):
    rows = [*ROWS, ("ann", "b2", 9 * DAY), ("bob", "a2", 9 * DAY + 1), ("bob", "a", 9 * DAY + 2)]
    _, test = problems(build_dataset(rows), targets="successive")  # warm candidates: "new" and the like are unknown
    assert [names(test, h) for h in test.task.histories] == [["c", "a", "b"]] * 2 + [["a", "c"]] + [["a", "c", "b"]] * 2


def test_training_sequences_are_the_fitted_rows_of_each_user_in_order(simulated):
    protocol = Rolling7d(train_window="20d")
    fold = protocol.split(simulated)[2]
    training = protocol.problem(simulated, fold, "test").training
    rows = simulated.interactions.iloc[fold.refit]
    assert training.users.tolist() == sorted(rows["user_id"].unique())
    for user, sequence in zip(training.users, training.sequences, strict=True):
        assert training.items[sequence].tolist() == rows.loc[rows["user_id"] == user, "item_id"].tolist()
    counts = rows["item_id"].value_counts()
    assert training.counts.tolist() == [counts.get(i, 0) for i in training.items]
