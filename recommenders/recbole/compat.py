"""The one place where RecBole 1.2.1 is made to work with today's numpy, scipy and torch.

Everything of RecBole beyond its plain layers is reached through this module. Each patch stands with its reason and the
upstream report; each has a test. Nothing here imports `recbole.quick_start`, which needs a ray of 2023.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import recbole
import torch
import yaml
from scipy.sparse import dok_matrix

from protocols.errors import did_you_mean
from recommenders.recbole.catalogue import PACKAGES

# Names RecBole reads that numpy has removed, and what each of them was.
_NUMPY_ALIASES = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "float": float}


def patch_numpy() -> None:
    """Give back the aliases that RecBole reads.

    `Config.compatibility_settings` reads `np.float_`, `np.complex_` and `np.unicode_`, which numpy 2.0 removed, in
    order to restore `np.float` and others (removed in 1.24), which metrics, `Interaction` and `Dataset` still use.
    Upstream: https://github.com/RUCAIBox/RecBole/pull/2203 (numpy 2), issue 1604 (`np.float`).
    """
    for name, kind in _NUMPY_ALIASES.items():
        if not hasattr(np, name):
            setattr(np, name, kind)


def patch_scipy() -> None:
    """Give back `dok_matrix._update`, which LightGCN, NGCF, NCL, GCMC and SpectralCF fill their graph with.

    scipy 1.13 removed it. Upstream: https://github.com/RUCAIBox/RecBole/issues/2034.
    """

    def _update(self: Any, data: Mapping[tuple[int, int], float]) -> None:
        # numpy integers as keys, as RecBole makes them, are slow to look up but equal to plain ones
        self._dict.update({(int(i), int(j)): value for (i, j), value in data.items()})

    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = _update


def apply() -> None:
    """Apply the patches that hold for the whole process; doing it again changes nothing."""
    patch_numpy()
    patch_scipy()


def anomaly_off() -> None:
    """Turn autograd's anomaly detection off.

    Importing any sequential model of RecBole turns it on for the whole process (`sine.py`, line 25, at module level):
    a NaN test of every gradient, 1.5 times the training time of everything trained afterwards.
    """
    torch.autograd.set_detect_anomaly(False)


def model_class(name: str) -> type:
    """Import a sequential or general model of RecBole by its name.

    Raises
    ------
    UserError
        If there is no such model (did you mean ...).
    """
    apply()
    found: list[str] = []
    for package in PACKAGES:
        try:
            module = importlib.import_module(f"recbole.model.{package}")
        finally:
            anomaly_off()
        models = {n: c for n, c in vars(module).items() if isinstance(c, type)}
        if name in models:
            return models[name]
        found += models
    raise did_you_mean("RecBole model", name, found)


def default_options(name: str) -> dict[str, Any]:
    """Hyper-parameters that RecBole ships for a model (`properties/model/NAME.yaml`); empty where it ships none."""
    path = Path(recbole.__file__).parent / "properties" / "model" / f"{Path(name).name}.yaml"
    if not path.exists():
        return {}
    loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    # YAML 1.1 reads 1e-12 as text; RecBole's own loader has a pattern for it
    return {key: _number(value) if isinstance(value, str) else value for key, value in loaded.items()}


def _number(text: str) -> str | float:
    # "01" of DMF is a word
    return float(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", text) else text
