"""Simulator of the interaction log of the demo world."""

from __future__ import annotations

import numpy as np

from protocols.datasets.demo.population import Clips, Size, Users, start_of_world
from protocols.datasets.demo.utility import Utility
from protocols.datasets.demo.world import DAY, WEEK, load_world
from protocols.errors import UserError


def simulate(
    size: Size, clips: Clips, users: Users, content_weight: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate the log.

    When users come does not depend on `content_weight`; the noise is the same for every dose.

    Returns
    -------
    tuple of np.ndarray
        user int [N], clip int [N], timestamp int64 [N] in milliseconds UTC, by user and time.

    Raises
    ------
    UserError
        If so many interactions do not fit into so few users and clips without repeats.
    """
    user, time = draw_visits(size, clips, users)
    first = np.flatnonzero(np.r_[True, user[1:] != user[:-1]]) if len(user) else np.array([], dtype=int)
    counts = np.diff(np.r_[first, len(user)])
    utility, rng = Utility(clips, users, content_weight, dtype=np.float64), size.stream("choices")
    taken = np.zeros((size.users, size.clips), dtype=bool)
    chosen = np.full(len(user), -1)
    previous = np.full(size.users, -1)
    for step in range(counts.max(initial=0)):
        rows = (first + step)[counts > step]
        who, when = user[rows], time[rows]
        wish = utility(who, when, previous[who])
        noise = rng.standard_exponential(wish.shape)
        wish -= np.log(np.maximum(noise, np.finfo(np.float64).tiny))  # minus the log of an exponential is Gumbel
        wish[taken[who] | (clips.release > when[:, None])] = -np.inf
        chosen[rows] = previous[who] = wish.argmax(axis=1)
        taken[who, chosen[rows]] = True
    return user, chosen, time


def draw_visits(size: Size, clips: Clips, users: Users) -> tuple[np.ndarray, np.ndarray]:
    """Draw all events' users and times, sorted by both: exactly `size.interactions` of them."""
    rng, start = size.stream("visits"), start_of_world()
    comes = rng.random((size.users, size.weeks)) < users.come[:, None]
    comes &= np.arange(size.weeks) >= users.joins[:, None]
    weight = users.rate[:, None] * comes
    counts = _fill(rng, weight, size.interactions, _room(clips, size))
    user, week = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    day = rng.integers(7, size=len(user))
    hour = 24 * rng.beta(4, 2.2, size=len(user))  # quiet nights, most in the evening
    time = start + week * WEEK + day * DAY + np.minimum((hour / 24 * DAY).astype(np.int64), DAY - 1)
    order = np.lexsort((time, user))
    return user[order], time[order]


def _room(clips: Clips, size: Size) -> np.ndarray:
    """Most events [weeks] that one user may have had by the end of each week."""
    begins = start_of_world() + np.arange(size.weeks) * WEEK
    released = (clips.release[:, None] <= begins).sum(axis=0)  # at the week's begin: true for all its events
    return np.floor(load_world()["activity"]["most"] * released).astype(int)


def _fill(rng: np.random.Generator, weight: np.ndarray, total: int, room: np.ndarray) -> np.ndarray:
    """Counts int [U, weeks] summing to `total`, multinomial but within everybody's room."""
    counts = np.zeros(weight.shape, dtype=int)
    while (missing := total - counts.sum()) > 0:
        share = weight * ((counts.cumsum(axis=1) < room)[:, ::-1].cumprod(axis=1)[:, ::-1] > 0)
        if share.sum() == 0:
            raise UserError(
                f"demo: {total} interactions do not fit into this world: {total - missing} is the most",
                remedy="ask for fewer interactions, or more users or clips (--set demo.interactions=...)",
            )
        counts += rng.multinomial(missing, (share / share.sum()).ravel()).reshape(weight.shape)
        for week in range(weight.shape[1]):
            over = counts[:, : week + 1].sum(axis=1) - room[week]
            counts[:, week] -= np.clip(over, 0, counts[:, week])
    return counts
