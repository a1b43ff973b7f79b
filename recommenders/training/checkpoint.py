"""Checkpoint of a fit on disk: a killed one resumes to the same numbers."""

from __future__ import annotations

import io
import pickle
import time
from pathlib import Path
from typing import Any

import torch

from protocols.atomic_write import write_atomically
from protocols.errors import BenchError

# A checkpoint is at most this old when the process is killed (and at least one epoch).
SECONDS_BETWEEN = 2.0


def read_state(path: Path, key: str) -> dict[str, Any] | None:
    """Read a state of the fit with a key; None where there is no file, a damaged one, or that of another fit."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError):
        return None  # a damaged file costs the time to train again, nothing else
    return state if isinstance(state, dict) and state.get("key") == key else None


class Checkpoint:
    """One file, replaced atomically; ignored when it belongs to another fit.

    Parameters
    ----------
    folder
        Where it lies; None: nothing is kept.
    key
        Identity of the fit: data, features, options, seed.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self.path = None if folder is None else Path(folder) / "state.pt"
        self.key = key
        self._written = -SECONDS_BETWEEN

    def load(self) -> dict[str, Any] | None:
        """Return the state last saved by this very fit, or None."""
        return None if self.path is None else read_state(self.path, self.key)

    def remove(self) -> None:
        """Delete it: the fit is finished."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Write the state, unless one was written a moment ago.

        Parameters
        ----------
        state
            Tensors, numbers, strings, lists and dicts.

        Raises
        ------
        BenchError
            If the folder cannot be written.
        """
        if self.path is None or time.monotonic() - self._written < SECONDS_BETWEEN:
            return
        buffer = io.BytesIO()
        torch.save({**state, "key": self.key}, buffer)
        try:
            write_atomically(self.path, buffer.getbuffer())
        except OSError as error:
            raise BenchError(
                f"cannot write the training checkpoint {self.path}: {error.strerror or error}",
                remedy="free some space, or choose another cache folder with --cache",
            ) from error
        self._written = time.monotonic()
