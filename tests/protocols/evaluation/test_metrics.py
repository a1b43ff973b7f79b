import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import UserError
from protocols.evaluation.fold_metrics import board_metrics, means, user_metrics, with_topk
from protocols.evaluation.metrics import FORMULAS, gini, hit_rate, ndcg, parse, recall, reciprocal_rank
from protocols.evaluation.ranking import Ranking, rank_users
from protocols.splitting.presets import Rolling7d


@pytest.fixture(scope="module")
def random_problems():
    """50 ranking problems: per user, scores with ties, a tie order and a set of targets."""
    rng = np.random.default_rng(0)
    out = []
    for _ in range(50):
        users, items = int(rng.integers(2, 12)), int(rng.integers(12, 60))
        scores = rng.integers(0, 8, (users, items)).astype(float)
        lists = [np.lexsort((rng.permutation(items), -row)) for row in scores]
        targets = [rng.choice(items, int(rng.integers(1, 14)) if items > 14 else 2, replace=False) for _ in lists]
        out.append((lists, targets))
    return out


def flatten(lists, targets):
    rank = np.concatenate(
        [[np.flatnonzero(ranked == t)[0] + 1.0 for t in mine] for ranked, mine in zip(lists, targets, strict=True)]
    )
    return rank, np.repeat(np.arange(len(lists)), [len(t) for t in targets])


def test_every_metric_is_recboles_metric_info_bit_for_bit(random_problems, monkeypatch):
    monkeypatch.setattr(np, "float", float, raising=False)
    from recbole.evaluator.metrics import MRR, NDCG, Hit, Recall

    theirs = {"hr": Hit, "ndcg": NDCG, "recall": Recall, "mrr": MRR}
    assert theirs.keys() == FORMULAS.keys()
    compared = 0
    for lists, targets in random_problems:
        rank, user = flatten(lists, targets)
        shuffled = np.random.default_rng(0).permutation(len(rank))  # targets come in no order of rank
        found = np.array([np.isin(ranked[:20], mine) for ranked, mine in zip(lists, targets, strict=True)])
        found = np.pad(found, ((0, 0), (0, 20 - found.shape[1])))
        length = np.array([len(t) for t in targets])
        for k in (1, 5, 10, 20):
            for name, formula in FORMULAS.items():
                metric = object.__new__(theirs[name])
                information = (found[:, :k], length) if name in ("ndcg", "recall") else (found[:, :k],)
                expected = metric.metric_info(*information)[:, -1].astype(np.float64)
                ours = formula(rank[shuffled], user[shuffled], len(lists), k)
                assert np.array_equal(ours, expected), (name, k)
                compared += len(ours)
    assert compared > 4000


def test_hr_and_ndcg_equal_ranx():
    """The fixture is written by make_ranx_oracle.py: 50 problems with ties, broken before ranx saw them."""
    names = {"hit_rate": hit_rate, "ndcg": ndcg, "recall": recall, "mrr": reciprocal_rank}
    content = json.loads(Path(__file__).with_name("ranx_oracle.json").read_text())
    assert len(content) == 50
    for problem in content:
        rank = np.array([float(r) for mine in problem["ranks"] for r in mine])
        user = np.repeat(np.arange(len(problem["ranks"])), [len(mine) for mine in problem["ranks"]])
        for metric in sorted(problem.keys() - {"ranks"}):
            name, k = metric.split("@")
            ours = names[name](rank, user, len(problem["ranks"]), int(k))
            assert np.abs(ours - problem[metric]).max() < 1e-9, metric


def test_hr_and_ndcg_equal_ir_measures(random_problems):
    import ir_measures
    from ir_measures import RR, Qrel, R, ScoredDoc, Success, nDCG

    measures = [nDCG @ 10, nDCG @ 20, Success @ 10, R @ 10, RR @ 10]
    compared = 0
    for lists, targets in random_problems:
        rank, user = flatten(lists, targets)
        n = len(lists)
        qrels = [Qrel(str(u), str(t), 1) for u, mine in enumerate(targets) for t in mine]
        run = [
            ScoredDoc(str(u), str(i), float(-place)) for u, ranked in enumerate(lists) for place, i in enumerate(ranked)
        ]
        ours = {
            "nDCG@10": ndcg(rank, user, n, 10),
            "nDCG@20": ndcg(rank, user, n, 20),
            "Success@10": hit_rate(rank, user, n, 10),
            "R@10": recall(rank, user, n, 10),
            "RR@10": reciprocal_rank(rank, user, n, 10),
        }
        for found in ir_measures.iter_calc(measures, qrels, run):
            assert abs(found.value - ours[str(found.measure)][int(found.query_id)]) < 1e-9
            compared += 1
    assert compared > 1000


def test_ndcg_of_known_ranks():
    rank, user = np.array([1.0, 3.0, math.inf, 11.0]), np.array([0, 0, 1, 2])
    ideal = 1 + 1 / math.log2(3)
    assert ndcg(rank, user, 3, 10).tolist() == [(1 + 0.5) / ideal, 0.0, 0.0]
    assert ndcg(rank, user, 3, 20)[2] == 1 / math.log2(12)


def test_names_of_metrics():
    assert parse("ndcg@10") == (ndcg, 10, "")
    assert parse("hr@7_warm") == (hit_rate, 7, "warm")
    assert parse("hr@7_cold_among_cold") == (hit_rate, 7, "cold_among_cold")
    for wrong in ("ndcg", "ndcg@0", "ndcg@ten", "map@10", "ndcg@10_lukewarm", "ndcg@10 "):
        with pytest.raises(UserError, match="unknown metric"):
            parse(wrong)


def test_a_user_who_is_ranked_after_every_target_counts_once():
    ranking = Ranking(
        users=np.array(["u", "u", "u", "v"], dtype=object),
        items=np.array(["a", "b", "c"], dtype=object),
        n_history=np.array([4, 5, 6, 9]),
        candidates=np.ones(3, dtype=bool),
        target_user=np.arange(4),
        target=np.array([0, 1, 2, 2]),
        target_warm=np.array([True, True, False, False]),
        rank=np.array([1.0, 30.0, 3.0, 1.0]),
        rank_warm=np.array([1.0, 30.0, np.inf, np.inf]),
        rank_cold=np.array([np.inf, np.inf, 1.0, 1.0]),
        top=np.array([[0], [1], [2], [2]]),
        tied=np.zeros(4, dtype=bool),
    )
    users = with_topk(user_metrics(ranking), ranking).set_index("user_id")
    assert users.index.tolist() == ["u", "v"]
    assert users.loc["u", ["n_targets", "n_warm", "n_cold", "n_lists", "n_history"]].tolist() == [3, 2, 1, 3, 4]
    assert users.loc["u", "hr@10"] == pytest.approx(2 / 3)
    assert users.loc["u", "ndcg@10"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert users.loc["u", "ndcg@10_warm"] == 0.5
    assert users.loc["u", "ndcg@10_cold"] == 0.5
    assert users.loc["u", "ndcg@10_cold_among_cold"] == 1.0
    assert users.loc["v", "ndcg@10"] == 1.0
    assert math.isnan(users.loc["v", "hr@10_warm"])
    assert users.loc["u", "top"] == ["a"]


@pytest.fixture(scope="module")
def ranked(simulated):
    protocol = Rolling7d()
    problem = protocol.problem(simulated, protocol.split(simulated)[1], "test")

    class Popular:
        def score(self, users, histories):
            return np.tile(problem.training.counts.astype(np.float32), (len(users), 1))

    return problem, rank_users(Popular(), problem, 0)


def test_the_frame_of_users(ranked):
    problem, ranking = ranked
    users = user_metrics(ranking)
    assert users["user_id"].tolist() == problem.task.users.tolist()
    assert users["n_targets"].tolist() == [len(t) for t in problem.task.targets]
    assert users["n_history"].tolist() == [len(h) for h in problem.task.histories]
    assert (users["n_warm"] + users["n_cold"] == users["n_targets"]).all()
    assert users["ndcg@10"].between(0, 1).all()
    for suffix, n in (("_warm", "n_warm"), ("_cold", "n_cold"), ("_cold_among_cold", "n_cold")):
        for column in ("hr@10", "ndcg@10", "recall@20", "mrr@20"):
            assert (users[column + suffix].isna() == (users[n] == 0)).all()
    # without the cold candidates in the way a warm target cannot rank worse
    both = users[users["n_cold"] == 0]
    assert (both["ndcg@10_warm"] >= both["ndcg@10"]).all()
    assert 0 < users["hr@10"].mean() < 1


def test_the_warm_column_leaves_cold_candidates_out(ranked):
    problem, _ = ranked

    class ColdFirst:
        def score(self, users, histories):
            return np.tile(1.0 - problem.training.warm.astype(np.float32), (len(users), 1))

    users = user_metrics(rank_users(ColdFirst(), problem, 0))
    assert (~problem.training.warm & problem.task.candidates).sum() >= 1
    assert means(users)["hr@20_cold"] == 1.0
    assert (
        means(users)["mrr@10_warm"]
        > means(users.assign(**{"mrr@10": users["mrr@10"].where(users["n_cold"] == 0)}))["mrr@10"]
    )


class Drawn:
    """Random scores; those of cold items are shifted."""

    def __init__(self, problem, seed=0, shift=0.0):
        scores = np.random.default_rng(seed).normal(size=(len(problem.task.users), len(problem.training.items)))
        scores[:, problem.training.n_warm :] += shift
        self.scores = dict(zip(problem.task.users, scores.astype(np.float32), strict=True))

    def score(self, users, histories):
        return np.stack([self.scores[user] for user in users])


@given(st.integers(0, 999), st.sampled_from([-50.0, 0.0, 50.0]))
def test_cold_among_cold_does_not_depend_on_how_cold_items_stand_to_warm_ones(ranked, seed, shift):
    problem, _ = ranked
    shifted, plain = (rank_users(Drawn(problem, seed, by), problem, 0) for by in (shift, 0.0))
    assert np.array_equal(shifted.rank_cold, plain.rank_cold)
    cold = ~plain.target_warm
    assert (plain.rank_cold[cold] <= plain.rank[cold]).all() and not np.isfinite(plain.rank_cold[~cold]).any()
    if shift > 0:  # nothing stands before them
        assert np.array_equal(shifted.rank[cold], plain.rank_cold[cold])


def test_a_random_scorer_is_worth_what_the_formula_says(ranked):
    problem, _ = ranked
    task, n_warm, k = problem.task, problem.training.n_warm, 10
    expected = {"hr": [], "ndcg": []}
    discount = 1 / np.log2(np.arange(2, k + 2))
    for targets, seen in zip(task.targets, task.masked, strict=True):
        c = int(task.candidates[n_warm:].sum() - np.isin(np.flatnonzero(task.candidates), seen[seen >= n_warm]).sum())
        m = int((targets >= n_warm).sum())
        if m:
            expected["hr"].append(1 - math.comb(c - m, k) / math.comb(c, k))
            expected["ndcg"].append(m / c * discount[: min(k, c)].sum() / discount[: min(m, k)].sum())
    drawn = pd.DataFrame([means(user_metrics(rank_users(Drawn(problem, seed), problem, 0))) for seed in range(300)])
    for name, values in expected.items():
        found = drawn[f"{name}@{k}_cold_among_cold"]
        assert found.mean() == pytest.approx(np.mean(values), abs=4 * found.std() / 300**0.5 + 1e-9)


def test_means_leave_out_users_without_such_targets(ranked):
    users = user_metrics(ranked[1])
    found = means(users)
    assert found["ndcg@10_cold"] == pytest.approx(users.loc[users["n_cold"] > 0, "ndcg@10_cold"].mean())
    assert found["n_users_cold"] == (users["n_cold"] > 0).sum()
    assert found["n_targets_cold"] == users["n_cold"].sum()
    assert found["targets_per_user_median"] == users["n_targets"].median()


def test_board_metrics_by_hand(ranked):
    problem, ranking = ranked
    top = [row[:10] for row in ranking.top]
    shown = [i for row in top for i in row]
    found = board_metrics(ranking, problem)
    assert found["coverage@10"] == len(set(shown)) / problem.task.candidates.sum()
    counts = problem.training.counts
    assert found["popularity@10"] == pytest.approx(np.mean([counts[i] for i in shown]))
    p = [(counts[i] + 1) / (counts.sum() + len(counts)) for i in shown]
    assert found["novelty@10"] == pytest.approx(np.mean(-np.log2(p)))
    times = [shown.count(i) for i in np.flatnonzero(problem.task.candidates)]
    pairs = np.abs(np.subtract.outer(times, times)).mean()
    assert found["gini@10"] == pytest.approx(pairs / (2 * np.mean(times)))
    assert found["tie_share"] == ranking.tie_share


def test_gini_of_nothing_is_not_a_number():
    assert math.isnan(gini([0, 0]))


def test_lists_are_kept_as_raw_ids(ranked):
    problem, ranking = ranked
    frame = with_topk(user_metrics(ranking), ranking)
    assert frame["top"][0][0] == problem.training.items[ranking.top[0, 0]]
    assert len(frame["top"][0]) == min(20, (problem.task.candidates.sum() - len(set(problem.task.histories[0]))))
