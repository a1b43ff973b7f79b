"""Weights of a finished fit as safetensors, to score with again."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from protocols.atomic_write import write_atomically


class Weights:
    """One file; that of another fit, or a damaged one, is ignored.

    Parameters
    ----------
    path
        Of the file; None: nothing is written and nothing found.
    key
        Identity of the fit: data, features, options, seed and number of epochs.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self.path, self.key = path, key

    def load(self, model: nn.Module) -> tuple[list[Tensor], float, list[dict]] | None:
        """Return the trained parameters in the model's order, the epochs they took and the curve; or None."""
        if self.path is None:
            return None
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        try:
            with safe_open(self.path, framework="pt") as file:
                notes = file.metadata() or {}
                if notes.get("key") != self.key or set(file.keys()) != set(names):
                    return None
                found = [file.get_tensor(name) for name in names]
            return found, float(notes["epochs"]), json.loads(notes["curve"])
        except (OSError, SafetensorError, KeyError, ValueError):
            return None

    def save(self, model: nn.Module, epochs: float, curve: list[dict]) -> None:
        """Write the model's trained parameters; a full disk is no error, they can be trained again."""
        if self.path is None:
            return
        found = {
            name: parameter.detach().cpu().contiguous().clone()  # tied ones lie apart in the file
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        notes = {"key": self.key, "epochs": str(epochs), "curve": json.dumps(curve)}
        with suppress(OSError, SafetensorError):
            write_atomically(self.path, lambda part: save_file(found, part, notes))
