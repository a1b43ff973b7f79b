"""Preparation of a demo world in the cache: clip files, log and ground truth; safe under kills and parallel runs."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from protocols.datasets.demo import truth
from protocols.datasets.demo.media import MEDIA_VERSION, file_names, missing_clips, render_all
from protocols.datasets.demo.population import Size, draw_clips, draw_releases, draw_scenes, draw_users
from protocols.datasets.demo.simulator import simulate
from protocols.datasets.demo.titles import draw_title
from protocols.datasets.demo.world import load_world
from protocols.errors import DataError, UserError
from protocols.hashing import digest
from protocols.progress import Progress

#: Bumped when the code of the simulator or the titles changes the log.
LOG_VERSION = 2


def prepare(cache: Path, size: Size, content_weight: float, progress: Progress) -> tuple[Path, Path]:
    """Prepare the parts of a world that the cache lacks.

    The clips do not depend on `content_weight` nor on the users, so worlds share them.

    Returns
    -------
    tuple of Path
        Folder of the world (log, items, `truth/`) and folder of the clips.

    Raises
    ------
    UserError
        If the cache cannot be written, or is full.
    """
    home = cache / "datasets" / "demo"
    key = digest([LOG_VERSION, load_world(), asdict(size), content_weight], 12)
    world, media = home / f"world-{key}", home / f"media-v{MEDIA_VERSION}-seed{size.seed}"
    if world.exists() and not missing_clips(media, size):  # also in a cache that cannot be written
        return world, media
    try:
        media.mkdir(parents=True, exist_ok=True)
        with _lock(media, progress):
            render_all(media, size, progress)
        with _lock(world, progress):
            if not world.exists():
                part = home / f"{world.name}.part"
                shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
                part.mkdir()
                progress.say("simulating the users of the demo")
                _write_world(part, size, content_weight)
                part.replace(world)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UserError(
            f"demo: cannot write to the cache: {error.filename or home}: {reason}",
            remedy="make room, or choose another cache folder (--cache, BENCH_CACHE)",
        ) from error
    return world, media


def read_log(world: Path, media: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read interactions and items of a prepared world; `video` becomes a path.

    Raises
    ------
    DataError
        If a file is damaged.
    """
    frames = []
    for name in ("interactions.parquet", "items.parquet"):
        try:
            frames.append(pd.read_parquet(world / name))
        except Exception as error:  # every parquet reader has exceptions of its own
            raise DataError(
                f"{world / name} cannot be read: {error}", remedy=f"delete {world}; the next run makes it again"
            ) from error
    interactions, items = frames
    items["video"] = [str(media / name) for name in items["video"]]
    return interactions, items


def opaque_ids(kind: str, size: Size, count: int) -> list[str]:
    """Make ids that reveal nothing about the item or user, nor an order."""
    keys = (f"{kind} {size.seed} {i}" for i in range(count))
    return [hashlib.blake2b(key.encode(), digest_size=6).hexdigest() for key in keys]


def _write_world(folder: Path, size: Size, content_weight: float) -> None:
    scenes, release = draw_scenes(size), draw_releases(size)
    clips, users = draw_clips(size, scenes, release), draw_users(size)
    user, clip, time = simulate(size, clips, users, content_weight)
    item_ids, user_ids = opaque_ids("item", size, size.clips), opaque_ids("user", size, size.users)
    items = pd.DataFrame(
        {
            "title": [draw_title(scene, size.stream("title", i)) for i, scene in enumerate(scenes)],
            "video": file_names(size),
            "release": release,
            "duration": [scene.seconds for scene in scenes],
        },
        index=pd.Index(item_ids, name="item_id"),
    )
    log = pd.DataFrame(
        {"user_id": [user_ids[u] for u in user], "item_id": [item_ids[c] for c in clip], "timestamp": time}
    )
    items.sort_index().to_parquet(folder / "items.parquet")
    log.sort_values(["timestamp", "user_id"], ignore_index=True).to_parquet(folder / "interactions.parquet")
    truth.write(folder, truth.Truth(item_ids, user_ids, scenes, clips, users, content_weight))


@contextmanager
def _lock(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock beside `folder`; report when another process has it."""
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(f"waiting for another process that prepares {folder.name}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
