import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from protocols.errors import BenchError
from protocols.pvalues import benjamini_hochberg, holm, sign_flip_test, t_test
from protocols.statistics import board_mean, compare, interval, per_user, seed_sd, user_differences


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
    monkeypatch.setattr("protocols.resampling._BLOCK", 1000)
    assert interval(a, resamples=4000) == pytest.approx(one, rel=0.02)


def test_user_differences_average_to_the_boards_difference():
    a, b = simulate(np.random.default_rng(0), 40, seeds=3, share=0.3)
    differences = user_differences(a, b)
    assert board_mean(differences) == pytest.approx(board_mean(a) - board_mean(b))
    assert per_user(differences).mean() == pytest.approx(board_mean(a) - board_mean(b))
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


def test_false_positives_come_at_the_nominal_rate_only_if_the_user_is_the_unit():
    rng = np.random.default_rng(7)
    ours, permuted, covered, naive, runs = 0, 0, 0, 0, 150
    for number in range(runs):
        a, b = simulate(rng, 120, taste=0.15, noise=0.05)
        found = compare(a, b, resamples=300, permutations=400, seed=number)
        ours += found.p_t < 0.05
        permuted += found.p_permutation < 0.05
        covered += found.low <= 0 <= found.high
        naive += stats.ttest_1samp(a["value"] - b["value"], 0).pvalue < 0.05  # every (fold, user) as if independent
    low, high = stats.binom.interval(0.999, runs, 0.05)
    assert low <= ours <= high
    assert low <= permuted <= high
    assert low <= runs - covered <= high + 4  # percentile intervals are a little short
    assert naive > high


def test_detectable_is_the_difference_found_four_times_in_five():
    rng = np.random.default_rng(1)
    a, b = simulate(rng, 200)
    effect = compare(a, b, resamples=10, permutations=10).detectable
    found = sum(
        compare(*simulate(rng, 200, effect=effect), resamples=10, permutations=10).p_t < 0.05 for _ in range(150)
    )
    assert found / 150 == pytest.approx(0.8, abs=0.12)


def test_benjamini_hochberg_is_scipys():
    rng = np.random.default_rng(0)
    for n in (1, 2, 30):
        p = rng.random(n) ** 3
        np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))


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
