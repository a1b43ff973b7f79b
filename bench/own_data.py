"""Dataset from files or frames, in Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import console, settings
from protocols.dataset import Dataset
from protocols.datasets.own_files import Files


def dataset(interactions: Any, items: Any = None, media: str | Path | None = None, **options: Any) -> Dataset:
    """Make a dataset of a log, as `bench data prepare files` does.

    Parameters
    ----------
    interactions, items
        A frame of pandas, polars or pyarrow, or files: a path, a list of them or a pattern. Without `items` they are
        those of the log.
    media
        Folder of the videos.
    options
        Of the dataset `files`: `user="uid"`, `where="rating >= 4"` and others, see `bench list datasets`.

    Raises
    ------
    UserError
        As `protocols.datasets.own_files.Files.load`.

    Examples
    --------
    >>> import pandas as pd
    >>> log = pd.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "a"], "timestamp": [1.7e9, 1.7e9 + 60]})
    >>> dataset(log).interactions["timestamp"].tolist()
    [1700000000000, 1700000060000]
    """
    plugin = Files.from_options(options)
    plugin = replace(plugin, interactions=interactions, items=items, media=None if media is None else str(media))
    return plugin.load(settings.cache_folder(reading=True), console.progress())
