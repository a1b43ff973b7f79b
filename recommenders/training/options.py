"""Checks of options by name, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protocols.errors import UserError
from protocols.plugins import Plugin


def expect(plugin: Plugin, names: Sequence[str], rule: Callable[[float], bool], wanted: str) -> None:
    """Refuse the first of some options whose value breaks a rule.

    Raises
    ------
    UserError
        `NAME.OPTION=VALUE: expected WANTED`.
    """
    for name in names:
        if not rule(getattr(plugin, name)):
            raise UserError(f"{plugin.name}.{name}={getattr(plugin, name)}: expected {wanted}")


def check_device(device: str) -> None:
    """Refuse a GPU that torch cannot use.

    Raises
    ------
    UserError
        If there is none.
    """
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise UserError(f"device {device!r}: no GPU that torch can use", remedy="choose --device cpu")
