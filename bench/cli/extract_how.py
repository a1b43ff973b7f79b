"""Options of `bench extract` that say how fast and where, not what."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from protocols.errors import UserError

if TYPE_CHECKING:
    from bench.diagnostics.plan import Plan
    from feature_extractors.base import ExtractContext, Extractor, ItemSource
    from protocols.features import Features

DTYPE = "Of the models' arithmetic: float32, bfloat16, float16; part of the key."
QUANTIZE = "Weights in 4 bits (a GPU, and the extra `quantize`); part of the key."
BATCH = "Items per model call; auto: on a GPU as many as fit into its memory. Not part of the key."
DEVICES = "One worker process for each, on one store: 0,1,2,3 are GPUs."
PLAN = "Time 16 clips, print hours, disk and memory for all that is left, and stop."
WORKERS = "Decoding processes for each device  [default: by the number of cores]."


def models(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dtype, --quantize and --device."""
    for option in (
        click.option("--device", default="cpu", show_default=True, help="Torch device."),
        click.option("--quantize", type=click.Choice(["none", "4bit"]), help=QUANTIZE),
        click.option("--dtype", metavar="TYPE", help=DTYPE),
    ):
        command = option(command)
    return command


def machinery(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add those and --batch-size, --devices, --workers and --plan."""
    for option in (
        click.option("--plan", "planning", is_flag=True, help=PLAN),
        click.option("--workers", type=click.IntRange(1), metavar="N", help=WORKERS),
        click.option("--devices", metavar="LIST", help=DEVICES),
        click.option("--batch-size", metavar="N|auto", help=BATCH),
    ):
        command = option(command)
    return models(command)


def chosen_devices(device: str, devices: str | None) -> list[str]:
    """Return the devices that are asked for, all of them there.

    Raises
    ------
    UserError
        If both options are given, or a device is not there.
    """
    from feature_extractors.pipeline.devices import check_device, parse_devices

    if devices is not None and device != "cpu":
        raise UserError("--device and --devices both say where to run: give one of them")
    found = [device] if devices is None else parse_devices(devices)
    for one in found:
        if one != "cpu":
            check_device(one)
    return found


def batch_size(text: str | None, devices: list[str]) -> int | None:
    """Read --batch-size; None: the extractor's own.

    On a GPU `auto` begins with the largest batch there is: a call that does not fit is made in halves, and what fits
    is kept for the rest of the run.

    Raises
    ------
    UserError
        If it is neither `auto` nor a positive number.
    """
    from feature_extractors.pipeline.sharding import BLOCK

    if text is None:
        return None
    if text == "auto":
        return BLOCK if devices[0].startswith("cuda") else None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--batch-size {text!r}: expected a number from 1 on, or auto", remedy="--batch-size 16")
    return int(text)


def decoders(given: int | None, devices: list[str]) -> int:
    """Decoding processes of each device: a core is left to its model."""
    return given or min(8, max(1, (os.cpu_count() or 1) // len(devices) - 1))


def show_plan(extractor: Extractor, source: ItemSource, context: ExtractContext, devices: list[str]) -> int:
    """Print what is to be done and what it takes; returns the exit code."""
    from tabulate import tabulate

    from bench.diagnostics import plan as plans

    found: Plan | None = plans.make(extractor, source, context, len(devices))
    if found is None:
        click.echo("nothing is left to do: the store has every item that was asked for")
        return 0
    rows = [
        [s.title, s.left, "-" if s.rate is None else f"{s.rate:.1f}", s.bound, f"{s.hours:.3f}", f"{s.gigabytes:.3f}"]
        for s in found.stages
    ]
    header = ["stage", "items left", "items/s a device", "bound by", "hours", "GB"]
    click.echo(tabulate(rows, header, tablefmt="github", disable_numparse=True))
    for line in plans.lines(found, getattr(extractor, "batch", None), devices):
        click.echo(line)
    click.echo("nothing was stored; run the same command without --plan to begin")
    return 0


def run(
    extractor: Extractor,
    source: ItemSource,
    context: ExtractContext,
    devices: list[str],
    shard: tuple[int, int] | None,
) -> Features | None:
    """Extract, on one device in this process or on several in one each."""
    if len(devices) == 1:
        return extractor.extract(source, context)
    from feature_extractors.pipeline.devices import extract_on

    return extract_on(devices, extractor, source, context, shard or (0, 1))
