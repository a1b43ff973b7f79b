"""Rolling protocol and its presets, which are sets of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import numpy as np

from protocols.dataset import Dataset
from protocols.errors import DataError, UserError
from protocols.hashing import digest
from protocols.indexed_log import IndexedLog
from protocols.ranking_problem import Fold, Problem, Stage
from protocols.splitting import validation_window
from protocols.splitting.base import ProtocolPlugin
from protocols.splitting.fold_info import fitted_info, release_note, require_rows, window_info
from protocols.splitting.problem_builder import Candidates, build_problem
from protocols.splitting.rolling import (
    Borders,
    Targets,
    WindowRows,
    fitted_rows,
    milliseconds,
    rolling_borders,
    utc,
    window_rows,
)

#: Options that the leak audit needs.
KNOBS = ("gap", "train_window", "k_core", "refit", "min_history", "targets", "epochs_from", "rank_users")


@dataclass(frozen=True)
class Rolling(ProtocolPlugin):
    """Rolling windows over time; everything learned or chosen comes from events strictly before a window's border.

    Durations are a number with h, d or w (`7d`). The last window ends with the last event's UTC day.

    Attributes
    ----------
    window, stride, folds
        Length of a test window, distance between windows, number of windows.
    validation_window
        Length of the validation window just before the test window (and its gap). It must leave early stopping half
        of the rows before the border to fit on: if the preset's own window does not in some fold, all folds get the
        longest that does, of whole days or 12, 6, 3, 2, 1 hours, and a fingerprint of their own. Another window than
        the preset's is kept, with a warning (the preset's own length too, written otherwise: `168h` for `7d`).
    train_window
        Fit only on rows of this length before a border; None: on everything before it.
    gap
        Rows this close before a border are not fitted on, and the validation window ends this long before the test
        window. The validation problem keeps the same distance to its own border, so that both pose the same task.
        Neither `gap` nor `train_window` touches histories or the seen mask.
    min_history
        Events a user needs before the border to be ranked.
    k_core
        Fit only on the k-core of the fitted rows; items outside it are cold, histories keep everything.
    targets
        `all`: every new item of the window, as a set; `first`: the first one; `successive`: each by itself, ranked
        after the user's events in the window up to it, while parameters stay those of the border (the one exception
        to frozen histories; a board of its own).
    candidates
        `released`, `warm`, `catalogue`, or `auto`: `released` where the dataset has a `release` column, else `warm`.
    refit
        True: the final parameters are fitted on everything before the border, for as many epochs as early stopping
        found; False: on the rows that early stopping fitted on.
    epochs_from
        Validation window on which early stopping chooses the number of epochs: `each` fold's own, or that of the
        `earliest` fold, frozen for the later ones.
    rank_users
        Rank at most so many users of a window, drawn with a seed; 0: all of them. A board of its own.
    overlap
        Must be true for `stride < window`: then a row can be a target in two folds.
    """

    name: ClassVar[str] = "rolling"
    later_options: ClassVar[tuple[str, ...]] = ("rank_users",)

    window: str = "7d"
    stride: str = "7d"
    folds: int = 4
    validation_window: str = "7d"
    train_window: str | None = None
    gap: str = "0d"
    min_history: int = 1
    k_core: int = 1
    targets: Targets = "all"
    candidates: Literal["auto", "released", "warm", "catalogue"] = "auto"
    refit: bool = True
    epochs_from: Literal["each", "earliest"] = "each"
    overlap: bool = False
    rank_users: int = 0

    def __post_init__(self) -> None:
        for name in ("window", "stride", "validation_window", "train_window"):
            if self._span(name) == 0:
                raise UserError(f"{self.name}.{name}={getattr(self, name)!r}: must be longer than nothing")
        for name in ("folds", "min_history", "k_core"):
            if getattr(self, name) < 1:
                raise UserError(f"{self.name}.{name}={getattr(self, name)}: must be at least 1")
        if self.rank_users < 0:
            raise UserError(f"{self.name}.rank_users={self.rank_users}: must be at least 1, or 0 for all")
        stride, window = self._span("stride"), self._span("window")
        if stride is not None and window is not None and stride < window and not self.overlap:
            raise UserError(
                f"{self.name}: stride {self.stride} is shorter than window {self.window}, so windows overlap and rows "
                "count twice",
                remedy="--set protocol.overlap=true if that is what you want",
            )
        self._span("gap")

    def split(self, dataset: Dataset) -> list[Fold]:
        """Cut the log into folds, the earliest first; see `ProtocolPlugin.split`."""
        if not dataset.timed:
            raise DataError(
                f"{dataset.name} holds sequences without times: there is no calendar to roll {self.name!r} over",
                remedy="--protocol microlens-loo, which needs the order of events only and leaks the future; or a "
                "release of the data with timestamps",
            )
        log, identity = dataset.indexed_log, self.identity(dataset)
        borders = self._borders(log, cast(int, identity["validation_window"]))
        return [self._fold(log, index, at, dataset, identity) for index, at in enumerate(borders)]

    def validation_span(self, log: IndexedLog) -> int:
        """Resolve `validation_window` for a log, in milliseconds."""
        own = self._span("validation_window") or 0
        if self.validation_window != type(self).validation_window or self._leaves_enough(log, own):
            return own
        return self._longest_window(log) or own

    def _longest_window(self, log: IndexedLog) -> int | None:
        own = self._span("validation_window") or 0
        return validation_window.longest(lambda span: self._leaves_enough(log, span), own)

    def _leaves_enough(self, log: IndexedLog, span: int) -> bool:
        """Tell if a validation window leaves rows to fit on, and holds a target, in every fold."""
        try:
            borders = self._borders(log, span)
        except DataError:
            return False
        return all(
            len(self._fitted(log, at.validation_border))
            >= validation_window.MIN_SHARE * len(self._fitted(log, at.border))
            and len(self._rows(log, at.validation_border, at.validation_end).of("target"))
            for at in borders
        )

    def _borders(self, log: IndexedLog, validation_span: int) -> list[Borders]:
        return rolling_borders(
            log.time,
            window=self._span("window") or 0,
            stride=self._span("stride") or 0,
            folds=self.folds,
            validation_window=validation_span,
            gap=self._span("gap") or 0,
        )

    def _fitted(self, log: IndexedLog, border: int) -> np.ndarray:
        return fitted_rows(
            log, border, gap=self._span("gap") or 0, train_window=self._span("train_window"), k=self.k_core
        )

    def problem(self, dataset: Dataset, fold: Fold, stage: Stage) -> Problem:
        """Build one problem of a fold; see `ProtocolPlugin.problem`."""
        log = dataset.indexed_log
        border, end = fold.window(stage)
        return build_problem(
            log,
            fitted=fold.refit if stage == "test" else fold.fit,
            targets=self._rows(log, border, end).of_drawn_users(log, self.rank_users).of("target"),
            border=border,
            end=end,
            policy=self.policy(dataset),
            successive=self.targets == "successive",
        )

    def policy(self, dataset: Dataset) -> Candidates:
        """Resolve `candidates` for a dataset."""
        if self.candidates == "auto":
            return "released" if "release" in dataset.items else "warm"
        return cast(Candidates, self.candidates)

    def identity(self, dataset: Dataset) -> dict[str, object]:
        """Dataset content and all knobs, resolved; a preset and the same knobs set by hand are the same."""
        spans = ("window", "stride", "train_window", "gap")
        return {
            "dataset": dataset.fingerprint,
            "protocol": "rolling",
            "version": 1,
            **self.options(),
            **{name: self._span(name) for name in spans},
            "validation_window": self.validation_span(dataset.indexed_log),
            "candidates": self.policy(dataset),
        }

    def _span(self, name: str) -> int | None:
        text = getattr(self, name)
        if text is None or text.lower() == "none":
            return None
        return milliseconds(text, f"{self.name}.{name}")

    def _rows(self, log: IndexedLog, border: int, end: int) -> WindowRows:
        return window_rows(log, border, end, min_history=self.min_history, targets=self.targets)

    def _fold(self, log: IndexedLog, index: int, at: Borders, dataset: Dataset, identity: dict) -> Fold:
        fit, before = self._fitted(log, at.validation_border), self._fitted(log, at.border)
        refit = before if self.refit else fit
        validation, test = (
            self._rows(log, border, end).of_drawn_users(log, self.rank_users)
            for border, end in ((at.validation_border, at.validation_end), (at.border, at.end))
        )
        for stage, rows, fitted, border, end in (
            ("validation", validation, fit, at.validation_border, at.validation_end),
            ("test", test, refit, at.border, at.end),
        ):
            require_rows(log, f"fold {index}, {stage} window", rows, fitted, border, end, self.options())
        info = {
            "validation_border": utc(at.validation_border),
            "validation_end": utc(at.validation_end),
            "border": utc(at.border),
            "end": utc(at.end),
            **window_info(log, test, refit, at.border, at.end),
            "candidates": self.policy(dataset),
            "validation": window_info(log, validation, fit, at.validation_border, at.validation_end),
            "validation_window": validation_window.written(at.validation_end - at.validation_border),
            "fitted": fitted_info(log, fit),
            "refitted": fitted_info(log, refit),
            "knobs": {name: identity[name] for name in KNOBS if name in identity},
        }
        if note := release_note(log, at.border, self.policy(dataset) == "catalogue"):
            info["release_note"] = note
        asked, kept = self._span("validation_window") or 0, at.validation_end - at.validation_border
        remedy = self._longest_window(log) if len(fit) < validation_window.MIN_SHARE * len(before) else None
        if note := validation_window.note(kept, asked, len(fit), len(before), remedy):
            info["validation_note"] = note
        return Fold(
            index=index,
            validation_border=at.validation_border,
            validation_end=at.validation_end,
            border=at.border,
            end=at.end,
            fit=fit,
            refit=refit,
            info=info,
            fingerprint=digest({**identity, "index": index, "borders": list(at)}),
        )


@dataclass(frozen=True)
class Rolling7d(Rolling):
    """Rolling test windows of 7 days, 4 folds, fitted on everything before, validated on the 7 days before."""

    name: ClassVar[str] = "rolling-7d"


@dataclass(frozen=True)
class Daily7(Rolling):
    """Each of the last 7 days, fitted on everything before the day, validated on the day before.

    Ours: the exact windows of paper 1 (arXiv 2508.09789), which this stands in for, are not known to us.
    """

    name: ClassVar[str] = "daily-7"

    window: str = "1d"
    stride: str = "1d"
    folds: int = 7
    validation_window: str = "1d"


@dataclass(frozen=True)
class Sliding7d(Rolling):
    """Each of the last 7 days, fitted only on the 7 days before it, validated on the day before.

    Histories and the seen mask hold everything before the day, older events too.
    """

    name: ClassVar[str] = "sliding-7d"

    window: str = "1d"
    stride: str = "1d"
    folds: int = 7
    validation_window: str = "1d"
    train_window: str | None = "7d"
