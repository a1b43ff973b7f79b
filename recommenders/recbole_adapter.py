"""From our training data to a RecBole model, without RecBole's files, Config or Dataset.

RecBole's integer ids are positions in `TrainingData.items` plus one; 0 is padding. A model is built for the warm items
only, so cold ones can be in no loss, no sampling and no initialisation. Times never reach RecBole, which would round
them to float32 (131 s steps) before sorting: it is handed ready sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from protocols.errors import BenchError
from protocols.problem import TrainingData

if TYPE_CHECKING:
    import torch
    from torch import nn

    from recommenders.item_encoder import ItemEncoder

# The field names of RecBole's `properties/overall.yaml` and `properties/dataset/sample.yaml`.
FIELDS: dict[str, Any] = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "timestamp",
    "LABEL_FIELD": "label",
    "NEG_PREFIX": "neg_",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
}


class ModelConfig(dict[str, Any]):
    """Options of a model; like RecBole's Config it answers None for what nobody set."""

    def __missing__(self, key: str) -> None:
        return None


class WarmDataset:
    """What model constructors ask of a RecBole dataset: how many ids a field has, padding included."""

    def __init__(self, data: TrainingData) -> None:
        self._counts = {FIELDS["USER_ID_FIELD"]: len(data.users) + 1, FIELDS["ITEM_ID_FIELD"]: data.n_warm + 1}
        self._data = data

    def num(self, field: str) -> int:
        """Count the ids of a field.

        Raises
        ------
        BenchError
            If the model wants a field that we do not hand out.
        """
        if field not in self._counts:
            raise BenchError(f"the RecBole model asks for field {field!r}; only user and item ids are handed to it")
        return self._counts[field]

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        """Fitted events as a sparse matrix [1 + users, 1 + warm items] of ones, each pair once."""
        from scipy.sparse import coo_matrix

        if value_field is not None:
            raise BenchError(f"the RecBole model asks for values of field {value_field!r}; events have none")
        pairs = np.unique(np.stack([self._data.user + 1, self._data.item + 1]), axis=1)
        shape = tuple(self._counts.values())
        return coo_matrix((np.ones(pairs.shape[1], np.float32), tuple(pairs)), shape=shape).asformat(form)


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
    config = ModelConfig({**FIELDS, **options, "MAX_ITEM_LIST_LENGTH": max_length, "device": device})
    return model(config, WarmDataset(data)).to(device)


def inject(model: nn.Module, encoder: ItemEncoder, attribute: str = "item_embedding") -> None:
    """Put the item encoder in the place of a model's item table.

    Every reference to the old table is replaced, not only the named one: GRU4RecCPR, for one, keeps a second reference
    for its output side. Call it after the constructor (whose `apply(_init_weights)` would initialise the encoder anew)
    and before making the optimizer.

    Raises
    ------
    BenchError
        If the model has no such table, or a parameter of the old one is still in the model.
    """
    from torch import nn

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
