"""Single layer: decoder states of a video language model at one depth, as a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.hidden_states import HiddenStates
from protocols.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from protocols.features import Features


@dataclass(frozen=True)
class StatesOfOneLayer(HiddenStates):
    """Base of extractors that keep one vector of the states of `hidden-states`."""

    feature: ClassVar[str] = "vector"

    def states(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return all layers, as `hidden-states` with these options stores them."""
        return self.part(HiddenStates).extract(source, context)


@dataclass(frozen=True)
class SingleLayer(StatesOfOneLayer):
    """Decoder states of one layer, `single-layer:K`, of a video language model.

    VidVec (arXiv 2602.08099) finds layers between the middle and the end to be the best ones to search with; its layer
    and prompt are not published. `bench retrieval` shows how well titles find their clips at each layer, so that K is
    chosen without a look at interactions. The other options are those of `hidden-states`, whose stored states are the
    ones that are taken: another K costs nothing.

    Attributes
    ----------
    layer
        0: what enters the decoder; the number of decoder layers, or -1: what leaves its final norm.
    readout
        One of `hidden-states`: visual, prompt, last, mean.
    """

    name: ClassVar[str] = "single-layer"
    paper: ClassVar[str] = "VidVec (arXiv 2602.08099)"
    argument: ClassVar[str] = "layer"

    layer: int = -1
    readout: str = "mean"

    @property
    def label(self) -> str:
        """Name and layer."""
        return f"{self.own_name}:{self.layer}"

    def __post_init__(self) -> None:
        from feature_extractors.models.decoder_states import READOUTS

        super().__post_init__()
        known = [*READOUTS, *(["new"] if self.new_tokens else [])]
        if self.readout not in known:
            raise did_you_mean(f"readout of {self.name}", self.readout, known)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Read the states of all clips and keep one layer's.

        Raises
        ------
        UserError
            If the model has no such layer; before anything is decoded.
        """
        _, decoder = self.part(HiddenStates).model(context)
        if not -decoder.layers - 1 <= self.layer <= decoder.layers:
            raise UserError(f"{self.label}: the model has layers 0 to {decoder.layers}, no layer {self.layer}")
        return self.states(source, context).layer(self.layer, self.readout)
