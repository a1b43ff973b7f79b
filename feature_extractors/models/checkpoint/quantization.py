"""Weights in 4 bits by bitsandbytes (NF4, arXiv 2305.14314): a 7B model then takes some 5 GB instead of 15."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

from protocols.errors import UserError

Quantize = Literal["none", "4bit"]


def key(quantize: Quantize) -> dict[str, str]:
    """Entry for the config of a feature space; none where nothing is quantized, as before there was a choice."""
    return {} if quantize == "none" else {"quantize": f"{quantize}-nf4-double"}


def check(quantize: Quantize, random: bool) -> None:
    """Refuse a quantisation that is not possible here, before anything is fetched or decoded.

    Parameters
    ----------
    quantize
        Quantisation that is asked for.
    random
        True: the weights are to be drawn at random.

    Raises
    ------
    UserError
        If bitsandbytes or accelerate is not installed, or the weights are drawn at random.
    """
    if quantize == "none":
        return
    missing = [name for name in ("bitsandbytes", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--quantize {quantize} needs the package {' and '.join(missing)}, which is not installed",
            remedy="uv pip install 'video-rec-bench[quantize]' (in a checkout: uv sync --extra quantize)",
        )
    if random:
        raise UserError("random weights are drawn in full precision", remedy="leave --quantize out with 'random'")


def loading(quantize: Quantize, dtype: str, device: str) -> dict[str, Any]:
    """Arguments of `from_pretrained` that quantize while loading; arithmetic stays in `dtype`."""
    if quantize == "none":
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    return {"quantization_config": settings, "device_map": {"": device}}
