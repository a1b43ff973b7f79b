"""MicroLens' leave-one-out, against a reading of its rules user by user."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.audit import leak_audit
from protocols.dataset import Dataset
from protocols.errors import DataError, UserError
from protocols.evaluation.fold_metrics import means, user_metrics
from protocols.evaluation.ranking import rank_users
from protocols.splitting.leave_one_out import MicroLensLoo
from recommenders.base import FitRequest
from recommenders.pop import Pop, PopScorer


def dataset(sequences, timed=False):
    rows = [(u, i, place) for u, items in sequences.items() for place, i in enumerate(items)]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return Dataset.build("order", "1", log, pd.DataFrame(index=log["item_id"].unique()), timed=timed)


def by_hand(sequences, cut):
    """Per user: fitted items, and (shown, seen, target) of both stages; and the kept items."""
    kept = {u: s if cut is None else s[-cut:] for u, s in sequences.items() if len(s) >= 5}
    stages = {
        "validation": {u: (s[:-2][-10:], s[:-2], s[-2]) for u, s in kept.items()},
        "test": {u: (s[:-1][-10:], s[:-1], s[-1]) for u, s in kept.items()},
    }
    return {u: s[:-2] for u, s in kept.items()}, stages, {i for s in kept.values() for i in s}


users = st.dictionaries(
    st.sampled_from([f"u{n}" for n in range(8)]),
    st.lists(st.integers(0, 30).map(str), max_size=20, unique=True),
    min_size=1,
).filter(lambda found: any(len(s) >= 5 for s in found.values()))


@settings(max_examples=200)
@given(users, st.sampled_from([3, 5, 13, None]))
def test_every_user_is_split_as_the_rules_say(sequences, cut):
    protocol, data = MicroLensLoo(cut=cut), dataset(sequences)
    (fold,) = protocol.split(data)
    fitted, stages, kept = by_hand(sequences, cut)
    for stage, expected in stages.items():
        problem = protocol.problem(data, fold, stage)
        training, task = problem.training, problem.task
        names = training.items
        assert {u: names[s].tolist() for u, s in zip(training.users, training.sequences, strict=True)} == fitted
        assert set(names) == kept and task.candidates.all()
        assert set(names[: training.n_warm]) == {i for s in fitted.values() for i in s}
        found = {
            u: (names[h].tolist(), names[s].tolist(), names[t].tolist())
            for u, h, s, t in zip(task.users, task.histories, task.masked, task.targets, strict=True)
        }
        assert found == {u: (h, s, [t]) for u, (h, s, t) in expected.items()}
    rows = sum(map(len, sequences.values()))
    assert fold.info["interactions"] + sum(fold.info["dropped"].values()) == rows


@pytest.mark.parametrize("stage", ["validation", "test"])
def test_drawn_users_have_the_task_that_they_have_among_all_and_everybody_is_fitted_on(stage):
    data = dataset({f"u{n}": [f"i{(n + place) % 9}" for place in range(7)] for n in range(8)})
    whole, part = MicroLensLoo(), MicroLensLoo(rank_users=3)
    (all_of_it,), (fold,) = whole.split(data), part.split(data)
    full, sample = whole.problem(data, all_of_it, stage), part.problem(data, fold, stage)
    kept = np.isin(full.task.users, sample.task.users)
    assert kept.sum() == len(sample.task.users) == 3
    for name in ("histories", "targets", "masked"):
        mine = [one for one, ranked in zip(getattr(full.task, name), kept, strict=True) if ranked]
        assert [one.tolist() for one in mine] == [one.tolist() for one in getattr(sample.task, name)]
    assert sample.training.users.tolist() == full.training.users.tolist()
    verdicts = leak_audit.audit(data, fold, sample, stage)
    assert [one["check"] for one in verdicts if not one["ok"] and not one["by_construction"]] == []
    assert (fold.info["users"], fold.info["targets"], fold.info["drawn_from"]) == (3, 3, 8)
    assert fold.info["dropped"]["not_drawn"] == 5 and fold.info["cold_targets"] <= 3


def test_the_number_of_ranked_users_is_in_the_fingerprint_only_where_it_is_asked_for():
    data = dataset({f"u{n}": [f"i{(n + place) % 9}" for place in range(7)] for n in range(8)})
    known = {"dataset": data.fingerprint, "protocol": "microlens-loo", "version": 1, "cut": 13}
    assert MicroLensLoo().identity(data) == known
    assert MicroLensLoo(rank_users=3).identity(data) == known | {"rank_users": 3}
    (fold,), (more,) = MicroLensLoo().split(data), MicroLensLoo(rank_users=99).split(data)
    assert fold.info["users"] == more.info["users"] == 8 and "drawn_from" not in more.info
    assert "rank_users" not in fold.info["knobs"] and "not_drawn" not in fold.info["dropped"]
    with pytest.raises(UserError, match="rank_users=-1"):
        MicroLensLoo(rank_users=-1)


def test_repeats_count_once_and_times_order_the_sequences():
    data = dataset({"ann": ["a", "b", "a", "c", "d", "e"]}, timed=True)
    (fold,) = MicroLensLoo().split(data)
    task = MicroLensLoo().problem(data, fold, "test")
    assert [task.training.items[s].tolist() for s in task.training.sequences] == [["a", "b", "c"]]
    assert fold.info["dropped"] == {"repeat": 1, "short_history": 0, "cut": 0} and fold.info["order"] == "time"


def test_the_cut_is_in_the_fingerprint_and_bad_ones_are_refused():
    data = dataset({"ann": list("abcdefgh")})
    assert MicroLensLoo().fingerprint(data) != MicroLensLoo(cut=None).fingerprint(data)
    assert MicroLensLoo.from_options({"cut": "none"}) == MicroLensLoo(cut=None)
    with pytest.raises(UserError, match=r"microlens-loo\.cut=2"):
        MicroLensLoo(cut=2)
    with pytest.raises(DataError, match="longest sequence has 4"):
        MicroLensLoo().split(dataset({"ann": list("abcd")}))


@pytest.mark.slow
@pytest.mark.skipif("BENCH_MICROLENS" not in os.environ, reason="BENCH_MICROLENS names no folder with MicroLens-50k")
def test_popularity_on_the_real_data():
    """Values known from an independent computation that listed equally popular items by their number.

    With the cut no tie matters; without it, our hash of the item id puts another of two tied items into the top ten.
    """
    lines = (Path(os.environ["BENCH_MICROLENS"]) / "MicroLens-50k_pairs.tsv").read_text().splitlines()
    data = dataset({user: items.split(" ") for user, items in (line.split("\t") for line in lines)})
    for cut, known, by_hash in (
        (13, (0.00284, 0.00146), (0.00284, 0.00146)),
        (None, (0.00244, 0.00125), (0.0025, 0.00127)),
    ):
        protocol = MicroLensLoo(cut=cut)
        problem = protocol.problem(data, protocol.split(data)[0], "test")
        scorer = Pop().fit(FitRequest(problem.training)).scorer
        number = problem.training.items.astype(np.int64)
        assert number.max() < 2**15 and scorer.scores.max() < 2**9  # exact in float32 together
        numbered = PopScorer((scorer.shared * 2**15 - number).astype(np.float32))
        for scores, expected in ((numbered, known), (scorer, by_hash)):
            found = means(user_metrics(rank_users(scores, problem, 0)))
            assert (round(found["hr@10"], 5), round(found["ndcg@10"], 5)) == expected
