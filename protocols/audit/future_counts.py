"""Warning of features and titles that hold the future: rank correlation with events of the test window.

Content may tell what becomes popular, and popular items stay so. But values that follow the counts of the test window
closely, beyond what the counts before the border explain, are more likely to have been made from them: final totals of
likes or views in a title or a table, for example.
"""

from __future__ import annotations

import re
from statistics import NormalDist

import numpy as np
import pandas as pd

from protocols.audit.log_facts import LogFacts
from protocols.dataset import Dataset
from protocols.features import ItemFeatures
from protocols.ranking_problem import Fold, Problem

CHECK = "future counts"
#: Partial rank correlation from which on the check warns, if chance gives it with this probability at most.
THRESHOLD, CHANCE = 0.5, 0.001
#: Fewest items that are worth a correlation, and most that are looked at, spaced evenly: it must take no time.
FEWEST, MOST = 20, 2000
_NUMBER = re.compile(r"\d+(?:[.,]\d{3})*")


def verdict(dataset: Dataset, fold: Fold, problem: Problem, features: ItemFeatures | None) -> dict[str, object]:
    """Correlate the columns of features, and the numbers in titles, with the events of a fold's test window.

    Returns
    -------
    dict
        check, ok, detail, and warning: true where the correlation is suspicious. It is never an error: ok is true.
    """
    facts = LogFacts.of(dataset)
    code = facts.item_codes(problem.training.items[: problem.training.n_warm])
    code = code[:: max(1, len(code) // MOST)]
    border, end = np.searchsorted(facts.log.time, (fold.border, fold.end))
    past, future = (
        np.bincount(facts.log.item[rows], minlength=len(facts.log.items))[code]
        for rows in (slice(0, border), slice(border, end))
    )
    sources = {"title": _numbers(dataset, facts.log.items[code])}
    if features is not None and features.values.ndim == 2:
        step = max(1, problem.training.n_warm // MOST)
        values = features.values[: problem.training.n_warm : step].astype(np.float64)
        values[~features.present[: problem.training.n_warm : step]] = np.nan
        sources[f"features {features.space_id}"] = values
    found = {name: largest_partial_correlation(values, past, future) for name, values in sources.items()}
    name, (r, column, suspicious) = max(found.items(), key=lambda item: (item[1][2], item[1][0]))
    where = "numbers in titles" if name == "title" else f"column {column} of {name}"
    detail = (
        f"{where}: rank correlation {r:.2f} with the events of the test window, beyond what counts before the border "
        "explain: do they hold what was counted later?"
        if suspicious
        else f"rank correlation with events of the test window, given those before: at most {r:.2f}"
    )
    return {"check": CHECK, "ok": True, "warning": suspicious, "detail": detail}


def largest_partial_correlation(values: np.ndarray, past: np.ndarray, future: np.ndarray) -> tuple[float, int, bool]:
    """Find the column whose ranks go with those of the future counts most, given those of the past.

    Spearman's partial correlation: of the residuals of both ranks on the rank of the past counts.

    Parameters
    ----------
    values
        float [N, K]; rows with NaN are left out, of each column its own.
    past, future
        int [N].

    Returns
    -------
    tuple
        |r|, the column, and whether that is suspicious; 0 and 0 where fewer than `FEWEST` rows have a value.
    """
    best = (0.0, 0, False)
    missing = np.isnan(values)
    same = not (missing.any(axis=1) & ~missing.all(axis=1)).any()
    for columns in [slice(None)] if same else [slice(k, k + 1) for k in range(values.shape[1])]:
        known = ~missing[:, columns].any(axis=1)
        if known.sum() < FEWEST:
            continue
        least = max(THRESHOLD, _by_chance(int(known.sum()), values.shape[1]))
        x, y, z = (pd.DataFrame(a[known]).rank().to_numpy() for a in (values[:, columns], future, past))
        x, y = _residuals(x, z), _residuals(y, z)
        size = np.linalg.norm(x, axis=0) * np.linalg.norm(y)
        r = np.abs(np.divide(y[:, 0] @ x, size, out=np.zeros(x.shape[1]), where=size > 1e-9))
        at = int(np.argmax(r))
        best = max(best, (float(r[at]), at + (columns.start or 0), bool(r[at] >= least)))
    return best


def _by_chance(rows: int, columns: int) -> float:
    """|r| that the largest of some columns exceeds by chance with probability `CHANCE` (Fisher's z, Bonferroni)."""
    return float(np.tanh(NormalDist().inv_cdf(1 - CHANCE / 2 / columns) / np.sqrt(rows - 4)))


def _residuals(ranks: np.ndarray, on: np.ndarray) -> np.ndarray:
    ranks, on = ranks - ranks.mean(axis=0), on - on.mean(axis=0)
    size = float(np.square(on).sum())
    return ranks - on * (on.T @ ranks) / size if size > 0 else ranks


def _numbers(dataset: Dataset, items: np.ndarray) -> np.ndarray:
    """First and last number in each title, [N, 2]; NaN where there is none."""
    out = np.full((len(items), 2), np.nan)
    if "title" not in dataset.items:
        return out
    for row, title in enumerate(dataset.items["title"].reindex(items)):
        numbers = _NUMBER.findall(title) if isinstance(title, str) else []
        if numbers:
            out[row] = [float(re.sub("[.,]", "", numbers[at])) for at in (0, -1)]
    return out
