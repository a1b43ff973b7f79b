"""What every recommender is: a plug-in with one method, `fit`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from protocols.features import ItemFeatures
from protocols.hashing import digest
from protocols.plugins import Plugin
from protocols.problem import Scorer, TrainingData

FUSIONS = ("id", "replace", "add", "gate", "concat")


@dataclass(frozen=True, eq=False)
class FitRequest:
    """Everything one fit needs.

    Attributes
    ----------
    data
        What may be learned from.
    features
        Item features aligned to `data.items`, or None (fusion `id`).
    fusion
        One of `FUSIONS`: how id and features make an item vector.
    seed
        Same seed, same data: bit-identical scores.
    validate
        nDCG@10 of a scorer on the validation window; None when `epochs` is given.
    epochs
        Train exactly this many epochs (refit); None: early stopping decides.
    checkpoint
        Folder for the state that lets a killed fit resume to the same numbers; None: keep none.
    trail
        Folder where a fit that validates leaves its parameters epoch by epoch, and where a fit for a number of epochs
        takes them from instead of training, if they are those of the same fit; None: neither.
    device
        Torch device.
    report
        Called after each epoch with (epoch, note) for progress displays.
    oracle
        Only for simulated data: makes the scorer that knows the simulator's own probabilities.
    """

    data: TrainingData
    features: ItemFeatures | None = None
    fusion: str = "id"
    seed: int = 0
    validate: Callable[[Scorer], float] | None = None
    epochs: int | None = None
    checkpoint: Path | None = None
    trail: Path | None = None
    device: str = "cpu"
    report: Callable[[int, str], None] = lambda epoch, note: None
    oracle: Callable[[TrainingData], Scorer] | None = None


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted recommender and how it got there.

    Attributes
    ----------
    scorer
        Scores all items of the problem, cold ones too where the model can (features), else -inf.
    epochs
        Epochs of the kept parameters: the best validation epoch, or what was asked for.
    parameters
        Number of trainable parameters.
    curve
        One dict an epoch: loss, and ndcg@10 where validated.
    """

    scorer: Scorer
    epochs: int = 0
    parameters: int = 0
    curve: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class Recommender(Plugin):
    """A recommender users can name. Subclasses are frozen dataclasses; their fields are options.

    Attributes
    ----------
    uses_features
        False for models that ignore item features (`pop`, `oracle`); they run once, not once an extractor.
    trains_epochs
        False for models without epochs: no early stopping, fitted once on everything before the border.
    seeded
        False for models whose result does not depend on the seed.
    standardise
        How item features are standardised for this model, by statistics of training items: `scale` (one number) or
        `whiten` (`protocols.features.whitening`). A model may make it an option.
    paper
        Citation, shown by `bench list models`.
    """

    uses_features: ClassVar[bool] = True
    trains_epochs: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    standardise: ClassVar[str] = "scale"
    paper: ClassVar[str] = ""

    def fit(self, request: FitRequest) -> FitResult:
        """Fit on `request.data` and return a scorer."""
        raise NotImplementedError


def fit_key(model: Recommender, request: FitRequest) -> str:
    """Identity of a fit but for its length: a state with another key belongs to another model, data or seed."""
    content = hashlib.sha256("\0".join(map(str, request.data.items)).encode())
    arrays = [request.data.user, request.data.item, request.data.timestamp, request.data.release]
    if request.features is not None:
        arrays += [request.features.values, request.features.mean]
        arrays += [] if request.features.transform is None else [request.features.transform]
    for array in arrays:
        content.update(np.ascontiguousarray(array).tobytes())
    settings = [request.fusion, request.seed, request.device, request.data.n_warm]
    scale = request.features.scale if request.features is not None else None
    return digest([model.name, model.code_version, model.options(), settings, scale, content.hexdigest()])
