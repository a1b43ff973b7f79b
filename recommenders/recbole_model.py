"""`recbole:NAME`: any sequential or general model of RecBole, with the item encoder in the place of its item table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import yaml

from protocols.errors import BenchError, DataError, UserError, did_you_mean
from protocols.wording import counted
from recommenders.base import FitRequest
from recommenders.data.pairs import PairBatches
from recommenders.data.prefixes import PrefixBatches
from recommenders.data.users import FittedUsers
from recommenders.recbole import catalogue, require
from recommenders.training.negatives import release_order
from recommenders.training.options import expect
from recommenders.training.trained_model import Prepared, TrainedModel

if TYPE_CHECKING:
    from protocols.ranking_problem import TrainingData
    from recommenders.recbole.runner import Network


@dataclass(frozen=True)
class RecBole(TrainedModel):
    """A model of RecBole as it is: its network and its loss, our data, item encoder, training loop and ranking.

    Sequential models are trained on prefixes with RecBole's cross-entropy, general ones on pairs. What is checked
    before training: a changed item feature moves the scores of others (through the history or the graph) or its own.
    `bench list recbole` says which models were tried and what came out.

    The width of item vectors is what the model's own table has (`dim` sets `embedding_size` and `hidden_size`). The
    other options are those of `TrainedModel`; there is no term by age, as the losses are RecBole's own.

    Attributes
    ----------
    model
        Name of a model of RecBole, as in `recbole:GRU4Rec`.
    config
        Options under RecBole's names as a YAML mapping, over those that RecBole ships: `{n_layers: 1}`.
    max_length, prefixes
        Longest history of a sequential model; targets a user and epoch.
    """

    name: ClassVar[str] = "recbole"
    argument: ClassVar[str] = "model"
    paper: ClassVar[str] = "Zhao et al., RecBole, CIKM 2021 and 2022; the model's own"

    lr: float = 1e-3
    batch: int = 1024
    weight_decay: float = 0.0
    average: float = 0.0
    freshness: Literal["age", "none"] = "none"
    model: str = ""
    config: str = "{}"
    max_length: int = 50
    prefixes: int = 20

    def prepare(self, request: FitRequest) -> Prepared:
        """Make the untrained model around the item encoder, and its batches.

        Raises
        ------
        UserError
            If there is no such model, or it has no item table.
        DataError
            If there is nothing to learn from.
        BenchError
            If features do not reach the scores, or the model asks for what it is not handed.
        """
        from recommenders.recbole import runner
        from recommenders.training import loop

        data, options = request.data, runner.model_options(self.model, self.dim, self.batch, self.overrides())
        with loop.seeded(request.seed, 0, request.device), runner.global_random(request.seed, 0):
            network = runner.build(
                self.model,
                data,
                partial(self.encoder, request),
                options,
                max_length=self.max_length,
                init_std=self.init_std,
                device=request.device,
            )
            if network.encoder.scores_cold:
                runner.check_injection(network, data)
        batches, steps = self._batches(network, request)
        return Prepared(network.model, network.encoder, batches, steps, partial(RecBoleScorer, network, data))

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense, and a name of no model of RecBole, or of one known not to work."""
        require(f"model {self.name!r}")
        if self.model not in catalogue.defined():  # told without the seconds that importing RecBole takes
            raise did_you_mean("RecBole model", self.model, [row["model"] for row in catalogue.rows()])
        reason = catalogue.refusal(self.model, untouched=not self.overrides())
        if reason:
            raise UserError(reason, remedy="`bench list recbole` says which models work")
        expect(self, ("max_length", "prefixes"), lambda value: value > 0, "a number above 0")
        expect(self, ("freshness",), lambda value: value == "none", "none: the losses of RecBole's models have no ages")
        super().check(request)

    def overrides(self) -> dict[str, Any]:
        """`config` as a mapping.

        Raises
        ------
        UserError
            If it is none.
        """
        try:
            found = yaml.safe_load(self.config)
        except yaml.YAMLError as error:
            raise UserError(f"recbole.config is no YAML: {' '.join(str(error).split())}") from error
        if not isinstance(found, dict):
            raise UserError(f"recbole.config={self.config!r}: expected a mapping such as {{n_layers: 1}}")
        return found

    def _batches(self, network: Network, request: FitRequest) -> tuple[Callable[[int], Iterator[Any]], int]:
        from recommenders.recbole import runner

        data = request.data
        pairs = PairBatches(data, *release_order(data, self.negatives), self.batch, request.seed)
        prefixes = PrefixBatches(data, pairs.negatives, self.max_length, self.prefixes, self.batch, request.seed)
        if not (prefixes.targets if network.sequential else len(data.item)):
            raise DataError(f"there are no events before the border that {self.model} could learn from")
        source = prefixes if network.sequential else pairs

        def batches(epoch: int) -> Iterator[Any]:
            with runner.global_random(request.seed, epoch):
                if hasattr(network.model, "e_step"):
                    runner.cluster(network.model, request.seed, epoch)
                for batch in source.epoch(epoch):
                    yield network.interaction(batch)

        return batches, source.steps


class RecBoleScorer:
    """Scores of a fitted model through its own `full_sort_predict`, or item by item where it has none.

    Cold items score -inf where the model scores with something else than the item table. For a general model, users
    without fitted events get the logarithm of each warm item's count.
    """

    def __init__(self, network: Network, data: TrainingData) -> None:
        self.network, self.n_items, self.n_warm = network, len(data.items), data.n_warm
        self.fitted = FittedUsers(data)
        network.ready_to_score()

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        rows = self.fitted.rows(users)
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        found = self.network.scores(rows, histories)
        if found.shape[1] not in (self.n_warm + 1, self.n_items + 1):
            raise BenchError(
                f"{type(self.network.model).__name__} gives {found.shape[1]} scores for {counted(self.n_items, 'item')}"
            )
        scores[:, : found.shape[1] - 1] = found[:, 1:]
        if not self.network.sequential:
            self.fitted.fill(scores, rows)
        return scores
