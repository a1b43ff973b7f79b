"""Base of published logs: the files of a release under their official names, read as own files are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from protocols.dataset import Dataset, DatasetPlugin, Finding
from protocols.datasets.own_files import Files
from protocols.errors import UserError
from protocols.progress import Progress


@dataclass(frozen=True)
class PublishedLog(DatasetPlugin):
    """Log of a release; a subclass says which files it has, and how they are read.

    Attributes
    ----------
    source
        Where the release is found.
    citation, card
        See `Dataset`.
    known
        Published users, items and interactions of each release, before any filter, by `release`.
    root
        Directory of the release; without it the environment variable BENCH_NAME, in capitals.
    where
        Condition in SQL for rows that count as taken; "": all.
    unknown_items
        Handling of interactions whose item the items file lacks: refuse or drop (counted on the card).
    """

    places: ClassVar[tuple[str, ...]] = ("root",)
    source: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    card: ClassVar[tuple[str, ...]] = ()
    known: ClassVar[Mapping[str, Mapping[str, int]]] = {}

    root: str | None = None
    where: str = ""
    unknown_items: Literal["refuse", "drop"] = "refuse"

    @property
    def release(self) -> str:
        """Name of the release, part of the dataset's version."""
        raise NotImplementedError

    @property
    def condition(self) -> str:
        """Condition in SQL for rows that are read: `where`, and what a log needs beside it."""
        return self.where

    def files(self) -> Files:
        """Return the files of the release, and how they are read."""
        raise NotImplementedError

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Read the files.

        Raises
        ------
        UserError
            If the directory or a file is missing (the message lists the names), or as `Files.load`.
        """
        return self.published(self._files().load(cache, progress))

    def published(self, dataset: Dataset) -> Dataset:
        """Put name, release, licence, citation and card of this log on a dataset."""
        return replace(
            dataset,
            name=self.name,
            version=f"{self.release}, {self.where}" if self.where else self.release,
            licence=self.licence,
            citation=self.citation,
            card=(*self.card, *dataset.card),
        )

    def inspect(self, dataset: Dataset) -> list[Finding]:
        """Compare the counts of the log, before any filter, with the published ones."""
        known = self.known.get(self.release, {})
        if not known:
            return [Finding("counts", "none are known to us for this release")]
        import pyarrow.compute as pc

        files = self._files()
        log = files.whole_log()
        found = {
            "users": pc.count_distinct(log.column(files.user)).as_py(),
            "items": pc.count_distinct(log.column(files.item)).as_py(),
            "interactions": len(log),
        }
        return [Finding(what, f"{found[what]:,}", f"{n:,}", found[what] == n) for what, n in known.items()]

    def _files(self) -> Files:
        files = replace(self.files(), where=self.condition, unknown_items=self.unknown_items)
        return files.under_name(self.name)

    def folder(self) -> Path:
        """Return the directory of the release.

        Raises
        ------
        UserError
            If it is not given, or none.
        """
        variable = f"BENCH_{self.name.upper().replace('-', '_')}"
        given = self.root or os.environ.get(variable)
        remedy = f"--set {self.name}.root=FOLDER, or {variable}=FOLDER; the data: {self.source}"
        if not given:
            raise UserError(f"dataset {self.name!r} needs the directory of the official release", remedy)
        folder = Path(given).expanduser().absolute()
        if not folder.is_dir():
            raise UserError(f"{self.name}.root: {folder} is not a folder", remedy)
        return folder

    def find(self, *patterns: str) -> list[str]:
        """Find the files of the first pattern that fits, packed or not, in the directory or its folder `data`.

        Raises
        ------
        UserError
            If none fits, listing the patterns.
        """
        folder = self.folder()
        for pattern in patterns:
            for place in (folder, folder / "data"):
                found = sorted(str(path) for end in ("", ".gz", ".zst") for path in place.glob(pattern + end))
                if found:
                    return found
        raise UserError(
            f"{folder} has no {' or '.join(patterns)}", remedy=f"--set {self.name}.root=FOLDER with the official files"
        )

    def optional(self, *patterns: str) -> list[str] | None:
        """As `find`; None if there is none."""
        try:
            return self.find(*patterns)
        except UserError:
            return None


def one(paths: Sequence[str] | None) -> Any:
    """Return the only path of a list, or None for none."""
    return paths[0] if paths else None
