"""Base class of the recommenders that are trained by steps: options, item encoder, and `fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from protocols.features import Standardisation
from protocols.ranking_problem import Scorer, TrainingData
from recommenders.base import FitRequest, FitResult, Range, Recommender, fit_key
from recommenders.encoder.fusions import Fusion, check_model
from recommenders.recbole import require
from recommenders.training.options import check_device, expect

if TYPE_CHECKING:
    import torch

    from recommenders.encoder.item_encoder import ItemEncoder
    from recommenders.training.loop import Plan


class Prepared(NamedTuple):
    """A model before its training.

    Attributes
    ----------
    model
        The network, with the item encoder in the place of its item table.
    encoder
        The item encoder.
    batches
        From an epoch's number (1, 2, ...) to what `model.calculate_loss` takes.
    steps
        Batches of an epoch; where that varies from epoch to epoch, about so many.
    scorer
        Makes the scorer of the model as it is then.
    """

    model: Any
    encoder: ItemEncoder
    batches: Callable[[int], Iterable[Any]]
    steps: int
    scorer: Callable[[], Scorer]


@dataclass(frozen=True)
class TrainedModel(Recommender):
    """A network whose item table is an item encoder.

    Attributes
    ----------
    dim
        Width of item vectors.
    lr, weight_decay
        Of AdamW.
    content_lr
        Multiplies the learning rate of what makes content vectors, in rows that have id vectors too.
    batch
        Training targets per step.
    max_epochs, min_epochs, min_steps, patience, patience_steps
        Early stopping on validation nDCG@10, see `recommenders.training.loop.Plan`.
    init_std
        Standard deviation of item vector coordinates at the start, of id and content parts alike.
    id_dropout
        Share of warm items that a training step treats as cold, so that what a fused encoder says of items without
        an id vector is learned too. Attention bears it; where a state is a mean or a recurrence over the whole history,
        a dropped item is missed in all of it, and features without information cost up to a quarter of what ids alone
        reach. Without ids or without features it does nothing.
    standardise
        `whiten`: all directions of the features weigh the same; `scale`: their geometry stays as the extractor made
        it; `z-score`, `l2`, `none`: see `ItemFeatures.standardised`. Layers are divided by a scale of their own each,
        and take `whiten` or `scale`.
    negatives
        Candidate negatives of a target: the warm items that were `released` when it was taken (others could not be
        taken, and ranking has the same rule), or all `warm` ones, which teaches that recent items are not wanted.
    freshness
        `age`: where the data set knows releases, a score has a learned term by the age of the item at the event, see
        `recommenders.training.age`; the same for rows with features and without. A row of ids alone then scores items
        without events too, by the mean id vector and their age, as one whose features say nothing does: what a row
        with features has more than it is not the age. `none`: there is no such term.
    average
        Decay per step of the parameter average that is validated and kept; 0 turns it off.
    precision
        Of the network's arithmetic in training: `bfloat16` where torch's autocast sees no harm, parameters and losses
        staying in float32; `auto`: on a GPU, and float32 elsewhere.
    activation, layers_temperature, layers_top, layers_balance
        Of the content vectors, see `ContentOptions`.
    """

    space: ClassVar[Mapping[str, Range]] = {
        "lr": Range(1e-3, 3e-2, log=True),
        "weight_decay": Range(1e-3, 1.0, log=True),
        "init_std": Range(0.01, 0.5, log=True),
        "id_dropout": Range(0.0, 0.6),
    }

    dim: int = 64
    lr: float = 7e-3
    weight_decay: float = 0.1
    content_lr: float = 1.0
    batch: int = 512
    max_epochs: int = 60
    min_epochs: int = 8
    min_steps: int = 600
    patience: int = 3
    patience_steps: int = 300
    init_std: float = 0.1
    id_dropout: float = 0.0
    standardise: Standardisation = "whiten"  # type: ignore[misc]  # an option here
    negatives: Literal["released", "warm"] = "released"
    freshness: Literal["age", "none"] = "age"
    average: float = 0.98
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    activation: Literal["none", "relu"] = "none"
    layers_temperature: float = 1.0
    layers_top: int = 0
    layers_balance: float = 0.0

    def fit(self, request: FitRequest) -> FitResult:
        """Train until validation stops improving, or for `request.epochs`.

        Raises
        ------
        DataError
            If there is nothing to learn from.
        UserError
            If an option makes no sense, or the fusion needs features and there are none.
        BenchError
            If training diverges.
        """
        from recommenders.training import loop

        self.check(request)
        model, encoder, batches, steps, scorer = self.prepare(request)
        key = fit_key(self, request)
        epochs, curve = loop.train(model, encoder, batches, steps, scorer, request, self.plan(), key)
        encoder.check_frozen(request.features)
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        doubts = [] if request.epochs else loop.doubts(epochs, curve, self.max_epochs)
        return FitResult(scorer(), epochs, count, curve, encoder.layer_weights(), encoder, scorer, doubts)

    def prepare(self, request: FitRequest) -> Prepared:
        """Make the untrained model, its item encoder and its batches.

        Raises
        ------
        DataError
            If there is nothing to learn from.
        """
        raise NotImplementedError

    def network(self) -> tuple[type, dict[str, Any]]:
        """Class of the network and its options under RecBole's names, for `built`."""
        raise NotImplementedError

    def built(self, request: FitRequest, options: Mapping[str, Any], max_length: int) -> tuple[Any, ItemEncoder]:
        """Make the network of `network` with more options, and put the item encoder in the place of its item table."""
        from recommenders.recbole import adapter
        from recommenders.training import loop
        from recommenders.training.age import AgeTerm

        network, own = self.network()
        with loop.seeded(request.seed, 0, request.device):
            given = {**own, **options}
            model = adapter.build(network, request.data, given, max_length=max_length, device=request.device)
            encoder = self.encoder(request).to(request.device)
        adapter.inject(model, encoder)
        model.age = AgeTerm(request.data).to(request.device) if self.knows_ages(request.data) else None
        encoder.scores_cold |= model.age is not None
        return model, encoder

    def knows_ages(self, data: TrainingData) -> bool:
        """True if scores have a term by age: an option, where releases are known and later items are no negatives."""
        return self.freshness == "age" and data.dated and self.negatives == "released"

    def plan(self) -> Plan:
        """Options of the training loop."""
        from recommenders.training.loop import Plan

        return Plan(
            self.lr,
            self.weight_decay,
            self.max_epochs,
            self.patience,
            min(self.min_epochs, self.max_epochs),
            self.min_steps,
            self.patience_steps,
            self.content_lr,
            average=self.average,
            precision=self.precision,
        )

    def encoder(self, request: FitRequest, width: int | None = None) -> ItemEncoder:
        """Make the untrained item encoder of `dim` or another width; draws from torch's global generator."""
        from recommenders.encoder.item_encoder import ItemEncoder
        from recommenders.encoder.projection import ContentOptions

        data, features = request.data, None if request.fusion == "id" else request.features
        options = ContentOptions(
            self.activation,
            self.standardise == "whiten",
            self.layers_temperature,
            self.layers_top,
            self.layers_balance,
        )
        return ItemEncoder(
            data.n_warm,
            len(data.items),
            width or self.dim,
            request.fusion,
            features,
            self.init_std,
            self.id_dropout,
            options,
        )

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense.

        Raises
        ------
        UserError
            Naming the option and what was expected; or the package that is not installed.
        """
        require(f"model {self.name!r}")
        positive = ("dim", "lr", "content_lr", "batch", "init_std", "layers_temperature")
        epochs = ("max_epochs", "min_epochs", "patience")
        from_zero = ("layers_top", "layers_balance", "weight_decay", "min_steps", "patience_steps")
        expect(self, (*positive, *epochs), lambda value: value > 0, "a number above 0")
        expect(self, from_zero, lambda value: value >= 0, "a number from 0")
        expect(self, ("id_dropout", "average"), lambda value: 0 <= value < 1, "a number from 0 to below 1")
        check_model(Fusion.parse(request.fusion), self)
        check_device(request.device)


def tensors(columns: Mapping[str, np.ndarray], device: str) -> dict[str, torch.Tensor]:
    """Columns of a batch as tensors on a device."""
    import torch

    return {name: torch.from_numpy(column).to(device) for name, column in columns.items()}
