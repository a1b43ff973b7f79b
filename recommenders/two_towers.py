"""Two towers: a pooled history on one side, the item encoder on the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from recommenders.base import FitRequest
from recommenders.training.options import expect
from recommenders.training.sequential_model import SequenceModel


@dataclass(frozen=True)
class TwoTowers(SequenceModel):
    """User tower over the pooled history, item tower = item encoder, in-batch softmax corrected by log-popularity.

    The order of the history is not used. The other options are those of `SequenceModel`; dropout is on the pooled
    history.

    Attributes
    ----------
    pooling
        `mean` of the item vectors of the history, or learned `attention` over them.
    hidden
        Width of the hidden layer of the user tower.
    """

    name: ClassVar[str] = "two-towers"
    paper: ClassVar[str] = "Yi et al., Sampling-Bias-Corrected Neural Modeling, RecSys 2019"

    loss: Literal["softmax", "sampled", "in-batch", "in-batch-plain", "bce"] = "in-batch"
    lr: float = 5e-3
    pooling: Literal["mean", "attention"] = "mean"
    hidden: int = 128

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.two_towers import WholeSequenceTwoTowers

        return WholeSequenceTwoTowers, {
            "embedding_size": self.dim,
            "hidden_size": self.hidden,
            "pooling": self.pooling,
            "dropout_prob": self.dropout,
        }

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense."""
        expect(self, ("hidden",), lambda value: value > 0, "a number above 0")
        super().check(request)
