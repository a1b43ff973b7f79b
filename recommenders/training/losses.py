"""Losses of a next item: over the whole warm catalogue, a sample of it, or the other targets of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Logits computed at once: 1 MB, which stays in a core's own cache between the product and the softmax.
_BLOCK = 262_144


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy of `hidden @ table.T` with its gradients, made block by block while the logits are in cache.

    The gradient of softmax cross-entropy is known as soon as the probabilities are, so nothing of size [T, N] is ever
    kept and the exponentials are taken once. Rows come in ascending order of `released`: a block computes only as many
    columns as its last row may see, and masks only those in which its rows differ.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, target: Tensor, released: Tensor) -> Tensor:
        grad_hidden, grad_table = torch.empty_like(hidden), torch.zeros_like(table)
        loss, counts = hidden.new_zeros(()), released.tolist()
        columns = torch.arange(len(table), device=table.device)
        at = 0
        while at < len(hidden):
            end = min(at + max(1, _BLOCK // counts[at]), len(hidden))
            least, most = counts[at], counts[end - 1]
            part, wanted, seen = hidden[at:end], target[at:end, None], table[:most]
            logits = part @ seen.T
            if least < most:
                logits[:, least:].masked_fill_(columns[least:most] >= released[at:end, None], -torch.inf)
            loss += _descent(logits, wanted, part, seen, grad_hidden[at:end], grad_table[:most])
            at = end
        ctx.save_for_backward(grad_hidden, grad_table)
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _made_forward(ctx, grads[0], 2)


class _InBatchSoftmax(torch.autograd.Function):
    """The same for the items of a batch: a column has a bias, and what a sequence holds is masked in its rows."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        column: Tensor,
        bias: Tensor,
        own_bias: Tensor,
        masked: Callable[[int, int], Tensor],
    ) -> Tensor:
        grad_hidden, grad_table = torch.empty_like(hidden), torch.zeros_like(table)
        loss, rows = hidden.new_zeros(()), max(1, _BLOCK // len(table))
        for at in range(0, len(hidden), rows):
            end = min(at + rows, len(hidden))
            part, wanted = hidden[at:end], column[at:end, None]
            logits = torch.addmm(bias, part, table.T)
            logits.scatter_add_(1, wanted, own_bias[wanted])
            logits.masked_fill_(masked(at, end).scatter_(1, wanted, False), -torch.inf)
            loss += _descent(logits, wanted, part, table, grad_hidden[at:end], grad_table)
        ctx.save_for_backward(grad_hidden, grad_table)
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _made_forward(ctx, grads[0], 4)


def _descent(
    logits: Tensor, wanted: Tensor, hidden: Tensor, table: Tensor, grad_hidden: Tensor, grad_table: Tensor
) -> Tensor:
    """Summed cross-entropy of a block of logits; its gradients are set for `hidden` and added for `table`."""
    p = torch.softmax(logits, dim=1)
    # a probability below the smallest float would give an infinite loss and a perfectly good gradient
    loss = -p.gather(1, wanted).clamp_min(torch.finfo(p.dtype).tiny).log().sum()
    p.scatter_add_(1, wanted, p.new_full(wanted.shape, -1.0))
    torch.mm(p, table, out=grad_hidden)
    grad_table.addmm_(p.T, hidden)
    return loss


def _made_forward(ctx: Any, grad: Tensor, others: int) -> tuple[Tensor | None, ...]:
    """Gradients that the forward pass has made, for a mean over rows, and None for so many other inputs."""
    grad_hidden, grad_table = ctx.saved_tensors
    factor = grad / len(grad_hidden)
    return grad_hidden * factor, grad_table * factor, *[None] * others


def full_softmax(hidden: Tensor, table: Tensor, target: Tensor, released: Tensor | None = None) -> Tensor:
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

    Returns
    -------
    Tensor
        Scalar; equal to `F.cross_entropy(hidden @ table.T, target)` with the logits of later items at -inf.
    """
    if released is None:
        return _FullSoftmax.apply(hidden, table, target, torch.full_like(target, len(table)))
    order = torch.argsort(released)
    return _FullSoftmax.apply(hidden[order], table, target[order], released[order])


def sampled_softmax(hidden: Tensor, table: Tensor, target: Tensor, released: Tensor, negatives: int) -> Tensor:
    """Mean cross-entropy against items drawn anew for every step, uniformly from those that were released.

    All targets share the drawn items; one that was not released when a target was taken, or that is the target, does
    not count for it. The draw is uniform, so its logarithm cancels in the softmax and needs no correction.

    Parameters
    ----------
    hidden, table, target, released
        As in `full_softmax`.
    negatives
        Items to draw, with replacement.
    """
    drawn = (torch.rand(negatives, device=table.device) * released.max()).long()
    logits = hidden @ table[drawn].T
    logits = logits.masked_fill((drawn >= released[:, None]) | (drawn == target[:, None]), -torch.inf)
    own = (hidden * table[target]).sum(dim=1, keepdim=True)
    return -F.log_softmax(torch.cat([own, logits], dim=1), dim=1)[:, 0].mean()


def in_batch_softmax(
    hidden: Tensor,
    table: Tensor,
    target: Tensor,
    released: Tensor,
    sequence: Tensor,
    member: Tensor,
    log_popularity: Tensor | None,
) -> Tensor:
    """Mean cross-entropy of each target against the other targets of the batch.

    As in the official code of MicroLens: every target slot of the batch is a column, what the same user has is no
    negative, and `log_popularity` is subtracted from the logits, because an item is a column as often as it is popular.
    Slots that hold one item are computed once, with the logarithm of their number added: the same loss, sooner.

    Parameters
    ----------
    hidden, table, target, released
        As in `full_softmax`.
    sequence
        int64 [T]: the sequence that each target belongs to, a row of `member`.
    member
        Bool [B, N]: which items each sequence holds.
    log_popularity
        [N]; None: no correction.
    """
    items, column, count = target.unique(return_inverse=True, return_counts=True)
    held, several = member[:, items], count.log()
    bias = several if log_popularity is None else several - log_popularity[items]

    def masked(start: int, end: int) -> Tensor:
        return held[sequence[start:end]] | (items >= released[start:end, None])

    # the target itself is one column, however many slots hold it
    return _InBatchSoftmax.apply(hidden, table[items], column, bias, -several, masked)


def binary_cross_entropy(hidden: Tensor, table: Tensor, target: Tensor, released: Tensor) -> Tensor:
    """Mean binary cross-entropy of each target and one item drawn uniformly from those that were released.

    The loss of the SASRec paper. A draw that hits the target counts as it comes.

    Parameters
    ----------
    hidden, table, target, released
        As in `full_softmax`.
    """
    drawn = (torch.rand(len(target), device=table.device) * released).long()
    positive, negative = ((hidden * table[items]).sum(dim=1) for items in (target, drawn))
    return -(F.logsigmoid(positive) + F.logsigmoid(-negative)).mean()
