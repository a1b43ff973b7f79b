"""Network layers of the fusions: an item vector from an id vector and a content vector.

Their equations and sources stand in `recommenders.encoder.fusions.FUSIONS`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FusionLayer(nn.Module):
    """Item vector x [N, d] from the id vector e and the content vector v, [N, d / parts] each.

    A new one is a subclass here and its entry in `recommenders.encoder.fusions.FUSIONS`, which says whether e and v
    exist at all (one that does not is None) and what `parts` is.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        raise NotImplementedError

    def id_weight(self, e: Tensor, v: Tensor) -> Tensor | None:
        """Weight of e in an x = g * e + (1 - g) * v, [N, d]; None: x is made in another way."""
        return None


class IdOnly(FusionLayer):
    """The id vector."""

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return e


class Replace(FusionLayer):
    """The content vector."""

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return v


class Add(FusionLayer):
    """Sum of id vector and content vector."""

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return e + v


class Gate(FusionLayer):
    """Gate between id vector and content vector.

    W and b start at zero: both parts begin with the weight one half, whatever their size.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.gate = nn.Linear(2 * dim, dim)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return v + self.id_weight(e, v) * (e - v)

    def id_weight(self, e: Tensor, v: Tensor) -> Tensor:
        """Make g."""
        return torch.sigmoid(self.gate(torch.cat([e, v], dim=-1)))


class Concat(FusionLayer):
    """Id vector and content vector side by side."""

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return torch.cat([e, v], dim=-1)


class LateGate(FusionLayer):
    """Gate without a bias, the late fusion of NoteLLM-2.

    There z weighs the vector of the image, taken in once more behind the language model so that the text does not
    crowd it out, against the model's own embedding. Here v, what frozen features say, stands for the image, and the
    id vector e, what is trained, for the embedding. It is `gate` without the bias: z is one half where both vectors
    are zero. W starts at zero, a choice of ours.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.gate = nn.Linear(2 * dim, dim, bias=False)
        nn.init.zeros_(self.gate.weight)

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return e + self._content_weight(e, v) * (v - e)

    def _content_weight(self, e: Tensor, v: Tensor) -> Tensor:
        return torch.sigmoid(self.gate(torch.cat([v, e], dim=-1)))

    def id_weight(self, e: Tensor, v: Tensor) -> Tensor:
        """Make 1 - z."""
        return 1 - self._content_weight(e, v)


class SelfGate(FusionLayer):
    """Content vector gated by itself and added to the id vector, the self-gated fusion of CREMA.

    There f is made of auxiliary modalities and added to the tokens of the video; here the content vector is what is
    added, to the id vector. W has no bias: an item whose content is zero keeps its id vector as it is. For small f the
    gate is one half; W starts at twice the identity, a choice of ours, so that x starts at about e + v.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.gate = nn.Linear(dim, dim, bias=False)
        with torch.no_grad():
            self.gate.weight.copy_(2 * torch.eye(dim))

    def forward(self, e: Tensor, v: Tensor) -> Tensor:
        """Make x."""
        return e + nn.functional.silu(self.gate(v))
