"""Linear probes of features: accuracy for each factor of data whose true factors are known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from bench import registry
from bench.runs import run as runs
from bench.runs.rows import extractor_for
from feature_extractors.base import ExtractContext
from protocols.features import Features
from protocols.progress import Progress
from protocols.wording import counted

FOLDS = 5
RIDGE = 1.0

#: A layer and a readout of kind `layers`; (0, "") for vectors.
Place = tuple[int, str]


def probe(features: Features, factors: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Fit a ridge classifier or regression from vectors to each factor, scored on items it was not fitted on.

    Numbers are cut into thirds, so that every score is an accuracy. Of kind `layers` one layer and readout is probed
    for each factor and part of the cross-validation: the best on inner parts, chosen without the items scored.

    Parameters
    ----------
    features
        Vectors [N, D] or layers [N, L, R, D]; items without a feature are left out.
    factors
        One row an item (raw id), one column a factor: names or numbers.
    seed
        Of the assignment of items to the five parts of the cross-validation.

    Returns
    -------
    pd.DataFrame
        Indexed by factor: `accuracy`, and `chance`, the share of the most frequent value.
    """
    codes, part = _known(features, factors, seed)
    places = _places(features)
    right = np.zeros((len(places), FOLDS, len(codes)))
    inner = np.zeros_like(right)
    for at, place in enumerate(places):
        x = _inputs(features, place)
        for held in range(FOLDS):
            right[at, held] = _right(x, codes, part, (held,))[held]
        for pair in combinations(range(FOLDS), 2) if len(places) > 1 else ():
            found = _right(x, codes, part, pair)  # serves both ways: one of the two is the part to be scored later
            for held, other in (pair, pair[::-1]):
                inner[at, held] += found[other]
    chosen = inner.argmax(axis=0)[None]
    accuracy = np.take_along_axis(right, chosen, axis=0)[0].sum(axis=0) / len(part)
    chance = [np.bincount(column).max() / len(column) for column in codes.values()]
    return pd.DataFrame({"accuracy": accuracy, "chance": chance}, index=pd.Index(codes, name="factor"))


def probe_layers(features: Features, factors: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Probe each layer and readout by itself.

    The best accuracy of a factor is chosen on the scored items, hence too high by chance: quote `probe`.

    Parameters
    ----------
    features, factors, seed
        As in `probe`; features of kind `layers`.

    Returns
    -------
    pd.DataFrame
        Accuracies; indexed by (factor, layer), one column a readout.
    """
    codes, part = _known(features, factors, seed)
    rows: dict[tuple[str, int], dict[str, float]] = {}
    for place in _places(features):
        x = _inputs(features, place)
        right = sum(_right(x, codes, part, (held,))[held] for held in range(FOLDS))
        for name, count in zip(codes, np.asarray(right), strict=True):
            rows.setdefault((name, place[0]), {})[place[1]] = float(count) / len(part)
    order = sorted(rows, key=lambda row: (list(codes).index(row[0]), row[1]))
    index = pd.MultiIndex.from_tuples(order, names=["factor", "layer"])
    return pd.DataFrame([rows[row] for row in order], index=index)


def report(
    extractors: Sequence[str], dataset: str, options: dict[str, dict[str, Any]], cache: Path, progress: Progress
) -> str:
    """Probe the features of some extractors for the factors of a simulated dataset, and write the tables.

    Parameters
    ----------
    extractors, dataset
        Names of plug-ins.
    options
        By plug-in name.
    cache
        Folder of data and features.
    """
    plugin = registry.create("dataset", dataset, options)
    loaded = plugin.load(cache, progress)
    factors, source = plugin.factors(loaded), runs.item_source(plugin, loaded)
    table: dict[str, list[str]] = {}
    layered: dict[str, pd.DataFrame] = {}
    for extractor in extractors:
        chosen = extractor_for(extractor, options, dataset)
        features = runs.extract(chosen, source, ExtractContext(cache / "features", progress=progress))
        for factor, accuracy, chance in probe(features, factors).itertuples():
            table.setdefault(factor, [f"{chance:.2f}"]).append(f"{accuracy:.2f}")
        if features.space.kind == "layers":
            layered[extractor] = probe_layers(features, factors)
    parts = [
        f"{dataset} (simulated data): accuracy of linear probes, five-fold over {counted(len(factors), 'item')}; "
        "numbers in thirds",
        _table([[factor, *cells] for factor, cells in table.items()], ["factor", "most frequent", *extractors]),
    ]
    for extractor, found in layered.items():
        parts.append(
            f"\n{extractor} by layer; the column above takes, for each factor, the layer and readout that are best on "
            "inner folds"
        )
        rows = [
            [*row, *(f"{v:.2f}" for v in values)] for row, values in zip(found.index, found.to_numpy(), strict=True)
        ]
        parts.append(_table(rows, ["factor", "layer", *found.columns]))
    return "\n".join(parts)


def _table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def _known(features: Features, factors: pd.DataFrame, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the levels of each factor, and the part of the cross-validation, of the items that have a feature."""
    ids = [item for item, ok in zip(features.item_ids, features.ok, strict=True) if ok]
    codes = {str(name): _codes(column) for name, column in factors.loc[ids].items()}
    return codes, np.random.default_rng(seed).permutation(len(ids)) % FOLDS


def _codes(values: pd.Series) -> np.ndarray:
    """Encode the levels of a factor as integers; a number by its third."""
    if pd.api.types.is_numeric_dtype(values):
        return pd.qcut(values, 3, labels=False, duplicates="drop").to_numpy()
    return pd.factorize(values, sort=True)[0]


def _places(features: Features) -> list[Place]:
    if features.space.kind != "layers":
        return [(0, "")]
    return [(layer, name) for layer in range(features.values.shape[1]) for name in features.space.readouts]


def _inputs(features: Features, place: Place) -> np.ndarray:
    """Return centred and scaled inputs with a constant, float64 [N, D + 1]."""
    values = features.readout(*place) if features.space.kind == "layers" else features.values
    x = values[features.ok].reshape(int(features.ok.sum()), -1).astype(np.float64)
    x -= x.mean(axis=0)
    return np.concatenate([x / max(float(x.std()), 1e-12), np.ones((len(x), 1))], axis=1)


def _right(
    x: np.ndarray, codes: dict[str, np.ndarray], part: np.ndarray, out: tuple[int, ...]
) -> dict[int, np.ndarray]:
    """Fit without the parts `out`, and count the correct items of each of these, [factors]."""
    fit = ~np.isin(part, out)
    wanted = [np.eye(int(column.max()) + 1)[column] for column in codes.values()]
    y = np.concatenate(wanted, axis=1)[fit]
    a = x[fit]
    if len(a) < a.shape[1]:  # fewer items than dimensions: the smaller of the two systems, with the same solution
        weights = a.T @ np.linalg.solve(a @ a.T + RIDGE * np.eye(len(a)), y)
    else:
        weights = np.linalg.solve(a.T @ a + RIDGE * np.eye(a.shape[1]), a.T @ y)
    scores = np.split(x @ weights, np.cumsum([one.shape[1] for one in wanted])[:-1], axis=1)
    hit = np.stack([s.argmax(axis=1) == c for s, c in zip(scores, codes.values(), strict=True)])
    return {held: hit[:, part == held].sum(axis=1) for held in out}
