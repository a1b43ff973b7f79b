"""Per-user values of a row, from tidy frames and from results."""

import numpy as np
import pandas as pd
import pytest

from protocols.errors import BenchError
from protocols.evaluation.row_values import Result, RowValues, mean_of_known


def results(rng, users=30, seeds=(1, 2), folds=3, shuffled=True):
    """Results with the same users in every seed of a fold, each in an order of its own."""
    found = []
    for fold in range(folds):
        ids = np.array([f"u{i}" for i in rng.permutation(users)[: users - 5 * fold]], dtype=object)
        for seed in seeds:
            order = rng.permutation(len(ids)) if shuffled else np.arange(len(ids))
            values = rng.uniform(size=len(ids))
            metrics = {"hr": values.round(), "ndcg": values.astype(np.float32)}
            found.append(Result(seed, fold, ids[order], metrics | ({"cold": values} if fold else {})))
    return found


def tidy(found, metric):
    parts = [
        pd.DataFrame({"seed": one.seed, "fold": one.fold, "user_id": one.users, "value": one.metrics[metric]})
        for one in found
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("shuffled", [True, False])
def test_results_and_the_frame_of_them_give_the_same(shuffled):
    rng = np.random.default_rng(0)
    found = results(rng, shuffled=shuffled)
    joined = RowValues.join([found[at] for at in rng.permutation(len(found))])
    assert set(joined) == {"hr", "ndcg"}  # not every result holds the third
    for metric, mine in joined.items():
        frame = tidy(found, metric)
        its = RowValues.of(frame)
        assert mine.seeds == its.seeds == (1, 2)
        for name in ("fold", "user", "values"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(its, name))
        assert mine.complete() is mine
        by_hand = frame.groupby(["seed", "fold"])["value"].mean().groupby("seed").mean()
        assert mine.seed_means == pytest.approx(by_hand.to_numpy(), rel=1e-6)
        assert mine.mean == pytest.approx(by_hand.mean(), rel=1e-6)


def test_users_without_a_value_do_not_count_and_are_left_out_where_no_seed_has_one():
    ids = np.array(["a", "b", "c"], dtype=object)
    found = [Result(seed, 0, ids, {"x": np.array([1.0, np.nan, float(seed)])}) for seed in (1, 2)]
    row = RowValues.join(found)["x"]
    assert row.has_value.tolist() == [True, False, True]
    assert row.seed_means.tolist() == [1.0, 1.5] and row.mean == 1.25
    kept = row.complete()
    assert kept.user.tolist() == ["a", "c"] and kept.values.tolist() == [[1.0, 1.0], [1.0, 2.0]]
    nothing = RowValues.join([Result(1, 0, ids, {"x": np.full(3, np.nan)})])["x"]
    assert np.isnan(nothing.mean) and nothing.complete().values.size == 0


def test_a_user_of_one_seed_only_and_one_that_is_there_twice_are_named():
    one = Result(1, 0, np.array(["a", "b"], dtype=object), {"x": np.ones(2)})
    row = RowValues.join([one, Result(2, 0, np.array(["a"], dtype=object), {"x": np.ones(1)})])["x"]
    assert row.mean == 1.0
    with pytest.raises(BenchError, match=r"row mine: user 'b' of fold 0 is not there once for each of 2 seeds"):
        row.complete("mine")
    for twice in (["a", "b", "b"], ["b", "b"]):
        again = Result(1, 0, np.array(twice, dtype=object), {"x": np.ones(len(twice))})
        with pytest.raises(BenchError, match=r"row mine: user 'b' of fold 0"):
            RowValues.join([again], "mine")
    with pytest.raises(BenchError, match="two results of one seed and fold"):
        RowValues.join([one, one])


def test_means_leave_out_nan():
    assert mean_of_known(np.array([[1.0, np.nan], [2.0, 4.0]])).tolist() == [1.0, 3.0]
    assert np.isnan(mean_of_known(np.array([np.nan])))
