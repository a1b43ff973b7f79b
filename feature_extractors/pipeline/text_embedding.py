"""Text embedding: text to vector by a sentence encoder, the last stage of every chain that makes texts."""

from __future__ import annotations

from functools import partial
from typing import Any

from feature_extractors import pocket
from feature_extractors.base import ExtractContext
from feature_extractors.models import defaults, text_encoder
from feature_extractors.models.checkpoint_resolution import locate_checkpoint
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.stage import Inputs, Stage
from protocols.features import Features

BATCH = 64


def text_vectors(
    name: str,
    inputs: Inputs,
    context: ExtractContext,
    *,
    checkpoint: str,
    revision: str | None = None,
    dtype: str = "float32",
    title: str = "text vectors",
    prompt: str = "",
) -> Features:
    """Encode texts, from the store where it has them.

    Parameters
    ----------
    name
        Extractor and stage, e.g. `captions.vector`.
    inputs
        Texts with their hashes and the spaces that they come from.
    checkpoint, revision
        As in `checkpoints.resolve`; `auto` is the real one.
    dtype
        Precision of the encoder's arithmetic.
    title
        Shown beside the progress bar.
    prompt
        As `asked` of `text_encoder.document_prompt`.
    """
    found = locate_checkpoint(checkpoint, defaults.TEXT_ENCODER, pocket.TEXT_ENCODER, context, revision)
    config: dict[str, Any] = {"loader": text_encoder.VERSION, "dtype": dtype}
    before = text_encoder.document_prompt(*text_encoder.prompts_of(found.folder), prompt)
    if not (before or prompt) and found.card and found.card.instruction:
        before = found.card.instruction.removesuffix("{}")
    if before:
        config["prompt"] = before
    model = partial(text_encoder.TextEncoder, found, dtype, context.device, context.threads, before)
    return run_stage(Stage.for_model(name, 1, title, found, model, config, inputs, BATCH), inputs, context)
