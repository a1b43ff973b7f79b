"""Clip files of the demo, rendered and encoded by worker processes.

Workers are started as `python -m protocols.datasets.demo.media`, not forked or spawned from the caller: they import
numpy, PyYAML and PyAV alone, whatever the caller has loaded. When the caller is killed, their next report fails and
they end. A file is complete or not there: it is written under another name and then renamed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from protocols.atomic_write import PART, write_atomically
from protocols.datasets.demo.population import Size
from protocols.datasets.demo.scene import FPS, SAMPLE_RATE, Scene, render_audio, render_frames, sample_scene
from protocols.errors import BenchError, UserError
from protocols.progress import Progress

#: Bumped when a scene looks or sounds different, or is encoded differently; part of the folder's name.
MEDIA_VERSION = 2
PIXELS = 112
WORKERS = 2


def file_names(size: Size) -> list[str]:
    """Opaque file names of all clips; nothing about a clip can be read from its name."""
    keys = (f"file {size.seed} {i}" for i in range(size.clips))
    return [hashlib.blake2b(key.encode(), digest_size=10).hexdigest() + ".mp4" for key in keys]


def encode(scene: Scene) -> bytes:
    """Render a scene as mp4: H.264 video, AAC mono sound, no tags.

    Returns
    -------
    bytes
        The whole file.
    """
    import av  # heavy, and only rendering needs it

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        # No B-frames: some decoders shift streams that begin with an edit list. No macroblock tree: with it one clip in
        # some hundreds has other bytes when other clips were encoded before it in the same process.
        options = {"crf": "20", "preset": "veryfast", "bf": "0", "threads": "1", "mbtree": "0"}
        video = container.add_stream("libx264", rate=FPS, options=options)
        video.width = video.height = PIXELS
        video.pix_fmt = "yuv420p"
        sound_options = {"b": "48k", "aac_coder": "fast"}  # the default coder takes twice the time of the whole picture
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options=sound_options)
        for picture in render_frames(scene, PIXELS):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(render_audio(scene)[None]), "fltp", layout="mono")
        sound.sample_rate = SAMPLE_RATE
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return buffer.getvalue()


def missing_clips(folder: Path, size: Size) -> list[tuple[int, str]]:
    """List number and file name of the clips of a world that `folder` lacks."""
    there = {path.name for path in folder.glob("*.mp4")}
    return [(at, name) for at, name in enumerate(file_names(size)) if name not in there]


def render_all(folder: Path, size: Size, progress: Progress) -> None:
    """Render every clip of a world that `folder` lacks. The caller holds the lock of the folder.

    Raises
    ------
    UserError
        If a file cannot be written (no space left).
    """
    for rest in folder.glob(f"*{PART}"):  # of a run that was killed
        rest.unlink()
    missing = missing_clips(folder, size)
    if not missing:
        return
    with progress.task("render demo clips", total=size.clips) as task:
        task.advance(size.clips - len(missing))
        receive, send = os.pipe()
        count = min(WORKERS, os.cpu_count() or 1, len(missing))
        workers = [_start(folder, size.seed, missing[k::count], send) for k in range(count)]
        os.close(send)
        try:
            with os.fdopen(receive) as reports:  # ends when every worker has closed its end
                for line in reports:
                    if line.startswith("!"):
                        raise UserError(f"demo clips: {line[1:].strip()}", remedy="make room, or choose another cache")
                    task.advance()
        finally:
            for worker in workers:
                worker.terminate()
                worker.wait()
    lost = [name for _, name in missing if not (folder / name).exists()]
    if lost:
        raise BenchError(f"demo clips: {len(lost)} of {len(missing)} were not rendered: a worker process died")


def _start(folder: Path, seed: int, jobs: Sequence[tuple[int, str]], reports: int) -> subprocess.Popen:
    root = str(Path(__file__).parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    worker = subprocess.Popen(
        [sys.executable, "-m", "protocols.datasets.demo.media"],
        stdin=subprocess.PIPE,
        stdout=reports,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    assert worker.stdin is not None
    # A worker that died at once is noticed by the clips it did not make.
    with contextlib.suppress(BrokenPipeError), worker.stdin:
        worker.stdin.write(json.dumps({"folder": str(folder), "seed": seed, "jobs": jobs}).encode())
    return worker


def _work() -> int:
    """Read one JSON order from stdin, write its clips, report a line each; a line with `!` is the reason to stop."""
    order = json.loads(sys.stdin.buffer.read())
    size, folder = Size(seed=order["seed"]), Path(order["folder"])
    for index, name in order["jobs"]:
        try:
            write_atomically(folder / name, encode(sample_scene(size.stream("scene", index))))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            _report(f"!cannot write {folder / name}: {reason}")
            return 1
        _report(".")
    return 0


def _report(line: str) -> None:
    """Write a line to the waiting process; end at once if it has ended."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:
            os._exit(1)
        raise


if __name__ == "__main__":
    sys.exit(_work())
