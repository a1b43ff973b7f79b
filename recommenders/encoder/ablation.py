"""Ablation and permutation of the inputs of a trained item encoder, gate values and layer weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from protocols.errors import UserError
from recommenders.encoder.item_encoder import ItemEncoder

Part = Literal["ids", "content"]
Method = Literal["zero", "shuffle", "mean"]
PARTS: tuple[Part, ...] = ("ids", "content")
METHODS: tuple[Method, ...] = ("zero", "shuffle", "mean")


def parts(encoder: ItemEncoder) -> list[Part]:
    """List the inputs of an encoder: `ids`, `content`, both or one of them."""
    there = {"ids": encoder.ids is not None, "content": encoder.content is not None}
    return [part for part in PARTS if there[part]]


@contextmanager
def ablated(encoder: ItemEncoder, part: Part, how: Method, seed: int = 0) -> Iterator[None]:
    """Replace one input of the fusion while the block runs; parameters stay as they were trained.

    Id vectors e and content vectors v are replaced where they enter the fusion: by zeros; by the mean of the warm
    items'; or by those of another item (a derangement among warm items, and one among cold items, so that neither
    kind gets vectors typical of the other). Scores are those of `FitResult.rescore`, called inside the block.

    Parameters
    ----------
    part, how
        The input, and what replaces it.
    seed
        Of the derangements.

    Raises
    ------
    UserError
        If the encoder has no such input.
    """
    if part not in parts(encoder):
        raise UserError(f"this model has no {part} to ablate")
    own = encoder.fusion
    encoder.fusion = _Ablated(own, part, how, seed)  # type: ignore[assignment]  # it stands in for one
    encoder.train(encoder.training)  # forgets the table
    try:
        yield
    finally:
        encoder.fusion = own
        encoder.train(encoder.training)


class _Ablated(nn.Module):
    """A fusion with one input replaced; called with the warm items first, see `ItemEncoder`."""

    def __init__(self, own: nn.Module, part: Part, how: Method, seed: int) -> None:
        super().__init__()
        self.own, self.part, self.how = own, part, how
        self._generator = torch.Generator().manual_seed(seed)
        self._mean: Tensor | None = None

    def forward(self, e: Tensor | None, v: Tensor | None) -> Tensor:
        return self.own(self._other(e), v) if self.part == "ids" else self.own(e, self._other(v))

    def _other(self, values: Tensor | None) -> Tensor:
        assert values is not None
        if self.how == "zero":
            return torch.zeros_like(values)
        if self.how == "mean":
            if self._mean is None:
                self._mean = values.mean(dim=0, keepdim=True)
            return self._mean.expand_as(values)
        cycle = torch.randperm(len(values), generator=self._generator).to(values.device)
        other = torch.empty_like(values)
        other[cycle] = values[cycle.roll(1)]  # one cycle through all rows has no fixed point
        return other


@torch.no_grad()
def gate_values(encoder: ItemEncoder) -> Tensor | None:
    """Weight g of the id vector in the gate, mean over dimensions (and layers), [n_items]; None without a gate.

    An item whose g is 1 is its id vector alone, one whose g is 0 its content alone.
    """
    found: list[Tensor | None] = []
    handle = encoder.fusion.register_forward_hook(
        lambda fusion, vectors, made: found.append(fusion.id_weight(*vectors))
    )
    try:
        encoder.train(False)
        _ = encoder.weight
    finally:
        handle.remove()
    weights = [one.flatten(1).mean(dim=1) for one in found if one is not None]
    return torch.cat(weights) if weights else None


@torch.no_grad()
def item_weights(encoder: ItemEncoder) -> Tensor | None:
    """Weights of the layers for each item, [n_items, L]; None where items have none of their own."""
    if encoder.content is None:
        return None
    return encoder.content.item_weights(slice(0, encoder.n_items))
