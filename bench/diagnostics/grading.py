"""Grading texts by hand: the sample, the CSV to fill in, and what a filled-in one says, with intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.tables.formats import harmless
from protocols.errors import DataError

#: What is asked of every text, each to be answered with 1 or 0.
QUESTIONS = {
    "objects_wrong": "it names a thing or a person that is not in the clip, or names one wrongly",
    "actions_wrong": "it tells of something that does not happen in the clip",
    "text_wrong": "it quotes writing or speech that is not in the clip",
    "usable": "all in all it would do as a description of the clip",
}
WRONG = ("objects_wrong", "actions_wrong", "text_wrong")
COLUMNS = ("number", "item_id", *QUESTIONS, "comment", "text", "space")
YES, NO = frozenset({"1", "y", "yes", "true", "x"}), frozenset({"0", "n", "no", "false"})
# Spreadsheets write what the system's language asks for.
DELIMITERS = (",", ";", "\t")
LEVEL = 0.95


@dataclass(frozen=True)
class Share:
    """How many of the graded texts have a property.

    Attributes
    ----------
    yes, graded
        Counts.
    share
        The one over the other; None where nothing is graded, as are `low` and `high`.
    low, high
        Wilson's score interval at `LEVEL`, without correction for continuity (Wilson 1927), for the share among all
        items with a text: the sample is taken for small against them.
    """

    yes: int
    graded: int
    share: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Score:
    """What graders say of the texts of one space.

    Attributes
    ----------
    space
        Its id, as it stands in the file.
    rows
        Texts in the file.
    questions
        By the names of `QUESTIONS`, and `any_wrong`: at least one of the three kinds, of the texts graded on all three.
    """

    space: str
    rows: int
    questions: dict[str, Share]

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


def sample(item_ids: Collection[str], count: int, seed: int) -> list[str]:
    """Draw items without replacement, in the order in which they were drawn.

    The first k of a sample are the sample of size k: whoever stops early, or goes on later, has a random one, too.

    Parameters
    ----------
    item_ids
        Among which; their order does not matter.
    count
        At most as many.
    seed
        Of the draw.
    """
    ordered = sorted(item_ids)
    return [ordered[at] for at in np.random.default_rng(seed).permutation(len(ordered))[:count]]


def form(item_ids: Sequence[str], texts: Mapping[str, str], space: str) -> str:
    """Write the CSV to fill in; nothing in it is taken for a formula by a spreadsheet.

    Parameters
    ----------
    item_ids
        In the order of the sheet.
    texts
        By item id; each becomes one line.
    space
        Id of their feature space.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for number, item in enumerate(item_ids, 1):
        text = " ".join(texts[item].split())
        row = {"item_id": item, "text": text, "space": space}
        writer.writerow({"number": number, **{name: harmless(value) for name, value in row.items()}})
    return out.getvalue()


def score(path: Path) -> list[Score]:
    """Sum up a filled-in CSV, space by space in the order of the file.

    Raises
    ------
    DataError
        If it cannot be read, a column is missing, a cell is neither yes nor no, an item stands there twice, or nothing
        is graded; names file and row, counted as a spreadsheet does.
    """
    first: dict[tuple[str, str], int] = {}
    answers: dict[str, list[dict[str, bool | None]]] = {}
    for number, row in _rows(path):
        space, item = row.get("space", ""), row["item_id"]
        if not item:
            raise DataError(f"{path}, row {number}: no item_id", remedy="delete the row, or enter its item_id")
        if (space, item) in first:
            raise DataError(
                f"{path}, row {number}: item {item!r} stands in row {first[space, item]} already",
                remedy="keep one of the two rows; several graders need a file each",
            )
        first[space, item] = number
        answers.setdefault(space, []).append({name: _answer(path, number, name, row[name]) for name in QUESTIONS})
    if not any(value is not None for rows in answers.values() for row in rows for value in row.values()):
        raise DataError(f"{path}: nothing is graded", remedy=f"enter 1 or 0 in the columns {', '.join(QUESTIONS)}")
    return [Score(space, len(rows), _shares(rows)) for space, rows in answers.items()]


def _shares(rows: Sequence[Mapping[str, bool | None]]) -> dict[str, Share]:
    full = [row for row in rows if all(row[name] is not None for name in WRONG)]
    given = {name: [row[name] for row in rows if row[name] is not None] for name in QUESTIONS}
    given["any_wrong"] = [any(row[name] for name in WRONG) for row in full]
    return {name: _share(sum(map(bool, values)), len(values)) for name, values in given.items()}


def _share(yes: int, graded: int) -> Share:
    from scipy.stats import binomtest

    if not graded:
        return Share(0, 0)
    interval = binomtest(yes, graded).proportion_ci(LEVEL, method="wilson")
    return Share(yes, graded, yes / graded, float(interval.low), float(interval.high))


def _answer(path: Path, number: int, column: str, cell: str) -> bool | None:
    word = cell.strip().casefold()
    if word and word not in YES | NO:
        raise DataError(
            f"{path}, row {number}, column {column}: {cell[:40]!r} is neither yes nor no",
            remedy="write 1 or 0 (yes, y, x, true; no, n, false); leave it empty where it is not graded",
        )
    return word in YES if word else None


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows of the file that are not blank, with their numbers: the header is row 1."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8", remedy="save it as 'CSV UTF-8'") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[tuple[int, dict[str, str]]] = []
    number = 0
    try:
        names = [name.strip() for name in next(rows, [])]
        _check_header(path, names)
        for number, cells in enumerate(rows, 2):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                raise DataError(
                    f"{path}, row {number}: {len(cells)} cells, the header has {len(names)}",
                    remedy="put quotes around cells that hold the delimiter, as spreadsheets do",
                )
            found.append((number, dict(zip(names, cells, strict=True))))
    except csv.Error as error:
        raise DataError(f"{path}, row {number + 1 if number else 1}: {error}", remedy="save it as CSV again") from error
    return found


def _check_header(path: Path, names: Sequence[str]) -> None:
    wanted = ("item_id", *QUESTIONS)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DataError(
            f"{path}, row 1: no column {', '.join(missing)} (columns: {', '.join(names)[:200] or 'none'})",
            remedy="`bench features audit NAME --sheet FILE.html` writes a CSV with all of them",
        )
    twice = sorted({name for name in wanted if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}, row 1: the column {', '.join(twice)} stands there twice", remedy="delete one of them")
