"""eSASRec: SASRec with LiGR blocks and a softmax over sampled negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from recommenders.base import FitRequest
from recommenders.sasrec import SASRec
from recommenders.training.options import expect


@dataclass(frozen=True)
class ESASRec(SASRec):
    """SASRec's training on whole sequences, LiGR blocks (gated residual sums, SwiGLU) and a sampled softmax.

    The other options are those of `sasrec`.

    Attributes
    ----------
    loss
        As in `SequenceModel`, or `gbce`: binary cross-entropy against `loss_negatives` items, with the positive part
        weighted down so that few negatives teach no overconfidence (gSASRec).
    calibration
        Of `gbce`, t in the paper: 0 is plain binary cross-entropy, 1 fully calibrated.
    """

    name: ClassVar[str] = "esasrec"
    code_version: ClassVar[int] = 1
    paper: ClassVar[str] = (
        "Tikhonovich et al., eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion, RecSys 2025; "
        "Borisyuk et al., From Features to Transformers: Redefining Ranking for Scalable Impact, KDD 2025; "
        "Petrov and Macdonald, gSASRec: Reducing Overconfidence in Sequential Recommendation, RecSys 2023"
    )

    loss: Literal["softmax", "sampled", "in-batch", "in-batch-plain", "bce", "gbce"] = "sampled"  # type: ignore[assignment]
    loss_negatives: int = 256
    layers: int = 2
    calibration: float = 0.75

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.ligr import WholeSequenceESASRec

        _, options = super().network()
        return WholeSequenceESASRec, {**options, "calibration": self.calibration}

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense."""
        expect(self, ("calibration",), lambda value: 0 <= value <= 1, "a number from 0 to 1")
        super().check(request)
