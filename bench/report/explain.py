"""Weights of layers and gate in a trained model, and ablation of its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.runs.restore import Restored
from protocols.errors import UserError
from protocols.evaluation import slices, statistics
from protocols.evaluation.metrics import PRIMARY
from recommenders.encoder import ablation


def explain(restored: Restored) -> dict[str, Any]:
    """Look into the model of one seed and fold.

    Returns
    -------
    dict
        JSON-able: `seed`, `fold`, `origin`, nDCG@10 as `value`, `layer_weights` [L], `gate` (mean weight of the id
        by group of items), `knockouts` (part, how, value, cost with its 95% interval over users), and of experts
        `items` (id, title, weights [L], centre: the mean layer).

    Raises
    ------
    UserError
        If the model has no item encoder.
    """
    fitted, job = restored.fitted, restored.job
    if fitted.encoder is None or fitted.rescore is None:
        raise UserError(
            f"{job.cell.label} has nothing to look into: no vector of an item is trained",
            remedy="explain a run of a trained model; `bench list models` shows them",
        )
    return {
        "seed": job.seed,
        "fold": job.fold,
        "origin": restored.origin,
        "kept_weights": restored.kept,
        "largest_difference": restored.largest,
        "value": float(restored.users[PRIMARY].mean()),
        "layer_weights": fitted.layer_weights,
        "gate": gate(restored),
        "knockouts": ablations(restored),
        "items": items(restored),
    }


def ablations(restored: Restored) -> list[dict[str, Any]]:
    """Measure the cost in nDCG@10 of each input, ablated in each way; intervals are over the fold's users."""
    encoder, rescore = restored.fitted.encoder, restored.fitted.rescore
    assert encoder is not None
    assert rescore is not None
    whole, found = _values(restored.users), []
    for part in ablation.parts(encoder):
        for how in ablation.METHODS:
            with ablation.ablated(encoder, part, how, seed=restored.job.seed):
                without = _values(restored.rank(rescore()))
            compared = statistics.compare(whole, without)
            numbers = {"value": compared.mean_b, "cost": compared.effect, "low": compared.low, "high": compared.high}
            found.append({"part": part, "how": how, **numbers})
    return found


def _values(users: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"seed": 0, "fold": 0, "user_id": users["user_id"], "value": users[PRIMARY]})


def gate(restored: Restored) -> dict[str, float]:
    """Average the weight of the id vector in the gate by group of items: all, cold, and warm ones by their events."""
    assert restored.fitted.encoder is not None
    values = ablation.gate_values(restored.fitted.encoder)
    if values is None:
        return {}
    weight = values.cpu().numpy().astype(np.float64)
    training = restored.problem.training
    groups = {"all items": np.ones(len(weight), dtype=bool), "cold items": ~training.warm}
    for name, chosen in slices.quartiles(training.counts, training.warm).items():
        if chosen.any():
            low, high = training.counts[chosen].min(), training.counts[chosen].max()
            groups[f"warm items with {low} to {high} events ({name})"] = chosen
    return {name: float(weight[chosen].mean()) for name, chosen in groups.items() if chosen.any()}


def items(restored: Restored) -> list[dict[str, Any]]:
    """Return the layer weights of every item that has a feature of its own; none where items have no such weights."""
    assert restored.fitted.encoder is not None
    found = ablation.item_weights(restored.fitted.encoder)
    if found is None:
        return []
    weights = found.cpu().numpy().astype(np.float64)
    features = restored.context.aligned(restored.job, restored.problem)
    frame = restored.context.dataset.items
    titles = frame["title"] if "title" in frame else pd.Series(index=frame.index, dtype=object)
    centre = weights @ np.arange(weights.shape[1])
    return [
        {
            "id": str(item),
            "title": title if isinstance(title := titles.get(item), str) else "",
            "weights": [round(float(w), 5) for w in weights[at]],
            "centre": float(centre[at]),
        }
        for at, item in enumerate(restored.problem.training.items)
        if features is not None and features.present[at]
    ]
