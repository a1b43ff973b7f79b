"""Datasets kept under a name of their own: Arrow files of what was read, and a record of what it was read from."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from protocols.atomic_write import write_atomically
from protocols.dataset import Dataset, DatasetPlugin
from protocols.errors import DataError, UserError
from protocols.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: Below the cache folder, a folder for each name.
FOLDER = "datasets"
DESCRIPTION, LOG, ITEMS = "dataset.json", "interactions.arrow", "items.arrow"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
#: Fields of a dataset that its description holds.
FACTS = ("version", "licence", "citation", "card", "duplicates", "timed")


@dataclass(frozen=True)
class Prepared(DatasetPlugin):
    """Dataset that was prepared and named before.

    Attributes
    ----------
    called
        Its name.
    """

    name: ClassVar[str] = "prepared"
    places: ClassVar[tuple[str, ...]] = ("called",)

    called: str = ""

    def __post_init__(self) -> None:
        """Take the own name in place of the plug-in's: records and boards say it."""
        object.__setattr__(self, "name", self.called)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Make the dataset that is called `called`; it takes no other options.

        Raises
        ------
        UserError
            If there are others.
        """
        name, others = options["called"], [key for key in options if key != "called"]
        if others:
            raise UserError(
                f"dataset {name!r} was prepared: it takes no options, but got {', '.join(others)}",
                remedy=f"prepare it again with other options; `bench data show {name}` shows how it was done",
            )
        return cls(name)

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Map the Arrow files.

        Raises
        ------
        DataError
            If they are damaged, or are not those that were prepared.
        """
        dataset, told = _mapped(cache, self.called)
        if dataset.fingerprint != told["fingerprint"]:
            folder, remedy = cache / FOLDER / self.called, f"prepare it again: {told['command']}"
            raise DataError(f"the files of {self.called!r} in {folder} are not those that were prepared", remedy)
        object.__setattr__(dataset, "kept", partial(_map_again, cache, self.called, dataset.fingerprint))
        return dataset


def _mapped(cache: Path, name: str) -> tuple[Dataset, Mapping[str, Any]]:
    """Map the files of a dataset; return it with its description."""
    folder, told = cache / FOLDER / name, describe(cache, name)
    try:
        facts: dict[str, Any] = {fact: tuple(told[fact]) if fact == "card" else told[fact] for fact in FACTS}
        root = Path(told["root"]) if told["root"] else None
        items = _items(folder / ITEMS)
        log, codes = _log(folder / LOG, items)
        return Dataset(name, interactions=log, items=items, root=root, **facts).with_codes(*codes), told
    except (OSError, ValueError, KeyError, IndexError) as error:  # of pyarrow, too
        raise DataError(
            f"the files of {name!r} in {folder} cannot be read: {error}", f"prepare it again: {told['command']}"
        ) from error


def _map_again(cache: Path, name: str, fingerprint: str) -> Dataset:
    """Map in a worker process what another process has mapped and checked.

    Raises
    ------
    DataError
        If other data were prepared under the name since.
    """
    dataset, told = _mapped(cache, name)
    if told["fingerprint"] != fingerprint:
        raise DataError(f"{name!r} was prepared anew while it was in use", remedy="start the command again")
    vars(dataset)["fingerprint"] = fingerprint
    object.__setattr__(dataset, "kept", partial(_map_again, cache, name, fingerprint))
    return dataset


def save(cache: Path, name: str, dataset: Dataset, command: str, said: Sequence[str] = ()) -> Dataset:
    """Keep a dataset under a name; one that had it before is replaced.

    Parameters
    ----------
    cache
        The cache folder.
    name
        Letters, digits, `_` and `-`, 64 at most.
    command
        Command, or call, that makes the dataset.
    said
        What was printed while it was read.

    Returns
    -------
    Dataset
        As it will be loaded: with this name, which is part of its fingerprint.

    Raises
    ------
    UserError
        If the name has other characters, or the dataset is simulated.
    """
    check_name(name)
    if dataset.simulated:
        raise UserError(f"{dataset.name!r} is simulated: its own name says so", remedy="leave out --name")
    log = dataset.indexed_log
    dataset = replace(dataset, name=name).with_codes(log.users, log.user, log.item)
    folder = cache / FOLDER / name
    write_atomically(folder / LOG, lambda path: _write(path, _log_table(dataset)))
    write_atomically(folder / ITEMS, lambda path: _write(path, _items_table(dataset.items)))
    told = {
        "command": command,
        "said": list(said),
        "prepared": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": dataset.fingerprint,
        "users": len(dataset.indexed_log.users),
        "items": len(dataset.items),
        "interactions": len(dataset.interactions),
        "root": str(dataset.root) if dataset.root else "",
        **{fact: getattr(dataset, fact) for fact in FACTS},
    }
    write_atomically(folder / DESCRIPTION, json.dumps(told, indent=1))
    return dataset


def check_name(name: str) -> None:
    """Refuse a name that could not be a folder or an option.

    Raises
    ------
    UserError
        Naming the characters that are allowed.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"--name {name!r}: expected letters, digits, _ and -, 64 at most", remedy="--name mine")


def names(cache: Path) -> list[str]:
    """List the names of prepared datasets."""
    return sorted(path.parent.name for path in (cache / FOLDER).glob(f"*/{DESCRIPTION}"))


def describe(cache: Path, name: str) -> Mapping[str, Any]:
    """Return the description of a prepared dataset, as `save` wrote it.

    Raises
    ------
    DataError
        If it is not there or damaged.
    """
    path = cache / FOLDER / name / DESCRIPTION
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {**told, "bytes": sum(file.stat().st_size for file in path.parent.iterdir())}
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}", remedy=f"bench data delete {name}") from error


def require(cache: Path, name: str) -> None:
    """Refuse a name that no prepared dataset has.

    Raises
    ------
    UserError
        Naming those there are.
    """
    if name not in names(cache):
        listed = ", ".join(names(cache)) or "none"
        raise UserError(f"no prepared dataset is called {name!r}; there are: {listed}", remedy="bench data list")


def delete(cache: Path, name: str) -> None:
    """Delete a prepared dataset; the files that it was read from stay.

    Raises
    ------
    UserError
        As `require`.
    """
    require(cache, name)
    shutil.rmtree(cache / FOLDER / name)


def _log_table(dataset: Dataset) -> Any:
    import pyarrow as pa

    log = dataset.indexed_log
    columns = {"user_id": (log.user, log.users), "item_id": (log.item, log.items)}
    coded = {
        name: pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(words, pa.large_string()))
        for name, (codes, words) in columns.items()
    }
    return pa.table({**coded, "timestamp": pa.array(log.time)})


def _items_table(items: pd.DataFrame) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(items.reset_index(), preserve_index=False)


def _write(path: Path, table: Any) -> None:
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _read(path: Path) -> Any:
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _log(path: Path, items: pd.DataFrame) -> tuple[pd.DataFrame, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Map the log: its frame, whose cells share one text an id, and its codes, see `Dataset.with_codes`."""
    import numpy as np
    import pandas as pd

    table = _read(path).unify_dictionaries().combine_chunks()
    stamp, codes, words = table["timestamp"].to_numpy(), {}, {}
    for name in ("user_id", "item_id"):
        cells = table[name].chunk(0)
        codes[name] = cells.indices.to_numpy()
        words[name] = cells.dictionary.to_numpy(zero_copy_only=False)
    users, known = words["user_id"], words["item_id"]
    if not (users[:-1] < users[1:]).all() or not np.array_equal(known, items.index.to_numpy(dtype=object)):
        raise ValueError("ids are out of order")
    frame = {name: words[name][codes[name]] for name in codes}
    log = pd.DataFrame({**frame, "timestamp": stamp})
    return log, (users, codes["user_id"], codes["item_id"])


def _items(path: Path) -> pd.DataFrame:
    return _read(path).to_pandas().set_index("item_id")
