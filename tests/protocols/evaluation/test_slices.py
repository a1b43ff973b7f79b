"""Ranks per target survive the disk, and slices are what a plain loop over targets gives."""

import math

import numpy as np
import pandas as pd
import pytest

from protocols.errors import DataError
from protocols.evaluation.fold_metrics import user_metrics, with_topk
from protocols.evaluation.metrics import CUTOFFS, FORMULAS
from protocols.evaluation.ranking import Ranking, rank_users
from protocols.evaluation.slices import ITEM, Targets, quartiles, slices, with_targets
from protocols.ranking_problem import Problem, RankingTask, TrainingData
from protocols.splitting.presets import Rolling7d


@pytest.fixture(scope="module")
def ranked(simulated):
    protocol = Rolling7d(candidates="warm")  # so that some targets are no item of the problem
    problem = protocol.problem(simulated, protocol.split(simulated)[2], "test")
    noise = np.random.default_rng(0).normal(0, 5, (1000, len(problem.training.items)))

    class Noisy:
        def score(self, users, histories):
            return (problem.training.counts + noise[: len(users)]).astype(np.float32)

    return problem, rank_users(Noisy(), problem, 0)


@pytest.fixture(scope="module")
def durations(ranked):
    items = ranked[0].training.items
    return {i: (10.0 if n % 3 else 45.0) for n, i in enumerate(items) if n % 5}  # some unknown


@pytest.fixture(scope="module")
def users(ranked, durations, tmp_path_factory):
    """The per-user frame, written and read again."""
    problem, ranking = ranked
    frame = with_targets(with_topk(user_metrics(ranking), ranking), ranking, problem, durations)
    path = tmp_path_factory.mktemp("users") / "users.parquet"
    frame.to_parquet(path, index=False)
    return pd.read_parquet(path)


def by_hand(ranking, keep, k=10):
    """nDCG of every user by a loop over his kept targets, ranked among all candidates."""
    out = []
    for user in range(len(ranking.users)):
        mine = [t for t in np.flatnonzero(ranking.target_user == user) if keep(t)]
        gain = sum(1 / math.log2(1 + ranking.rank[t]) for t in mine if ranking.rank[t] <= k)
        ideal = sum(1 / math.log2(2 + i) for i in range(min(len(mine), k)))
        out.append(gain / ideal if mine else math.nan)
    return out


def test_every_metric_comes_back_from_the_ranks_bit_for_bit(users):
    targets = Targets.of(users)
    for name in FORMULAS:
        for k in CUTOFFS:
            for suffix in ("", "_warm", "_cold", "_cold_among_cold"):
                column = f"{name}@{k}{suffix}"
                assert np.array_equal(targets.values(column), users[column], equal_nan=True), column
    assert users["ndcg@10_cold"].notna().any()


def test_metrics_that_nobody_asked_for_before_the_run(users, ranked):
    expected = by_hand(ranked[1], lambda t: True, k=3)
    np.testing.assert_allclose(Targets.of(users).values("ndcg@3"), expected, rtol=1e-12)


def test_the_targets_say_what_they_are(users, ranked, durations):
    problem, ranking = ranked
    targets = Targets.of(users)
    known = ranking.target >= 0
    assert 0 < known.sum() < len(known)
    assert targets.item[known].tolist() == problem.training.items[ranking.target[known]].tolist()
    assert all(item is None for item in targets.item[~known])
    assert targets.events[known].tolist() == problem.training.counts[ranking.target[known]].tolist()
    assert ((targets.events > 0) == ranking.target_warm).all()
    for item, seconds in zip(targets.item, targets.duration, strict=True):
        assert seconds == durations[item] if item in durations else math.isnan(seconds)


def found(users, **more):
    return {(s.group, s.name): s for s in slices(users, **more)}


def test_target_slices_count_only_their_targets_among_all_candidates(users, ranked, durations):
    _, ranking = ranked
    targets, parts = Targets.of(users), found(users)
    long = [durations.get(i, math.nan) > 30 for i in targets.item]
    short = [durations.get(i, math.nan) <= 30 for i in targets.item]
    for key, keep in ((("clip duration", "> 30 s"), long), (("clip duration", "<= 30 s"), short)):
        np.testing.assert_allclose(parts[key].values, by_hand(ranking, lambda t, keep=keep: keep[t]), rtol=1e-12)
        assert parts[key].targets == sum(keep)
    assert (parts["clip duration", "> 30 s"].low, parts["clip duration", "<= 30 s"].high) == (45.0, 10.0)
    cold = by_hand(ranking, lambda t: not ranking.target_warm[t])
    np.testing.assert_allclose(parts["targets", "cold"].values, cold, rtol=1e-12)
    assert np.array_equal(parts["targets", "warm"].values, users["ndcg@10_warm"], equal_nan=True)


def test_popularity_quartiles_part_the_warm_targets(users, ranked):
    _, ranking = ranked
    events, parts = Targets.of(users).events, found(users)
    edges = [0, *(parts["item popularity", f"Q{q}"].high for q in (1, 2, 3, 4))]
    assert edges == sorted(edges)
    assert edges[-1] == events.max()
    for q in range(4):
        keep = (events > edges[q]) & (events <= edges[q + 1])
        part = parts["item popularity", f"Q{q + 1}"]
        np.testing.assert_allclose(part.values, by_hand(ranking, lambda t, keep=keep: keep[t]), rtol=1e-12)
        assert part.targets == keep.sum() > 0
    assert sum(parts["item popularity", f"Q{q}"].targets for q in (1, 2, 3, 4)) == (events > 0).sum()


def test_activity_quartiles_part_the_users_and_keep_their_values(users):
    parts = [part for part in slices(users) if part.group == "user activity"]
    assert [part.name for part in parts] == ["Q1", "Q2", "Q3", "Q4"]
    inside = np.array([~np.isnan(part.values) for part in parts])
    assert (inside.sum(axis=0) == 1).all()
    for part, mask in zip(parts, inside, strict=True):
        assert np.array_equal(part.values[mask], users["ndcg@10"][mask])
        assert users["n_history"][mask].between(part.low, part.high).all()
        assert part.targets == users["n_targets"][mask].sum()
        assert mask.mean() == pytest.approx(0.25, abs=0.15)


def test_what_is_not_known_is_no_slice(users):
    groups = {group for group, _ in found(users.drop(columns=["target_duration", "n_history"]))}
    assert groups == {"targets", "item popularity"}
    assert "audio" not in {group for group, _ in found(users)}


def test_audio_heavy_items_are_a_slice_where_somebody_says_which_they_are(users, ranked):
    _, ranking = ranked
    items = Targets.of(users).item
    said = {item: n % 2 == 0 for n, item in enumerate(sorted({i for i in items if i is not None})) if n % 7}
    parts = found(users, audio_heavy=said)
    for name, answer in (("heavy", True), ("not heavy", False)):
        keep = [item in said and said[item] is answer for item in items]
        np.testing.assert_allclose(parts["audio", name].values, by_hand(ranking, lambda t, keep=keep: keep[t]))
        assert parts["audio", name].targets == sum(keep) > 0
    without_ids = found(users.drop(columns=ITEM), audio_heavy=said)
    assert not {name for group, name in without_ids if group == "audio"}


def test_cold_among_cold_is_a_slice_and_absent_from_older_records(simulated):
    protocol = Rolling7d()  # candidates: released, so that cold ones are among them
    problem = protocol.problem(simulated, protocol.split(simulated)[1], "test")
    scores = np.random.default_rng(0).normal(size=(1000, len(problem.training.items)))

    class Noise:
        def score(self, users, histories):
            return scores[: len(users)]

    ranking = rank_users(Noise(), problem, 0)
    frame = with_targets(user_metrics(ranking), ranking, problem)
    part, column = found(frame)["targets", "cold among cold"], "ndcg@10_cold_among_cold"
    assert np.array_equal(part.values, frame[column], equal_nan=True) and np.nanmean(part.values) > 0
    assert np.nanmean(part.values) > frame["ndcg@10_cold"].mean()
    older = frame.drop(columns="target_rank_cold")
    assert ("targets", "cold among cold") not in found(older) and ("targets", "cold") in found(older)
    with pytest.raises(DataError, match="older than it"):
        Targets.of(older).values(column)


def test_records_without_ranks_are_refused(users):
    with pytest.raises(DataError, match="hold no rank per target"):
        slices(users.drop(columns="target_rank"))
    short = users.assign(n_targets=users["n_targets"] + 1)
    with pytest.raises(DataError, match="n_targets says"):
        Targets.of(short)


def test_lists_after_every_target_stay_apart():
    users, items = np.array(["u", "u", "v"], dtype=object), np.array(["a", "b"], dtype=object)
    zeros = np.zeros(2, dtype=np.int64)
    training = TrainingData(items, 2, users[1:], zeros, np.array([0, 1]), zeros, 1, zeros)
    task = RankingTask(users, [zeros] * 3, np.ones(2, dtype=bool), [zeros[:1]] * 3)
    ranking = Ranking(
        users=users,
        items=items,
        n_history=np.array([1, 2, 5]),
        candidates=task.candidates,
        target_user=np.arange(3),
        target=np.array([0, 1, 0]),
        target_warm=np.ones(3, dtype=bool),
        rank=np.array([1.0, 3.0, 3.0]),
        rank_warm=np.array([1.0, 3.0, 3.0]),
        rank_cold=np.full(3, np.inf),
        top=np.zeros((3, 1), dtype=np.int64),
        tied=np.zeros(3, dtype=bool),
    )
    frame = with_targets(user_metrics(ranking), ranking, Problem(training, task))
    targets = Targets.of(frame)
    assert targets.of_list.tolist() == [0, 1, 2]
    assert targets.user.tolist() == [0, 0, 1]
    # one list of two targets would have another ideal: (1 + 1/2) / (1 + 1/log2(3))
    assert targets.values("ndcg@10").tolist() == [0.75, 0.5]
    assert targets.values("ndcg@10", np.array([False, True, True])).tolist() == [0.5, 0.5]


def test_equal_numbers_stay_in_one_quartile():
    numbers = np.array([1, 1, 1, 1, 1, 1, 2, 9])
    parts = {name: mask.sum() for name, mask in quartiles(numbers, np.ones(8, dtype=bool)).items()}
    assert parts == {"Q1": 6, "Q2": 0, "Q3": 0, "Q4": 2}
    assert quartiles(numbers, np.zeros(8, dtype=bool)) == {}
