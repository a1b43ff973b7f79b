"""VBPR: BPR whose item vectors are half id, half content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recommenders.training.pairwise_model import PairModel


@dataclass(frozen=True)
class VBPR(PairModel):
    """Matrix factorisation with latent and visual factors side by side and a visual bias.

    With fusion `concat` this is the paper's model: half of the `dim` factors are the item's own, half are its
    projected content, and each user has a vector of both. Other fusions replace that item vector. The bias is a
    vector shared by all users instead of one on the raw feature. The options are those of `PairModel`.
    """

    name: ClassVar[str] = "vbpr"
    paper: ClassVar[str] = "He and McAuley, VBPR: Visual Bayesian Personalized Ranking, AAAI 2016"

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.pairwise import FactorsVBPR

        return FactorsVBPR, {"embedding_size": self.dim}
