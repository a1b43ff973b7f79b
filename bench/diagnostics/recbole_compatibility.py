"""Compatibility test of every sequential and general model of RecBole with an item encoder.

    python -m bench.diagnostics.recbole_compatibility

It trains each model for a few epochs on the first fold of the demo, with captions through a gate, and scores it on the
validation window. It writes the list `recommenders/recbole/models.csv`, which `bench list recbole` shows.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import settings
from bench.runs import run as runs
from bench.runs import worker
from bench.runs.context import Job, RunContext
from bench.runs.rows import RowSpec
from protocols.errors import BenchError, UserError
from protocols.evaluation import ranking
from protocols.progress import Quiet
from protocols.ranking_problem import Problem
from protocols.wording import counted
from recommenders.base import FitRequest
from recommenders.recbole import catalogue, compat
from recommenders.recbole_model import RecBole

#: Few steps, enough for a check that a model runs and learns.
OPTIONS: dict[str, Any] = {"lr": 5e-3, "prefixes": 6, "max_length": 20, "batch": 512}
EPOCHS = 3


def models() -> Iterator[tuple[str, str]]:
    """Yield names and families of RecBole's models."""
    compat.apply()
    for family in ("sequential", "general"):
        package = f"recbole.model.{family}_recommender"
        module = importlib.import_module(package)
        compat.anomaly_off()
        yield from sorted(
            (name, family)
            for name, kind in vars(module).items()
            if isinstance(kind, type) and kind.__module__.startswith(package)
        )


def chance(problem: Problem) -> float:
    """Compute nDCG@10 of scores drawn at random."""

    class Noise:
        def score(self, users: Any, histories: Any) -> np.ndarray:
            shape = (len(users), len(problem.training.items))
            return np.random.default_rng(len(users)).random(shape, dtype=np.float32)

    return ranking.Ranker(problem, worker.TIE_SEED).ndcg(Noise())


def attempt(context: RunContext, job: Job, name: str, floor: float) -> dict[str, Any]:
    """Train one model for a few epochs, and return its outcome as a row of the list."""
    problem = context.protocol.problem(context.dataset, context.folds[job.fold], "validation")
    features = context.aligned(job, problem)
    try:
        model = RecBole.from_options({"model": name, **OPTIONS})
        result = model.fit(FitRequest(problem.training, features, "gate", 1, epochs=EPOCHS))
        found = ranking.Ranker(problem, worker.TIE_SEED).ndcg(result.scorer)
        scores = result.scorer.score(list(problem.task.users[:2]), problem.task.histories[:2])
        cold = bool(np.isfinite(scores[:, problem.training.n_warm :]).all())
    except UserError as error:
        return {"outcome": "no item table", "reason": str(error)}
    except BenchError as error:
        return {"outcome": "fails", "reason": str(error)}
    except Exception as error:
        return {"outcome": "fails", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
    outcome = "works" if found > 1.5 * floor else "learns nothing"
    reason = "" if outcome == "works" else f"nDCG@10 {found:.4f} after {counted(EPOCHS, 'epoch')}, chance {floor:.4f}"
    return {"outcome": outcome, "cold_items": "yes" if cold else "no", "ndcg@10": f"{found:.4f}", "reason": reason}


def main(names: list[str]) -> None:
    """Try all models (or the named ones) and write the list."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as results:
        request = runs.Request([RowSpec("sasrec", "captions", "gate")], settings.cache_folder(None), Path(results))
        context, jobs = runs.prepare(request, Quiet())
        job = jobs[0]
        problem = context.protocol.problem(context.dataset, context.folds[job.fold], "validation")
        floor = chance(problem)
        known = {row["model"]: row for row in catalogue.rows() if names and row["model"] not in names}
        catalogue.write(known.values())  # what the list says of a model would keep it from being tried again
        for name, family in models():
            if names and name not in names:
                continue
            known[name] = {"model": name, "family": family, **attempt(context, job, name, floor)}
            sys.stdout.write(f"{known[name]}\n")
            sys.stdout.flush()
            catalogue.write(known.values())  # after each model: an interrupted run keeps its outcomes


if __name__ == "__main__":
    main(sys.argv[1:])
