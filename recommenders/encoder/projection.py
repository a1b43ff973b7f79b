"""Content vectors by a linear projection of frozen features, and the base class of all content modules."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

import protocols.features
from protocols.features import ItemFeatures


@dataclass(frozen=True)
class ContentOptions:
    """Options of a model about content.

    Attributes
    ----------
    activation
        `none`: content is linear in the features; `relu`: with a bias and cut off at zero, as DFF has it.
    whiten
        Of `softmax` and `uniform`: all directions of the mean of the layers weigh the same.
    temperature, top, balance
        Of `moe` and `moe-user`: of the softmax over layers; how many are kept (0: all); weight of the term that pulls
        the layers' mean weights together.
    from_zero
        Content vectors start at zero instead of the size of id vectors; not those that are cut off at zero, which
        would never leave it.
    """

    activation: str = "none"
    whiten: bool = False
    temperature: float = 1.0
    top: int = 0
    balance: float = 0.0
    from_zero: bool = False


class Content(nn.Module):
    """Content vectors v [N, d] of rows of the features; the features are no parameters.

    Attributes
    ----------
    features
        As in the store, [M, ...].
    """

    features: Tensor
    mean: Tensor

    def __init__(self, features: ItemFeatures) -> None:
        super().__init__()
        #: Whether there is too much of them to make vectors of all items at every training step.
        self.large = features.values.nbytes > protocols.features.LARGE
        # copies: whatever training did to them would otherwise happen to the caller's array too, unseen; what is
        # large is shared, and only read
        held = torch.from_numpy(features.values) if self.large else torch.tensor(features.values)
        self.register_buffer("features", held, persistent=False)
        self.register_buffer("mean", torch.tensor(features.mean, dtype=torch.float32), persistent=False)

    def forward(self, rows: slice | Tensor) -> Tensor:
        """Vectors of some items."""
        raise NotImplementedError

    def layer_weights(self) -> list[float]:
        """Mean weight of each layer; empty for features of one vector."""
        return []

    def user_weights(self, users: Tensor) -> Tensor:
        """Weights of the layers for user vectors [..., d], of a content that keeps its layers apart: [..., L]."""
        raise NotImplementedError

    def item_weights(self, rows: slice) -> Tensor | None:
        """Weights of the layers for each of some items, [N, L]; None where items have none of their own."""
        return None

    def penalty(self) -> Tensor | None:
        """Term that a training step adds to the loss, for the table it has made last; None: nothing."""
        return None


def projection(inputs: int, dim: int, init_std: float, options: ContentOptions) -> nn.Linear:
    """Make P at N(0, init_std^2), or zero; without a bias, but for content that is cut off at zero."""
    cut = options.activation == "relu"
    made = nn.Linear(inputs, dim, bias=cut)
    nn.init.normal_(made.weight, std=0.0 if options.from_zero and not cut else init_std)
    if cut:
        nn.init.zeros_(made.bias)
    return made


def projected(made: nn.Linear, centred: Tensor, transform: Tensor | None, scale: float = 1.0) -> Tensor:
    """P z / sqrt(K) for features that are centred and not yet divided, see `ItemFeatures`; with a bias cut off at 0."""
    weight = made.weight / made.in_features**0.5
    if transform is None:
        weight = weight / scale
    else:
        weight = weight @ transform.T if transform.ndim == 2 else weight * transform
    content = nn.functional.linear(centred, weight, made.bias)
    return content if made.bias is None else content.relu()


class VectorContent(Content):
    """v = P z / sqrt(K), with z the standardised feature of K dimensions (see `protocols.features.ItemFeatures`).

    P starts at N(0, init_std^2) (or at zero, see `ContentOptions`), which gives every coordinate of v the variance
    init_std^2 too, because the mean variance of a dimension of z is one. A step of Adam moves each weight by about the
    learning rate, hence v by up to sqrt(K) times as much as an id vector: beside ids, its learning rate is a fraction
    of theirs (`content_lr` of the models). P has no bias (unless it is cut off): a constant added to all items changes
    no softmax and would leak into padding.
    """

    transform: Tensor | None

    def __init__(self, features: ItemFeatures, dim: int, init_std: float, options: ContentOptions) -> None:
        super().__init__(features)
        matrix = features.transform
        self.scale = float(features.scale)
        self.register_buffer("transform", None if matrix is None else torch.tensor(matrix), persistent=False)
        self.projection = projection(features.width, dim, init_std, options)

    def forward(self, rows: slice | Tensor) -> Tensor:
        """Vectors of some items."""
        centred = self.features[rows].float() - self.mean
        return projected(self.projection, centred, self.transform, self.scale)
