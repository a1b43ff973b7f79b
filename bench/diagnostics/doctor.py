"""Check of a machine for an extractor: device, disk, hub, decoder, checkpoint and one clip, each with a remedy."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.console import printable
from bench.diagnostics.check import Check
from bench.diagnostics.served_models import endpoints
from feature_extractors.base import ExtractContext, Extractor, ItemSource, StageReport
from feature_extractors.media import frame_policy, video
from feature_extractors.media.hashed_file import hash_file
from feature_extractors.media.pool import DecodePool
from feature_extractors.media.remote_file import RemoteFile, look_up
from feature_extractors.media.result import Clip, Failure
from feature_extractors.pipeline.devices import check_device
from protocols import object_store
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.population import Size
from protocols.datasets.demo.scene import sample_scene
from protocols.errors import BenchError
from protocols.features import Features
from protocols.wording import counted

# Least free space for checkpoints and features.
DISK_BYTES = 2e9
# File of an NVIDIA driver on Linux, whatever torch was built for.
DRIVER = Path("/proc/driver/nvidia/version")
TITLE = "A red ball rolls over the grass"


def rendered(folder: Path) -> ItemSource:
    """Render one clip of the simulated world, with picture, music and speech, as the only item."""
    scenes = (sample_scene(Size(seed=0).stream("doctor", number)) for number in itertools.count())
    path = folder / "clip.mp4"
    path.write_bytes(encode(next(scene for scene in scenes if scene.spoken)))
    return ItemSource(["clip.mp4"], [TITLE], [path])


def examine(extractor: Extractor, source: ItemSource, context: ExtractContext) -> list[Check]:
    """Try each thing that an extraction from one clip needs.

    Parameters
    ----------
    extractor
        With its checkpoints resolved.
    source
        Items; the first one that has a file is used.
    context
        Feature store and device; nothing is kept in the store.
    """
    source = _first(source)
    return [
        device(context.device),
        disk("disk of features", context.store),
        *hub(),
        decoder(source),
        *endpoints(extractor),
        *one_clip(extractor, source, context),
    ]


def text(checks: Sequence[Check]) -> str:
    """Write the checks with their remedies, and a sum, line by line."""
    lines = []
    for check in checks:
        lines.append(f"{'ok ' if check.ok else 'BAD'}  {check.name:<20} {printable(check.found)}")
        if check.remedy:
            lines.append(f"     {'':<20} -> {printable(check.remedy)}")
    bad = sum(not check.ok for check in checks)
    return "\n".join([*lines, f"{bad} of {counted(len(checks), 'check')} failed" if bad else "all checks passed"])


def _first(source: ItemSource) -> ItemSource:
    at = next((at for at, path in enumerate(source.videos) if isinstance(path, str) or (path and path.is_file())), 0)
    return replace(
        source, item_ids=[source.item_ids[at]], titles=[source.titles[at] or TITLE], videos=[source.videos[at]]
    )


def device(name: str) -> Check:
    """Check that torch sees the device, and measure its free memory."""
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    built = f"torch {torch.__version__}"
    try:
        check_device(name)
    except BenchError as error:
        if DRIVER.exists() and not there:
            return Check("device", False, f"{error}, but a driver is there", "install a torch that is built for CUDA")
        return Check("device", False, str(error), error.remedy)
    if name.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(name)
        found = f"{torch.cuda.get_device_name(name)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, {built}"
        busy = free < 0.5 * total
        return Check("device", True, found, "another process uses this GPU: see nvidia-smi" if busy else "")
    unused = f"{counted(there, 'unused GPU')}: --device cuda, or --devices {','.join(map(str, range(there)))}"
    threads = f"{name}, {counted(os.cpu_count() or 1, 'core')}, {built}"
    if not there and DRIVER.exists():
        return Check("device", True, threads, "a GPU driver is there, but torch sees no GPU: install torch for CUDA")
    return Check("device", True, threads, unused if there else "")


def disk(name: str, place: Path | str) -> Check:
    """Check that a folder is writable and has room."""
    if "://" in str(place):
        return Check(name, True, f"{place} (an object store)")
    if object_store.uri_of(place):
        return store(name, Path(place))
    folder = Path(place).expanduser().absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.0f} GB free at {place}"
    if not os.access(folder, os.W_OK):
        return Check(name, False, f"{place} cannot be written", "choose another folder: --cache, or HF_HOME")
    remedy = "make room, or choose another folder: --cache for features, HF_HOME for checkpoints"
    return Check(name, free >= DISK_BYTES, found, "" if free >= DISK_BYTES else remedy)


def store(name: str, folder: Path) -> Check:
    """Check that an object store can be written, and refuses a put of what is there already when it is told to."""
    uri = object_store.uri_of(folder)
    try:
        lacking = object_store.lacks_conditional_puts(folder)
    except BenchError as error:
        return Check(name, False, str(error), error.remedy)
    if lacking:
        remedy = "use a store that has them: of two runs one would replace what the other has just written"
        return Check(name, False, f"{uri}: the store has no conditional puts (If-None-Match)", remedy)
    return Check(name, True, f"{uri}: an object store with conditional puts")


def hub() -> list[Check]:
    """Check the folder of checkpoints from the hub, and whether new ones may be fetched."""
    from huggingface_hub import constants

    home = "HF_HOME is set" if os.environ.get("HF_HOME") else "HF_HOME is not set"
    room = disk("disk of checkpoints", constants.HF_HUB_CACHE)
    room = replace(room, found=f"{room.found} ({home})")
    offline = constants.HF_HUB_OFFLINE
    mode = "HF_HUB_OFFLINE=1: only checkpoints that are there" if offline else "checkpoints are fetched when needed"
    advice = "unset HF_HUB_OFFLINE to fetch one, or copy it there from another machine" if offline else ""
    return [room, Check("hub", True, mode, advice)]


def decoder(source: ItemSource) -> Check:
    """Decode the clip as an extraction does, in a process of its own."""
    path = source.videos[0]
    hashed = look_up(path) if isinstance(path, str) else hash_file(path, source.root)
    if isinstance(hashed, Failure):
        return Check("decoder", False, f"{source.item_ids[0]}: {hashed.reason}", "name a folder of clips with --media")
    clock = time.perf_counter()
    with DecodePool(1, frame_policy.parse("uniform:8")) as pool:
        found = next(pool.map([hashed if isinstance(hashed, RemoteFile) else hashed.path], 1))
    seconds = time.perf_counter() - clock
    name = f"PyAV {version('av')}" + (", decord for long clips" if video.decoder_key()["long"] == "decord" else "")
    if isinstance(found, Failure):
        advice = "try without --media; if that works, it is the clip" if source.root else "reinstall the package av"
        return Check("decoder", False, f"{name}; {source.item_ids[0]}: {found.reason}", advice)
    assert isinstance(found, Clip)
    count, height, width, _ = found.frames.shape
    return Check(
        "decoder",
        True,
        f"{name}; {counted(count, 'frame')} of {width}x{height} in {seconds:.1f} s ({hashed.content[:8]})",
    )


def one_clip(extractor: Extractor, source: ItemSource, context: ExtractContext) -> list[Check]:
    """Load all checkpoints of the chain and extract from the clip, into a temporary store."""
    reports: list[StageReport] = []
    with tempfile.TemporaryDirectory() as scratch:
        pins = Path(str(context.store)) / "pins.json"
        if pins.is_file():
            shutil.copy(pins, scratch)
        trial = replace(context, store=scratch, only=None, part="", overwrite="missing", report=reports.append)
        outcome = _tried(lambda: extractor.extract(source, trial))
    loaded = ", ".join(f"{report.title} in {report.loading:.1f} s" for report in reports if report.loading)
    if isinstance(outcome, Check):
        return [Check("checkpoint", True, loaded), outcome] if loaded else [replace(outcome, name="checkpoint")]
    if outcome is None:
        return [Check("checkpoint", True, f"{extractor.name} needs none and makes no features")]
    names = outcome.space.provenance.get("checkpoints", [])
    found = [Check("checkpoint", True, f"{', '.join(map(str, names)) or 'none needed'}; loaded: {loaded or 'nothing'}")]
    status, reason = str(outcome.status[0]), str(outcome.reason[0])
    if status == "empty":  # the whole chain ran; this clip holds nothing to describe
        return [*found, Check("one clip", True, f"empty: {reason}", "another clip may say more: --media")]
    if status != "ok":
        advice = "try another clip with --media" if source.root else "the reason says why; try one with --media"
        return [*found, Check("one clip", False, f"{status}: {reason}", advice)]
    return [*found, Check("one clip", True, _described(outcome))]


def _tried(work: Callable[[], Features | None]) -> Features | Check | None:
    try:
        return work()
    except BenchError as error:
        return Check("one clip", False, str(error), error.remedy, error.exit_code)
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Check("one clip", False, text, "this is not expected: report it with this line", 1)


def _described(features: Features) -> str:
    value: Any = features.values[0]
    seconds = f"in {float(features.seconds[0]):.1f} s"
    if features.space.kind == "text":
        return f"{value!r} {seconds}"
    norm = float(np.linalg.norm(np.asarray(value, dtype=np.float32)))
    return f"{features.space.kind} {'x'.join(map(str, value.shape))}, norm {norm:.3g}, {seconds}"
