import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from protocols.errors import BenchError
from protocols.evaluation.resampling import bootstrap
from protocols.evaluation.significance_tests import benjamini_hochberg, holm, sign_flip_test, t_test
from protocols.evaluation.statistics import Panel, board_mean, compare, interval, seed_sd


def frame(cells):
    """Frame of {(seed, fold): {user: value}}."""
    rows = [(s, f, u, v) for (s, f), users in cells.items() for u, v in users.items()]
    return pd.DataFrame(rows, columns=["seed", "fold", "user_id", "value"])


def simulate(rng, users, folds=4, seeds=1, share=0.6, effect=0.0, taste=0.1, noise=0.1, member=None):
    """Two rows of a board: a user's advantage of a over b is the same in all folds, with mean `effect`."""
    member = rng.random((folds, users)) < share if member is None else member
    member[rng.integers(folds, size=users), np.arange(users)] = True
    advantage = rng.normal(effect, taste, users)
    rows = []
    for s in range(seeds):
        for f in range(folds):
            who = np.flatnonzero(member[f])
            base = rng.normal(0.3, noise, len(who))
            rows.append(
                pd.DataFrame(
                    {
                        "seed": s,
                        "fold": f,
                        "user_id": who,
                        "b": base,
                        "a": base + advantage[who] + rng.normal(0, noise, len(who)),
                    }
                )
            )
    both = pd.concat(rows, ignore_index=True)
    key = both[["seed", "fold", "user_id"]]
    return key.assign(value=both["a"]), key.assign(value=both["b"])


UNEVEN = frame(
    {
        (1, 0): {"u": 1.0, "v": 0.0, "w": 0.5},
        (1, 1): {"u": 0.0},
        (2, 0): {"u": 1.0, "v": 1.0, "w": 1.0},
        (2, 1): {"u": 0.5},
    }
)


def test_the_board_averages_users_then_folds_then_seeds():
    assert board_mean(UNEVEN) == pytest.approx(((0.5 + 0.0) / 2 + (1.0 + 0.5) / 2) / 2)
    assert seed_sd(UNEVEN) == pytest.approx(np.std([0.25, 0.75], ddof=1))
    assert math.isnan(seed_sd(UNEVEN[UNEVEN["seed"] == 1]))


def test_users_without_a_value_do_not_count():
    holes = pd.concat([UNEVEN, frame({(1, 1): {"v": np.nan}, (2, 1): {"v": np.nan}})])
    assert board_mean(holes) == board_mean(UNEVEN)
    assert interval(holes) == interval(UNEVEN)
    assert all(math.isnan(x) for x in interval(UNEVEN.assign(value=np.nan)))


def test_the_interval_is_that_of_a_bootstrap_by_hand():
    a, _ = simulate(np.random.default_rng(3), 80, seeds=2)
    low, high = interval(a, resamples=2000)
    rng, users, by_user = np.random.default_rng(9), a["user_id"].unique(), dict(list(a.groupby("user_id")))
    values = [board_mean(pd.concat([by_user[u] for u in rng.choice(users, len(users))])) for _ in range(400)]
    spread = np.subtract(*np.quantile(values, [0.975, 0.025]))
    assert high - low == pytest.approx(spread, rel=0.15)
    assert low < board_mean(a) < high
    # neither the draws nor the values depend on the order in which records were written
    assert interval(a) == pytest.approx(interval(a.sample(frac=1, random_state=0)), rel=1e-12)


def test_intervals_keep_a_users_folds_together():
    rng = np.random.default_rng(0)
    value = rng.normal(size=300)
    same = frame({(1, f): dict(enumerate(value)) for f in range(4)})
    apart = frame({(1, f): {(f, u): v for u, v in enumerate(rng.permutation(value))} for f in range(4)})
    width = [np.subtract(*interval(x)[::-1]) for x in (same, apart)]
    assert width[0] == pytest.approx(2 * width[1], rel=0.15)  # repeating a fold four times adds nothing


def test_blocks_of_resamples_change_nothing_but_memory(monkeypatch):
    a, _ = simulate(np.random.default_rng(1), 50)
    one = interval(a, resamples=4000)
    monkeypatch.setattr("protocols.evaluation.resampling._BLOCK", 1000)
    assert interval(a, resamples=4000) == pytest.approx(one, rel=0.02)


def test_the_effect_is_the_difference_of_the_board_values():
    a, b = simulate(np.random.default_rng(0), 40, seeds=3, share=0.3)
    assert compare(a, b).effect == pytest.approx(board_mean(a) - board_mean(b))
    assert compare(a, b).relative == pytest.approx(board_mean(a) / board_mean(b) - 1)
    assert compare(b, a).effect == pytest.approx(-compare(a, b).effect)


def test_rows_on_different_users_are_refused():
    a, b = simulate(np.random.default_rng(0), 20)
    with pytest.raises(BenchError, match="not evaluated on the same users"):
        compare(a, b.iloc[1:])
    two = pd.concat([b, b.assign(seed=1).iloc[1:]])
    with pytest.raises(BenchError, match="once for each of 2 seeds"):
        compare(a, two)


def test_the_t_test_is_scipys():
    rng = np.random.default_rng(0)
    for n in (2, 10, 500):
        d = rng.normal(0.1, 1, n)
        assert t_test(d) == pytest.approx(stats.ttest_1samp(d, 0).pvalue, rel=1e-9)
    assert t_test(np.zeros(5)) == 1.0
    assert math.isnan(t_test(np.ones(1)))


def test_sign_flips_agree_with_all_flips():
    d = np.array([0.3, -0.1, 0.4, 0.2, 0.0, 0.25, 0.1, -0.05, 0.3])
    exact = stats.permutation_test((d,), lambda x: x.sum(), permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_test(d, permutations=20_000) == pytest.approx(exact, abs=0.006)
    assert sign_flip_test(-d) == sign_flip_test(d)
    assert sign_flip_test(np.zeros(4)) == 1.0
    assert sign_flip_test(np.full(200, 0.1), permutations=999) == 1 / 1000


def test_a_planted_effect_is_found_and_covered():
    a, b = simulate(np.random.default_rng(0), 400, seeds=3, effect=0.03)
    found = compare(a, b)
    assert found.low < 0.03 < found.high
    assert found.low > 0
    assert found.p_t < 0.001
    assert found.p_permutation < 0.001
    assert found.significant() is True
    assert found.n_users == 400
    assert found.detectable < 0.03


def test_no_mark_under_three_seeds():
    a, b = simulate(np.random.default_rng(0), 400, seeds=2, effect=0.03)
    assert compare(a, b).significant() is None
    three, _ = simulate(np.random.default_rng(0), 400, seeds=3, effect=0.03)
    once = three[three["seed"] == 0].assign(value=0.3)
    assert compare(three, once).significant() is None
    assert compare(three, once, seeded=(True, False)).significant() is True
    assert compare(three, once, seeded=(True, False)).significant(p=0.2) is False


def test_intervals_of_no_effect_cover_it():
    rng, missed, runs = np.random.default_rng(7), 0, 100
    for number in range(runs):
        a, b = simulate(rng, 120, taste=0.15, noise=0.05)
        found = compare(a, b, resamples=300, permutations=1, seed=number)
        missed += not found.low <= 0 <= found.high
    assert stats.binom.ppf(0.001, runs, 0.05) <= missed <= stats.binom.ppf(0.999, runs, 0.05) + 3  # a little short


def test_detectable_is_the_difference_found_four_times_in_five():
    rng = np.random.default_rng(1)
    effect = compare(*simulate(rng, 200), resamples=10, permutations=10).detectable
    found = sum(compare(*simulate(rng, 200, effect=effect), resamples=1, permutations=1).p_t < 0.05 for _ in range(150))
    assert found / 150 == pytest.approx(0.8, abs=0.12)


def test_a_comparison_is_underpowered_where_a_tenth_of_the_baseline_could_be_missed():
    rng = np.random.default_rng(0)
    small, large = (compare(*simulate(rng, n, noise=0.02)) for n in (60, 6000))
    assert small.underpowered
    assert small.smallest_fold < 60
    assert not large.underpowered
    assert large.detectable < 0.1 * large.mean_b


def test_a_panel_gives_what_two_rows_alone_give():
    rng = np.random.default_rng(0)
    member = rng.random((4, 60)) < 0.7
    a, b = simulate(rng, 60, seeds=3, member=member)
    c = b.assign(value=b["value"] + rng.normal(0.01, 0.1, len(b)))
    panel = Panel([a, b, c], seeded=[True, True, False])
    for x, y, frames in ((0, 1, (a, b)), (2, 1, (c, b)), (1, 0, (b, a))):
        together, alone = panel.compare(x, y), compare(*frames)
        assert (together.low, together.high) == pytest.approx((alone.low, alone.high), rel=1e-9)
        assert together.p_permutation == alone.p_permutation
        assert together.mean_a - together.mean_b == pytest.approx(together.effect)
    # the interval of a difference is that of the differences, users drawn together
    keys = ["seed", "fold", "user_id"]
    differences = (a.set_index(keys)["value"] - b.set_index(keys)["value"]).reset_index()
    assert (panel.compare(0, 1).low, panel.compare(0, 1).high) == pytest.approx(interval(differences), rel=1e-9)
    assert panel.interval(0) == pytest.approx(interval(a), rel=1e-9)
    with pytest.raises(BenchError, match="not evaluated on the same users"):
        Panel([a, b, c[c["user_id"] != 3]])


def test_rows_with_other_users_share_no_draws():
    with pytest.raises(BenchError, match="different users"):
        bootstrap([frame({(1, 0): {"u": 1.0}}), frame({(1, 0): {"v": 1.0}})])


def test_corrections_are_those_of_scipy_and_statsmodels():
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for n in (1, 2, 30, 91):
        p = rng.random(n) ** 3
        p[: n // 3] = p[0]  # ties
        np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p), rtol=1e-12)
        np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], rtol=1e-12)
        np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)


def test_holm_steps_down():
    rng = np.random.default_rng(0)
    for n in (1, 2, 30):
        p = rng.random(n) ** 3
        found = holm(p)
        for alpha in np.linspace(0.001, 0.999, 60):  # Holm's procedure as it is written
            rejected, order = set(), np.argsort(p)
            for step, at in enumerate(order):
                if p[at] > alpha / (n - step):
                    break
                rejected.add(at)
            assert set(np.flatnonzero(found <= alpha)) == rejected
    assert holm([]).tolist() == []


def test_comparisons_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    frames = []
    for shift in (0.0, 0.01):
        rows = [(s, f, f"u{u}", float(rng.random() < 0.3) * rng.random() + shift) for s in (1, 2, 3) for f in (0, 1)
                for u in range(80)]  # fmt: skip
        frames.append(pd.DataFrame(rows, columns=["seed", "fold", "user_id", "value"]))
    mixed = [frame.sample(frac=1.0, random_state=7 + at) for at, frame in enumerate(frames)]
    first, second = compare(*frames), compare(*mixed)
    assert first.p_permutation == second.p_permutation
    assert (first.effect, first.low, first.high) == pytest.approx((second.effect, second.low, second.high), abs=1e-12)


def test_rounding_is_no_difference():
    d = np.random.default_rng(1).normal(0.1, 1, 60)
    noisy = np.concatenate([d, np.full(40, 1e-16)])
    assert sign_flip_test(noisy) == sign_flip_test(np.concatenate([d, np.zeros(40)])) == sign_flip_test(d)
