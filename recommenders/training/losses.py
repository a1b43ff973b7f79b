"""Losses of a next item: over the whole warm catalogue, a sample of it, or the other targets of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Logits computed at once: 1 MB, which stays in a core's own cache between the product and the softmax.
_BLOCK = 262_144


class Ages(NamedTuple):
    """Term by age of every logit: constant over stretches of items in order of release, the oldest first.

    Attributes
    ----------
    values
        float32 [K]: the term of each age, oldest first.
    cuts
        int64 [T, K]: the first item of each age, for each row; the oldest begins at 0.
    """

    values: Tensor
    cuts: Tensor

    def at(self, items: Tensor) -> Tensor:
        """The terms of some items, [T, n], by their number in order of release; with a gradient."""
        return self.values[torch.searchsorted(self.cuts, items.contiguous(), right=True) - 1]

    def terms(self, width: int) -> Tensor:
        """The terms of the first items, [T, width]."""
        ends = torch.cat([self.cuts[:, 1:], self.cuts.new_full((len(self.cuts), 1), width)], dim=1)
        lengths = ends.clamp(max=width) - self.cuts.clamp(max=width)
        spread = self.values.detach().repeat(len(self.cuts))
        return torch.repeat_interleave(spread, lengths.flatten(), output_size=len(self.cuts) * width).view(-1, width)

    def gradient(self, logits: Tensor) -> Tensor:
        """Gradient of the values [K] from that of the logits [T, N]."""
        total = F.pad(logits.cumsum(dim=1), (1, 0))
        first = total.gather(1, self.cuts.clamp(max=logits.shape[1]))
        return (torch.cat([first[:, 1:], total[:, -1:]], dim=1) - first).sum(dim=0)


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy of `hidden @ table.T` with its gradients, made block by block while the logits are in cache.

    The gradient of softmax cross-entropy is known as soon as the probabilities are, so nothing of size [T, N] is ever
    kept and the exponentials are taken once. Rows come in ascending order of `released`: a block computes only as many
    columns as its last row may see, and masks only those in which its rows differ.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        values: Tensor | None,
        target: Tensor,
        released: Tensor,
        cuts: Tensor | None,
    ) -> Tensor:
        grads = Gradients(hidden, table, values)
        loss, counts = hidden.new_zeros(()), released.tolist()
        columns = torch.arange(len(table), device=table.device)
        at = 0
        while at < len(hidden):
            end = min(at + max(1, _BLOCK // counts[at]), len(hidden))
            least, most = counts[at], counts[end - 1]
            part, wanted, seen = hidden[at:end], target[at:end, None], table[:most]
            ages = None if values is None or cuts is None else Ages(values, cuts[at:end])
            logits = part @ seen.T if ages is None else torch.addmm(ages.terms(most), part, seen.T)
            if least < most:
                logits[:, least:].masked_fill_(columns[least:most] >= released[at:end, None], -torch.inf)
            loss += grads.add(logits, wanted, slice(at, end), seen, ages)
            at = end
        grads.save(ctx)
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _made_forward(ctx, grads[0], 3)


class _InBatchSoftmax(torch.autograd.Function):
    """The same for the items of a batch: a column has a bias, and what a sequence holds is masked in its rows."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        values: Tensor | None,
        column: Tensor,
        bias: Tensor,
        own_bias: Tensor,
        masked: Callable[[int, int], Tensor],
        cuts: Tensor | None,
    ) -> Tensor:
        grads = Gradients(hidden, table, values)
        loss, rows = hidden.new_zeros(()), max(1, _BLOCK // len(table))
        for at in range(0, len(hidden), rows):
            end = min(at + rows, len(hidden))
            part, wanted = hidden[at:end], column[at:end, None]
            logits = torch.addmm(bias, part, table.T)
            ages = None if values is None or cuts is None else Ages(values, cuts[at:end])
            if ages is not None:
                logits += ages.terms(len(table))
            logits.scatter_add_(1, wanted, own_bias[wanted])
            logits.masked_fill_(masked(at, end).scatter_(1, wanted, False), -torch.inf)
            loss += grads.add(logits, wanted, slice(at, end), table, ages)
        grads.save(ctx)
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _made_forward(ctx, grads[0], 5)


class Gradients:
    """Gradients of a summed cross-entropy by hidden vectors, table and values by age, added block by block."""

    def __init__(self, hidden: Tensor, table: Tensor, values: Tensor | None) -> None:
        self.inputs = hidden
        self.hidden, self.table = torch.empty_like(hidden), torch.zeros_like(table)
        self.values = None if values is None else torch.zeros_like(values)

    def add(self, logits: Tensor, wanted: Tensor, rows: slice, table: Tensor, ages: Ages | None) -> Tensor:
        """Add those of a block of logits [rows, columns] of the first rows of the table; its loss."""
        p = torch.softmax(logits, dim=1)
        # a probability below the smallest float would give an infinite loss and a perfectly good gradient
        loss = -p.gather(1, wanted).clamp_min(torch.finfo(p.dtype).tiny).log().sum()
        p.scatter_add_(1, wanted, p.new_full(wanted.shape, -1.0))
        torch.mm(p, table, out=self.hidden[rows])
        self.table[: len(table)].addmm_(p.T, self.inputs[rows])
        if ages is not None and self.values is not None:
            self.values += ages.gradient(p)
        return loss

    def save(self, ctx: Any) -> None:
        """Keep them for the backward pass."""
        ctx.save_for_backward(self.hidden, self.table, self.values)


def _made_forward(ctx: Any, grad: Tensor, others: int) -> tuple[Tensor | None, ...]:
    """Gradients that the forward pass has made, for a mean over rows, and None for so many other inputs."""
    made = ctx.saved_tensors
    factor = grad / len(made[0])
    return *(None if one is None else one * factor for one in made), *[None] * others


def full_softmax(
    hidden: Tensor, table: Tensor, target: Tensor, released: Tensor | None = None, ages: Ages | None = None
) -> Tensor:
    """Mean cross-entropy over all items of a table, or over those released at the time.

    Parameters
    ----------
    hidden
        [T, d]: one vector for each training target.
    table
        [N, d]: item vectors; hand over warm items only, in order of their release if `released` is given.
    target
        int64 [T]: rows of `table`.
    released
        int64 [T]: how many items were released when the target was taken; its softmax is over `table[:released]`, which
        holds the target. None: all items for every target.
    ages
        Terms that are added to the logits; None: none.

    Returns
    -------
    Tensor
        Scalar; equal to `F.cross_entropy(hidden @ table.T, target)` with the logits of later items at -inf.
    """
    if released is None:
        released = torch.full_like(target, len(table))
    order = torch.argsort(released)
    values, cuts = (None, None) if ages is None else (ages.values, ages.cuts[order])
    return _FullSoftmax.apply(hidden[order], table, values, target[order], released[order], cuts)


def sampled_softmax(
    hidden: Tensor, table: Tensor, target: Tensor, released: Tensor, negatives: int, ages: Ages | None = None
) -> Tensor:
    """Mean cross-entropy against items drawn anew for every step, uniformly from those that were released.

    All targets share the drawn items; one that was not released when a target was taken, or that is the target, does
    not count for it. The draw is uniform, so its logarithm cancels in the softmax and needs no correction.

    Parameters
    ----------
    hidden, table, target, released, ages
        As in `full_softmax`.
    negatives
        Items to draw, with replacement.
    """
    own, logits = _drawn_logits(hidden, table, target, released, negatives, ages)
    return -F.log_softmax(torch.cat([own[:, None], logits], dim=1), dim=1)[:, 0].mean()


def generalised_bce(
    hidden: Tensor,
    table: Tensor,
    target: Tensor,
    released: Tensor,
    negatives: int,
    calibration: float,
    ages: Ages | None = None,
) -> Tensor:
    """Mean binary cross-entropy of each target and drawn items, the positive part raised to the power of beta.

    Petrov and Macdonald, "gSASRec", RecSys 2023, equation 12: beta = a (t (1 - 1/a) + 1/a) with a the share of the
    other items that are drawn and t the `calibration`. Items are drawn and left out as in `sampled_softmax`.

    Parameters
    ----------
    hidden, table, target, released, negatives, ages
        As in `sampled_softmax`.
    calibration
        t, from 0 (plain binary cross-entropy) to 1.
    """
    own, logits = _drawn_logits(hidden, table, target, released, negatives, ages)
    share = min(1.0, negatives / max(1, len(table) - 1))
    beta = share * (calibration * (1 - 1 / share) + 1 / share)
    parts = beta * F.logsigmoid(own) + F.logsigmoid(-logits).sum(dim=1)
    return -parts.mean() / (1 + negatives)


def _drawn_logits(
    hidden: Tensor, table: Tensor, target: Tensor, released: Tensor, negatives: int, ages: Ages | None
) -> tuple[Tensor, Tensor]:
    """Logits of the targets [T] and of drawn items [T, negatives], -inf where one does not count."""
    drawn = (torch.rand(negatives, device=table.device) * released.max()).long()
    logits, own = hidden @ table[drawn].T, (hidden * table[target]).sum(dim=1)
    if ages is not None:
        logits, own = logits + ages.at(drawn.expand(len(hidden), -1)), own + ages.at(target[:, None])[:, 0]
    return own, logits.masked_fill((drawn >= released[:, None]) | (drawn == target[:, None]), -torch.inf)


def in_batch_softmax(
    hidden: Tensor,
    table: Tensor,
    target: Tensor,
    released: Tensor,
    sequence: Tensor,
    member: Any,
    log_popularity: Tensor | None,
    ages: Ages | None = None,
) -> Tensor:
    """Mean cross-entropy of each target against the other targets of the batch.

    As in the official code of MicroLens: every target slot of the batch is a column, what the same user has is no
    negative, and `log_popularity` is subtracted from the logits, because an item is a column as often as it is popular.
    Slots that hold one item are computed once, with the logarithm of their number added: the same loss, sooner.

    Parameters
    ----------
    hidden, table, target, released, ages
        As in `full_softmax`.
    sequence
        int64 [T]: the sequence that each target belongs to, a row of `member`.
    member
        Bool [B, N], or what gives its columns by `member[:, items]`: the items that each sequence holds.
    log_popularity
        [N]; None: no correction.
    """
    items, column, count = target.unique(return_inverse=True, return_counts=True)
    held, several = member[:, items], count.log()
    bias = several if log_popularity is None else several - log_popularity[items]

    def masked(start: int, end: int) -> Tensor:
        return held[sequence[start:end]] | (items >= released[start:end, None])

    values, cuts = (None, None) if ages is None else (ages.values, torch.searchsorted(items, ages.cuts))
    # the target itself is one column, however many slots hold it
    return _InBatchSoftmax.apply(hidden, table[items], values, column, bias, -several, masked, cuts)


def binary_cross_entropy(
    hidden: Tensor, table: Tensor, target: Tensor, released: Tensor, ages: Ages | None = None
) -> Tensor:
    """Mean binary cross-entropy of each target and one item drawn uniformly from those that were released.

    The loss of the SASRec paper. A draw that hits the target counts as it comes.

    Parameters
    ----------
    hidden, table, target, released, ages
        As in `full_softmax`.
    """
    drawn = (torch.rand(len(target), device=table.device) * released).long()
    positive, negative = ((hidden * table[items]).sum(dim=1) for items in (target, drawn))
    if ages is not None:
        positive, negative = (x + ages.at(i[:, None])[:, 0] for x, i in ((positive, target), (negative, drawn)))
    return -(F.logsigmoid(positive) + F.logsigmoid(-negative)).mean()
