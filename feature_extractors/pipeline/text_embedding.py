"""Text embedding: text to vector by a sentence encoder, the last stage of every chain that makes texts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from feature_extractors import pocket
from feature_extractors.base import ExtractContext
from feature_extractors.models import text_encoder
from feature_extractors.models.checkpoint import cards, defaults
from feature_extractors.models.checkpoint.precision import check_dtype
from feature_extractors.models.checkpoint.resolution import locate_checkpoint, served_checkpoint
from feature_extractors.models.serving import served_text_encoder
from feature_extractors.models.serving.endpoint import Endpoint
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.stage import Inputs, Model, Stage
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
    endpoint: Endpoint | None = None,
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
        As `asked` of `text_encoder.document_prompt`; of an encoder on a server only the card is known.
    endpoint
        Server that has the encoder, under the name `checkpoint`; None: it runs in this process.
    """
    if endpoint is None:
        found = locate_checkpoint(checkpoint, defaults.TEXT_ENCODER, pocket.TEXT_ENCODER, context, revision)
        card = found.card
        check_dtype(found.name, card, dtype)
        config: dict[str, Any] = {"loader": text_encoder.VERSION, "dtype": dtype}
        before = text_encoder.document_prompt(*text_encoder.prompts_of(found.folder), prompt)
    else:
        found, word = served_checkpoint(checkpoint, defaults.TEXT_ENCODER)
        card = cards.find(word)
        config = {"loader": served_text_encoder.VERSION, "engine": "openai"}
        before = text_encoder.document_prompt({}, None, prompt)
    if not (before or prompt) and card and card.instruction:
        before = card.instruction.removesuffix("{}")
    if before:
        config["prompt"] = before
    model: Callable[[], Model]
    if endpoint is None:
        model = partial(text_encoder.TextEncoder, found, dtype, context.device, context.threads, before)
    else:
        model = partial(served_text_encoder.ServedTextEncoder, endpoint, word, before)
    return run_stage(Stage.for_model(name, 1, title, found, model, config, inputs, BATCH), inputs, context)
