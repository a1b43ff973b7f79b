"""Own files: interactions, items and a folder of videos, in whatever form they have."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from protocols.dataset import Dataset, DatasetPlugin
from protocols.datasets.files.media_files import ADDRESS, by_id, by_name
from protocols.errors import DataError, UserError
from protocols.object_store import is_uri
from protocols.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from protocols.datasets.files.tables import Table

ITEM_COLUMNS = ("title", "video", "release", "duration")


@dataclass(frozen=True)
class Files(DatasetPlugin):
    """Your own log, with items if you have them and a folder of videos: text, parquet, JSON lines, Arrow, frames.

    Text with any delimiter, plain or packed (.gz, .zst, .bz2), parquet, Arrow files, and JSON objects a line. A log in
    several files is given by a pattern (`logs/*.parquet`) or by a list. Ids stay text: `007` and `7` are two items.
    Without items the items are those of the log.

    Attributes
    ----------
    interactions, items
        The files; in Python also frames of pandas, polars or pyarrow.
    media
        Folder of the videos. A column `video` names them relative to it, or by addresses (s3://, gs://, https://);
        without one, the video of item X is X.mp4 (or another suffix).
    user, item, timestamp
        Columns of the interactions; `item` also of the items, unless `item_key` names another one there.
    title, video, release, duration
        Columns of the items, each used if it is there.
    item_key
        Column of the ids in the items; "": as `item`.
    where
        Condition in SQL on the columns of the interactions for rows that count as taken: `rating >= 4`,
        `is_click = 1 and duration_ms > 3000`; "": all rows.
    time_unit, release_unit
        Of times: s, ms, us, ns, or iso (2024-05-31T12:00:00Z); auto: told from the values, each column by itself, and
        said. Decimals beyond a millisecond are cut off. An empty release is unknown.
    duration_unit
        s or ms; auto: told from the values, and said.
    day_first
        Reading of dates such as 31/05/2024: true for this one, false for 05/31/2024; none: they are refused.
    check_times
        Refuse times before 1980 or after tomorrow. False for logs whose times are shifted for privacy.
    delimiter
        Between cells of text; `tab` for tabs; auto: told from the first lines, and said.
    encoding
        Of text.
    header, items_header
        False: the file has no line of column names, and columns are called by their numbers from 1.
    unknown_items
        Handling of interactions whose item the items lack: refuse or drop (counted on the card).
    """

    name: ClassVar[str] = "files"
    licence: ClassVar[str] = "as its owner says"
    places: ClassVar[tuple[str, ...]] = ("interactions", "items", "media")
    #: Options that records hold also at their defaults.
    recorded: ClassVar[frozenset[str]] = frozenset()
    #: See `TimeFormat.rounded`.
    rounded: ClassVar[bool] = False

    interactions: str | list[str] | object | None = None
    items: str | list[str] | object | None = None
    media: str | None = None
    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"
    title: str = "title"
    video: str = "video"
    release: str = "release"
    duration: str = "duration"
    time_unit: Literal["auto", "s", "ms", "us", "ns", "iso"] = "auto"
    check_times: bool = True
    delimiter: str = "auto"
    unknown_items: Literal["refuse", "drop"] = "refuse"
    item_key: str = ""
    where: str = ""
    release_unit: Literal["auto", "s", "ms", "us", "ns", "iso"] = "auto"
    duration_unit: Literal["auto", "s", "ms"] = "auto"
    day_first: bool | None = None
    encoding: str = "utf-8"
    header: bool = True
    items_header: bool = True

    def options(self) -> dict[str, Any]:
        """Options that are not at their defaults; their effect on the data is in the fingerprint."""
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return {k: v for k, v in super().options().items() if k in self.recorded or v != defaults[k]}

    def under_name(self, name: str) -> Self:
        """Return the same files under another name, that of a plug-in around them: remedies say it."""
        other = dataclasses.replace(self)
        object.__setattr__(other, "name", name)
        return other

    def whole_log(self) -> Table:
        """Read users and items of all rows, also of those that do not count as taken."""
        return self._read("interactions", self.interactions, (self.user, self.item), self.header)

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Read the files.

        Raises
        ------
        UserError
            If no interactions are given, or as the modules of `protocols.datasets.files` say.
        """
        import pandas as pd

        from protocols.datasets.files import frames, taken

        if self.interactions is None:
            raise UserError(
                f"dataset {self.name!r} needs a file of interactions", remedy=f"--set {self.name}.interactions=FILE"
            )
        table = self._log()
        log = frames.log_frame(table, self.user, self.item, self.timestamp, self._times("time_unit", self.time_unit))
        card = self._taken_sentence(table)
        unused = taken.unused_feedback(table.names, [self.user, self.item, self.timestamp], self.name)
        if unused and not self.where:
            table.notes.append(unused)
        said = [(table.path, table.notes)]
        if self.items is not None:
            described = self._read("items", self.items, (self._key, *self._item_columns()), self.items_header)
            items, repeated = self._described(described)
            log, dropped = frames.known_only(log, items, table, self.unknown_items, self.name)
            card += [*repeated, *dropped, *_early(log, items)]
            said.append((described.path, described.notes))
        else:
            items = pd.DataFrame(index=log["item_id"].unique())
        if self.media is not None and "video" not in items:
            items["video"] = by_id(self._media(), list(items.index))
        for path, notes in said:
            for note in dict.fromkeys(notes):
                progress.say(f"{Path(path).name}: {note}")
        root = Path(table.path).parent if isinstance(table.path, Path) else None
        return Dataset.build(self.name, "local", log, items, licence=self.licence, card=tuple(card), root=root)

    def _log(self) -> Table:
        from protocols.datasets.files import taken

        option = f"--set {self.name}.where"
        needed = (self.user, self.item, self.timestamp)
        conditions = taken.columns_of(self.where, option) if self.where else []
        table = self._read("interactions", self.interactions, (*needed, *conditions), self.header)
        self._check_header(table, needed)
        return taken.taken(table, self.where, option) if self.where else table

    def _taken_sentence(self, table: Table) -> list[str]:
        rows = sum(part.rows for part in table.parts)
        return [f"Interactions are the {len(table)} of {rows} rows with {self.where}."] if self.where else []

    def _read(self, what: str, source: Any, columns: tuple[str, ...], header: bool) -> Table:
        from protocols.datasets.files import formats
        from protocols.datasets.files.text_tables import delimiter_of

        delimiter = "" if self.delimiter == "auto" else delimiter_of(self.delimiter, f"{self.name}.delimiter")
        needed = columns[:3] if what == "interactions" else columns[:1]
        reading = formats.Reading(f"{self.name}.{what}", columns, needed, delimiter, self.encoding, header)
        return formats.read(source, reading)

    def _check_header(self, table: Table, needed: tuple[str, ...]) -> None:
        from protocols.datasets.files.columns import looks_like_number

        if self.header and not any(name in table for name in needed) and any(map(looks_like_number, table.names)):
            first = ", ".join(map(repr, table.names[:6]))
            words = " ".join(f"--set {self.name}.{o}" for o in ("header=false", "user=1", "item=2", "timestamp=3"))
            raise DataError(
                f"{table.path}, line 1: no column {self.user!r}; the first line looks like data: {first}",
                remedy=f"where there is no line of names, number the columns from 1: {words}",
            )

    @property
    def _key(self) -> str:
        return self.item_key or self.item

    def _item_columns(self) -> list[str]:
        return [getattr(self, column) for column in ITEM_COLUMNS]

    def _times(self, option: str, unit: Any, **more: Any) -> Any:
        from protocols.datasets.files.times import TimeFormat

        return TimeFormat(unit, self.name, option, self.check_times, self.day_first, rounded=self.rounded, **more)

    def _described(self, table: Table) -> tuple[pd.DataFrame, list[str]]:
        from protocols.datasets.files import columns, times
        from protocols.datasets.files.frames import item_frame

        found: dict[str, Any] = {}
        for column in ITEM_COLUMNS:
            name = getattr(self, column)
            if name not in table:
                if name != column:
                    table.column(name, f"--set {self.name}.{column}=NAME says which column it is")
            elif column == "title":
                found[column] = columns.texts(table, name)
            elif column == "release":
                otherwise = "" if self.time_unit == "auto" else self.time_unit
                form = self._times("release_unit", self.release_unit, empty=True, otherwise=otherwise)
                found[column] = times.times(table, name, form)
            elif column == "duration":
                found[column] = columns.durations(table, name, self.duration_unit, self.name)
            else:
                found[column] = self._videos(table, name)
        items, repeated = item_frame(table, self._key, found, self.name)
        return items, [f"{repeated} exact duplicates in the items file were dropped."] if repeated else []

    def _videos(self, table: Table, column: str) -> list[str | None]:
        from protocols.datasets.files import columns

        names = columns.texts(table, column).tolist()
        remote = {at: name for at, name in enumerate(names) if name is not None and is_uri(name)}
        for at, name in remote.items():
            if not ADDRESS.match(name):
                raise table.error(
                    at,
                    f"{column} {name.partition('://')[0]}://... is no address of a video",
                    remedy=f"s3://, gs:// or https://, without a name and a password; or a file in {self.name}.media",
                )
        if len(remote) + names.count(None) == len(names):
            return names
        if self.media is None:
            raise UserError(
                f"{table.path} names videos in column {column!r}, and {self.name}.media is not given",
                remedy=f"--set {self.name}.media=FOLDER",
            )
        paths, outside = by_name(self._media(), [None if at in remote else name for at, name in enumerate(names)])
        if outside >= 0:
            name = table.column(column)[outside].as_py()
            raise table.error(
                outside,
                f"{column} {name!r} lies outside of {self.media}",
                remedy=f"name videos relative to {self.name}.media",
            )
        return [remote.get(at, path) for at, path in enumerate(paths)]

    def _media(self) -> Path:
        folder = Path(self.media or "").expanduser().absolute()
        if not folder.is_dir():
            raise UserError(f"{self.name}.media: {folder} is not a folder", remedy=f"--set {self.name}.media=FOLDER")
        return folder


@dataclass(frozen=True)
class CsvFiles(Files):
    """Dataset `files` under its earlier name, with its earlier defaults: commas, milliseconds, durations in seconds."""

    name: ClassVar[str] = "csv"
    recorded: ClassVar[frozenset[str]] = frozenset(
        ("user", "item", "timestamp", "title", "video", "release", "duration")
    ) | frozenset(("time_unit", "check_times", "delimiter", "unknown_items"))
    rounded: ClassVar[bool] = True

    time_unit: Literal["auto", "s", "ms", "us", "ns", "iso"] = "ms"
    delimiter: str = ","
    duration_unit: Literal["auto", "s", "ms"] = "s"


def _early(log: pd.DataFrame, items: pd.DataFrame) -> list[str]:
    """Count interactions before the release of their item, as a sentence for the card."""
    if "release" not in items:
        return []
    ids = log["item_id"].cat
    released = items["release"].reindex(ids.categories).to_numpy()[ids.codes.to_numpy()]
    early = int((log["timestamp"].to_numpy() < released).sum())
    return [f"{early} of {len(log)} interactions are older than the release of their item."] if early else []
