"""Adapter from our training data to RecBole models, without RecBole's files, Config or Dataset.

RecBole's integer ids are positions in `TrainingData.items` plus one; 0 is padding. A model is built for the warm items
only, so cold ones can be in no loss, no sampling and no initialisation. Times never reach RecBole, which would round
them to float32 (131 s steps) before sorting: it is handed ready sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from protocols.errors import BenchError
from protocols.ranking_problem import TrainingData
from recommenders.recbole.dataset import FIELDS, WarmDataset


class ModelConfig(dict[str, Any]):
    """Options of a model; like RecBole's Config it answers None for what nobody set."""

    def __missing__(self, key: str) -> None:
        return None

    @property
    def device(self) -> str:
        """EASE asks for it as an attribute."""
        return self["device"]


def build(model: type, data: TrainingData, options: Mapping[str, Any], *, max_length: int, device: str) -> Any:
    """Construct a RecBole model for the warm items of `data`.

    Parameters
    ----------
    model
        A class derived from one of RecBole's abstract recommenders.
    options
        The model's hyper-parameters under RecBole's names.
    max_length
        Longest sequence it will be given.
    device
        Torch device.
    """
    return model(model_config(options, max_length, device), WarmDataset(data, max_length)).to(device)


def model_config(options: Mapping[str, Any], max_length: int, device: str) -> ModelConfig:
    """Make what RecBole's models take for its Config; see `build`."""
    return ModelConfig({**FIELDS, **options, "MAX_ITEM_LIST_LENGTH": max_length, "device": device})


def inject(model: nn.Module, encoder: nn.Module, attribute: str = "item_embedding") -> None:
    """Put the item encoder in the place of a model's item table.

    Every reference to the old table is replaced, not only the named one: GRU4RecCPR, for one, keeps a second reference
    for its output side. Call it after the constructor (whose `apply(_init_weights)` would initialise the encoder anew)
    and before making the optimizer.

    Raises
    ------
    BenchError
        If the model has no such table, or a parameter of the old one is still in the model.
    """
    old = getattr(model, attribute, None)
    if not isinstance(old, nn.Module) or not hasattr(old, "weight"):
        raise BenchError(f"{type(model).__name__} has no item table named {attribute!r} that features could feed")
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            if child is old:
                module._modules[name] = encoder
    left = {id(p) for p in old.parameters()} & {id(p) for p in model.parameters()}
    if left:
        raise BenchError(f"{type(model).__name__} keeps a second reference to the item table it was built with")


def check_optimizer(optimizer: torch.optim.Optimizer, encoder: nn.Module) -> None:
    """Assert that the optimizer trains every parameter of the encoder.

    An optimizer made before the injection would leave the projection as it was initialised, without an error.
    """
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    lost = [name for name, p in encoder.named_parameters() if p.requires_grad and id(p) not in held]
    if lost:
        raise BenchError(f"the optimizer does not hold {', '.join(lost)} of the item encoder: make it after injecting")
