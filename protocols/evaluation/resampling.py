"""Bootstrap over users: a user is drawn with all folds and seeds, which are not independent."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from protocols.errors import BenchError

# Elements of a block of resamples: bounds memory at about 64 MB whatever the number of users.
_BLOCK = 8_000_000


def percentiles(means: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Cut off (1 - level) / 2 of the resampled values at either end; NaN where there are none."""
    if np.isnan(means).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(frames: Sequence[pd.DataFrame], *, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Resample users: the board values of several rows in the same resamples.

    Drawing takes most of the time, and rows that share their draws can be compared: the difference of two columns is
    the resampled difference of the two rows.

    Parameters
    ----------
    frames
        [seed, fold, user_id, value] of each row.

    Returns
    -------
    np.ndarray
        float64 [resamples, rows]; NaN for a row without values.

    Raises
    ------
    BenchError
        If the rows do not have the same users.
    """
    frames = [frame.dropna(subset="value") for frame in frames]
    out = np.full((resamples, len(frames)), np.nan)
    filled = [at for at, frame in enumerate(frames) if len(frame)]
    if not filled:
        return out
    users, *parts = None, *(_by_user(frames[at]) for at in filled)
    for found, _, _, _ in parts:
        if users is not None and not found.equals(users):
            raise BenchError("rows with different users cannot be resampled together")
        users = found
    sums = np.concatenate([part[1] for part in parts], axis=1)
    counts = np.concatenate([part[2] for part in parts], axis=1)
    ends = np.cumsum([part[1].shape[1] for part in parts])
    start = 0
    for draws in _draws(len(sums), resamples, seed):
        stop = start + len(draws)
        cells = _ratio(draws @ sums, draws @ counts)
        for at, (_, mine, _, seeds), end in zip(filled, parts, ends, strict=True):
            out[start:stop, at] = _over_seeds(cells[:, end - mine.shape[1] : end], seeds)
        start = stop
    return out


def _by_user(frame: pd.DataFrame) -> tuple[pd.Index, np.ndarray, np.ndarray, np.ndarray]:
    """Return users, their value sums and counts [users, cells] in every (seed, fold) cell, and each cell's seed."""
    user, users = pd.factorize(frame["user_id"], sort=True)  # sorted: draws must not depend on the order of rows
    cell = frame.groupby(["seed", "fold"]).ngroup().to_numpy()
    keys = frame[["seed", "fold"]].drop_duplicates().sort_values(["seed", "fold"])
    place, size = user * len(keys) + cell, len(users) * len(keys)
    sums = np.bincount(place, weights=frame["value"].to_numpy(np.float64), minlength=size)
    counts = np.bincount(place, minlength=size).astype(np.float64)
    shape = (len(users), len(keys))
    return pd.Index(users), sums.reshape(shape), counts.reshape(shape), pd.factorize(keys["seed"])[0]


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / counts


def _over_seeds(cells: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Board values [resamples] from the means of every cell; a cell without users (NaN) is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a resample without users in all cells
        per_seed = [np.nanmean(cells[:, seeds == s], axis=1) for s in np.unique(seeds)]
    return np.mean(per_seed, axis=0)


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
