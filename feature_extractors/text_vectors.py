"""The last stage of every chain that ends in text: text to vector, by a sentence encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feature_extractors.base import ExtractContext
from feature_extractors.pipeline import Inputs, Model, Stage, run_stage
from protocols.features import Features, FeatureSpace

REAL = "BAAI/bge-large-en-v1.5"
BATCH = 64


def text_vectors(
    name: str,
    inputs: Inputs,
    parents: list[str],
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
        Ids of the spaces that the texts come from.
    checkpoint, revision
        As in `backbones.checkpoints.resolve`; `auto` is the real one.
    dtype
        Of the encoder's arithmetic.
    """
    from feature_extractors.backbones import text_encoder
    from feature_extractors.backbones.checkpoints import resolve
    from feature_extractors.pocket import TEXT_ENCODER

    word = REAL if checkpoint == "auto" else checkpoint
    found = resolve(word, TEXT_ENCODER, revision, pins_file(context))
    config: dict[str, Any] = {
        "parents": parents,
        "checkpoint": found.fingerprint,
        "loader": text_encoder.VERSION,
        "dtype": dtype,
    }
    space = FeatureSpace(name, 1, "vector", config, found.provenance)

    def model() -> Model:
        return text_encoder.TextEncoder(found, dtype, context.device, context.threads)

    return run_stage(Stage(space, f"{title} ({found.name})", BATCH, model), inputs, context)


def pins_file(context: ExtractContext) -> Path | None:
    """Where hub revisions are remembered: beside the feature spaces, when these are on a local disk."""
    return None if "://" in str(context.store) else Path(context.store) / "pins.json"
