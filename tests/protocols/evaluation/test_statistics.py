import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from protocols.errors import BenchError
from protocols.evaluation.resampling import pigeonhole_bootstrap, rank_intervals
from protocols.evaluation.row_values import RowValues
from protocols.evaluation.significance_tests import benjamini_hochberg, crossed_mean, holm, mean_squares
from protocols.evaluation.statistics import MIN_SEEDS, Panel, board_mean, compare, interval, seed_sd


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
    assert RowValues.of(UNEVEN).seed_means == pytest.approx([0.25, 0.75])
    assert seed_sd(UNEVEN) == pytest.approx(np.std([0.25, 0.75], ddof=1))
    assert math.isnan(seed_sd(UNEVEN[UNEVEN["seed"] == 1]))


def test_users_without_a_value_do_not_count():
    holes = pd.concat([UNEVEN, frame({(1, 1): {"v": np.nan}, (2, 1): {"v": np.nan}})])
    assert board_mean(holes) == board_mean(UNEVEN)
    assert interval(holes) == interval(UNEVEN)
    assert all(math.isnan(x) for x in interval(UNEVEN.assign(value=np.nan)))


def layout(rng, users, seeds, of_users=1.0, of_seeds=1.0, rest=1.0):
    """Crossed users and seeds, [users, seeds], with these standard deviations."""
    return (
        rng.normal(0, of_users, (users, 1)) + rng.normal(0, of_seeds, (1, seeds)) + rng.normal(0, rest, (users, seeds))
    )


def test_mean_squares_are_those_of_statsmodels():
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    values = layout(np.random.default_rng(0), 12, 5)
    user, seed = np.indices(values.shape)
    tidy = pd.DataFrame({"value": values.ravel(), "user": user.ravel(), "seed": seed.ravel()})
    table = anova_lm(ols("value ~ C(user) + C(seed)", tidy).fit())
    assert tuple(mean_squares(values)) == pytest.approx(table["mean_sq"].to_list(), rel=1e-9)


def test_the_variance_of_the_mean_is_that_of_a_mixed_model():
    from statsmodels.regression.mixed_linear_model import MixedLM

    values = layout(np.random.default_rng(1), 30, 8, of_seeds=0.7)
    user, seed = np.indices(values.shape)
    tidy = pd.DataFrame({"value": values.ravel(), "user": user.ravel(), "seed": seed.ravel()})
    crossed = {"user": "0 + C(user)", "seed": "0 + C(seed)"}
    model = MixedLM.from_formula("value ~ 1", groups=np.ones(len(tidy)), vc_formula=crossed, data=tidy)
    assert crossed_mean([values]).se == pytest.approx(model.fit(reml=True).bse_fe.iloc[0], rel=1e-3)


@pytest.mark.parametrize("sides", [1, 2])
def test_the_variance_of_the_mean_is_right_on_average(sides):
    rng = np.random.default_rng(2)
    found = [crossed_mean([layout(rng, 40, 6, 1.0, 0.5, 2.0) for _ in range(sides)]) for _ in range(2000)]
    truth = sides * (1 / 40 + 0.25 / 6 + 4 / 240)
    assert np.mean([one.se**2 for one in found]) == pytest.approx(truth, rel=0.04)
    assert np.var([one.value for one in found]) == pytest.approx(truth, rel=0.12)


def test_degrees_of_freedom_lie_between_those_of_seeds_and_of_users():
    rng = np.random.default_rng(3)
    assert crossed_mean([layout(rng, 200, 5, 0.1, 5.0, 0.1)]).df == pytest.approx(4, rel=0.01)
    assert crossed_mean([layout(rng, 200, 5, 5.0, 0.0, 0.1)]).df == pytest.approx(199, rel=0.05)
    # two rows with seeds of their own have twice the seeds to go by
    assert 4 < crossed_mean([layout(rng, 200, 5, 0.1, 5.0, 0.1) for _ in range(2)]).df < 8.1
    # what is negative is cut: no estimate falls below that of one source alone
    for values in (layout(rng, 20, 5, *spread) for spread in [(0, 1, 1), (1, 0, 1), (0, 0, 1)] * 50):
        squares = mean_squares(values)
        assert crossed_mean([values]).se ** 2 >= max(squares) / values.size * (1 - 1e-12)


def test_without_seeds_it_is_the_t_test_of_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 10, 500):
        d = rng.normal(0.1, 1, (n, 1))
        by_scipy = stats.ttest_1samp(d[:, 0], 0)
        assert crossed_mean([d]).p == pytest.approx(by_scipy.pvalue, rel=1e-9)
        assert crossed_mean([d]).interval() == pytest.approx(by_scipy.confidence_interval(), rel=1e-9)
        assert crossed_mean([d]).df == pytest.approx(n - 1)
    many = layout(rng, 50, 5)
    assert crossed_mean([many], over_seeds=False).p == pytest.approx(stats.ttest_1samp(many.mean(axis=1), 0).pvalue)


def test_differences_without_spread():
    assert crossed_mean([np.zeros((5, 5))]).p == 1.0
    assert crossed_mean([np.full((5, 5), 1e-18), np.full((5, 3), 1.0), np.full((5, 3), -1.0)]).p == 1.0
    assert crossed_mean([np.full((5, 5), 0.1)]).p < 1e-12
    assert math.isnan(crossed_mean([np.ones((1, 5))]).p)
    assert math.isnan(crossed_mean([np.ones((0, 5))]).value)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6), st.booleans())
@settings(max_examples=15)
def test_the_effect_is_the_difference_of_the_board_values(number, folds, seeds, other_seeds):
    rng = np.random.default_rng(number)
    a, b = simulate(rng, 25, folds=folds, seeds=seeds, share=0.4)
    b = b.assign(seed=b["seed"] + 100) if other_seeds else b
    found = compare(a, b)
    assert found.effect == pytest.approx(board_mean(a) - board_mean(b), abs=1e-12)
    assert found.relative == pytest.approx(board_mean(a) / board_mean(b) - 1)
    assert (found.mean_a, found.mean_b) == pytest.approx((board_mean(a), board_mean(b)), abs=1e-12)
    back = compare(b, a)
    assert (back.effect, back.low, back.high) == pytest.approx((-found.effect, -found.high, -found.low))
    # nothing depends on the order in which records were written
    mixed = compare(a.sample(frac=1, random_state=1), b.sample(frac=1, random_state=2))
    assert (mixed.effect, mixed.low, mixed.high) == pytest.approx((found.effect, found.low, found.high), abs=1e-12)
    low, high = interval(a)
    assert (low + high) / 2 == pytest.approx(board_mean(a), abs=1e-12)


def test_the_interval_is_that_of_a_bootstrap_over_users_by_hand():
    a, _ = simulate(np.random.default_rng(3), 80, seeds=2)
    low, high = interval(a)
    rng, users, by_user = np.random.default_rng(9), a["user_id"].unique(), dict(list(a.groupby("user_id")))
    drawn = [[by_user[u].assign(user_id=at) for at, u in enumerate(rng.choice(users, len(users)))] for _ in range(200)]
    values = [board_mean(pd.concat(one)) for one in drawn]
    assert high - low == pytest.approx(np.subtract(*np.quantile(values, [0.975, 0.025])), rel=0.15)


def test_intervals_keep_a_users_folds_together():
    rng = np.random.default_rng(0)
    value = rng.normal(size=300)
    same = frame({(1, f): dict(enumerate(value)) for f in range(4)})
    apart = frame({(1, f): {(f, u): v for u, v in enumerate(rng.permutation(value))} for f in range(4)})
    width = [np.subtract(*interval(x)[::-1]) for x in (same, apart)]
    assert width[0] == pytest.approx(2 * width[1], rel=0.05)  # repeating a fold four times adds nothing


def test_luck_of_the_seeds_widens_intervals():
    rng = np.random.default_rng(5)
    a, b = simulate(rng, 300, seeds=MIN_SEEDS, taste=0.01)
    lucky = a.assign(value=a["value"] + a["seed"].map(dict(enumerate(rng.normal(0, 0.05, MIN_SEEDS)))))
    calm, shaken = compare(a, b), compare(lucky, b)
    assert shaken.high - shaken.low > 5 * (calm.high - calm.low)
    assert np.subtract(*interval(lucky)[::-1]) > 2 * np.subtract(*interval(a)[::-1])
    assert shaken.df == pytest.approx(MIN_SEEDS - 1, rel=0.05)
    assert shaken.detectable > 5 * calm.detectable
    # over users alone, these seeds differ
    assert compare(lucky, b, seeded=(False, False)).df > 100


def test_seeds_are_paired_where_both_rows_have_them():
    rng = np.random.default_rng(6)
    a, b = simulate(rng, 300, seeds=MIN_SEEDS, effect=0.01, taste=0.01)
    luck = dict(enumerate(rng.normal(0, 0.05, MIN_SEEDS)))
    both = [x.assign(value=x["value"] + x["seed"].map(luck)) for x in (a, b)]
    shared, calm = compare(*both), compare(a, b)
    assert (shared.low, shared.high, shared.p) == pytest.approx((calm.low, calm.high, calm.p))
    apart = compare(both[0], both[1].assign(seed=both[1]["seed"] + 50))
    assert apart.high - apart.low > 3 * (shared.high - shared.low)
    # a row without seeds is the same under each seed of the other
    once = b[b["seed"] == 0].assign(value=0.3)
    every = pd.concat([once.assign(seed=seed) for seed in range(MIN_SEEDS)])
    one, many = compare(a, once, seeded=(True, False)), compare(a, every)
    assert (one.effect, one.low, one.high, one.p) == pytest.approx((many.effect, many.low, many.high, many.p))


def test_rows_on_different_users_are_refused():
    a, b = simulate(np.random.default_rng(0), 20)
    with pytest.raises(BenchError, match="not evaluated on the same users"):
        compare(a, b.iloc[1:])
    for two in (pd.concat([b, b.assign(seed=1).iloc[1:]]), pd.concat([b, b.assign(seed=1), b.iloc[:1]])):
        with pytest.raises(BenchError, match="once for each of 2 seeds"):
            compare(a, two)


def test_a_planted_effect_is_found_and_covered():
    a, b = simulate(np.random.default_rng(0), 400, seeds=5, effect=0.03)
    found = compare(a, b)
    assert found.low < 0.03 < found.high
    assert found.low > 0
    assert found.p < 0.001
    assert found.significant() is True
    assert found.n_users == 400
    assert found.detectable < 0.03


@pytest.mark.parametrize("seeds", [1, 4])
def test_no_p_and_no_mark_under_five_seeds(seeds):
    few, b = simulate(np.random.default_rng(0), 400, seeds=seeds, effect=0.03)
    found = compare(few, b)
    assert found.these_seeds_only
    assert found.significant() is None
    assert math.isnan(found.p)
    # the interval is that of users, for these seeds
    fixed = compare(few, b, seeded=(False, False))
    assert (found.low, found.high) == pytest.approx((fixed.low, fixed.high))
    assert fixed.significant() is True


def test_rows_that_depend_on_no_seed_need_none():
    five, _ = simulate(np.random.default_rng(0), 400, seeds=5, effect=0.03)
    once = five[five["seed"] == 0].assign(value=0.3)
    assert compare(five, once).significant() is None
    assert compare(five, once, seeded=(True, False)).significant() is True
    assert compare(five, once, seeded=(True, False)).significant(p=0.2) is False


def test_a_family_corrects_for_those_that_have_a_p():
    rng = np.random.default_rng(0)
    five, b = simulate(rng, 100, seeds=5, share=1.0)
    other, _ = simulate(rng, 100, seeds=5, share=1.0)
    once = b[b["seed"] == 0]
    panel = Panel([five, b, other, five[five["seed"] < 2], once], seeded=[True, True, True, True, False])
    (first, p), (second, q), (few, none), (fourth, r) = panel.family([(0, 1), (2, 1), (3, 1), (4, 1)])
    assert [p, q, r] == pytest.approx(holm([first.p, second.p, fourth.p]))
    assert math.isnan(none)
    assert few.significant(none) is None


def test_detectable_is_the_difference_found_four_times_in_five():
    rng = np.random.default_rng(1)
    effect = compare(*simulate(rng, 200, seeds=5)).detectable
    found = sum(compare(*simulate(rng, 200, seeds=5, effect=effect)).p < 0.05 for _ in range(60))
    assert found / 60 == pytest.approx(0.8, abs=0.16)


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
    a, b = simulate(rng, 60, seeds=5, member=member)
    c = b.assign(value=b["value"] + rng.normal(0.01, 0.1, len(b)))
    panel = Panel([a, b, c], seeded=[True, True, False])
    for x, y, frames, seeded in ((0, 1, (a, b), (1, 1)), (2, 1, (c, b), (0, 1)), (1, 0, (b, a), (1, 1))):
        together, alone = panel.compare(x, y), compare(*frames, seeded=seeded)
        assert together == alone
        assert together.mean_a - together.mean_b == pytest.approx(together.effect)
    assert panel.interval(0) == pytest.approx(interval(a), rel=1e-9)
    with pytest.raises(BenchError, match="not evaluated on the same users"):
        Panel([a, b, c[c["user_id"] != 3]])


def test_a_rank_interval_holds_the_rank_and_tells_rows_apart_that_differ():
    rng = np.random.default_rng(0)
    near = [rng.normal(0, 1, (300, 5)) for _ in range(8)]
    rows = [rng.normal(3, 1, (300, 5)), *sorted(near, key=lambda row: -row.mean()), rng.normal(-3, 1, (300, 1))]
    found = rank_intervals(rows)
    assert all(low <= rank <= high for rank, (low, high) in enumerate(found, 1))
    assert found[0] == (1, 1)
    assert found[-1] == (10, 10)
    assert all(high - low >= 3 for low, high in found[1:-1])
    assert rank_intervals([]) == []
    equal = [near[0]] * 3
    assert rank_intervals(equal) == [(1, 1), (2, 2), (3, 3)]


def test_ranks_take_the_luck_of_seeds_into_account():
    rng = np.random.default_rng(0)
    keys = ["seed", "fold", "user_id"]
    a, b = simulate(rng, 300, seeds=5, effect=0.02, taste=0.01, noise=0.05)
    assert Panel([a, b]).rank_intervals() == [(1, 1), (2, 2)]
    luck = dict(enumerate([-0.2, -0.1, 0.0, 0.1, 0.2]))
    lucky = a.assign(value=a["value"] + a["seed"].map(luck))
    assert Panel([lucky, b]).rank_intervals() == [(1, 2), (1, 2)]
    # these seeds only
    assert Panel([lucky, b], seeded=[False, False]).rank_intervals() == [(1, 1), (2, 2)]
    assert Panel([x[x["seed"].isin([1, 3])] for x in (lucky, b)]).rank_intervals() == [(1, 1), (2, 2)]
    assert list(a[keys]) == keys


def test_the_pigeonhole_bootstrap_has_the_variance_that_owen_derives(monkeypatch):
    values = layout(np.random.default_rng(4), 60, 6)
    squares = mean_squares(values)
    users, seeds = values.shape
    # exact variance over draws of users and of seeds: of the margins' means, and of what is left
    margins = squares.users / values.size * (users - 1) / users + squares.seeds / values.size * (seeds - 1) / seeds
    rest = squares.interaction * (users - 1) * (seeds - 1) / values.size**2
    found = pigeonhole_bootstrap([values], resamples=20_000)[:, 0]
    assert found.var() == pytest.approx(margins + rest, rel=0.05)
    assert found.mean() == pytest.approx(values.mean(), abs=0.01)
    # blocks change nothing but memory
    monkeypatch.setattr("protocols.evaluation.resampling._BLOCK", 1000)
    assert pigeonhole_bootstrap([values], resamples=20_000)[:, 0].var() == pytest.approx(margins + rest, rel=0.05)


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
