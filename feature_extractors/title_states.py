"""Titles as a video language model's decoder sees them: the other side of a search for clips."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feature_extractors.base import ExtractContext, ItemSource
    from feature_extractors.hidden_states import HiddenStates
    from protocols.features import Features

LONGEST = 200


def title_states(options: HiddenStates, source: ItemSource, context: ExtractContext) -> Features:
    """Decoder states of all titles, layer by layer, from the store where it has them.

    Parameters
    ----------
    options
        Whose model reads them: `checkpoint`, `revision`, `dtype`, `quantize` and `batch`.

    Returns
    -------
    Features
        Of kind `layers`, with the one readout `mean` over the tokens of the title; only its first `LONGEST` characters
        are read.
    """
    from feature_extractors.models import quantization, text_states
    from feature_extractors.pipeline.run import run_stage
    from feature_extractors.pipeline.stage import Stage, text_inputs
    from protocols.features import FeatureSpace

    found, decoder = options.model(context)
    config = {
        "parents": [],
        "checkpoint": found.fingerprint,
        "loader": [text_states.VERSION, decoder.family.version],
        "longest": LONGEST,
        "readouts": ["mean"],
        "dtype": options.dtype,
        **quantization.key(options.quantize),
    }
    space = FeatureSpace("title-states.layers", 1, "layers", config, {**found.provenance, **decoder.facts})
    model = partial(
        text_states.TextStates, found, options.dtype, context.device, LONGEST, context.threads, options.quantize
    )
    stage = Stage(space, f"title states ({found.name})", options.batch, model)
    return run_stage(stage, text_inputs(source.item_ids, source.titles, "title"), context)
