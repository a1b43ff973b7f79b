"""Csv dataset: a file of interactions, one of items, and a folder of videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from protocols.dataset import Dataset, DatasetPlugin
from protocols.datasets.files.media_files import by_id, by_name
from protocols.datasets.files.text_tables import Format, TextTable, read_table
from protocols.errors import UserError
from protocols.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class CsvFiles(DatasetPlugin):
    """Your own csv files: interactions, items if you have them, and a folder of videos.

    Both files begin with a line of column names. Ids stay text: `007` and `7` are two items. Without an items file
    the items are those of the log.

    Attributes
    ----------
    interactions, items
        The files.
    media
        Folder of the videos. A column `video` names them relative to it; without one, the video of item X is
        X.mp4 (or another suffix).
    user, item, timestamp
        Columns of the interactions; `item` also of the items.
    title, video, release, duration
        Columns of the items, each used if it is there. `release` is a time like the timestamps, `duration` seconds.
    time_unit
        Of the times: ms, s, us, or iso (2024-05-31T12:00:00Z). Never guessed.
    check_times
        Refuse times before 1980 or after tomorrow. False for logs whose times are shifted for privacy.
    delimiter
        Between cells; `tab` for tabs.
    unknown_items
        Handling of interactions whose item the items file lacks: refuse or drop (counted on the card).
    """

    name: ClassVar[str] = "csv"
    licence: ClassVar[str] = "as its owner says"
    places: ClassVar[tuple[str, ...]] = ("interactions", "items", "media")

    interactions: str | None = None
    items: str | None = None
    media: str | None = None
    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"
    title: str = "title"
    video: str = "video"
    release: str = "release"
    duration: str = "duration"
    time_unit: Literal["ms", "s", "us", "iso"] = "ms"
    check_times: bool = True
    delimiter: str = ","
    unknown_items: Literal["refuse", "drop"] = "refuse"

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Read the files.

        Raises
        ------
        UserError
            If no interactions are given, or as the modules of `protocols.datasets.files` say.
        """
        import pandas as pd

        from protocols.datasets.files.frames import known_only, log_frame

        if self.interactions is None:
            raise UserError("dataset 'csv' needs a file of interactions", remedy="--set csv.interactions=FILE")
        path = Path(self.interactions).expanduser().absolute()
        table = read_table(path, self._form())
        log = log_frame(table, self.user, self.item, self.timestamp, self.time_unit, self.name, self.check_times)
        card: list[str] = []
        if self.items is not None:
            described = read_table(Path(self.items).expanduser().absolute(), self._form())
            items, card = self._described(described)
            log, dropped = known_only(log, items, table, self.unknown_items, self.name)
            card += [*dropped, *_early(log, items)]
        else:
            items = pd.DataFrame(index=log["item_id"].unique())
        if self.media is not None and "video" not in items:
            items["video"] = by_id(self._media(), list(items.index))
        return Dataset.build(self.name, "local", log, items, licence=self.licence, card=tuple(card), root=path.parent)

    def _described(self, table: TextTable) -> tuple[pd.DataFrame, list[str]]:
        from protocols.datasets.files import columns
        from protocols.datasets.files.frames import item_frame

        found: dict[str, Any] = {}
        for column in ("title", "video", "release", "duration"):
            name = getattr(self, column)
            if name not in table:
                if name != column:
                    table.column(name, f"--set {self.name}.{column}=NAME says which column it is")
            elif column == "title":
                found[column] = columns.texts(table, name)
            elif column == "release":
                found[column] = columns.times(table, name, self.time_unit, self.name, self.check_times)
            elif column == "duration":
                found[column] = columns.numbers(table, name)
            elif self.media is not None:
                found[column] = self._videos(table, name)
            else:
                raise UserError(
                    f"{table.path} names videos in column {name!r}, and csv.media is not given",
                    remedy="--set csv.media=FOLDER",
                )
        items, repeated = item_frame(table, self.item, found, self.name)
        return items, [f"{repeated} exact duplicates in the items file were dropped."] if repeated else []

    def _videos(self, table: TextTable, column: str) -> list[str | None]:
        from protocols.datasets.files import columns

        paths, outside = by_name(self._media(), columns.texts(table, column).tolist())
        if outside >= 0:
            name = table.column(column)[outside].as_py()
            raise table.error(
                outside, f"{column} {name!r} lies outside of {self.media}", remedy="name videos relative to csv.media"
            )
        return paths

    def _media(self) -> Path:
        folder = Path(self.media or "").expanduser().absolute()
        if not folder.is_dir():
            raise UserError(f"csv.media: {folder} is not a folder", remedy="--set csv.media=FOLDER")
        return folder

    def _form(self) -> Format:
        delimiter = "\t" if self.delimiter in ("tab", "\\t") else self.delimiter
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
            raise UserError(f"csv.delimiter={self.delimiter!r}: expected one character, or tab")
        return Format(delimiter)


def _early(log: pd.DataFrame, items: pd.DataFrame) -> list[str]:
    """Count interactions before the release of their item, as a sentence for the card."""
    if "release" not in items:
        return []
    early = int((log["timestamp"].to_numpy() < items["release"].reindex(log["item_id"]).to_numpy()).sum())
    return [f"{early} of {len(log)} interactions are older than the release of their item."] if early else []
