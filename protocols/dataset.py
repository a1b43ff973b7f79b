"""Dataset contract: interactions and items with raw ids, and the base class of dataset plug-ins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from protocols.errors import DataError, UserError
from protocols.plugins import Plugin
from protocols.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from protocols.indexed_log import IndexedLog
    from protocols.ranking_problem import Scorer, TrainingData

INTERACTION_COLUMNS = ("user_id", "item_id", "timestamp")
ITEM_COLUMNS = ("title", "genres", "video", "release", "duration")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Interactions and items, checked and in canonical order. Build one with `Dataset.build`.

    Attributes
    ----------
    name, version
        Of the dataset that was loaded.
    interactions
        Frame [user_id str, item_id str, timestamp int64 milliseconds UTC], sorted by (timestamp, user_id, item_id),
        exact duplicates dropped, index 0..N-1.
    items
        Frame indexed by raw item_id (sorted), with any of the columns title (str), genres (str, separated by comma
        and space), video (str: path to a media file), release (int64 milliseconds UTC), duration (float seconds).
    licence, citation
        Printed by `bench data show`.
    card
        Known leaks and limits of the data itself, in sentences.
    simulated
        True when the interactions or clips are not real. Every table then says so, and `auto` options of extractors
        resolve to the checkpoints of this repository.
    duplicates
        Number of exact duplicate (user, item, time) rows that were dropped.
    timed
        False for sequences whose times are unknown: `timestamp` is then the position in the user's sequence, and no
        protocol that needs a calendar will split it.
    kept
        Maps the same data from files; None where they are in memory alone. Worker processes call it, and are not sent
        the rows. A changed copy (`dataclasses.replace`) has none.
    """

    name: str
    version: str
    interactions: pd.DataFrame
    items: pd.DataFrame
    licence: str = "unknown"
    citation: str = ""
    card: tuple[str, ...] = ()
    simulated: bool = False
    duplicates: int = 0
    timed: bool = True
    root: Path | None = field(default=None, repr=False)
    kept: Callable[[], Dataset] | None = field(default=None, repr=False, init=False)

    @classmethod
    def build(cls, name: str, version: str, interactions: pd.DataFrame, items: pd.DataFrame, **more: object) -> Dataset:
        """Check and order raw frames.

        Raises
        ------
        DataError
            If a column is missing or of the wrong type, there are no rows, ids repeat in `items`, or an interaction
            names an unknown item; the message names the row.
        """
        import numpy as np
        import pandas as pd  # half a second that listing plug-ins need not pay

        missing = [c for c in INTERACTION_COLUMNS if c not in interactions]
        if missing:
            raise DataError(f"{name}: interactions lack the column(s) {', '.join(missing)}")
        _check_log(name, interactions)
        items = items.loc[:, [c for c in ITEM_COLUMNS if c in items]].copy()
        items.index = pd.Index(items.index.astype(str), name="item_id")
        if items.index.has_duplicates:
            raise DataError(f"{name}: item id {items.index[items.index.duplicated()][0]!r} occurs twice in items")
        items = items.sort_index()
        (user, users), (item, taken) = (_codes(interactions[column]) for column in ("user_id", "item_id"))
        stamp = interactions["timestamp"].to_numpy().astype(np.int64, copy=False)
        order = _canonical_order(stamp, user, item)
        user, item, stamp = user[order], item[order], stamp[order]
        known = items.index.get_indexer(pd.Index(taken, dtype=object))
        if (known < 0).any():
            row = int(np.argmax((known < 0)[item]))
            raise DataError(
                f"{name}: interaction of user {users[user[row]]!r} names item {taken[item[row]]!r}, not in items"
            )
        log = pd.DataFrame({"user_id": users[user], "item_id": taken[item], "timestamp": stamp})
        found = cls(name, version, log, items, duplicates=len(interactions) - len(log), **more)  # type: ignore[arg-type]
        return found.with_codes(users, user, known[item])

    def sampled(self, users: int, seed: int = 0) -> Dataset:
        """Keep the interactions of some users, drawn at random, and all items.

        Raises
        ------
        UserError
            If the dataset has fewer.
        """
        import numpy as np

        ids = np.sort(self.interactions["user_id"].unique())
        if not 0 < users <= len(ids):
            raise UserError(f"{users} users were asked for; {self.name} has {len(ids)}")
        kept = np.random.default_rng([seed, 0x5A3]).choice(ids, size=users, replace=False)
        log = self.interactions
        log = log[log["user_id"].isin(kept)].reset_index(drop=True)
        return replace(self, interactions=log, version=f"{self.version}, {users} users drawn with seed {seed}")

    @cached_property
    def indexed_log(self) -> IndexedLog:
        """The interactions as integer arrays, for splits and audits."""
        from protocols.indexed_log import IndexedLog

        index, users, user, item = vars(self).get("codes", (None,) * 4)
        if index is self.items.index:  # nobody has added items since
            return IndexedLog.coded(users, user, item, self.items, self.interactions["timestamp"].to_numpy())
        return IndexedLog.of(self.interactions, self.items)

    def with_codes(self, users: np.ndarray, user: np.ndarray, item: np.ndarray) -> Self:
        """Take over codes from whoever has them already, for `indexed_log`; return this dataset.

        Parameters
        ----------
        users
            Raw ids [U], sorted.
        user, item
            int [N]: codes of the interactions into `users` and into the index of `items`.
        """
        vars(self)["codes"] = self.items.index, users, user, item
        return self

    def __getstate__(self) -> dict[str, Any]:
        # worker processes make the arrays again: they would double what is sent
        return {key: value for key, value in self.__dict__.items() if key not in ("indexed_log", "codes")}

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.kept is not None:
            return self.kept, ()
        return super().__reduce_ex__(protocol)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the content that evaluation can see (log, item ids, releases, titles); not over media paths."""
        import pandas as pd

        log = self.indexed_log  # its codes save hashing each id again for every row
        coded = {"user_id": (log.users, log.user), "item_id": (log.items, log.item)}
        h = hashlib.sha256(f"{self.name}\0{self.version}\0".encode())
        for frame in (self.interactions, self.items.drop(columns="video", errors="ignore").reset_index()):
            for column in frame:
                h.update(f"{column}\0{frame[column].dtype}\0".encode())
                if frame is self.interactions and column in coded:
                    ids, codes = coded[column]
                    hashes = pd.util.hash_array(ids, categorize=False)[codes]
                else:
                    hashes = pd.util.hash_pandas_object(frame[column], index=False).to_numpy()
                h.update(hashes.data)
        return h.hexdigest()


def _check_log(name: str, interactions: pd.DataFrame) -> None:
    import numpy as np

    if interactions.empty:
        raise DataError(f"{name}: the log has no interactions", remedy="is it the right file?")
    for column in ("user_id", "item_id", "timestamp"):
        absent = interactions[column].isna().to_numpy()
        if absent.any():
            raise DataError(f"{name}: row {int(absent.argmax())} of the interactions has no {column}")
    stamps = interactions["timestamp"].to_numpy()
    # dates would silently become nanoseconds, and fractions would be cut off
    if stamps.dtype.kind not in "iuf":
        raise DataError(f"{name}: timestamps are {stamps.dtype}, expected whole milliseconds UTC")
    if stamps.dtype.kind == "f" and (stamps != np.floor(stamps)).any():
        row = int((stamps != np.floor(stamps)).argmax())
        raise DataError(f"{name}: row {row} has timestamp {stamps[row]}, expected whole milliseconds UTC")


def _codes(ids: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Number raw ids in their sorted order: int64 [N], and the ids [K] as text, each of which occurs."""
    import numpy as np
    import pandas as pd

    if not isinstance(ids.dtype, pd.CategoricalDtype):
        number, found = pd.factorize(ids.astype(str), sort=True)
        return number.astype(np.int64, copy=False), np.asarray(found, dtype=object)
    codes, words = ids.cat.codes.to_numpy(), ids.cat.categories.to_numpy(dtype=object)
    used = np.bincount(codes, minlength=len(words)) > 0
    order = np.flatnonzero(used)[np.argsort(words[used], kind="stable")]
    place = np.empty(len(words), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[codes], words[order]


def _canonical_order(stamp: np.ndarray, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Rows sorted by (timestamp, user, item), exact duplicates dropped."""
    import numpy as np

    order = np.argsort(stamp)
    same = np.diff(stamp[order]) == 0
    # few rows share a time: only those are sorted by all three
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[tied]
    order[tied] = rows = rows[np.lexsort((item[rows], user[rows], stamp[rows]))]
    again = np.any([np.diff(key[rows], prepend=-1) != 0 for key in (stamp, user, item)], axis=0)
    return np.delete(order, tied[~again])


@dataclass(frozen=True)
class Finding:
    """One line of `bench data check`.

    Attributes
    ----------
    what
        File or property.
    found
        Its state or value.
    expected
        The published value; "": not known.
    ok
        True where they match; None: nothing to compare.
    """

    what: str
    found: str
    expected: str = ""
    ok: bool | None = None


@dataclass(frozen=True)
class DatasetPlugin(Plugin):
    """A dataset users can name. Subclasses are frozen dataclasses; their fields are options.

    Attributes
    ----------
    licence
        Of the data, shown by `bench list datasets`.
    places
        Options that hold paths on this machine. They are left out of records and keys: the content of the files is in
        the dataset's fingerprint.
    simulated
        As `Dataset.simulated` of the dataset that `load` returns: decides, before anything is loaded, if `auto`
        checkpoints are pocket ones.
    """

    licence: ClassVar[str] = "unknown"
    simulated: ClassVar[bool] = False
    places: ClassVar[tuple[str, ...]] = ()

    def options(self) -> dict[str, Any]:
        """All options but `places`, with their values, JSON-able."""
        return {key: value for key, value in super().options().items() if key not in self.places}

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Return the dataset, preparing it under `cache` first where needed.

        Parameters
        ----------
        cache
            The bench cache folder; a plug-in keeps its files in a folder of its own below it.
        progress
            Display for preparation that takes over two seconds.
        """
        raise NotImplementedError

    def inspect(self, dataset: Dataset) -> list[Finding]:
        """Compare files and counts with published values, for `bench data check`."""
        return []

    def truth_texts(self, dataset: Dataset) -> Mapping[str, str]:
        """Return the gold description of every item (raw id -> text), for the control `truth`: the feature ceiling.

        Raises
        ------
        UserError
            If this dataset has no ground truth, or it was deleted.
        """
        raise UserError(f"dataset {self.name!r} has no ground truth: the control 'truth' is only for simulated data")

    def factors(self, dataset: Dataset) -> pd.DataFrame:
        """Return all planted factors, one row an item (raw id) and one column a factor, for linear probes.

        Raises
        ------
        UserError
            If this dataset has no ground truth, or it was deleted.
        """
        raise UserError(f"dataset {self.name!r} has no ground truth: probes are only for simulated data")

    def oracle(self, dataset: Dataset, training: TrainingData, end: int) -> Scorer:
        """Return the scorer that knows the simulator's parameters, for the control `oracle`: the ranking ceiling.

        Parameters
        ----------
        dataset
            As `load` returned it.
        training
            Of the problem to score; `training.border` begins the window.
        end
            Milliseconds UTC: the window is [border, end).

        Raises
        ------
        UserError
            If this dataset has no ground truth, or it was deleted.
        """
        raise UserError(f"dataset {self.name!r} has no ground truth: the control 'oracle' is only for simulated data")
