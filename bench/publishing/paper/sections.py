"""Sections of a paper, one for each board: its records in sentences, and the names of its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.boards.leaderboard import Board
from bench.publishing import citations
from bench.publishing.paper import figures
from bench.records import Record
from bench.tables import latex_board, verdicts
from bench.tables.layout import View, about_rows, headline, warnings
from bench.tables.numbers import metric_name
from protocols.wording import counted

#: Rows of the table in the body of a paper; the appendix has all.
BEST = 12


@dataclass(frozen=True)
class Section:
    """Board with its records, and everything that a paper says of it.

    Attributes
    ----------
    board, group
        The board, and its records by path.
    name
        Of its files: dataset, protocol and fingerprint.
    """

    board: Board
    group: Mapping[Path, Record]
    name: str

    @property
    def first(self) -> Record:
        """Any of the records."""
        return next(iter(self.group.values()))

    @property
    def title(self) -> str:
        """Dataset and protocol, with the version and options of the data."""
        facts = self.board.facts
        return f"{_dataset(self.board)}{' (simulated)' if self.board.simulated else ''}, {facts['protocol']}"

    @property
    def long(self) -> bool:
        """True where the body shows the best rows only."""
        return len(self.board.rows) > BEST

    @property
    def table(self) -> str:
        """File of the table in the body."""
        return f"tables/{self.name}.tex"

    @property
    def whole(self) -> str:
        """File of the table of all rows."""
        return f"tables/{self.name}-all.tex"

    @property
    def label(self) -> str:
        """Label of the table in the body."""
        return f"tab:{latex_board.label(self.board, View(rows=BEST if self.long else 0))}"

    @property
    def whole_label(self) -> str:
        """Label of the table of all rows."""
        return f"tab:{latex_board.label(self.board, View())}"

    @property
    def charts(self) -> dict[str, str]:
        """Files of the charts that the board has, by kind."""
        return {kind: f"figures/{self.name}-{kind}.pdf" for kind in figures.kinds(self.board)}

    def data(self) -> list[str]:
        """Say what the data are."""
        data = self.first.dataset
        counts = [f"{data[name]:,} {name}" for name in ("users", "items", "interactions") if data.get(name) is not None]
        options = ", ".join(f"{key}={value}" for key, value in sorted(self.board.facts["dataset_options"].items()))
        made = " is simulated; no real person, clip or taste is in it" if self.board.simulated else ""
        said = [f"{_dataset(self.board)}{made}: {', '.join(counts) or 'counts unknown'}."]
        said += [f"Its options: {options}."] if options else []
        return said + ([f"Licence: {_sentence(str(data['licence']))}"] if data.get("licence") else [])

    def protocol(self) -> list[str]:
        """Say how the log was split, by the options that the records hold."""
        options = self.first.cell["options"].get("protocol", {})
        return [text.format(**options) for known, text in _PROTOCOL if known(options)]

    def audit(self) -> str:
        """Count the leak checks of the records."""
        checks = [check for record in self.group.values() for check in record.audit]
        failed = sum(not one["ok"] and not one.get("by_construction") for one in checks)
        declared = sum(not one["ok"] and bool(one.get("by_construction")) for one in checks)
        said = f"Of {counted(len(checks), 'leak check', ',')} in the records {failed:,} failed"
        return said + (f", and {declared:,} leaks are declared by the protocol." if declared else ".")

    def windows(self) -> list[str]:
        """Say when the test windows were, who was ranked among what, and under which seeds."""
        infos = self.board.facts["fold_info"]
        days = [str(info["border"])[:10] for info in infos if "border" in info]
        said = [f"Test windows begin on {', '.join(days)} (UTC)."] if days else []
        return [*said, *(line for line in headline(self.board) if not line.startswith("Simulated")), self.audit()]

    def checkpoints(self) -> list[str]:
        """List the checkpoints of features, of the shuffled and other controls none."""
        rows = [row for row in self.board.rows if row.checkpoints and not verdicts.is_control(row)]
        return list(dict.fromkeys(f"{row.extractor}: {row.checkpoints}" for row in rows))

    def statistics(self) -> str:
        """Say what the intervals and marks of the board rest on."""
        board = self.board
        if board.these_seeds_only:
            return (
                f"{self.title}: {verdicts.seeds_of(board)}. Intervals are over users; how far other seeds move a row "
                "is not known, no p-value is given and nothing is called significant."
            )
        rest = f"{self.title}: {verdicts.seeds_of(board)}."
        if not board.baseline:
            return f"{rest} No row is a baseline, so no row is tested."
        tested = [row for row in board.rows if row.delta_vs_baseline]
        found = sum(row.significant for row in tested)
        rest += f" {found} of {len(tested)} rows differ from the baseline {board.baseline} at the 5% level (Holm)"
        return (
            f"{rest}; for the other {len(tested) - found} no difference is shown."
            if found < len(tested)
            else f"{rest}."
        )

    def verdict(self) -> str:
        """Write the main finding of the board."""
        return verdicts.verdict(self.board)[0]

    def findings(self) -> list[str]:
        """Write the best row and the main finding."""
        return list(dict.fromkeys([verdicts.best(self.board), self.verdict()]))

    def counts(self) -> list[str]:
        """Count rows whose content counts."""
        return verdicts.counts(self.board)

    def cautions(self) -> list[str]:
        """Write everything that speaks against the numbers of the board."""
        return [*warnings(self.board), *about_rows(self.board)]

    def references(self) -> tuple[list[str], list[str]]:
        """Return the keys of references, and the names of which no reference is known."""
        found = dict(citations.references(self.group.values()))
        return [key for key, entry in found.items() if entry], [key for key, entry in found.items() if not entry]

    def made_with(self) -> str:
        """Say from which commits and versions the records come."""
        facts = self.board.facts
        commits = ", ".join(
            f"{commit} ({counted(count, 'record')})" for commit, count in sorted(facts["commits"].items())
        )
        return f"{self.title}: table id {self.board.id}, board {self.board.fingerprint}; commits {commits}; " + (
            f"{'; '.join(facts['made_with'])}; dataset content {facts['dataset_fingerprint'] or 'unknown'}."
        )

    @property
    def seeds(self) -> str:
        """Number of seeds, and with few of them that numbers are for these only."""
        return verdicts.seeds_of(self.board)

    @property
    def metric(self) -> str:
        """Name of the metric that ranks the rows."""
        return metric_name(self.board.metric)


def sections(found: Iterable[tuple[Board, Mapping[Path, Record]]]) -> list[Section]:
    """Make the sections of boards: real data first, and most rows first."""
    pairs = sorted(found, key=lambda pair: (pair[0].simulated, -len(pair[0].rows), pair[0].fingerprint))
    return [Section(board, group, _slug(board)) for board, group in pairs]


def _dataset(board: Board) -> str:
    facts = board.facts
    return facts["dataset"] + (f" (version {facts['dataset_version']})" if facts["dataset_version"] else "")


def _slug(board: Board) -> str:
    words = (board.facts["dataset"], board.facts["protocol"], board.fingerprint[:12])
    return "-".join("".join(c if c.isascii() and c.isalnum() else "-" for c in word)[:40] for word in words)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _given(*names: str) -> Any:
    return lambda options: all(options.get(name) is not None for name in names)


def _is(name: str, *values: object) -> Any:
    return lambda options: options.get(name) in values


def _not(name: str, *values: object) -> Any:
    return lambda options: options.get(name) is not None and options[name] not in values


#: Sentences on the options of a protocol, each with the condition under which it holds.
_PROTOCOL = (
    (
        _given("window", "stride", "folds"),
        "{folds} test windows of {window}, {stride} apart, the last ending with the last event's UTC day. Everything "
        "that is learned or chosen uses events strictly before the border at which a window begins.",
    ),
    (_given("train_window"), "Models are fitted on the {train_window} before a border."),
    (_not("gap", "0d"), "The {gap} before a border are neither fitted nor validated on."),
    (_given("validation_window"), "The number of epochs is chosen on a validation window of {validation_window}."),
    (_is("refit", True), "Models are then trained anew on everything before the border, for that many epochs."),
    (_is("refit", False), "Models are not trained anew on the validation window."),
    (_given("min_history"), "Every ranked user has {min_history} or more events before the border."),
    (_not("k_core", 1), "Rows that are fitted on are the {k_core}-core."),
    (_is("targets", "all"), "Targets are all items of the window that are new to the user, as a set."),
    (_is("targets", "first"), "The target is the first item of the window that is new to the user."),
    (_is("targets", "successive"), "Targets are new items one after the other, histories growing inside the window."),
    (
        lambda options: "window" not in options and bool(options),
        "The options of the protocol are in the records; the sentences here know those of rolling windows only.",
    ),
)
