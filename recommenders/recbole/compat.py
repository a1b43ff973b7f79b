"""The one place where RecBole 1.2.1 is made to work with today's numpy, scipy and torch.

Everything of RecBole beyond its plain layers is reached through this module. Each patch stands with its reason and the
upstream report; each has a test. Nothing here imports `recbole.quick_start`, which needs a ray of 2023.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from protocols.errors import UserError, did_you_mean

# Names RecBole reads that numpy has removed, and what each of them was.
_NUMPY_ALIASES = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "float": float}

_MODEL_PACKAGES = ("sequential_recommender", "general_recommender")


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
    from scipy.sparse import dok_matrix

    def _update(self: Any, data: Mapping[tuple[int, int], float]) -> None:
        # numpy integers as keys, as RecBole makes them, are slow to look up but equal to plain ones
        self._dict.update({(int(i), int(j)): value for (i, j), value in data.items()})

    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = _update


@contextmanager
def trusted_checkpoints(folder: Path) -> Iterator[None]:
    """Let `torch.load` unpickle files below `folder`, for RecBole's Trainer, which pickles its Config.

    torch 2.6 made `weights_only=True` the default, with which these files do not load. Only for files that the same
    run has written; any other file is still read with `weights_only=True`.
    Upstream: https://github.com/RUCAIBox/RecBole/issues/2212.
    """
    import torch

    original, trusted = torch.load, Path(folder).resolve()

    def load(file: Any, *args: Any, **options: Any) -> Any:
        inside = isinstance(file, (str, Path)) and Path(file).resolve().is_relative_to(trusted)
        options.setdefault("weights_only", not inside)
        return original(file, *args, **options)

    torch.load = load  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.load = original


def apply() -> None:
    """Apply the patches that hold for the whole process; doing it again changes nothing."""
    patch_numpy()
    patch_scipy()


def anomaly_off() -> None:
    """Turn autograd's anomaly detection off.

    Importing any sequential model of RecBole turns it on for the whole process (`sine.py`, line 25, at module level):
    a NaN test of every gradient, 1.5 times the training time of everything trained afterwards.
    """
    import torch

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
    for package in _MODEL_PACKAGES:
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
    import recbole
    import yaml

    path = Path(recbole.__file__).parent / "properties" / "model" / f"{Path(name).name}.yaml"
    if not path.exists():
        return {}
    loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    # YAML 1.1 reads 1e-12 as text; RecBole's own loader has a pattern for it
    return {key: _number(value) if isinstance(value, str) else value for key, value in loaded.items()}


def _number(text: str) -> str | float:
    # "01" of DMF is a word
    return float(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", text) else text


def patch_config() -> None:
    """Keep RecBole's `Config` to the options it is given.

    As it comes it parses `sys.argv` (our command line would be taken for its own), calls `eval` on every option that is
    text, and sets `CUDA_VISIBLE_DEVICES` for the whole process. No upstream report: all three are meant that way.
    """
    from recbole.config import Config

    if Config._load_cmd_line is _no_command_line:
        return
    choose_device = Config._init_device

    def _init_device(self: Any) -> None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        choose_device(self)
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible

    Config._load_cmd_line = _no_command_line
    Config._load_variable_config_dict = _options_as_they_are
    Config._init_device = _init_device


def _no_command_line(self: Any) -> dict[str, Any]:
    return {}


def _options_as_they_are(self: Any, options: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(options or {})


def config(model: str | type, dataset: str, options: Mapping[str, Any]) -> Any:
    """Make a RecBole `Config` from options alone, for stock baselines under RecBole's own Trainer.

    Raises
    ------
    UserError
        If RecBole does not accept the options.
    """
    apply()
    patch_config()
    from recbole.config import Config

    try:
        return Config(model=model, dataset=dataset, config_dict=dict(options))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"RecBole does not accept the options of {model}: {error}") from error
    finally:
        anomaly_off()


def trainer_class() -> type:
    """RecBole's `Trainer`, without its habit of writing `log_tensorboard/` into the current folder.

    Give it a Config with `checkpoint_dir`; it creates that folder and writes there only.
    """
    apply()
    from recbole.trainer import trainer

    trainer.get_tensorboard = partial(_NoBoard)
    return trainer.Trainer


class _NoBoard:
    """Takes what a tensorboard writer takes and keeps nothing."""

    def __init__(self, logger: Any) -> None:
        del logger

    def add_scalar(self, *args: Any, **options: Any) -> None:
        """Ignore a value."""

    def add_hparams(self, *args: Any, **options: Any) -> None:
        """Ignore hyper-parameters."""
