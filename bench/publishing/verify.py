"""Verification of published tables against the records that they name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench import records, tables
from bench.boards import leaderboard
from bench.boards.leaderboard import Board
from bench.tables import columns, formats, latex
from protocols.errors import DataError, UserError
from protocols.wording import counted


@dataclass(frozen=True)
class Claim:
    """A table in a file.

    Attributes
    ----------
    line
        Line number of its comment, from 1.
    form
        `md` or `latex`.
    made
        Content of its comment: id of the records, metric, baseline and view.
    rows
        Its lines with numbers, without surrounding blanks.
    """

    line: int
    form: str
    made: dict[str, Any]
    rows: tuple[str, ...]

    @property
    def id(self) -> str:
        """Hash of the records that it names."""
        return str(self.made.get("id", ""))


@dataclass(frozen=True)
class Verdict:
    """A claim with its problems; a claim without any holds."""

    claim: Claim
    problems: tuple[str, ...]


def verify(file: Path, root: Path) -> list[Verdict]:
    """Check every table of a file, see `verify_all`."""
    return verify_all([file], root)[file]


def verify_all(files: Iterable[Path], root: Path) -> dict[Path, list[Verdict]]:
    """Check every table of some files: its records must be unchanged, and give the same lines.

    Captions and text around a table may be rewritten; its lines of numbers may not.

    Parameters
    ----------
    files
        LaTeX or Markdown.
    root
        Results folder with the records.

    Raises
    ------
    UserError
        If a file cannot be read or holds no table of ours.
    DataError
        If a table's comment is broken.
    """
    claims = {file: _claims(file) for file in files}
    groups = leaderboard.groups(root)
    by_id = {leaderboard.table_id(group.values()): group for group in groups}
    # tables of one board, as a paper has them, are checked against one build of it
    build = lru_cache(lambda name, metric, baseline: leaderboard.build(by_id[name], metric, baseline or None))
    return {
        file: [Verdict(one, tuple(_problems(one, by_id, build))) for one in found] for file, found in claims.items()
    }


def _claims(file: Path) -> list[Claim]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    claims = read(text, str(file))
    if not claims:
        raise UserError(
            f"{file} holds no table of bench: none carries the comment `bench-table`",
            remedy="bench leaderboard --format latex > FILE writes one",
        )
    return claims


def read(text: str, name: str = "") -> list[Claim]:
    """Find the tables of a text.

    Raises
    ------
    DataError
        If a comment is not of the form that `bench leaderboard` writes; the message holds `name`.
    """
    lines = text.splitlines()
    starts = [at for at, line in enumerate(lines) if line.strip().startswith((latex.PREFIX, formats.PREFIX))]
    found = []
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=False):
        comment = lines[start].strip()
        form = "latex" if comment.startswith(latex.PREFIX) else "md"
        content = comment.removeprefix(latex.PREFIX).removeprefix(formats.PREFIX).removesuffix(formats.SUFFIX)
        try:
            made = json.loads(content)
            view_of(made)
            if not all(isinstance(made[key], str) for key in ("id", "metric", "baseline")):
                raise TypeError("id, metric and baseline are text")
        except (ValueError, KeyError, TypeError, UserError) as error:
            raise DataError(
                f"{name}, line {start + 1}: broken bench-table comment: {type(error).__name__}: {error}",
                remedy="write the table again with bench leaderboard",
            ) from error
        found.append(Claim(start + 1, form, made, tuple(_rows(lines[start + 1 : stop], form))))
    return found


def view_of(made: dict[str, Any]) -> tables.View:
    """Return the view that a comment names.

    Raises
    ------
    KeyError, TypeError, UserError
        If it names none.
    """
    wanted = made.get("columns", [])
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise TypeError("columns is a list of names")
    rows = made.get("rows", 0)
    if not isinstance(rows, int) or rows < 0:
        raise TypeError("rows is a number")
    return tables.View(made["group_by"], made["pivot"], tuple(columns.chosen(",".join(wanted))) if wanted else (), rows)


def _rows(lines: Iterable[str], form: str) -> list[str]:
    """Return the lines of the first table."""
    rows: list[str] = []
    for line in map(str.strip, lines):
        if form == "latex":
            if line.startswith((r"\end{tabular}", r"\end{longtable}")):
                break
            if line.endswith(r"\\"):
                rows.append(line)
        elif line.startswith("|"):
            rows.append(line)
        elif rows:
            break
    return rows


def _problems(
    claim: Claim, by_id: dict[str, dict[Path, records.Record]], build: Callable[[str, str, str], Board]
) -> list[str]:
    group = by_id.get(claim.id)
    if group is None:
        known = ", ".join(sorted(by_id)) or "none"
        return [f"no records here have the hash {claim.id}; those that are here have: {known}"]
    changed = records.mismatches(group)
    if changed:
        return changed
    made = claim.made
    board = build(claim.id, made["metric"], made["baseline"])
    fresh = tables.render(board, claim.form, view_of(made))
    expected = read(fresh)[0].rows
    if len(expected) != len(claim.rows):
        return [f"{counted(len(claim.rows), 'line')} in the table, {len(expected)} come from the records"]
    return [
        f"table: {mine}\nrecords: {theirs}"
        for mine, theirs in zip(claim.rows, expected, strict=True)
        if mine.split() != theirs.split()
    ]
