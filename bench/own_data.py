"""Dataset from files or frames, in Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import console, registry, settings
from protocols.dataset import Dataset
from protocols.datasets import prepared
from protocols.datasets.own_files import Files


def dataset(
    interactions: Any,
    items: Any = None,
    media: str | Path | None = None,
    name: str | None = None,
    **options: Any,
) -> Dataset:
    """Make a dataset of a log, as `bench data prepare files` does.

    Parameters
    ----------
    interactions, items
        A frame of pandas, polars or pyarrow, or files: a path, a list of them or a pattern. Without `items` they are
        those of the log.
    media
        Folder of the videos.
    name
        Keep the dataset under this name in the cache folder: `bench run --dataset NAME` is enough ever after.
    options
        Of the dataset `files`: `user="uid"`, `where="rating >= 4"` and others, see `bench list datasets`.

    Raises
    ------
    UserError
        As `protocols.datasets.own_files.Files.load`, or for a name that is taken.

    Examples
    --------
    >>> import pandas as pd
    >>> log = pd.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "a"], "timestamp": [1.7e9, 1.7e9 + 60]})
    >>> dataset(log).interactions["timestamp"].tolist()
    [1700000000000, 1700000060000]
    """
    plugin = Files.from_options(options)
    plugin = replace(plugin, interactions=interactions, items=items, media=None if media is None else str(media))
    if name is not None:
        registry.check_new_name(name)
    said = console.Recorded(console.progress())
    found = plugin.load(settings.cache_folder(reading=True), said)
    if name is None:
        return found
    words = "".join(f", {key}={value!r}" for key, value in plugin.options().items())
    command = f"bench.dataset(interactions=..., name={name!r}{words})"
    return prepared.save(settings.cache_folder(), name, found, command, said.lines)
