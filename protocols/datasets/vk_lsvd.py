"""VK-LSVD dataset: short videos of half a year, by week.

Files and columns: card of the data set deepvk/VK-LSVD; names of the arrays of vectors: its quick start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from protocols.dataset import Dataset
from protocols.datasets.own_files import Files
from protocols.datasets.published_log import PublishedLog, one
from protocols.errors import DataError
from protocols.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

WEEK = 7 * 86_400_000
# Monday, 3 January 2000: real dates are not published.
BEGIN = 946_857_600_000


@dataclass(frozen=True)
class VkLsvd(PublishedLog):
    """VK-LSVD, short videos over 27 weeks, whole or a subsample; durations, no titles, content vectors beside it.

    `week_XX.parquet` of train, validation and test under the directory, and `metadata/items_metadata.parquet` there or
    above it. The log has no times: the week is that of the file, and rows of a file are in order of time; they are
    spread evenly over their week. A like counts as taken. Content vectors (`metadata/item_embeddings.npz`)
    are for the extractor `published`, with `id_column=item_id` and `vector_column=embedding`.

    Attributes
    ----------
    weeks
        Only the last so many weeks; 0: all.
    """

    name: ClassVar[str] = "vk-lsvd"
    licence: ClassVar[str] = "Apache-2.0"
    source: ClassVar[str] = "the data set deepvk/VK-LSVD on the Hugging Face hub"
    citation: ClassVar[str] = "VK-LSVD: Large Short-Video Dataset. arXiv:2602.04567"
    card: ClassVar[tuple[str, ...]] = (
        "Times are not published: week w begins on day 7w of a calendar that starts on 2000-01-03, and rows of a week "
        "are spread evenly over it in their order. Windows other than whole weeks cut at places that are not known.",
        "No user sees an item twice.",
    )

    where: str = "like == 1"
    weeks: int = 0

    @property
    def release(self) -> str:
        """Name of the directory: that of the subsample."""
        return f"{self.folder().name}, {f'last {self.weeks}' if self.weeks else 'all'} weeks"

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Read the weeks in order, each row with its place in its week as a time.

        Raises
        ------
        DataError
            If a week is there twice; as `PublishedLog.load`.
        """
        import pyarrow as pa

        parts = [self._week(number, path) for number, path in self._weeks().items()]
        log = pa.concat_tables(parts)
        metadata = self._metadata()
        items = self._items(metadata, log) if metadata else None
        files = Files(log, items, time_unit="ms", duration_unit="s")
        files = replace(files, where=self.where, unknown_items=self.unknown_items).under_name(self.name)
        return self.published(files.load(cache, progress))

    def _weeks(self) -> dict[int, Path]:
        found: dict[int, Path] = {}
        for path in sorted(self.folder().rglob("week_*.parquet")):
            number = int(re.sub(r"\D", "", path.stem) or -1)
            if number in found:
                raise DataError(
                    f"{found[number]} and {path} are both week {number}", remedy="name one subsample as root"
                )
            found[number] = path
        if not found:
            self.find("train/week_*.parquet")
        return dict(sorted(found.items())[-self.weeks :])

    def _week(self, number: int, path: Path) -> pa.Table:
        import pyarrow as pa

        from protocols.datasets.files.formats import Reading, read
        from protocols.datasets.files.taken import columns_of

        more = columns_of(self.where, f"--set {self.name}.where") if self.where else []
        table = read(str(path), Reading(self.name, ("user_id", "item_id", *more)))
        place = np.arange(len(table), dtype=np.int64) * WEEK // len(table)
        return table.cells.append_column("timestamp", pa.array(BEGIN + number * WEEK + place))

    def _metadata(self) -> str | None:
        folder = self.folder()
        places = [place / "metadata" / "items_metadata.parquet" for place in (folder, *list(folder.parents)[:2])]
        return one([str(path) for path in places if path.is_file()])

    def _items(self, path: str, log: pa.Table) -> pa.Table:
        """Rows of the items of this log: the release describes 19.6 million."""
        import pyarrow.compute as pc
        from pyarrow import parquet

        items = parquet.read_table(path, columns=["item_id", "duration"])
        return items.filter(pc.is_in(items["item_id"], value_set=pc.unique(log["item_id"]).cast(items["item_id"].type)))
