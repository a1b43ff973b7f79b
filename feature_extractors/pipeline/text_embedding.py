"""The last stage of every chain that ends in text: text to vector, by a sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from feature_extractors.base import ExtractContext
from feature_extractors.models import checkpoint_resolution
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.stage import Inputs, Model, Stage, chained, stage_inputs
from protocols.features import Features, FeatureSpace

if TYPE_CHECKING:
    from feature_extractors.titles import TextEncoded

REAL = "BAAI/bge-large-en-v1.5"
BATCH = 64


def text_vectors(
    name: str,
    inputs: Inputs,
    parents: Sequence[FeatureSpace],
    context: ExtractContext,
    *,
    checkpoint: str,
    revision: str | None = None,
    dtype: str = "float32",
    title: str = "text vectors",
) -> Features:
    """Encode texts, from the store where it has them.

    Parameters
    ----------
    name
        Extractor and stage, e.g. `captions.vector`.
    inputs
        Texts with their hashes.
    parents
        The spaces that the texts come from; their provenance comes first in that of the vectors.
    checkpoint, revision
        As in `backbones.checkpoints.resolve`; `auto` is the real one.
    dtype
        Of the encoder's arithmetic.
    """
    from feature_extractors.models import text_encoder
    from feature_extractors.pocket import TEXT_ENCODER

    found = checkpoint_resolution.found(checkpoint, REAL, TEXT_ENCODER, context, revision)
    config: dict[str, Any] = {
        "parents": [parent.id for parent in parents],
        "checkpoint": found.fingerprint,
        "loader": text_encoder.VERSION,
        "dtype": dtype,
    }
    space = FeatureSpace(name, 1, "vector", config, chained(parents, found.provenance))

    def model() -> Model:
        return text_encoder.TextEncoder(found, dtype, context.device, context.threads)

    return run_stage(Stage(space, f"{title} ({found.name})", BATCH, model), inputs, context)


def vectors_of(name: str, texts: Features, context: ExtractContext, options: TextEncoded, title: str) -> Features:
    """Encode the texts of another stage; the seconds of an item are those of the whole chain.

    Parameters
    ----------
    name
        Of the extractor; the space is `NAME.vector`.
    texts
        A feature space of kind `text`.
    options
        The encoder: `text_encoder`, `text_revision` and `dtype`.
    title
        Shown beside the progress bar.
    """
    vectors = text_vectors(
        f"{name}.vector",
        stage_inputs(texts),
        [texts.space],
        context,
        checkpoint=options.text_encoder,
        revision=options.text_revision,
        dtype=options.dtype,
        title=title,
    )
    return replace(vectors, seconds=vectors.seconds + texts.seconds)
