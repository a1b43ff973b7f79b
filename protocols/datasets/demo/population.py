"""Clips and users of the demo world: hidden properties, tastes and activity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from protocols.datasets.demo.factors import Scene, all_factors, sample_scene
from protocols.datasets.demo.world import DAY, LEVELS, WEEK, content_terms, load_world


@dataclass(frozen=True)
class Size:
    """Size and seed of a world.

    Attributes
    ----------
    clips, users, interactions, weeks
        Counts.
    seed
        Every part of the world draws from its own stream of this seed, so that one part does not move another.
    """

    clips: int = 800
    users: int = 2000
    interactions: int = 14_400
    weeks: int = 10
    seed: int = 1

    def stream(self, name: str, *more: int) -> np.random.Generator:
        """Random stream of one part of the world."""
        return np.random.default_rng([self.seed, *name.encode(), *more])


@dataclass(frozen=True, eq=False)
class Clips:
    """All clips with their hidden properties.

    Attributes
    ----------
    design
        float32 [I, D]: content terms side by side.
    colour, setting, series
        int [I]: for the habits; `series` is hidden.
    latent
        float32 [I, K]: hidden q.
    appeal
        float32 [I]: hidden, exponential with mean 0 and variance 1.
    release
        int64 [I]: milliseconds UTC.
    """

    design: np.ndarray
    colour: np.ndarray
    setting: np.ndarray
    series: np.ndarray
    latent: np.ndarray
    appeal: np.ndarray
    release: np.ndarray


@dataclass(frozen=True, eq=False)
class Users:
    """All users.

    Attributes
    ----------
    taste, taste_own, taste_later
        float32 [U, D]: the lasting part of the content tastes, the own part at the start, and the one it turns to.
    personal, personal_own, personal_later
        float32 [U, K]: the same for the hidden p.
    rate
        float64 [U]: expected events in a week in which the user comes.
    come
        float64 [U]: probability to come in a week.
    joins
        int [U]: first week.
    """

    taste: np.ndarray
    taste_own: np.ndarray
    taste_later: np.ndarray
    personal: np.ndarray
    personal_own: np.ndarray
    personal_later: np.ndarray
    rate: np.ndarray
    come: np.ndarray
    joins: np.ndarray


def start_of_world() -> int:
    """First millisecond, UTC."""
    return int(datetime.fromisoformat(load_world()["catalogue"]["start"]).replace(tzinfo=UTC).timestamp() * 1000)


def draw_scenes(size: Size) -> list[Scene]:
    """Scenes of all clips; clip i is the same in a world of any size with this seed."""
    return [sample_scene(size.stream("scene", i)) for i in range(size.clips)]


def draw_releases(size: Size) -> np.ndarray:
    """Release times int64 [I]: a stock before the start, then equal parts every week, Monday to Friday."""
    catalogue = load_world()["catalogue"]
    rng, start = size.stream("release"), start_of_world()
    stock = round(catalogue["stock"] * size.clips)
    early = start - (rng.random(stock) * catalogue["stock_weeks"] * WEEK).astype(np.int64)
    week = np.arange(size.clips - stock) * size.weeks // max(size.clips - stock, 1)
    later = start + week * WEEK + (rng.random(len(week)) * 5 * DAY).astype(np.int64)
    return rng.permutation(np.concatenate([early, later]))


def draw_clips(size: Size, scenes: list[Scene], release: np.ndarray) -> Clips:
    """Add the hidden properties to the clips."""
    world, rng = load_world(), size.stream("clips")
    factors = [all_factors(scene) for scene in scenes]
    colours, settings = list(LEVELS["colour"]), list(LEVELS["setting"])
    return Clips(
        design=np.concatenate([term.design(factors) for term in content_terms()], axis=1),
        colour=np.array([colours.index(scene.colour) for scene in scenes]),
        setting=np.array([settings.index(scene.setting) for scene in scenes]),
        series=rng.integers(world["habit"]["series"], size=size.clips),
        latent=rng.standard_normal((size.clips, world["personal"]["dimensions"])).astype(np.float32),
        appeal=(rng.exponential(size=size.clips) - 1).astype(np.float32),
        release=release,
    )


def draw_users(size: Size) -> Users:
    """Draw tastes and activity of all users."""
    world, rng = load_world(), size.stream("users")
    tastes, dims = world["tastes"], world["personal"]["dimensions"]
    terms = content_terms()
    community = rng.integers(tastes["communities"], size=size.users)

    def tasted(rows: int) -> np.ndarray:
        return np.concatenate([term.centre(rng.standard_normal((rows, term.width))) for term in terms], axis=1)

    shared, groups = tasted(1), tasted(tastes["communities"])
    lasting = np.sqrt(tastes["shared"]) * shared + np.sqrt(tastes["community"]) * groups[community]
    own = np.sqrt(tastes["own"])
    # Nothing hidden is shared by all: that is what fashion (drift) and appeal are for.
    hidden_own = np.sqrt(1 - tastes["community"])
    hidden = np.sqrt(tastes["community"]) * rng.standard_normal((tastes["communities"], dims))[community]
    return Users(
        taste=lasting.astype(np.float32),
        taste_own=(own * tasted(size.users)).astype(np.float32),
        taste_later=(own * tasted(size.users)).astype(np.float32),
        personal=hidden.astype(np.float32),
        personal_own=(hidden_own * rng.standard_normal((size.users, dims))).astype(np.float32),
        personal_later=(hidden_own * rng.standard_normal((size.users, dims))).astype(np.float32),
        **_draw_activity(size, rng),
    )


def _draw_activity(size: Size, rng: np.random.Generator) -> dict[str, np.ndarray]:
    activity = load_world()["activity"]
    weight = rng.lognormal(sigma=activity["spread"], size=size.users)
    strength = activity["concentration"]
    come = rng.beta(activity["come"] * strength, (1 - activity["come"]) * strength, size=size.users)
    late = rng.random(size.users) >= activity["from_start"]
    joins = np.where(late, rng.integers(1, max(size.weeks - 2, 2), size=size.users), 0).clip(max=size.weeks - 1)
    expected = (weight * come * (size.weeks - joins)).sum()
    return {"rate": weight * size.interactions / expected, "come": come, "joins": joins}
