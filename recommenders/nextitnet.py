"""NextItNet on whole sequences: RecBole's network with the item encoder in the place of its item table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recommenders.base import FitRequest
from recommenders.training.options import expect
from recommenders.training.sequential_model import SequenceModel


@dataclass(frozen=True)
class NextItNet(SequenceModel):
    """Dilated causal convolutions over the history.

    The other options are those of `SequenceModel`; dropout is on the item vectors that go in.

    Attributes
    ----------
    blocks
        How often the dilations 1 and 4 follow each other; each is a residual block of two convolutions.
    kernel
        Width of a convolution.
    """

    name: ClassVar[str] = "nextitnet"
    paper: ClassVar[str] = "Yuan et al., A Simple Convolutional Generative Network for Next Item, WSDM 2019"

    lr: float = 3e-3
    blocks: int = 1
    kernel: int = 3

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.nextitnet import WholeSequenceNextItNet

        return WholeSequenceNextItNet, {
            "embedding_size": self.dim,
            "block_num": self.blocks,
            "dilations": [1, 4],
            "kernel_size": self.kernel,
            "dropout_prob": self.dropout,
            "reg_weight": 0.0,
            "loss_type": "CE",
        }

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense."""
        expect(self, ("blocks", "kernel"), lambda value: value > 0, "a number above 0")
        super().check(request)
