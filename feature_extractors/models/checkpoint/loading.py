"""Loading of models: files, weights and random weights, with one error for a checkpoint that does not load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from feature_extractors.models.checkpoint.checkpoints import (
    RANDOM_WEIGHT_SEED,
    Checkpoint,
    check_files,
    check_keys,
    unreadable,
)
from protocols.errors import BenchError, UserError


@contextmanager
def checkpoint_errors(checkpoint: Checkpoint, needed: Sequence[str] = ()) -> Iterator[None]:
    """Load parts of a checkpoint inside the block, without the bars of transformers.

    Parameters
    ----------
    needed
        Files that it must have, as in `check_files`.

    Raises
    ------
    CheckpointError
        If a file is missing, or whatever the block raises.
    UserError
        If a package is missing.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    check_files(checkpoint.folder, needed)
    try:
        yield
    except BenchError:
        raise
    except ImportError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"checkpoint {checkpoint.folder} needs a package that is not installed: {reason}",
            remedy="install it beside this program (uv pip install PACKAGE)",
        ) from error
    except Exception as error:
        raise unreadable(checkpoint, error) from error


@contextmanager
def random_weights() -> Iterator[None]:
    """Draw the weights of a random-weight baseline inside the block: always the same ones."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_WEIGHT_SEED)
        yield


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep transformers from logging anything but errors inside the block."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def load_pretrained(
    checkpoint: Checkpoint,
    model_class: Any,
    dtype: str,
    draw: Callable[[Any], Any] | None = None,
    expected: Callable[[str], bool] = lambda key: False,
    **options: Any,
) -> Any:
    """Load a model of transformers, or draw its weights at random.

    Parameters
    ----------
    model_class
        A class with `from_pretrained`.
    dtype
        `float32`, `bfloat16` or `float16`; given always, or a half-precision file would run in half precision.
    draw
        Makes the model with random weights of a precision of torch; None: `model_class` of its own configuration.
    expected
        Missing or unexpected keys of the weights that are no error.
    options
        Further arguments of `from_pretrained`.

    Raises
    ------
    CheckpointError
        If a weight key is missing or unexpected, or has another shape.
    """
    import torch

    folder, precision = str(checkpoint.folder), getattr(torch, dtype)
    if checkpoint.random:
        with random_weights():
            if draw is not None:
                return draw(precision)
            config = options.get("config") or model_class.config_class.from_pretrained(folder)
            return model_class(config).to(precision)
    model, info = model_class.from_pretrained(
        folder, dtype=precision, output_loading_info=True, trust_remote_code=False, use_safetensors=True, **options
    )
    names = ("missing_keys", "unexpected_keys")
    check_keys(checkpoint, {**info, **{name: [key for key in info[name] if not expected(key)] for name in names}})
    return model
