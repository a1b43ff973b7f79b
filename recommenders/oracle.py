"""The ranking ceiling of simulated data: scores from the simulator's own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from protocols.errors import UserError
from recommenders.base import FitRequest, FitResult, Recommender


@dataclass(frozen=True)
class Oracle(Recommender):
    """True probability that the user takes the item in the window, as the simulator knows it; nothing is learned.

    Only simulated datasets have one. A learned row significantly above it is an error somewhere.
    """

    name: ClassVar[str] = "oracle"
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False

    def fit(self, request: FitRequest) -> FitResult:
        """Hand over the simulator's scorer.

        Raises
        ------
        UserError
            If the data is not simulated.
        """
        if request.oracle is None:
            raise UserError("`oracle` needs a simulated dataset: real data has no known probabilities")
        return FitResult(request.oracle(request.data))
