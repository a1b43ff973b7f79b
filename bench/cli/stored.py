"""What commands on stored features share: options, the folder, and damage said in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from feature_extractors.store.catalogue import Entry


def stored(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --cache and --json."""
    command = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")(command)
    return located(command)


def located(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --cache."""
    return click.option("--cache", metavar="FOLDER", help="Where features are kept [env BENCH_CACHE].")(command)


def store_folder(cache: str | None) -> Path:
    """Folder of the feature store."""
    from bench import settings

    return settings.cache_folder(cache) / "features"


def readable(entry: Entry, action: Callable[[], Any]) -> Any:
    """Run something that reads a space; damage becomes an error that says what to do.

    Raises
    ------
    DataError
        If the space is damaged.
    """
    from feature_extractors.store.lance import DamagedStoreError
    from protocols.errors import DataError

    try:
        return action()
    except DamagedStoreError as error:
        raise DataError(
            f"the feature space {entry.id} is damaged: {error}",
            remedy=f"`bench features verify {entry.id}` says what is left; extract again to mend it",
        ) from error
