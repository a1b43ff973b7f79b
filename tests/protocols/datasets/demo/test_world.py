"""The world: its weights, its users, what they take; no files."""

import numpy as np
import pytest

from protocols.datasets.demo.factors import all_factors
from protocols.datasets.demo.oracle import Oracle
from protocols.datasets.demo.population import (
    Size,
    draw_clips,
    draw_releases,
    draw_scenes,
    draw_users,
    start_of_world,
)
from protocols.datasets.demo.simulator import simulate
from protocols.datasets.demo.utility import Utility
from protocols.datasets.demo.world import DAY, GROUPS, LEVELS, WEEK, content_terms, load_world
from protocols.errors import UserError

SIZE = Size(clips=240, users=400, interactions=8000, weeks=6, seed=3)
START = start_of_world()


class World:
    def __init__(self, size=SIZE):
        self.size = size
        self.scenes = draw_scenes(size)
        self.clips = draw_clips(size, self.scenes, draw_releases(size))
        self.users = draw_users(size)
        self.logs = {}

    def log(self, dose=1.0):
        if dose not in self.logs:
            self.logs[dose] = simulate(self.size, self.clips, self.users, dose)
        return self.logs[dose]


@pytest.fixture(scope="module")
def world():
    return World()


def test_default_world_has_the_stated_numbers():
    world = World(Size())
    user, clip, time = world.log()
    assert len(user) == 14_400 and len(world.scenes) == 800
    assert START == 1_736_121_600_000 and time.min() >= START and time.max() < START + 10 * WEEK
    assert (time.max() - START) // DAY == 69  # something happens on the last day
    week = (world.clips.release - START) // WEEK
    assert (week < 0).sum() == 400 and (np.bincount(week[week >= 0], minlength=10) == 40).all()
    assert (time >= world.clips.release[clip]).all()
    assert len(set(zip(user, clip, strict=True))) == 14_400  # nobody takes a clip twice
    each = np.bincount(user, minlength=2000)
    assert np.quantile(each, 0.9) > 5 * np.quantile(each, 0.2) and (each > 0).sum() > 1800
    visited = np.zeros((2000, 10), dtype=bool)
    visited[user, (time - START) // WEEK] = True
    assert (visited.sum(axis=1) >= 3).mean() > 0.6  # most come back
    takes = np.sort(np.bincount(clip, minlength=800))[::-1]
    assert takes[:80].sum() > 0.25 * 14_400  # heavy-tailed


def test_same_seed_same_log_other_seed_another(world):
    user, clip, time = world.log()
    again = World().log()
    assert all(np.array_equal(a, b) for a, b in zip((user, clip, time), again, strict=True))
    other = World(Size(240, 400, 8000, 6, seed=4)).log()
    assert not np.array_equal(clip, other[1])


def test_dose_changes_what_is_taken_but_neither_clips_nor_visits(world):
    null, one = world.log(0.0), world.log(1.0)
    assert np.array_equal(null[0], one[0]) and np.array_equal(null[2], one[2])
    assert (null[1] != one[1]).mean() > 0.3


def test_a_clip_does_not_depend_on_how_many_there_are():
    few, many = draw_scenes(Size(clips=5)), draw_scenes(Size(clips=20))
    assert few == many[:5]


def content_match(world, dose):
    """Mean over events of the content part of the taken clip's utility (dose 1) above the mean of all clips."""
    user, clip, time = world.log(dose)
    groups = Utility(world.clips, world.users, 1.0).groups(user, time, np.full(len(user), -1))
    content = sum(groups[name] for name in GROUPS)
    gap = content[np.arange(len(user)), clip] - content.mean(axis=1)
    per_user = np.bincount(user, gap) / np.maximum(np.bincount(user), 1)
    return per_user.mean(), per_user.std() / np.sqrt(len(per_user))


def test_null_world_ignores_content_and_doses_do_not(world):
    (null, error), (one, _), (two, _) = (content_match(world, dose) for dose in (0.0, 1.0, 2.0))
    assert abs(null) < 0.15 and error < 0.1
    assert one > 1.0 and two > 1.3 * one


def test_terms_have_the_standard_deviation_that_the_file_states():
    rng = np.random.default_rng(0)
    size = Size(clips=1500)
    factors = [all_factors(scene) for scene in draw_scenes(size)]
    for term in content_terms():
        taste = term.centre(rng.standard_normal((500, term.width)))
        matched = taste @ term.design(factors).T
        assert matched.std() == pytest.approx(1, abs=0.08), term.name
        assert abs(matched.mean()) < 0.05


def test_half_of_the_visual_weight_is_unnamed_and_content_is_about_half_of_all():
    world = load_world()
    power = {g: sum(w**2 for w in world["content"][g].values()) for g in GROUPS}
    assert 0.45 < power["unnamed"] / (power["unnamed"] + power["named"]) < 0.55
    hidden = world["personal"]["weight"] ** 2 + world["popularity"]["weight"] ** 2 + world["drift"]["weight"] ** 2
    assert 0.4 < sum(power.values()) / (sum(power.values()) + hidden + 0.05 * 9 + 0.5) < 0.6
    assert {name for term in content_terms() for name in term.name.split("*")} - {"speed", "size"} == set(LEVELS)


def test_habit_is_visible_in_the_log(world):
    user, clip, _ = world.log()
    follows = user[1:] == user[:-1]
    before, after = clip[:-1][follows], clip[1:][follows]
    series = world.clips.series
    assert (series[after] == (series[before] + 1) % 8).mean() > 0.16  # chance: 0.125


def test_too_many_interactions_are_refused():
    tiny = World(Size(clips=10, users=3, interactions=200, weeks=2))
    with pytest.raises(UserError, match="do not fit"):
        tiny.log()


def test_visits_are_exact_and_within_everybodys_room():
    world = World(Size(clips=40, users=60, interactions=900))
    user, _, time = world.log()
    assert len(user) == 900
    released = (world.clips.release[None] <= time[:, None]).sum(axis=1)
    so_far = np.concatenate([np.arange(n) for n in np.bincount(user) if n])
    assert (so_far < 0.5 * released + 1).all()


def window(world, dose=1.0, weeks_before_end=1, without=(), rollouts=8, **more):
    user, clip, time = world.log(dose)
    border = START + (world.size.weeks - weeks_before_end) * WEEK
    end = border + WEEK
    before, inside = time < border, (time >= border) & (time < end)
    ready = np.intersect1d(user[before], user[inside])
    histories = [clip[before & (user == u)] for u in ready]
    targets = [clip[inside & (user == u)] for u in ready]
    ids = [str(u) for u in ready]
    utility = Utility(world.clips, world.users, dose, without)
    index = {str(u): u for u in range(world.size.users)}
    oracle = Oracle(utility, index, np.arange(world.size.clips), border, end, rollouts, **more)
    return oracle, ids, histories, targets


def hit_rate(scores, histories, targets):
    scores = scores.astype(float)
    for row, seen in zip(scores, histories, strict=True):
        row[seen] = -np.inf
    top = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return np.mean([np.isin(row, t).any() for row, t in zip(top, targets, strict=True)])


def test_oracle_beats_popularity_and_every_blinded_oracle(world):
    oracle, ids, histories, targets = window(world)
    best = hit_rate(oracle.score(ids, histories), histories, targets)
    takes = np.bincount(world.log()[1][world.log()[2] < oracle.border], minlength=world.size.clips)
    pop = hit_rate(np.tile(takes, (len(ids), 1)), histories, targets)
    assert best > pop + 0.15
    for blind in (GROUPS, ("personal",), ("popularity", "recency")):
        other, *_ = window(world, without=blind)
        assert best > hit_rate(other.score(ids, histories), histories, targets) + 0.02


def test_oracle_is_calibrated(world):
    """Over all users, expected takes of the window's clips agree with the takes that happened."""
    oracle, *_ = window(world)
    user, clip, time = world.log()
    before = time < oracle.border
    histories = [clip[before & (user == u)] for u in range(world.size.users)]
    scores = oracle.score([str(u) for u in range(world.size.users)], histories)
    inside = (time >= oracle.border) & (time < oracle.end)
    taken = np.zeros(scores.shape, dtype=bool)
    taken[user[inside], clip[inside]] = True
    assert (scores >= 0).all() and (scores <= 1).all()
    assert scores.sum() == pytest.approx(taken.sum(), rel=0.15)
    for low, high in ((0.01, 0.05), (0.05, 0.15), (0.15, 0.4)):
        cell = (scores >= low) & (scores < high)
        assert taken[cell].mean() == pytest.approx(scores[cell].mean(), rel=0.3), (low, high)


def test_oracle_depends_on_seed_and_user_alone_and_never_offers_what_was_taken(world):
    oracle, ids, histories, _ = window(world)
    scores = oracle.score(ids, histories)
    assert scores.dtype == np.float32 and np.isfinite(scores).all()
    np.testing.assert_allclose(scores[5:9], oracle.score(ids[5:9], histories[5:9]), rtol=1e-5, atol=1e-7)
    assert all(not row[seen].any() for row, seen in zip(scores, histories, strict=True))
    assert not scores[:, world.clips.release >= oracle.end].any()
    other, *_ = window(world, seed=1)
    assert not np.array_equal(scores, other.score(ids, histories))


def test_oracle_scores_only_the_items_of_the_problem(world):
    oracle, ids, histories, _ = window(world)
    items = np.random.default_rng(0).permutation(world.size.clips)[:200]
    place = {c: i for i, c in enumerate(items)}
    kept = [np.array([place[c] for c in h if c in place], dtype=int) for h in histories]
    full = [h for h, k in zip(histories, kept, strict=True) if len(h) == len(k)]
    chosen = [i for i, (h, k) in enumerate(zip(histories, kept, strict=True)) if len(h) == len(k)]
    assert full
    part = Oracle(oracle.utility, oracle.user_index, items, oracle.border, oracle.end)
    got = part.score([ids[i] for i in chosen], [kept[i] for i in chosen])
    np.testing.assert_allclose(got, oracle.score([ids[i] for i in chosen], full)[:, items], rtol=1e-5, atol=1e-7)
