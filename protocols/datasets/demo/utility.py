"""Utility of a clip for a user at a moment, for the simulator and the oracle alike."""

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
        Groups whose weight is set to 0, as for a model that cannot observe them.
    dtype
        Of the computation. The simulator takes float64, so that no last bit of another machine's matrix product
        makes another log; the oracle is twice as fast in float32.
    """

    def __init__(
        self,
        clips: Clips,
        users: Users,
        content_weight: float,
        without: tuple[str, ...] = (),
        dtype: type[np.floating] = np.float32,
    ) -> None:
        world = load_world()
        self.clips, self.users, self._dtype = clips, users, dtype
        terms = content_terms()
        group = np.repeat([term.group for term in terms], [term.width for term in terms])
        column = content_weight * np.repeat([term.weight for term in terms], [term.width for term in terms])
        on = {name: float(name not in without) for name in (*GROUPS, *HIDDEN_GROUPS)}
        self._columns = {name: column * (group == name) * on[name] for name in GROUPS}
        dims = world["personal"]["dimensions"]
        latent = clips.latent.astype(np.float64)
        self._latent = latent * (on["personal"] * world["personal"]["weight"] / np.sqrt(dims))
        self._appeal = (clips.appeal * (on["popularity"] * world["popularity"]["weight"])).astype(dtype)
        self._recency = on["recency"] * world["recency"]["weight"]
        habit = world["habit"]
        self._habit = (
            on["habit"] * content_weight * habit["same_setting"],
            on["habit"] * content_weight * habit["next_colour"],
            on["habit"] * habit["next_series"],
        )
        self._start = start_of_world()
        # Two fixed orthogonal directions between which the fashion turns.
        a, b = np.random.default_rng(20250106).standard_normal((2, dims))
        b -= a * (a @ b) / (a @ a)
        basis = np.stack([a / np.sqrt(a @ a), b / np.sqrt(b @ b)])
        self._fashion = (on["drift"] * world["drift"]["weight"] * basis @ latent.T).astype(dtype)

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
            [B, I]; released or not, taken or not.
        """
        cos, sin = self._turn(times, load_world()["tastes"]["turn_degrees"])
        lasting, own, later = self._matches
        out = own[users] * cos[:, None]
        out += later[users] * sin[:, None]
        out += lasting[users]
        out += self._news(times)
        out += self._trend(times)
        out += self._appeal
        out += self._habits[self._habit_row(previous)]
        return out

    def groups(self, users: np.ndarray, times: np.ndarray, previous: np.ndarray) -> dict[str, np.ndarray]:
        """Split the same utilities into groups: name -> [B, I]."""
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
            "habit": self._habits[self._habit_row(previous)],
        }

    @cached_property
    def _matches(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Content and personal match of all users with all clips, [U, I] each: lasting, own, later."""
        u, c = self.users, self.clips
        weighted = (c.design * np.sum(list(self._columns.values()), axis=0)).T
        pairs = (
            (u.taste, u.personal),
            (u.taste_own, u.personal_own),
            (u.taste_later, u.personal_later),
        )
        lasting, own, later = ((t @ weighted + p @ self._latent.T).astype(self._dtype) for t, p in pairs)
        return lasting, own, later

    def _turn(self, times: np.ndarray, degrees_a_week: float) -> tuple[np.ndarray, np.ndarray]:
        angle = np.deg2rad(degrees_a_week) * (times - self._start) / WEEK
        return np.cos(angle).astype(self._dtype), np.sin(angle).astype(self._dtype)

    def _news(self, times: np.ndarray) -> np.ndarray:
        age = self._days(times)[:, None] - self._days(self.clips.release)
        np.maximum(age, 0, out=age)
        age *= -1 / load_world()["recency"]["days"]
        np.exp(age, out=age)
        age *= self._recency
        return age

    def _days(self, times: np.ndarray) -> np.ndarray:
        """Days since the start of the world; float32 is exact to seconds."""
        return ((times - self._start) / DAY).astype(self._dtype)

    def _trend(self, times: np.ndarray) -> np.ndarray:
        cos, sin = self._turn(times, load_world()["drift"]["turn_degrees"])
        return cos[:, None] * self._fashion[0] + sin[:, None] * self._fashion[1]

    def _habit_row(self, previous: np.ndarray) -> np.ndarray:
        """Row of `_habits` for each previous clip; the last row, of zeros, for none."""
        c = self.clips
        shape = len(LEVELS["setting"]), len(LEVELS["colour"]), load_world()["habit"]["series"]
        row = np.ravel_multi_index((c.setting[previous], c.colour[previous], c.series[previous]), shape)
        return np.where(previous >= 0, row, int(np.prod(shape)))

    @cached_property
    def _habits(self) -> np.ndarray:
        """Habit [kinds of previous clip + 1, I]: the sum of the three, each standardised over clips."""
        c = self.clips
        counts = len(LEVELS["setting"]), len(LEVELS["colour"]), load_world()["habit"]["series"]
        setting, colour, series = np.indices(counts).reshape(3, -1, 1)
        fits = (
            c.setting == setting,
            c.colour == (colour + 1) % counts[1],
            c.series == (series + 1) % counts[2],
        )
        out = np.zeros((len(setting) + 1, len(c.release)), dtype=self._dtype)
        for weight, fit, count in zip(self._habit, fits, counts, strict=True):
            p = 1 / count
            out[:-1] += weight * ((fit - p) / np.sqrt(p * (1 - p)))
        return out
