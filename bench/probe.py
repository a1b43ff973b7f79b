"""Linear probes: what can be read from an extractor's vectors, factor by factor, where the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from protocols.features import Features

FOLDS = 5
RIDGE = 1.0


def probe(features: Features, factors: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Fit a ridge classifier or regression from vectors to each factor, scored on items it was not fitted on.

    Numbers are cut into thirds, so that every score is an accuracy.

    Parameters
    ----------
    features
        Vectors [N, D]; items without a feature are left out.
    factors
        One row an item (raw id), one column a factor: names or numbers.
    seed
        Of the assignment of items to the five parts of the cross-validation.

    Returns
    -------
    pd.DataFrame
        Indexed by factor: `accuracy`, and `chance`, the share of the most frequent value.
    """
    ids = [item for item, ok in zip(features.item_ids, features.ok, strict=True) if ok]
    x = features.values[features.ok].reshape(len(ids), -1).astype(np.float64)
    x = (x - x.mean(axis=0)) / max(float((x - x.mean(axis=0)).std()), 1e-12)
    x = np.concatenate([x, np.ones((len(ids), 1))], axis=1)
    part = np.random.default_rng(seed).permutation(len(ids)) % FOLDS
    known = factors.loc[ids]
    rows = {str(name): _accuracy(x, _codes(column), part) for name, column in known.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["accuracy", "chance"]).rename_axis("factor")


def _codes(values: pd.Series) -> np.ndarray:
    """Levels of a factor as integers; thirds of a number."""
    if pd.api.types.is_numeric_dtype(values):
        return pd.qcut(values, 3, labels=False, duplicates="drop").to_numpy()
    return pd.factorize(values, sort=True)[0]


def _accuracy(x: np.ndarray, codes: np.ndarray, part: np.ndarray) -> tuple[float, float]:
    levels = int(codes.max()) + 1
    wanted = np.eye(levels)[codes]
    right = 0
    for held in range(FOLDS):
        fit, test = part != held, part == held
        gram = x[fit].T @ x[fit] + RIDGE * np.eye(x.shape[1])
        said = x[test] @ np.linalg.solve(gram, x[fit].T @ wanted[fit])
        right += int((said.argmax(axis=1) == codes[test]).sum())
    return right / len(codes), float(np.bincount(codes).max() / len(codes))
