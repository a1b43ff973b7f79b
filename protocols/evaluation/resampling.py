"""Bootstrap over users and seeds together, for ranks: what no t-test gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

# Elements of a block of resamples: bounds memory at about 64 MB whatever the number of users.
_BLOCK = 8_000_000


def pigeonhole_bootstrap(rows: Sequence[np.ndarray], *, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """Resample users and seeds with replacement, each on its own, and all rows alike.

    A value counts as often as its user and its seed are drawn: the pigeonhole bootstrap (Owen, The pigeonhole
    bootstrap, Annals of Applied Statistics 1(2), 2007), which errs to the wide side where users and seeds interact.

    Parameters
    ----------
    rows
        float64 [users, S] each: the same users, the same seeds in the same order; one column only for a row that
        is the same under every seed.

    Returns
    -------
    np.ndarray
        float64 [resamples, rows]: means over users and seeds; equal columns of values give equal means.
    """
    users, widths = len(rows[0]), [row.shape[1] for row in rows]
    starts = np.cumsum([0, *widths[:-1]])
    values = np.concatenate(rows, axis=1) / users
    drawn = np.random.default_rng([seed, 0x5EED]).multinomial(max(widths), [1 / max(widths)] * max(widths), resamples)
    # each column's weight among those of its row
    seeds = np.concatenate([drawn / width if width > 1 else np.ones((resamples, 1)) for width in widths], axis=1)
    out = np.empty((resamples, len(rows)))
    start = 0
    for draws in _draws(users, resamples, seed):
        stop = start + len(draws)
        out[start:stop] = np.add.reduceat((draws @ values) * seeds[start:stop], starts, axis=1)
        start = stop
    return out


def rank_intervals(rows: Sequence[np.ndarray], *, level: float = 0.95, resamples: int = 1000) -> list[tuple[int, int]]:
    """Return the range of ranks of each row in the middle `level` of the resamples, see `pigeonhole_bootstrap`.

    Parameters
    ----------
    rows
        Best first. Their own rank is always within; rows that are equal in a resample keep this order.

    Returns
    -------
    list of tuple of int
        Lowest and highest rank, from 1.
    """
    if not rows:
        return []
    means = pigeonhole_bootstrap(rows, resamples=resamples)
    ranks = np.argsort(np.argsort(-means, axis=1, kind="stable"), axis=1) + 1
    tail = (1 - level) / 2
    low = np.quantile(ranks, tail, axis=0, method="inverted_cdf")
    high = np.quantile(ranks, 1 - tail, axis=0, method="inverted_cdf")
    return [(min(int(a), at), max(int(b), at)) for at, (a, b) in enumerate(zip(low, high, strict=True), 1)]


def _draws(users: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks [r, users] of how often each user is drawn."""
    rng = np.random.default_rng([seed, 0xB007])
    step = max(1, _BLOCK // users)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picked = rng.integers(0, users, (rows, users))
        counts = np.empty((rows, users))
        for row in range(rows):
            counts[row] = np.bincount(picked[row], minlength=users)
        yield counts
