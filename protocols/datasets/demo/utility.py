"""How much a user wants a clip at a moment: the one utility that both the simulator and the oracle compute."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from protocols.datasets.demo.population import Clips, Users, start_of_world
from protocols.datasets.demo.world import DAY, GROUPS, LEVELS, WEEK, content_terms, load_world

#: Names of the groups in `Utility.groups`; those after the content groups, without the noise.
HIDDEN_GROUPS = ("personal", "recency", "popularity", "drift", "habit")


class Utility:
    """Utilities without the noise, for any users at any time.

    Parameters
    ----------
    clips, users
        The world.
    content_weight
        Multiplies all content terms and the content habits; 0 is the null world.
    without
        Groups whose weight is set to 0: what a model that is blind to them could know.
    """

    def __init__(self, clips: Clips, users: Users, content_weight: float, without: tuple[str, ...] = ()) -> None:
        world = load_world()
        self.clips, self.users = clips, users
        terms = content_terms()
        group = np.repeat([term.group for term in terms], [term.width for term in terms])
        column = content_weight * np.repeat([term.weight for term in terms], [term.width for term in terms])
        on = {name: float(name not in without) for name in (*GROUPS, *HIDDEN_GROUPS)}
        self._columns = {name: (column * (group == name) * on[name]).astype(np.float32) for name in GROUPS}
        dims = world["personal"]["dimensions"]
        self._latent = clips.latent * np.float32(on["personal"] * world["personal"]["weight"] / np.sqrt(dims))
        self._appeal = clips.appeal * np.float32(on["popularity"] * world["popularity"]["weight"])
        self._recency = on["recency"] * world["recency"]["weight"]
        self._drift = on["drift"] * world["drift"]["weight"]
        habit = world["habit"]
        self._habit = (
            np.float32(on["habit"] * content_weight * habit["same_setting"]),
            np.float32(on["habit"] * content_weight * habit["next_colour"]),
            np.float32(on["habit"] * habit["next_series"]),
        )
        self._start = start_of_world()
        # Two fixed orthogonal directions between which the fashion turns.
        basis = np.linalg.qr(np.random.default_rng(20250106).standard_normal((dims, 2)))[0].T
        self._fashion = (clips.latent @ basis.T.astype(np.float32)).T

    def __call__(self, users: np.ndarray, times: np.ndarray, previous: np.ndarray) -> np.ndarray:
        """Utilities of all clips.

        Parameters
        ----------
        users
            int [B]: indices of users.
        times
            int64 [B]: milliseconds UTC.
        previous
            int [B]: the clip each took just before, -1 for none.

        Returns
        -------
        np.ndarray
            float32 [B, I]; released or not, taken or not.
        """
        cos, sin = self._turn(times, load_world()["tastes"]["turn_degrees"])
        lasting, own, later = self._matches
        out = own[users] * cos[:, None]
        out += later[users] * sin[:, None]
        out += lasting[users]
        out += self._at(times)
        return self._add_habit(out, previous)

    def groups(self, users: np.ndarray, times: np.ndarray, previous: np.ndarray) -> dict[str, np.ndarray]:
        """Split the same utilities into groups: name -> float32 [B, I]."""
        cos, sin = (x[:, None] for x in self._turn(times, load_world()["tastes"]["turn_degrees"]))
        u, c = self.users, self.clips
        taste = u.taste[users] + cos * u.taste_own[users] + sin * u.taste_later[users]
        personal = u.personal[users] + cos * u.personal_own[users] + sin * u.personal_later[users]
        return {
            **{name: (taste * columns) @ c.design.T for name, columns in self._columns.items()},
            "personal": personal @ self._latent.T,
            "recency": self._news(times),
            "popularity": np.broadcast_to(self._appeal, (len(users), len(self._appeal))),
            "drift": self._trend(times),
            "habit": self._add_habit(np.zeros((len(users), len(self._appeal)), np.float32), previous),
        }

    @cached_property
    def _matches(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Content and personal match of all users with all clips, [U, I] each: lasting, own, later."""
        u, c = self.users, self.clips
        columns = np.sum(list(self._columns.values()), axis=0)
        pairs = (
            (u.taste, u.personal),
            (u.taste_own, u.personal_own),
            (u.taste_later, u.personal_later),
        )
        lasting, own, later = ((t * columns) @ c.design.T + p @ self._latent.T for t, p in pairs)
        return lasting, own, later

    def _turn(self, times: np.ndarray, degrees_a_week: float) -> tuple[np.ndarray, np.ndarray]:
        angle = np.deg2rad(degrees_a_week) * (times - self._start) / WEEK
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    def _at(self, times: np.ndarray) -> np.ndarray:
        """What all users have in common at a time: recency, popularity, fashion; float32 [B, I]."""
        return self._news(times) + self._trend(times) + self._appeal

    def _news(self, times: np.ndarray) -> np.ndarray:
        age = (times[:, None] - self.clips.release) * np.float32(1 / DAY)
        days = load_world()["recency"]["days"]
        return (self._recency * np.exp(-np.maximum(age, 0) / days)).astype(np.float32)

    def _trend(self, times: np.ndarray) -> np.ndarray:
        cos, sin = self._turn(times, load_world()["drift"]["turn_degrees"])
        return np.float32(self._drift) * (cos[:, None] * self._fashion[0] + sin[:, None] * self._fashion[1])

    def _add_habit(self, out: np.ndarray, previous: np.ndarray) -> np.ndarray:
        """Add the three habits, each standardised over clips, where there is a previous clip."""
        had = np.flatnonzero(previous >= 0)
        before = previous[had]
        c, same, colour, series = self.clips, *self._habit
        levels = len(LEVELS["setting"]), len(LEVELS["colour"]), load_world()["habit"]["series"]
        fits = (
            (same, c.setting == c.setting[before][:, None], levels[0]),
            (colour, c.colour == (c.colour[before][:, None] + 1) % levels[1], levels[1]),
            (series, c.series == (c.series[before][:, None] + 1) % levels[2], levels[2]),
        )
        for weight, fit, count in fits:
            p = 1 / count
            low, high = -p / np.sqrt(p * (1 - p)), (1 - p) / np.sqrt(p * (1 - p))
            out[had] += weight * np.where(fit, np.float32(high), np.float32(low))
        return out
