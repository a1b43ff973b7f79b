"""Precision of a model's arithmetic: the best that a device and a checkpoint allow, and checks of one that is asked."""

from __future__ import annotations

from feature_extractors.models.checkpoint.cards import Card
from protocols.errors import UserError


def best_dtype(device: str, card: Card | None) -> str:
    """Return bfloat16 on a GPU that has it, else float32; never float16."""
    allowed = card.dtypes if card else ("float32", "bfloat16")
    wanted = "bfloat16" if device.startswith("cuda") and _has_bfloat16(device) else "float32"
    return wanted if wanted in allowed else next(one for one in ("float32", "bfloat16") if one in allowed)


def _has_bfloat16(device: str) -> bool:
    import torch

    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def check_dtype(name: str, card: Card | None, dtype: str) -> None:
    """Refuse a precision that a checkpoint forbids.

    Raises
    ------
    UserError
        Naming those that it allows.
    """
    if card is not None and dtype not in card.dtypes:
        raise UserError(
            f"checkpoint {name} must not be run in {dtype}: its numbers are wrong then",
            remedy=f"--dtype {card.dtypes[0]}",
        )
