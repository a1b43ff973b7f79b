"""Recommenders as plug-ins with one method, `fit`: its request, its result, and options to tune."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from protocols.errors import UserError
from protocols.features import ItemFeatures, Standardisation, as_bytes
from protocols.hashing import digest
from protocols.plugins import Plugin
from protocols.ranking_problem import Scorer, TrainingData
from recommenders.encoder.fusions import Fusion, check_model, kind_of

if TYPE_CHECKING:
    from recommenders.encoder.item_encoder import ItemEncoder


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
        How id and features make an item vector, see `recommenders.encoder.fusions.Fusion`.
    seed
        Same seed, same data: bit-identical scores.
    validate
        nDCG@10 of a scorer on the validation window; None when `epochs` is given.
    epochs
        Train exactly this many epochs, whole ones or not (refit); None: early stopping decides.
    checkpoint
        Folder for the state that lets a killed fit resume to the same numbers; None: keep none.
    snapshots
        Folder of epoch snapshots: a fit that validates writes its parameters there after each epoch, and a fit for a
        number of epochs takes them from there instead of training, if they are those of the same fit; None: neither.
    weights
        File that the parameters of the finished fit are written to; None: nowhere.
    reuse
        Take them from there instead of training, if they are those of the same fit: to look at what was trained. A
        run never does; that would hide what has changed in the code.
    device
        Torch device.
    report
        Called after each epoch with (epoch, note) for progress displays.
    within
        Called after each step with (epochs done, epochs at most, note on the last validation).
    oracle
        Only for simulated data: makes the scorer that knows the simulator's own probabilities.
    """

    data: TrainingData
    features: ItemFeatures | None = None
    fusion: str = "id"
    seed: int = 0
    validate: Callable[[Scorer], float] | None = None
    epochs: float | None = None
    checkpoint: Path | None = None
    snapshots: Path | None = None
    weights: Path | None = None
    reuse: bool = False
    device: str = "cpu"
    report: Callable[[int, str], None] = lambda epoch, note: None
    within: Callable[[float, float, str], None] = lambda done, most, note: None
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
        One dict a mark of `recommenders.training.loop.marks`: epoch, loss, and ndcg@10 where validated.
    layer_weights
        Of features of kind `layers`: weight of each layer in an item's content, mean over items. Empty else.
    encoder
        The trained item encoder, to look into; None for models without one.
    rescore
        Makes a scorer anew, of the encoder as it is then; None as above.
    doubts
        Reasons why early stopping may not have found the optimum.
    facts
        What else a record should hold of the model, JSON-able.
    """

    scorer: Scorer
    epochs: float = 0
    parameters: int = 0
    curve: list[dict] = field(default_factory=list)
    layer_weights: list[float] = field(default_factory=list)
    encoder: ItemEncoder | None = None
    rescore: Callable[[], Scorer] | None = None
    doubts: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Range:
    """Search range of an option when it is tuned.

    Attributes
    ----------
    low, high
        Both belong to it.
    log
        Whether its logarithm is what is drawn.
    """

    low: float
    high: float
    log: bool = False

    @classmethod
    def parse(cls, name: str, words: Sequence[object]) -> Range:
        """Read `[low, high]` or `[low, high, log]`.

        Raises
        ------
        UserError
            Naming the option, if it is none.
        """
        try:
            low, high = (float(word) for word in words[:2])  # type: ignore[arg-type]  # what is no number is refused
            log = words[2:] == ["log"]
            if (words[2:] and not log) or not low < high or (log and low <= 0):
                raise ValueError
        except (TypeError, ValueError):
            raise UserError(f"range of {name}: {words!r}; expected [low, high] or [low, high, log]") from None
        return cls(low, high, log)

    def clipped(self, value: float) -> float:
        """Return the nearest value in it."""
        return min(max(float(value), self.low), self.high)

    def widened(self, value: float, share: float) -> Range:
        """Range that reaches half as far again beyond the end that a value lies at, see `at_edge`; 0 stays the end."""
        scale, back = (math.log, math.exp) if self.log else (float, float)
        low, high = scale(self.low), scale(self.high)
        if scale(value) - low > share * (high - low):
            return replace(self, high=back(high + (high - low) / 2))
        return replace(self, low=back(low - (high - low) / 2)) if self.log or self.low else self

    def at_edge(self, value: float, share: float) -> bool:
        """Tell if a value lies within a share of the range from one of its ends."""
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return min(value - low, high - value) <= share * (high - low)


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
    only_fusion
        For models without an item encoder that take one vector an item: the one fusion that says what they do with it
        (`replace`: they know items by their features alone). "": any fusion.
    standardise
        How item features are standardised for this model, by statistics of training items, see
        `ItemFeatures.standardised`. A model may make it an option.
    user_layers
        Whether it can weigh layers by user (`moe-user`): its score is a dot product with a vector made of the history.
    space
        Options that `bench tune` looks for, and where; the same for every row of the model.
    paper
        Citation, shown by `bench list models`.
    """

    uses_features: ClassVar[bool] = True
    trains_epochs: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    only_fusion: ClassVar[str] = ""
    standardise: ClassVar[Standardisation] = "scale"
    user_layers: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {}
    paper: ClassVar[str] = ""

    def too_large(self, items: int) -> UserError | None:
        """Make the error of a model that cannot be fitted on so many warm items; None: it can."""
        return None

    def for_catalogue(self, items: int) -> Self:
        """Return the model with options that it chooses by the number of warm items: itself where it chooses none.

        What is chosen is an option like any other: records hold it, and keys depend on it.
        """
        return self

    def fit(self, request: FitRequest) -> FitResult:
        """Fit on `request.data` and return a scorer."""
        raise NotImplementedError


def item_vectors(model: Recommender, request: FitRequest) -> np.ndarray:
    """Return the standardised features of all items of a request, for a model without an item encoder.

    Returns
    -------
    np.ndarray
        float32 [M, K].

    Raises
    ------
    UserError
        If the fusion is another one than the model's, or there are no features of one vector an item.
    """
    check_model(Fusion.parse(request.fusion), model)
    features = request.features
    if features is None or features.values.ndim != 2:
        found = "none" if features is None else f"{features.space_id} of shape {features.values.shape}"
        raise UserError(f"{model.name} takes features of one vector an item and was given {found}")
    return features.vectors()


def fit_key(model: Recommender, request: FitRequest) -> str:
    """Identity of a fit but for its length: a state with another key belongs to another model, data or seed."""
    content = hashlib.sha256("\0".join(map(str, request.data.items)).encode())
    arrays = [request.data.user, request.data.item, request.data.timestamp, request.data.release]
    if request.features is not None:
        arrays += [request.features.values, request.features.mean]
        arrays += [] if request.features.transform is None else [request.features.transform]
    for array in arrays:
        content.update(as_bytes(array))
    settings = [request.fusion, request.seed, request.device, request.data.n_warm, request.data.dated]
    scale = request.features.scale if request.features is not None else None
    version = code_version(model, request.fusion)
    return digest([model.name, version, model.options(), settings, scale, content.hexdigest()])


def code_version(model: Recommender, fusion: str) -> int:
    """Return the version of a model with a fusion: it grows when that of either does."""
    return model.code_version + kind_of(fusion).code_version - 1
