"""From item ids and item features to item vectors: what stands in for a RecBole model's item table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protocols.errors import BenchError, UserError, did_you_mean
from protocols.features import ItemFeatures
from recommenders.base import FUSIONS


class Fusion(nn.Module):
    """How the id vector e and the content vector v make the item vector x [N, d]; e and v are [N, d / parts].

    Adding one is a subclass here and its name in `recommenders.base.FUSIONS`.

    Attributes
    ----------
    uses_ids, uses_content
        Whether e and v exist at all; the other one is None.
    parts
        Into how many pieces x is cut; each of e and v is one.
    """

    uses_ids = True
    uses_content = True
    parts = 1

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        raise NotImplementedError


class IdOnly(Fusion):
    """x = e."""

    uses_content = False

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return e


class Replace(Fusion):
    """x = v."""

    uses_ids = False

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return v


class Add(Fusion):
    """x = e + v."""

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return e + v


class Gate(Fusion):
    """x = g * e + (1 - g) * v with g = sigmoid(W [e; v] + b), the gate of DFF (arXiv 2512.21863).

    W and b start at zero: both parts begin with the weight one half, whatever their size.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.gate = nn.Linear(2 * dim, dim)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        g = torch.sigmoid(self.gate(torch.cat([e, v], dim=-1)))
        return v + g * (e - v)


class Concat(Fusion):
    """x = [e; v], each of half the width, as in VBPR (arXiv 1510.01784)."""

    parts = 2

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return torch.cat([e, v], dim=-1)


_FUSIONS: dict[str, type[Fusion]] = dict(zip(FUSIONS, (IdOnly, Replace, Add, Gate, Concat), strict=True))


class ItemEncoder(nn.Module):
    """Item vectors from ids and frozen features; callable on ids, `.weight` is the whole table.

    Ids are positions plus one; row 0 is padding and always zero. In training mode the table ends with the last warm
    item (cold ones must be in no loss); in evaluation mode it holds all items.

    The content vector is v = P z / sqrt(K), with z the standardised feature of K dimensions (see
    `protocols.features.ItemFeatures`). There is an id vector for each warm item; the id vector of a cold item is the
    mean of the trained ones, never initialisation noise.

    Both parts start with the same size: e ~ N(0, init_std^2) and P ~ N(0, init_std^2), which gives every coordinate of
    v the variance init_std^2 too, because the mean variance of a dimension of z is one. A step of Adam moves each
    weight by about the learning rate, hence v by up to sqrt(K) times as much as e. With a factor 1/K the two would be
    equally fast at the most; then ids have been learned, and early stopping ends the training, before content is. P
    has no bias: a constant added to all items changes no softmax and would leak into padding.

    Parameters
    ----------
    n_warm, n_items
        Warm items stand first.
    dim
        d.
    fusion
        One of `recommenders.base.FUSIONS`.
    features
        Of all items, kind `vector`; None for `id`.
    init_std
        Standard deviation of the coordinates of e and v at the start.
    id_dropout
        Share of warm items that are treated as cold ones in a training step (their id vector is the mean), so that
        the model learns what to make of content alone. Without content it does nothing.

    Raises
    ------
    UserError
        If the fusion is unknown, or needs features and there are none.
    """

    features: Tensor
    mean: Tensor
    transform: Tensor | None
    bias = None  # some models look for it beside the weight of an output table

    def __init__(
        self,
        n_warm: int,
        n_items: int,
        dim: int,
        fusion: str,
        features: ItemFeatures | None,
        init_std: float,
        id_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if fusion not in _FUSIONS:
            raise did_you_mean("fusion", fusion, FUSIONS)
        kind = _FUSIONS[fusion]
        if dim % kind.parts:
            raise UserError(f"fusion {fusion!r} gives ids and content half of the width each: {dim} is odd")
        width = dim // kind.parts
        self.n_warm, self.n_items, self.embedding_dim = n_warm, n_items, dim
        self.id_dropout = id_dropout if kind.uses_content else 0.0
        self._table: Tensor | None = None
        self._keep = False
        # the id table is drawn first, so that all fusions start from the same one
        self.ids = nn.Parameter(torch.randn(n_warm, width) * init_std) if kind.uses_ids else None
        self.projection: nn.Linear | None = None
        if kind.uses_content:
            values = _checked(features, n_items, fusion)
            assert features is not None
            # copies: whatever training did to them would otherwise happen to the caller's array too, unseen
            self.register_buffer("features", torch.tensor(values), persistent=False)
            self.register_buffer("mean", torch.tensor(features.mean, dtype=torch.float32), persistent=False)
            matrix = features.transform
            inputs = values.shape[1] if matrix is None else matrix.shape[1]
            self.scale = float(features.scale)
            self.register_buffer("transform", None if matrix is None else torch.tensor(matrix), persistent=False)
            self.projection = nn.Linear(inputs, width, bias=False)
            nn.init.normal_(self.projection.weight, std=init_std)
        self.fusion = kind(dim)

    @property
    def scores_cold(self) -> bool:
        """Whether anything is known of a cold item."""
        return self.projection is not None

    @property
    def weight(self) -> Tensor:
        """The table, [1 + n_warm, d] in training mode, else [1 + n_items, d]; row 0 is zero."""
        if self._table is not None:
            return self._table
        try:
            table = self._make()
        except AttributeError as error:  # nn.Module would report that there is no attribute `weight`
            raise RuntimeError(f"the item encoder is broken: {error}") from error
        if self._keep:
            self._table = table
        return table

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [..., d] of ids [...]."""
        return F.embedding(ids, self.weight)

    @contextmanager
    def shared_table(self) -> Iterator[None]:
        """Compute the table only once inside this context: for one training step, whose gradient then runs once too."""
        self._keep = True
        try:
            yield
        finally:
            self._keep, self._table = False, None

    def hold_table(self) -> None:
        """Keep the table from now until the next `train()`: for scoring with fixed parameters."""
        self._keep = True

    def train(self, mode: bool = True) -> ItemEncoder:
        """Switch between training and evaluation; forgets a table that was kept."""
        self._keep, self._table = False, None
        return super().train(mode)

    def _make(self) -> Tensor:
        known: Tensor | None = self.ids
        if known is not None and self.training and self.id_dropout:
            dropped = torch.rand(self.n_warm, 1, device=known.device) < self.id_dropout
            known = torch.where(dropped, known.mean(dim=0, keepdim=True), known)
        parts = [self._encode(slice(0, self.n_warm), known)]
        if not self.training and self.n_items > self.n_warm:
            # apart from the warm ones: their bits must not depend on how many cold items there are
            n_cold = self.n_items - self.n_warm
            ids = None if self.ids is None else self.ids.mean(dim=0, keepdim=True).expand(n_cold, -1)
            parts.append(self._encode(slice(self.n_warm, self.n_items), ids))
        return F.pad(parts[0] if len(parts) == 1 else torch.cat(parts), (0, 0, 1, 0))

    def _encode(self, rows: slice, ids: Tensor | None) -> Tensor:
        content = None
        if self.projection is not None:
            centred = self.features[rows].float() - self.mean
            weight = self.projection.weight / self.projection.in_features**0.5
            weight = weight / self.scale if self.transform is None else weight @ self.transform.T
            content = F.linear(centred, weight)
        return self.fusion(ids, content)

    def check_frozen(self, features: ItemFeatures | None) -> None:
        """Assert that the features are still the store's, byte for byte.

        Raises
        ------
        BenchError
            If training changed them.
        """
        if self.projection is None or features is None:
            return
        if self.features.cpu().numpy().tobytes() != np.ascontiguousarray(features.values).tobytes():
            raise BenchError(f"training changed the frozen features of {features.space_id}")


def _checked(features: ItemFeatures | None, n_items: int, fusion: str) -> np.ndarray:
    remedy = "choose --fusion id, or an extractor that makes features"
    if features is None:
        raise UserError(f"fusion {fusion!r} needs item features and was given none", remedy=remedy)
    if not features.present.any():
        raise UserError(f"fusion {fusion!r}: no item has a feature in {features.space_id}", remedy=remedy)
    values = features.values
    if values.ndim != 2 or not values.shape[1]:
        raise UserError(f"fusion {fusion!r} takes one vector an item; {features.space_id} has shape {values.shape}")
    if len(values) != n_items:
        raise BenchError(f"{features.space_id} has {len(values)} rows for {n_items} items: align it first")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise BenchError(f"{features.space_id}: the feature of item number {row} is not finite")
    return values
