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
    kept and the exponentials are taken once.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, target: Tensor) -> Tensor:
        rows = max(1, _BLOCK // len(table))
        grad_hidden, grad_table = torch.empty_like(hidden), torch.zeros_like(table)
        loss = hidden.new_zeros(())
        for at in range(0, len(hidden), rows):
            part, wanted = hidden[at : at + rows], target[at : at + rows, None]
            p = torch.softmax(part @ table.T, dim=1)
            # a probability below the smallest float would give an infinite loss and a perfectly good gradient
            loss -= p.gather(1, wanted).clamp_min(torch.finfo(p.dtype).tiny).log().sum()
            p.scatter_add_(1, wanted, p.new_full(wanted.shape, -1.0))
            torch.mm(p, table, out=grad_hidden[at : at + rows])
            grad_table.addmm_(p.T, part)
        ctx.save_for_backward(grad_hidden, grad_table)
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_hidden, grad_table = ctx.saved_tensors
        factor = grads[0] / len(grad_hidden)
        return grad_hidden * factor, grad_table * factor, None


def full_softmax(hidden: Tensor, table: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over all items of a table.

    Parameters
    ----------
    hidden
        [T, d]: one vector for each training target.
    table
        [N, d]: item vectors; hand over warm items only.
    target
        int64 [T]: rows of `table`.

    Returns
    -------
    Tensor
        Scalar; equal to `F.cross_entropy(hidden @ table.T, target)`.
    """
    return _FullSoftmax.apply(hidden, table, target)
