"""Manual grading of texts: the sample, the CSV to fill in, and shares with Wilson intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest
from tabulate import tabulate

from bench.console import printable
from bench.tables.csv_text import harmless
from protocols.errors import DataError, UserError
from protocols.wording import counted

#: Questions on every text, each answered with 1 or 0.
QUESTIONS = {
    "objects_wrong": "it names a thing or a person that is not in the clip, or names one wrongly",
    "actions_wrong": "it describes something that does not happen in the clip",
    "text_wrong": "it quotes writing or speech that is not in the clip",
    "usable": "on the whole it is usable as a description of the clip",
}
WRONG = ("objects_wrong", "actions_wrong", "text_wrong")
COLUMNS = ("number", "item_id", *QUESTIONS, "comment", "text", "space")
YES, NO = frozenset({"1", "y", "yes", "true", "x"}), frozenset({"0", "n", "no", "false"})
# The system's language decides the delimiter that a spreadsheet writes.
DELIMITERS = (",", ";", "\t")
LEVEL = 0.95


@dataclass(frozen=True)
class Share:
    """Share of the graded texts with a property.

    Attributes
    ----------
    yes, graded
        Counts.
    share
        `yes / graded`; None where nothing is graded, as are `low` and `high`.
    low, high
        Wilson's score interval at `LEVEL`, without correction for continuity (Wilson 1927), for the share among all
        items with a text; the sample is assumed to be small against them.
    """

    yes: int
    graded: int
    share: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Score:
    """Grades of the texts of one space.

    Attributes
    ----------
    space
        Its id in the file.
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

    The first k of a sample are the sample of size k: grading may stop early or continue later.

    Parameters
    ----------
    item_ids
        Population; their order does not matter.
    count
        Size of the sample, at most.
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


def score(path: Path, name: str | None = None) -> list[Score]:
    """Summarise a filled-in CSV, space by space in the order of the file.

    Parameters
    ----------
    name
        Extractor or beginning of a space's id that all texts must be of; None: any.

    Raises
    ------
    UserError
        If the file grades texts of another space than `name`.
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
    other = [space for space in answers if name and not space.startswith(name.partition(":")[0])]
    if other:
        raise UserError(
            f"{path} grades texts of {printable(other[0] or 'an unnamed space')}, not of {name!r}",
            remedy="leave out NAME, or give the other file",
        )
    return [Score(space, len(rows), _shares(rows)) for space, rows in answers.items()]


def text(scores: Sequence[Score]) -> str:
    """Write a table for each space."""
    lines = []
    for one in scores:
        rows = [_cells(name, share) for name, share in one.questions.items()]
        lines.append(f"{printable(one.space) or 'texts'}: {counted(one.rows, 'row')}")
        lines.append(tabulate(rows, ["", "yes", "of", "share", "interval"], tablefmt="plain", disable_numparse=True))
    lines.append(f"intervals: {LEVEL:.0%}, Wilson's score; any_wrong: of the texts graded on all three kinds")
    return "\n".join(lines)


def _cells(name: str, share: Share) -> list[str]:
    if share.share is None:
        return [name, "-", "0", "-", "-"]
    return [name, str(share.yes), str(share.graded), f"{share.share:.1%}", f"[{share.low:.1%}, {share.high:.1%}]"]


def _shares(rows: Sequence[Mapping[str, bool | None]]) -> dict[str, Share]:
    full = [row for row in rows if all(row[name] is not None for name in WRONG)]
    given = {name: [row[name] for row in rows if row[name] is not None] for name in QUESTIONS}
    given["any_wrong"] = [any(row[name] for name in WRONG) for row in full]
    return {name: _share(sum(map(bool, values)), len(values)) for name, values in given.items()}


def _share(yes: int, graded: int) -> Share:
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
    """Read the rows of the file that are not blank, with their numbers: the header is row 1."""
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
                    f"{path}, row {number}: {counted(len(cells), 'cell')}, the header has {len(names)}",
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
