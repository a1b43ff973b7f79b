"""Boards and comparisons as objects that show themselves: in a notebook, as frames, tables and charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from bench import tables
from bench.boards.compare import Report
from bench.boards.leaderboard import Board
from bench.boards.rows import BoardRow
from bench.tables import charts, verdicts
from bench.tables import columns as names


class Chart(str):
    """SVG of a chart; a notebook draws it."""

    def _repr_svg_(self) -> str:
        return str(self)

    def save(self, path: str | Path) -> Path:
        """Write it as a file."""
        Path(path).write_text(self, encoding="utf-8")
        return Path(path)


@dataclass(frozen=True)
class Leaderboard:
    """Board of rows that share data, protocol, folds and seeds.

    Attributes
    ----------
    board
        With every number; see `bench.boards.leaderboard.Board`.
    """

    board: Board

    @property
    def verdict(self) -> list[str]:
        """Sentences on the value of content: against the shuffled control and against ids alone."""
        return verdicts.verdict(self.board)

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame with a row for each ranked row of the board, best first.

        Columns: `model`, `extractor`, `fusion`, `rank_low`, `rank_high`; of every metric its mean, `_low` and `_high`
        (95%); `minus_id` and `minus_shuffled` with `_low` and `_high`, NaN where there is no such row; `seeds`.
        """
        return pd.DataFrame([_numbers(self.board, row) for row in self.board.rows])

    def to_latex(
        self, *, columns: Sequence[str] = (), rows: int = 0, pivot: bool = False, standalone: bool = False
    ) -> str:
        """Return the LaTeX of a table, see `bench leaderboard --format latex`.

        Parameters
        ----------
        columns
            Names, as of `--columns`; none: the usual ones.
        rows
            How many, best first; 0: all.
        pivot
            Extractors as rows and models as columns.
        standalone
            A whole document.

        Raises
        ------
        UserError
            If a column is unknown, or the table is wider than the page of a two-column paper.
        """
        chosen = tuple(names.chosen(",".join(columns))) if columns else ()
        return tables.render(self.board, "latex", tables.View("", pivot, chosen, rows), standalone)

    def to_markdown(self) -> str:
        """Return the Markdown of the whole table, with its notes."""
        return tables.render(self.board, "md")

    def plot(self, kind: str = "forest") -> Chart:
        """Draw differences to the shuffled control and to ids (`forest`), or extractors by models (`heat`).

        Returns
        -------
        Chart
            Empty if the board has no row with content beside its control.
        """
        return Chart({"forest": charts.forest, "heat": charts.heat}[kind](self.board))

    def __str__(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(line)}</p>" for line in self.verdict)
        facts = self.board.facts
        simulated = " (simulated data)" if self.board.simulated else ""
        title = f"<h4>{escape(facts['dataset'])}{simulated}, {escape(facts['protocol'])}</h4>"
        return title + said + self.to_pandas().to_html(index=False, float_format="{:.4f}".format, na_rep="-")


@dataclass(frozen=True)
class Comparison:
    """Rows compared over the same users, on one board.

    Attributes
    ----------
    report
        With every number; see `bench.boards.compare.Report`.
    """

    report: Report

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame with a row for each comparison: the rows `a` and `b`, difference, interval, p and others."""
        return pd.DataFrame(self.report.as_json()["rows"])

    def to_latex(self) -> str:
        """Return the LaTeX of a table."""
        return tables.comparison(self.report, "latex")

    def to_markdown(self) -> str:
        """Return the Markdown of a table, with its notes."""
        return tables.comparison(self.report, "md")

    def __str__(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        return self.to_pandas().to_html(index=False, float_format="{:.4f}".format, na_rep="-")


def _numbers(board: Board, row: BoardRow) -> dict[str, object]:
    low, high = row.rank_interval or (None, None)
    found: dict[str, object] = {"model": row.model, "extractor": row.extractor, "fusion": row.fusion}
    found |= {"rank_low": low, "rank_high": high}
    for metric in board.metrics:
        found |= {metric: row.mean[metric], f"{metric}_low": row.low[metric], f"{metric}_high": row.high[metric]}
    for name, difference in (("minus_id", verdicts.minus_id(board, row)), ("minus_shuffled", row.delta_vs_shuffled)):
        value = difference or {"value": float("nan"), "low": float("nan"), "high": float("nan")}
        found |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
    return found | {"seeds": len(row.seeds)}
