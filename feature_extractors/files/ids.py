"""Item ids of files made elsewhere: reading, checks, and matching to the ids of a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from feature_extractors.media.container import RefusedError, check_file
from protocols.errors import DataError

Where = Callable[[int], str]


def regular_file(path: Path) -> None:
    """Refuse all but regular files with content, without opening them.

    Raises
    ------
    DataError
        Naming the file and the reason.
    """
    try:
        check_file(path)
    except RefusedError as error:
        raise DataError(f"{path}: {error}") from error


def read_ids(path: Path) -> list[str]:
    """Read a list of ids: a text file with one a line, or JSON with a list.

    Returns
    -------
    list
        Ids as they stand there, whole numbers of JSON as decimals.

    Raises
    ------
    DataError
        If the file cannot be read, an id is empty or of another type, or one occurs twice; names file and line.
    """
    regular_file(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix != ".json":
            # not splitlines(), which breaks ids at rare separators such as U+2028; read_text turned CRLF into LF
            ids = text.removesuffix("\n").split("\n")
            check_ids(ids, lambda at: f"{path}, line {at + 1}")
            return ids
        found = json.loads(text)
    except (OSError, ValueError) as error:  # bad UTF-8 and bad JSON are ValueErrors
        raise DataError(f"{path} is not a list of ids: {' '.join(str(error).split())}") from error
    if not isinstance(found, list):
        raise DataError(f"{path}: expected a JSON list of ids, got {type(found).__name__}")
    for at, one in enumerate(found):
        if not isinstance(one, str) and (not isinstance(one, int) or isinstance(one, bool)):
            raise DataError(f"{path}, entry {at} from 0: an id must be a string or a whole number, got {one!r}")
    ids = [str(one) for one in found]
    check_ids(ids, lambda at: f"{path}, entry {at} from 0")
    return ids


def check_ids(ids: Sequence[str], where: Where) -> None:
    """Refuse empty and repeated ids.

    Parameters
    ----------
    ids
        [N].
    where
        Names the place of the n-th id: file and row.

    Raises
    ------
    DataError
        Naming the place.
    """
    first: dict[str, int] = {}
    for at, one in enumerate(ids):
        if not one.strip():
            raise DataError(f"{where(at)}: the id is empty")
        if one in first:
            raise DataError(
                f"{where(at)}: the id {one!r} occurs a second time, first in {where(first[one])}",
                remedy="keep one row an item",
            )
        first[one] = at


def positions(ids: Sequence[str], wanted: Sequence[str], where: Where) -> list[int | None]:
    """Find the items of a dataset among the ids of a file.

    Parameters
    ----------
    ids
        [N] ids of the file, each once.
    wanted
        [M] raw ids of the dataset.
    where
        Names the place of the n-th id.

    Returns
    -------
    list
        [M] rows of the file; None for items that it does not hold.

    Raises
    ------
    DataError
        If no id fits, or ids fit but for leading zeros (a spreadsheet or a number column has dropped them).
    """
    row = {one: at for at, one in enumerate(ids)}
    found = [row.get(one) for one in wanted]
    known = set(wanted)
    bare = {_bare(one): one for one in wanted if one not in row and one.isdecimal()}
    for at, one in enumerate(ids):
        other = bare.get(_bare(one)) if one not in known and one.isdecimal() else None
        if other is not None:
            raise DataError(
                f"{where(at)}: the id {one!r} is not in the dataset, but {other!r} is: they differ by leading zeros",
                remedy="write ids as text, as they stand in the dataset",
            )
    if wanted and not any(at is not None for at in found):
        raise DataError(
            f"{where(0)}: none of the {len(ids)} ids is in the dataset; here they look like {_some(ids)}, there like "
            f"{_some(wanted)}",
            remedy="choose the right column or ids file, or the dataset that the file was made for",
        )
    return found


def strangers(ids: Sequence[str], wanted: Sequence[str], file: str) -> str:
    """Say how many ids of a file are not in the dataset and are left out; "" where there are none.

    Examples
    --------
    >>> strangers(["a", "b", "c"], ["a"], "vectors.npy")
    "vectors.npy: 2 of 3 ids are not in the dataset and are left out, the first is 'b'"
    """
    known = set(wanted)
    others = [one for one in ids if one not in known]
    if not others:
        return ""
    return (
        f"{file}: {len(others)} of {len(ids)} ids are not in the dataset and are left out, the first is {others[0]!r}"
    )


def _bare(number: str) -> str:
    return number.lstrip("0") or "0"


def _some(ids: Sequence[str]) -> str:
    return ", ".join(repr(one) for one in ids[:3]) or "nothing"
