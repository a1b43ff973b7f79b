"""Cells: rows of boards with all options resolved."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocols.hashing import digest


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
