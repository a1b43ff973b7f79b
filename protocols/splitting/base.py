"""Base class of protocols: splits of a log into folds, and of a fold into ranking problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from protocols.dataset import Dataset
from protocols.hashing import digest
from protocols.plugins import Plugin
from protocols.ranking_problem import Fold, Problem, Stage


@dataclass(frozen=True)
class ProtocolPlugin(Plugin):
    """Protocol that users can name: it splits a log into folds, and makes two ranking problems of a fold.

    Attributes
    ----------
    retrospective
        True when models see what was not known at the time; boards mark it.
    """

    retrospective: ClassVar[bool] = False

    def split(self, dataset: Dataset) -> list[Fold]:
        """Cut the log into folds, the earliest first.

        Raises
        ------
        DataError
            If the log cannot be split like this; the message names the numbers.
        """
        raise NotImplementedError

    def problem(self, dataset: Dataset, fold: Fold, stage: Stage) -> Problem:
        """Build the validation problem (for early stopping) or the test problem of a fold.

        Only rows before the stage's border, and the targets of its window, are read. A fold may be used with a
        dataset whose events at or after its border were changed (the black-box check does).
        """
        raise NotImplementedError

    def identity(self, dataset: Dataset) -> dict[str, object]:
        """Everything of data and protocol that makes two results comparable, resolved and JSON-able."""
        raise NotImplementedError

    def fingerprint(self, dataset: Dataset) -> str:
        """Hash of `identity`: rows rank together only if it is the same."""
        return digest(self.identity(dataset))
