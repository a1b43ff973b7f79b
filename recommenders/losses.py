"""Losses over the whole warm catalogue."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Logits computed at once: 1 MB, which stays in a core's own cache between the product and the softmax.
_BLOCK = 262_144


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy of `hidden @ table.T` with its gradients, made block by block while the logits are in cache.

    The gradient of softmax cross-entropy is known as soon as the probabilities are, so nothing of size [T, N] is ever
    kept and the exponentials are taken once. Rows come in ascending order of `out`: a block computes only as many
    columns as its last row may see, and masks only those in which its rows differ.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, target: Tensor, out: Tensor) -> Tensor:
        grad_hidden, grad_table = torch.empty_like(hidden), torch.zeros_like(table)
        loss, counts = hidden.new_zeros(()), out.tolist()
        columns = torch.arange(len(table), device=table.device)
        at = 0
        while at < len(hidden):
            end = min(at + max(1, _BLOCK // counts[at]), len(hidden))
            least, most = counts[at], counts[end - 1]
            part, wanted, seen = hidden[at:end], target[at:end, None], table[:most]
            logits = part @ seen.T
            if least < most:
                logits[:, least:].masked_fill_(columns[least:most] >= out[at:end, None], -torch.inf)
            p = torch.softmax(logits, dim=1)
            # a probability below the smallest float would give an infinite loss and a perfectly good gradient
            loss -= p.gather(1, wanted).clamp_min(torch.finfo(p.dtype).tiny).log().sum()
            p.scatter_add_(1, wanted, p.new_full(wanted.shape, -1.0))
            torch.mm(p, seen, out=grad_hidden[at:end])
            grad_table[:most].addmm_(p.T, part)
            at = end
        ctx.save_for_backward(grad_hidden, grad_table)
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_table = ctx.saved_tensors
        factor = grads[0] / len(grad_hidden)
        return grad_hidden * factor, grad_table * factor, None, None


def full_softmax(hidden: Tensor, table: Tensor, target: Tensor, out: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over all items of a table, or over those that were out at the time.

    Parameters
    ----------
    hidden
        [T, d]: one vector for each training target.
    table
        [N, d]: item vectors; hand over warm items only, in order of their release if `out` is given.
    target
        int64 [T]: rows of `table`.
    out
        int64 [T]: how many items were out when the target was taken; its softmax is over `table[:out]`, which holds
        the target. None: all items for every target.

    Returns
    -------
    Tensor
        Scalar; equal to `F.cross_entropy(hidden @ table.T, target)` with the logits of later items at -inf.
    """
    if out is None:
        return _FullSoftmax.apply(hidden, table, target, torch.full_like(target, len(table)))
    order = torch.argsort(out)
    return _FullSoftmax.apply(hidden[order], table, target[order], out[order])
