"""Epoch snapshots: parameters after each epoch of a search for the number of epochs, for a refit to take.

Training is a function of data, options, seed and epoch alone; so the parameters after epoch 7 of a search that went on
to epoch 12 are those of a fit for 7 epochs. In a rolling split the search of one fold (validation window) fits exactly
what the fold before is refitted on for its test window: three of four refits of four folds need no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from protocols.atomic_write import write_atomically
from recommenders.training.checkpoint import read_state

# A search whose snapshots would be larger keeps none: training again is cheaper than filling a disk.
MAX_BYTES = 1 << 30


class EpochSnapshots:
    """One file an epoch; a file of another fit, or a damaged one, is ignored.

    Parameters
    ----------
    folder
        Of the files; None: nothing is written and nothing found.
    key
        Identity of the fit: data, features, options, seed.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self.folder, self.key = folder, key

    def load(self, epoch: float) -> tuple[list[Tensor], list[dict]] | None:
        """Return the parameters after so many epochs and the curve up to there, or None."""
        found = None if self.folder is None else read_state(self._path(epoch), self.key)
        return None if found is None else (found["parameters"], found["curve"])

    def save(self, epoch: float, parameters: Sequence[Tensor], curve: Sequence[dict], longest: int) -> None:
        """Write the parameters after so many epochs; a full disk is no error, snapshots only save time.

        Parameters
        ----------
        longest
            Snapshots that this fit may take.
        """
        if self.folder is None or longest * sum(p.nbytes for p in parameters) > MAX_BYTES:
            return
        content = {"key": self.key, "parameters": list(parameters), "curve": list(curve)}
        with suppress(OSError, RuntimeError):  # torch reports a full disk as a RuntimeError
            write_atomically(self._path(epoch), lambda part: torch.save(content, part))

    def _path(self, epoch: float) -> Path:
        assert self.folder is not None
        return self.folder / f"epoch-{epoch:g}.pt"
