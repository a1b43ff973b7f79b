"""Mix-in of networks trained on whole sequences: a loss at every position, and fast dropout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from recbole.utils import InputType
from torch import Tensor, nn

from recommenders.training import losses
from recommenders.training.age import AgeTerm


class FastDropout(nn.Module):
    """Dropout that draws one random byte an element instead of one random float.

    On CPU torch's own dropout costs several times the matrix product that it follows. The rate is rounded to a 256th.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped = min(round(rate * 256), 255)

    def forward(self, x: Tensor) -> Tensor:
        """Zero a random share of x and scale up the rest, in training mode."""
        if not self.training or not self.dropped:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * kept * (256 / (256 - self.dropped))


class WholeSequence:
    """Mix-in before a sequential model of RecBole: its state at every position predicts the next item.

    Sequences are padded on the right, so a network that looks back only needs no mask. A subclass has an
    `item_embedding`, calls `use(config)` when it is made, and says what its states are.

    Options beside RecBole's own: `release_order`, the ids of the warm items in order of release (int64 [n_items - 1]),
    and `releases`, when each of them was released; `log_popularity` of the warm items ([n_items - 1], by id) for the
    in-batch loss, or None; `loss` and `loss_negatives`, see `SequenceModel`; `calibration` of `gbce`, see `ESASRec`.

    Attributes
    ----------
    age
        The term of a score by the age of the item; None: there is none.
    """

    input_type = InputType.POINTWISE
    TIME = "time"
    age: AgeTerm | None
    ITEM_SEQ: str
    ITEM_SEQ_LEN: str
    ITEM_ID: str
    POS_ITEM_ID: str
    item_embedding: Any
    release_order: Tensor
    release_rank: Tensor
    releases: Tensor
    log_popularity: Tensor | None

    def use(self, config: Mapping[str, Any]) -> None:
        """Take over the options of the loss."""
        self.loss, self.loss_negatives = config["loss"], config["loss_negatives"]
        self.calibration = config["calibration"]
        order, popularity = torch.as_tensor(config["release_order"]), config["log_popularity"]
        buffers = {
            "release_order": order,
            "releases": torch.as_tensor(config["releases"]),
            "release_rank": torch.argsort(F.pad(order, (1, 0))) - 1,
            "log_popularity": None if popularity is None else torch.as_tensor(popularity)[order - 1],
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)  # type: ignore[attr-defined]  # of nn.Module

    def states(self, item_seq: Tensor) -> Tensor:
        """Hidden states [B, L, d]: the one at a position is made of the items up to it; padding's mean nothing."""
        raise NotImplementedError

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """User vectors [B, d]: the state of the last item."""
        return self.states(item_seq)[torch.arange(len(item_seq), device=item_seq.device), item_seq_len - 1]

    def calculate_loss(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """Mean loss of the next item over all positions that have one.

        `interaction[POS_ITEM_ID]` holds the next items [B, L], 0 where there is none; `interaction[TIME]`, of the same
        shape, when each was taken.
        """
        inputs, wanted = interaction[self.ITEM_SEQ], interaction[self.POS_ITEM_ID]
        if self.loss != "softmax":
            self.item_embedding.precompute(torch.cat([inputs.flatten(), wanted.flatten()]))
        return self.objective(self.states(inputs), wanted, interaction)

    def objective(self, states: Tensor, wanted: Tensor, interaction: Mapping[str, Tensor]) -> Tensor:
        """Mean loss over the positions of states [B, L, d] at which an item is wanted, int64 [B, L], 0 for none."""
        target, time = wanted.flatten(), interaction[self.TIME].flatten()
        hidden, valid = states.flatten(0, 1), target.nonzero().squeeze(1)
        if len(valid) < len(target):
            hidden, target, time = hidden[valid], target[valid], time[valid]
        # products with thousands of items and their softmax stay in float32, whatever the network computes in
        with torch.autocast(hidden.device.type, enabled=False):
            return self._loss(hidden.float(), target, time, valid, interaction)

    def _loss(
        self, hidden: Tensor, target: Tensor, time: Tensor, valid: Tensor, interaction: Mapping[str, Tensor]
    ) -> Tensor:
        encoder, rank = self.item_embedding, self.release_rank[target]
        released = torch.searchsorted(self.releases, time, right=True)
        ages = None if self.age is None else losses.Ages(self.age.values.flip(0), self.age.cuts(self.releases, time))
        hidden = encoder.scoring_users(hidden)
        if encoder.by_rows and self.loss != "softmax":
            table: Any = Rows(encoder, self.release_order)
        else:
            table = encoder.scoring_table[self.release_order]
        if self.loss == "softmax":
            return losses.full_softmax(hidden, table, rank, released, ages)
        if self.loss == "sampled":
            return losses.sampled_softmax(hidden, table, rank, released, self.loss_negatives, ages)
        if self.loss == "gbce":
            drawn = self.loss_negatives
            return losses.generalised_bce(hidden, table, rank, released, drawn, self.calibration, ages)
        if self.loss == "bce":
            return losses.binary_cross_entropy(hidden, table, rank, released, ages)
        member = self.members(interaction)
        sequence = valid // interaction[self.POS_ITEM_ID].shape[1]
        return losses.in_batch_softmax(hidden, table, rank, released, sequence, member, self.log_popularity, ages)

    def members(self, interaction: Mapping[str, Tensor]) -> Members:
        """The items that each sequence of a batch holds, last item included, in the order of release."""
        items = torch.cat([interaction[self.ITEM_SEQ], interaction[self.POS_ITEM_ID]], dim=1)
        return Members(self.release_rank[items])

    def predict(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """Scores [B] of one item for each user."""
        user = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return (user * self.item_embedding(interaction[self.ITEM_ID])).sum(dim=1)

    def full_sort_predict(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """Scores [B, 1 + items] of all items for each user."""
        user = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        vectors, table = self.item_embedding.scoring_vectors(user)
        return vectors @ table.T


class Members:
    """Bool [B, N]: the items that each sequence holds; columns are made when they are asked for.

    Parameters
    ----------
    ranks
        int64 [B, L]: items by their number in order of release; -1 for none.
    """

    def __init__(self, ranks: Tensor) -> None:
        self.ranks = ranks

    def __getitem__(self, at: tuple[slice, Tensor]) -> Tensor:
        """Columns of some items, ascending: `members[:, items]`."""
        items = at[1]
        place = torch.searchsorted(items, self.ranks).clamp(max=len(items) - 1)
        column = torch.where(items[place] == self.ranks, place + 1, 0)
        found = torch.zeros(len(self.ranks), 1 + len(items), dtype=torch.bool, device=items.device)
        return found.scatter_(1, column, True)[:, 1:]


class Rows:
    """Item vectors in the order of their release, each made when it is asked for."""

    def __init__(self, encoder: Any, order: Tensor) -> None:
        self.encoder, self.order, self.device = encoder, order, order.device

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, ranks: Tensor) -> Tensor:
        found = self.encoder.rows(self.order[ranks])
        return found.flatten(ranks.ndim)
