"""Cells: rows of boards with all options resolved; fingerprints of boards, and keys of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from protocols.hashing import digest

#: Version of the layout of records, part of every key.
SCHEMA: Literal[1] = 1


@dataclass(frozen=True)
class Cell:
    """Row of a board with all options resolved, without seed and fold."""

    dataset: str
    """Name of the dataset plug-in."""
    protocol: str
    """Name of the protocol plug-in."""
    model: str
    """Recommender, as typed: `sasrec`, `pop`."""
    extractor: str
    """Extractor, as typed: `captions`, `shuffled:captions`; `-` for models that use none."""
    fusion: str
    """`id`, `replace`, `gate` ... (`bench list fusions`); with layers `gate/softmax` and the like; `-`: no features."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """All options of the four plug-ins as resolved, by `dataset`, `protocol`, `extractor`, `model`."""

    @property
    def label(self) -> str:
        """Short name for people: `sasrec captions gate`."""
        return " ".join(part for part in (self.model, self.extractor, self.fusion) if part != "-")

    @property
    def id(self) -> str:
        """Hash of everything in it."""
        return digest(vars(self), 12)

    @property
    def folder(self) -> Path:
        """Folder of its records below the results folder; every part is safe as a folder name."""
        return safe_folder(self.dataset, self.protocol, f"{self.label}-{self.id}")


def safe_folder(*parts: str) -> Path:
    """Make a relative path of names from anywhere: no part leads out of a folder, or into a deeper one.

    Examples
    --------
    >>> safe_folder("csv", "..", "a/b").as_posix()
    'csv/__/a_b'
    """
    safe = ("".join(c if c.isalnum() or c in "._-" else "_" for c in part) for part in parts)
    return Path(*(part if part.strip(".") else part.replace(".", "_") or "_" for part in safe))


def board_fingerprint(dataset: str, protocol: str, options: Mapping[str, Any], folds: Iterable[str]) -> str:
    """Hash what the rows of a board must have in common.

    Parameters
    ----------
    dataset
        Fingerprint of its content.
    protocol, options
        Name and all knobs.
    folds
        Fingerprint of each fold, the earliest first.
    """
    return digest([dataset, protocol, dict(options), list(folds)])


def result_key(
    cell: str,
    code_version: int,
    seed: int,
    board: str,
    features: str | None,
    metrics_version: int,
    stage: Literal["search", "test"],
    fold: str,
) -> str:
    """Hash everything that decides the numbers of a result.

    Parameters
    ----------
    cell
        Id of the cell.
    code_version
        Of the model with its fusion.
    features
        Hash of the rows of its features; None for a model without.
    stage
        `test`: key of a record; `search`: of the choice of epochs before it.
    fold
        Fingerprint of the fold.
    """
    version = [metrics_version] if metrics_version > 1 else []  # keys of version 1 are older than their version
    return digest([SCHEMA, cell, code_version, seed, board, features, *version, stage, fold])


def imported_key(cell: str, seed: int, board: str, metrics_version: int, fold: str) -> str:
    """Hash what decides the numbers of imported lists, whose content the cell holds; parameters as `result_key`."""
    return digest([SCHEMA, cell, seed, board, metrics_version, fold])
