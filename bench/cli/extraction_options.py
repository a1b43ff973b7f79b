"""Options of extractions that change their speed and place, not their result; devices, batch size, decoders."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from feature_extractors.pipeline.sharding import BLOCK
from protocols.errors import UserError

AUTO_DEVICE = "auto"
BATCH = "Items per model call; auto, the default: on a GPU as many as fit into its memory. Not part of the key."
DEVICE = "Torch device; auto: cuda, mps or cpu, the first that is there."
DEVICES = "One worker process for each, on one store: 0,1,2,3 are GPUs."
PLAN = "Time 16 clips, print hours, disk and memory of the whole extraction, and stop."
WORKERS = "Decoding processes for each device  [default: by the number of cores]."


def models(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --device."""
    return click.option("--device", default=AUTO_DEVICE, show_default=True, help=DEVICE)(command)


def machinery(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add those of `models` and --batch-size, --devices, --workers and --plan."""
    for option in (
        click.option("--plan", "planning", is_flag=True, help=PLAN),
        click.option("--workers", type=click.IntRange(1), metavar="N", help=WORKERS),
        click.option("--devices", metavar="LIST", help=DEVICES),
        click.option("--batch-size", metavar="N|auto", help=BATCH),
    ):
        command = option(command)
    return models(command)


def chosen_devices(device: str, devices: str | None, simulated: bool = False) -> list[str]:
    """Return the devices of --device or --devices, `auto` resolved, after a check that they exist.

    Raises
    ------
    UserError
        If both options are given, or a device does not exist.
    """
    from feature_extractors.pipeline.devices import check_device, choose_device, parse_devices

    if devices is not None and device != AUTO_DEVICE:
        raise UserError("--device and --devices both choose devices: give one of them")
    found = [choose_device(device, simulated)] if devices is None else parse_devices(devices)
    for one in found:
        check_device(one)
    return found


def on_gpu(devices: list[str]) -> bool:
    """Return True if the first device is a GPU of which torch tells the memory."""
    return devices[0].startswith("cuda")


def batch_size(text: str | None, devices: list[str]) -> int | None:
    """Read --batch-size; None: the extractor's own.

    On a GPU `auto` is the largest batch there is; calls of the model grow inside of it as memory allows.

    Raises
    ------
    UserError
        If it is neither `auto` nor a positive number.
    """
    if text is None or text == "auto":
        return BLOCK if on_gpu(devices) else None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--batch-size {text!r}: expected a number from 1 on, or auto", remedy="--batch-size 16")
    return int(text)


def decoders(given: int | None, devices: list[str]) -> int:
    """Return the number of decoding processes of each device; one core is left to its model."""
    return given or min(8, max(1, (os.cpu_count() or 1) // len(devices) - 1))
