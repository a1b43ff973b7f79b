"""Estimate of the time, disk and memory of an extraction, measured on sixteen clips."""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tabulate import tabulate

from bench.runs.worker import peak_memory_mb
from feature_extractors.base import ExtractContext, Extractor, ItemSource, StageReport
from feature_extractors.pipeline import sharding
from protocols import object_store
from protocols.errors import UserError
from protocols.wording import counted

CLIPS = 16
# Two calls of this size are made, and the second one is timed: the first call of a model on a GPU is slow.
CALL = CLIPS // 2
# Bytes of a row beside its value: id, hash, status, seconds, checksum.
ROW_BYTES = 160


@dataclass(frozen=True)
class StagePlan:
    """Estimate for one stage of the chain.

    Attributes
    ----------
    title
        As on its progress bar.
    left
        Items that the store does not have.
    rate
        Items per second on one device; None where no clip reached the stage.
    bound
        The slower part: `decoding` or `model`.
    hours
        For all that is left, on all devices.
    gigabytes
        Of their values in the store.
    """

    title: str
    left: int
    rate: float | None
    bound: str
    hours: float
    gigabytes: float


@dataclass(frozen=True)
class Plan:
    """Estimate for a whole extraction.

    Attributes
    ----------
    stages
        In the order of the chain.
    timed, failed
        Clips that were tried, and how many of them have no feature.
    loading
        Seconds until all models are there.
    memory
        Gigabytes at most: of the GPU where `on_gpu`, else resident memory of this process.
    on_gpu
        Whether the model ran on one.
    call
        Clips of a model call when it was measured.
    free
        Free gigabytes where the store is; None on an object store.
    nodes
        Machines that share the work.
    """

    stages: tuple[StagePlan, ...]
    timed: int
    failed: int
    loading: float
    memory: float
    on_gpu: bool
    call: int
    free: float | None
    nodes: int = 1

    @property
    def hours(self) -> float:
        """Hours of all stages and of loading."""
        return sum(stage.hours for stage in self.stages) + self.loading / 3600

    @property
    def node_hours(self) -> float:
        """Hours of all machines together, which are paid for."""
        return self.nodes * self.hours

    @property
    def gigabytes(self) -> float:
        """Gigabytes of all stages."""
        return sum(stage.gigabytes for stage in self.stages)


def make(
    extractor: Extractor, source: ItemSource, context: ExtractContext, devices: int = 1, nodes: int = 1
) -> Plan | None:
    """Time sixteen of the requested items, spread over the list, in a temporary store.

    Decoding and model overlap: a stage takes as long as the slower of the two (decoding divided by its processes).

    Parameters
    ----------
    extractor, source, context
        Of the extraction that is planned.
    devices
        Devices like `context.device` of a machine that will share the work.
    nodes
        Machines like this one that will.

    Returns
    -------
    Plan | None
        None: nothing is left to do.
    """
    left = _left(extractor, source, context)
    if not any(left.values()):
        return None
    sample = _spread(source, context)
    reports: list[StageReport] = []
    _reset_gpu(context.device)
    with tempfile.TemporaryDirectory() as scratch:
        _keep_pins(context.store, Path(scratch))
        trial = replace(
            context, store=scratch, only=None, part="", overwrite="missing", retry=False, report=reports.append
        )
        features = _with_calls(extractor, CALL).extract(sample, trial)
    if features is None:
        raise UserError(f"extractor {extractor.name!r} makes no features")
    timed = {report.title: report for report in reports}
    stages = tuple(
        _stage(title, count, timed.get(title), context.workers, devices * nodes) for title, count in left.items()
    )
    memory, on_gpu = _memory(context.device)
    return Plan(
        stages,
        len(sample.item_ids),
        int((~features.ok).sum()),
        sum(report.loading for report in reports),
        memory,
        on_gpu,
        min(CALL, getattr(extractor, "batch", CALL)),
        shutil.disk_usage(Path(context.store).parent).free / 1e9 if _on_disk(context.store) else None,
        nodes,
    )


def _left(extractor: Extractor, source: ItemSource, context: ExtractContext) -> dict[str, int]:
    """Count the items to do by stage."""
    found: list[StageReport] = []
    extractor.extract(source, replace(context, overwrite="never", report=found.append))
    asked = len(source.item_ids) if context.only is None else len(context.only)
    return {report.title: asked if context.overwrite == "always" else report.left for report in found}


def _spread(source: ItemSource, context: ExtractContext) -> ItemSource:
    """Select the middle items of sixteen equal parts of the requested ones."""
    order = sorted(
        (at for at, one in enumerate(source.item_ids) if context.only is None or one in context.only),
        key=source.item_ids.__getitem__,
    )
    count = min(CLIPS, len(order))
    chosen = [order[(2 * k + 1) * len(order) // (2 * count)] for k in range(count)]
    return replace(
        source,
        item_ids=[source.item_ids[at] for at in chosen],
        titles=[source.titles[at] for at in chosen],
        videos=[source.videos[at] for at in chosen],
    )


def _with_calls(extractor: Extractor, most: int) -> Extractor:
    names = {f.name for f in dataclasses.fields(extractor)}
    if "batch" not in names or extractor.batch <= most:  # type: ignore[attr-defined]
        return extractor
    return replace(extractor, batch=most)  # type: ignore[call-arg]


def _on_disk(store: Path | str) -> bool:
    return not (object_store.uri_of(store) or object_store.is_uri(str(store)))


def _keep_pins(store: Path | str, scratch: Path) -> None:
    """Copy the pinned revisions of checkpoints, so that the same ones are timed."""
    pins = Path(store) / "pins.json"
    if "://" not in str(store) and pins.is_file():
        shutil.copy(pins, scratch)


def _stage(title: str, left: int, report: StageReport | None, workers: int, devices: int) -> StagePlan:
    if report is None or not report.calls:
        return StagePlan(title, left, None, "", 0.0, 0.0)
    items, seconds = report.calls[-1]
    each = {"decoding": report.reading / max(1, report.rows) / max(1, workers), "model": seconds / items}
    bound = max(each, key=lambda part: each[part])
    devices = min(devices, math.ceil(left / sharding.BLOCK) or 1)  # blocks are not split between devices
    stored = report.stored / max(1, report.rows) + ROW_BYTES
    return StagePlan(
        title, left, 1 / max(each[bound], 1e-9), bound, left * each[bound] / devices / 3600, left * stored / 1e9
    )


def _reset_gpu(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def _memory(device: str) -> tuple[float, bool]:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_reserved(device) / 1e9, True
    return peak_memory_mb() * 1024**2 / 1e9, False


def elsewhere(extractor: Extractor) -> str:
    """Say how a model is called that is not called in batches by this process; "": it is."""
    engine = getattr(extractor, "engine", "local")
    if engine == "openai":
        return f"the model's memory is the server's, which is asked {extractor.in_flight} requests at a time"  # type: ignore[attr-defined]
    return "vLLM makes the calls, of its own size" if engine == "vllm" else ""


def text(plan: Plan, batch: int | None, devices: Sequence[str], price: float | None = None, elsewhere: str = "") -> str:
    """Write the stages as a table, and the sums below it.

    Parameters
    ----------
    batch
        Clips of a model call in the extraction itself; None: the extractor has no such option.
    devices
        Those of the extraction on each machine.
    price
        Of a machine an hour, in any currency; None: unknown.
    elsewhere
        As the function says.
    """
    rows = [
        [s.title, s.left, "-" if s.rate is None else f"{s.rate:.1f}", s.bound, f"{s.hours:.3f}", f"{s.gigabytes:.3f}"]
        for s in plan.stages
    ]
    header = ["stage", "items left", "items/s a device", "bound by", "hours", "GB"]
    many = f" on {counted(len(devices), 'device')}" if len(devices) > 1 else ""
    if plan.nodes > 1:
        many = f" on {plan.nodes} nodes with {counted(len(devices), 'device')} each"
    where = "GPU memory" if plan.on_gpu else "resident memory"
    calls = f" with {counted(plan.call, 'clip')} a model call"
    if batch and batch > plan.call:
        calls += f"; the run makes calls of {batch}, and halves those that do not fit"
    if elsewhere:
        calls = f" of this process; {elsewhere}"
    disk = f"{plan.gigabytes:.3f} GB on disk"
    if plan.free is not None:
        short = "" if plan.free > 1.1 * plan.gigabytes else ": NOT ENOUGH, choose another folder with --cache"
        disk += f", {plan.free:.0f} GB are free{short}"
    lines = [
        tabulate(rows, header, tablefmt="github", disable_numparse=True),
        f"about {plan.hours:.2f} hours{many}, {plan.loading:.0f} s of them loading; timed on "
        f"{counted(plan.timed, 'clip')}, {plan.failed} of which have no feature",
        f"{where}: {plan.memory:.1f} GB{calls}",
        disk,
    ]
    if price is not None:
        paid = f"{plan.node_hours:.2f} node hours ({plan.nodes} x {plan.hours:.2f}) at {price:g} an hour"
        lines.append(f"{paid}: {plan.node_hours * price:.2f}")
    return "\n".join(lines)
