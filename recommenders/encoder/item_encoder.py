"""Item encoder: item vectors from ids and features, in place of a RecBole model's item table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protocols.errors import BenchError, UserError
from protocols.features import ItemFeatures, as_bytes
from recommenders.encoder import fusion_layers
from recommenders.encoder.content import content
from recommenders.encoder.fusions import FUSIONS, Fusion
from recommenders.encoder.projection import Content, ContentOptions

#: Items whose vectors are made at once from large features.
PIECE = 512


class ItemEncoder(nn.Module):
    """Item vectors from ids and frozen features; callable on ids, `.weight` is the whole table.

    Ids are positions plus one; row 0 is padding and always zero. In training mode the table ends with the last warm
    item (cold ones must be in no loss); in evaluation mode it holds all items.

    There is an id vector e ~ N(0, init_std^2) for each warm item; the id vector of a cold item is the mean of the
    trained ones, never initialisation noise. Content vectors start with the same size, or at zero, see `FusionKind`.

    Parameters
    ----------
    n_warm, n_items
        Warm items stand first.
    dim
        d.
    fusion
        As `recommenders.encoder.fusions.Fusion.parse` reads it.
    features
        Of all items; None for `id`.
    init_std
        Standard deviation of the coordinates of e and v at the start.
    id_dropout
        Share of warm items that are treated as cold ones in a training step (their id vector is the mean), so that
        the model learns what to make of content alone. Without content it does nothing.
    options
        Of the content part.

    Raises
    ------
    UserError
        If the fusion is unknown, or needs features and there are none.
    """

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
        options: ContentOptions | None = None,
    ) -> None:
        super().__init__()
        wanted = Fusion.parse(fusion)
        kind = FUSIONS[wanted.kind]
        if dim % kind.parts:
            raise UserError(f"fusion {fusion!r} gives ids and content half of the width each: {dim} is odd")
        width = dim // kind.parts
        self.n_warm, self.n_items, self.embedding_dim = n_warm, n_items, dim
        self.id_dropout = id_dropout if kind.uses_content else 0.0
        #: Whether something is known of a cold item: its content, or its age (see `TrainedModel.built`).
        self.scores_cold = kind.uses_content
        #: Leave cold items out in evaluation mode too: for models that have no place for them.
        self.warm_only = False
        self._table: Tensor | None = None
        self._keep = False
        self._dropped: Tensor | None = None
        self._precomputed: tuple[Tensor, Tensor] | None = None
        # the id table is drawn first, so that all fusions start from the same one
        self.ids = nn.Parameter(torch.randn(n_warm, width) * init_std) if kind.uses_ids else None
        self.content: Content | None = None
        if kind.uses_content:
            chosen = replace(options or ContentOptions(), from_zero=kind.from_ids)
            self.content = content(features, n_warm, n_items, width, wanted, init_std, chosen, dim)
        self.fusion: fusion_layers.FusionLayer = getattr(fusion_layers, kind.layer)(dim)
        #: Whether the layers of an item are kept apart, to be weighed by user.
        self.user_layers = wanted.layers == "moe-user"
        #: Whether a training step makes vectors of the items that it asks for alone, because features are large.
        self.by_rows = self.content is not None and self.content.large

    @property
    def weight(self) -> Tensor:
        """The table, [1 + n_warm, d] in training mode, else [1 + n_items, d]; row 0 is zero.

        Of an item whose layers are kept apart (`moe-user`): the mean over layers, which is what a history is made of.
        """
        table = self._whole
        return table if table.ndim == 2 else table.mean(dim=1)

    def item_vectors(self) -> Tensor:
        """`scoring_table` without padding; only the warm items where nothing is known of others."""
        table = self.scoring_table[1:]
        return table if self.scores_cold else table[: self.n_warm]

    def scoring_vectors(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Return user vectors and an item table whose products are the scores.

        Parameters
        ----------
        users
            [..., d].

        Returns
        -------
        tuple
            `users` and `weight`; with `moe-user` [..., L d] and [rows, L d]: w_l(u) u for each layer, and its vectors.
        """
        return self.scoring_users(users), self.scoring_table

    @property
    def scoring_table(self) -> Tensor:
        """Item vectors for products with `scoring_users`: `weight`; with `moe-user` all layers side by side."""
        return self._whole.flatten(1)

    def scoring_users(self, users: Tensor) -> Tensor:
        """Return user vectors [..., d] for products with `scoring_table`; with `moe-user` [..., L d]."""
        if not self.user_layers:
            return users
        assert self.content is not None
        weighed = self.content.user_weights(users)[..., None] * users[..., None, :]
        return weighed.flatten(-2)

    @property
    def _whole(self) -> Tensor:
        if self._table is not None:
            return self._table
        if self.by_rows and self.training:
            raise BenchError(
                "the features are too large to make vectors of all items at every training step, as this model wants",
                remedy="choose a loss over some items (in-batch, in-batch-plain, sampled, bce), or fewer layers",
            )
        try:
            table = self._make()
        except AttributeError as error:  # nn.Module would report that there is no attribute `weight`
            raise RuntimeError(f"the item encoder is broken: {error}") from error
        if self._keep:
            self._table = table
        return table

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [..., d] of ids [...]."""
        if self.by_rows and self.training:
            made = self.rows(ids)
            return made if made.ndim == ids.ndim + 1 else made.mean(dim=-2)
        return F.embedding(ids, self.weight)

    def rows(self, ids: Tensor) -> Tensor:
        """Vectors of the warm items among ids [...] made one by one, [..., d]; with `moe-user` [..., L, d]."""
        if self._precomputed is not None:
            at = torch.searchsorted(self._precomputed[0], ids).clamp(max=len(self._precomputed[0]) - 1)
            if torch.equal(self._precomputed[0][at], ids):
                return self._precomputed[1][at]
        unique, inverse = torch.unique(ids, return_inverse=True)
        return self._vectors(unique)[inverse]

    def precompute(self, ids: Tensor) -> None:
        """Make the vectors of all items that a training step needs in one go; for large features."""
        if self.by_rows and self._keep:
            unique = torch.unique(ids)
            self._precomputed = unique, self._vectors(unique)

    def _vectors(self, unique: Tensor) -> Tensor:
        at = (unique - 1).clamp(min=0)
        known: Tensor | None = self.ids
        if known is not None:
            known = known[at]
            if (dropped := self._dropout_mask()) is not None:
                assert self.ids is not None
                known = torch.where(dropped[at], self.ids.mean(dim=0, keepdim=True), known)
        made = self._encode(at, known)
        return made * (unique > 0).view(-1, *(1,) * (made.ndim - 1))

    def _dropout_mask(self) -> Tensor | None:
        """Warm items that are treated as cold ones, bool [n_warm, 1]: one draw a training step; None: none are."""
        if not self.training or not self.id_dropout:
            return None
        if self._dropped is not None:
            return self._dropped
        device = None if self.ids is None else self.ids.device
        drawn = torch.rand(self.n_warm, 1, device=device) < self.id_dropout
        if self._keep:
            self._dropped = drawn
        return drawn

    @contextmanager
    def shared_table(self) -> Iterator[None]:
        """Compute the table only once inside this context: for one training step, whose gradient then runs once too."""
        self._keep = True
        try:
            yield
        finally:
            self._keep, self._table, self._dropped, self._precomputed = False, None, None, None

    def hold_table(self) -> None:
        """Keep the table from now until the next `train()`: for scoring with fixed parameters."""
        self._keep = True

    def train(self, mode: bool = True) -> ItemEncoder:
        """Switch between training and evaluation; forgets a table that was kept."""
        self._keep, self._table = False, None
        return super().train(mode)

    def _make(self) -> Tensor:
        known: Tensor | None = self.ids
        if known is not None and (dropped := self._dropout_mask()) is not None:
            known = torch.where(dropped, known.mean(dim=0, keepdim=True), known)
        parts = self._pieces(0, self.n_warm, known)
        if not self.training and self.n_items > self.n_warm and not self.warm_only:
            # apart from the warm ones: their bits must not depend on how many cold items there are
            n_cold = self.n_items - self.n_warm
            ids = None if self.ids is None else self.ids.mean(dim=0, keepdim=True).expand(n_cold, -1)
            parts += self._pieces(self.n_warm, self.n_items, ids)
        table = parts[0] if len(parts) == 1 else torch.cat(parts)
        return F.pad(table, (*(0, 0) * (table.ndim - 1), 1, 0))

    def _pieces(self, first: int, last: int, ids: Tensor | None) -> list[Tensor]:
        step = PIECE if self.by_rows else max(1, last - first)
        return [
            self._encode(slice(at, min(at + step, last)), None if ids is None else ids[at - first : at - first + step])
            for at in range(first, last, step)
        ]

    def _encode(self, rows: slice | Tensor, ids: Tensor | None) -> Tensor:
        content = None if self.content is None else self.content(rows)
        if content is not None and content.ndim == 3 and ids is not None:
            ids = ids[:, None].expand(-1, content.shape[1], -1)
        return self.fusion(ids, content)

    def penalty(self) -> Tensor | None:
        """Term that a training step adds to the loss; None: nothing."""
        return None if self.content is None else self.content.penalty()

    def layer_weights(self) -> list[float]:
        """Mean weight of each layer of the features among warm items (or users); empty without layers."""
        if self.content is None:
            return []
        step, found = PIECE if self.by_rows else self.n_warm, []
        with torch.no_grad():
            for at in range(0, self.n_warm, step):
                rows = slice(at, min(at + step, self.n_warm))
                self.content(rows)  # with `moe-user`, the mean is over the users seen last
                found.append([(rows.stop - at) * weight for weight in self.content.layer_weights()])
        return [sum(column) / self.n_warm for column in zip(*found, strict=True)]

    def check_frozen(self, features: ItemFeatures | None) -> None:
        """Assert that the features are still the store's, byte for byte.

        Raises
        ------
        BenchError
            If training changed them.
        """
        if self.content is None or features is None:
            return
        mine = self.content.features.cpu().numpy()
        if as_bytes(mine) != as_bytes(features.values):
            raise BenchError(f"training changed the frozen features of {features.space_id}")
