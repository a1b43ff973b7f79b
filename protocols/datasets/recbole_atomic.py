"""Dataset from a directory of RecBole's atomic files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from protocols.dataset import Dataset, DatasetPlugin
from protocols.datasets.files.atomic_files import events, read_atomic, refuse_unread_lists
from protocols.datasets.files.tables import Table
from protocols.errors import DataError, UserError
from protocols.progress import Progress

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Atomic(DatasetPlugin):
    """Your own directory of RecBole atomic files: NAME.inter, and NAME.item if there is one.

    Every row of NAME.inter is an interaction, whatever its rating. Without NAME.item the items are those of the log.
    Where the field of items is one of lists (`token_seq`), each list is a sequence of interactions, with a list of
    times (`float_seq`) or, where the file has no times, in the order of the list.

    Attributes
    ----------
    root
        The directory.
    files
        NAME; none: the only one there is.
    user, item, timestamp
        Fields of NAME.inter; `item` also of NAME.item.
    title
        Field of NAME.item; none: the field `title`, if it has one.
    time_unit
        Of the timestamps: s (as RecBole's own datasets), ms, us or iso. Never guessed.
    check_times
        Refuse times before 1980 or after tomorrow. False for logs whose times are shifted for privacy.
    unknown_items
        Handling of interactions whose item NAME.item lacks: refuse or drop (counted on the card).
    lists
        Handling of lists of items (`token_seq`) in another field than `item`: refuse or ignore.
    """

    name: ClassVar[str] = "recbole"
    licence: ClassVar[str] = "as its owner says"
    later_options: ClassVar[tuple[str, ...]] = ("lists",)
    places: ClassVar[tuple[str, ...]] = ("root",)

    root: str | None = None
    files: str | None = None
    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"
    title: str | None = None
    time_unit: Literal["ms", "s", "us", "iso"] = "s"
    check_times: bool = True
    unknown_items: Literal["refuse", "drop"] = "refuse"
    lists: Literal["refuse", "ignore"] = "refuse"

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Read the files.

        Raises
        ------
        UserError
            If `root` is not given, holds no atomic files, or as the modules of `protocols.datasets.files` say.
        """
        import pandas as pd

        from protocols.datasets.files.frames import item_frame, known_only, log_frame
        from protocols.datasets.files.times import TimeFormat

        stem = self._stem()
        table, timed = self._events(stem.with_name(f"{stem.name}.inter"))
        form = TimeFormat(self.time_unit, self.name, checked=self.check_times)
        if not timed:
            form = TimeFormat("ms", self.name, checked=False)
        log = log_frame(table, self.user, self.item, self.timestamp, form)
        card: list[str] = []
        path = stem.with_name(f"{stem.name}.item")
        if path.exists():
            described = read_atomic(path)
            items, repeated = item_frame(described, self.item, self._titles(described), self.name)
            log, card = known_only(log, items, table, self.unknown_items, self.name)
            if repeated:
                card.append(f"{repeated} exact duplicates in {path.name} were dropped.")
        else:
            items = pd.DataFrame(index=log["item_id"].unique())
        return Dataset.build(
            self.name, stem.name, log, items, licence=self.licence, card=tuple(card), timed=timed, root=stem.parent
        )

    def _events(self, path: Path) -> tuple[Table, bool]:
        """The log, a row an event, and True if it has times."""
        table = read_atomic(path)
        if self.item in table and table.is_sequence(self.item):
            return events(table, self.user, self.item, self.timestamp)
        if self.item in table and self.lists == "refuse":
            refuse_unread_lists(table, self.item, self.name)
        return table, True

    def _titles(self, table: Table) -> dict[str, np.ndarray]:
        from protocols.datasets.files.columns import texts

        if self.title is None and "title" not in table:
            return {}
        name = self.title or "title"
        table.column(name, f"--set {self.name}.title=NAME says which field it is")
        return {"title": texts(table, name)}

    def _stem(self) -> Path:
        if self.root is None:
            raise UserError(
                "dataset 'recbole' needs the directory of the atomic files", remedy="--set recbole.root=FOLDER"
            )
        folder = Path(self.root).expanduser().absolute()
        names = sorted(path.stem for path in folder.glob("*.inter"))
        if not names:
            raise DataError(
                f"{folder} holds no file NAME.inter", remedy="--set recbole.root=FOLDER, the one with the files"
            )
        if self.files is None and len(names) > 1:
            raise UserError(f"{folder} holds several logs: {', '.join(names)}", remedy="--set recbole.files=NAME")
        if self.files is not None and self.files not in names:
            raise UserError(f"{folder} has no {self.files}.inter; it holds {', '.join(names)}")
        return folder / (self.files or names[0])
