"""Leak audit: a problem recomputed from the raw log, with one verdict for each kind of leak.

The checks share no code with the split beyond the integer codes of the log, so that a mistake there shows here. They
are cheap enough to run inside every `bench run`; the verdicts go into the record.
"""

from __future__ import annotations

from collections.abc import Callable

from protocols.audit import declared_leaks
from protocols.audit.checks import LeakChecks
from protocols.dataset import Dataset
from protocols.errors import BenchError
from protocols.features import ItemFeatures
from protocols.ranking_problem import Fold, Problem, Stage
from protocols.splitting.rolling import utc
from protocols.wording import counted

Verdict = dict[str, object]

KINDS = (
    "parameters",
    "k-core",
    "popularity",
    "id maps",
    "feature statistics",
    "histories",
    "early stopping",
    "candidate set",
)
"""Kinds of leak; every audit has a verdict on each.

`parameters`: the rows fitted on. `k-core`: the selection of those rows. `popularity`: event counts, and with them their
logarithms. `id maps`: items and users that are numbered, their order, and which items are warm. `feature
statistics`: mean and scale or whitening that standardise, and the mean that replaces absent features.
`histories`: input of the model when it ranks. `early stopping`: the window that chooses the number of epochs or any
other hyper-parameter. `candidate set`: items that may be recommended, and the time of their release.
"""


def audit(
    dataset: Dataset,
    fold: Fold,
    problem: Problem,
    stage: Stage = "test",
    features: ItemFeatures | None = None,
    searched: Fold | None = None,
) -> list[Verdict]:
    """Run all checks and raise on the first violation.

    Parameters
    ----------
    dataset, fold
        Source of the problem.
    problem
        As models get it.
    stage
        Which of the fold's two problems it is.
    features
        As aligned to the problem's items, before an extractor's `on_items` permutes or flattens them.
    searched
        The fold on whose validation window the number of epochs is chosen; None: this one.

    Returns
    -------
    list of dict
        check, ok, detail; one for each of `KINDS`, then `targets`. `by_construction` is true where a retrospective
        protocol declares the leak: that is not ok, and no error either.

    Raises
    ------
    BenchError
        If a check fails that the protocol does not declare; names the first offending row.
    """
    found = verdicts(dataset, fold, problem, stage, features, searched)
    failed = [v for v in found if not v["ok"] and not v.get("by_construction")]
    if failed:
        raise BenchError(
            f"leak audit, fold {fold.index}, {stage}: {failed[0]['check']}: {failed[0]['detail']}",
            remedy="this result would use information from after the border; it is not recorded",
        )
    return found


def required(verdict: Verdict) -> Verdict:
    """Return a verdict that must be good.

    Raises
    ------
    BenchError
        If it is not.
    """
    if not verdict["ok"]:
        raise BenchError(
            f"leak audit: {verdict['check']}: {verdict['detail']}",
            remedy="this result would use information from after the border; it is not recorded",
        )
    return verdict


def verdicts(
    dataset: Dataset,
    fold: Fold,
    problem: Problem,
    stage: Stage = "test",
    features: ItemFeatures | None = None,
    searched: Fold | None = None,
) -> list[Verdict]:
    """Run all checks; see `audit`, which raises where this one reports."""
    if fold.info.get("retrospective"):
        return declared_leaks.verdicts(dataset, fold, problem, stage, features)
    case = LeakChecks(dataset, fold, problem, stage, searched or fold)
    k, n = case.knobs.get("k_core", 1), len(problem.training.items)
    chosen = f"fitted on rows before {utc(case.searched.validation_border)}, chosen on those to "
    whitened = ", whitening" if features is not None and features.transform is not None else ""
    good = {
        "parameters": f"{len(problem.training.user)} fitted rows, all before {utc(case.border)}",
        "k-core": f"k={k}, of rows before the border alone" if k > 1 else "no k-core: the rows before the border",
        "popularity": "event counts, and so their logarithms, are those of the fitted rows",
        "id maps": f"{counted(n, 'item')}, {problem.training.n_warm} of them warm, and "
        f"{counted(len(problem.training.users), 'user')}",
        "feature statistics": f"mean, scale{whitened} and the value of absent items are those of warm items",
        "histories": f"{counted(len(problem.task.users), 'row')}, {case.shown}",
        "early stopping": f"{chosen}{utc(case.searched.validation_end)} (fold {case.searched.index})",
        "candidate set": f"{counted(int(problem.task.candidates.sum()), 'item')}, {fold.info['candidates']}",
        "targets": "all inside the window and new to their user",
    }
    checks: dict[str, Callable[[], str]] = {
        "parameters": case.parameters,
        "k-core": case.k_core,
        "popularity": case.popularity,
        "id maps": case.id_maps,
        "feature statistics": lambda: case.feature_statistics(features),
        "histories": case.histories,
        "early stopping": case.early_stopping,
        "candidate set": case.candidate_set,
        "targets": case.targets,
    }
    if features is None:
        good["feature statistics"] = "no features in this run"
    out: list[Verdict] = []
    for name, check in checks.items():
        bad = check()
        out.append({"check": name, "ok": not bad, "detail": bad or good[name]})
    return out
