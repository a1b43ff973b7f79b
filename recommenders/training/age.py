"""Learned term of a score by the age of the item at the event ("example age").

Covington, Adams and Sargin, "Deep Neural Networks for YouTube Recommendations", RecSys 2016, give a model the age of a
training example, because what is new is wanted more than its count says. Here the score of an item is what the model
makes of user and item, plus a step function of the item's age; both are learned together.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from protocols.ranking_problem import TrainingData

_HOUR = 3_600_000
#: Ages at which the term may change, milliseconds: hours at first, then days and months.
EDGES = np.array([3, 6, 12, 24, 48, 72, 120, 168, 240, 336, 504, 672, 1008, 1344, 2016, 4032, 8064]) * _HOUR
#: Moments of a window, evenly spaced, whose mean stands for it.
MOMENTS = 56


def log_rates(data: TrainingData) -> np.ndarray:
    """Logarithm of the events an item gets in an hour at each age, relative to all ages.

    Returns
    -------
    np.ndarray
        float32 [len(EDGES) + 1], youngest first. Half an event at the mean rate is added to each age, so that one at
        which nothing could be seen has 0.
    """
    n, start = data.n_warm, int(data.timestamp.min(initial=data.border))
    events = np.bincount(_bin(data.timestamp - data.release[data.item]), minlength=len(EDGES) + 1).astype(np.float64)
    release = data.release[:n].astype(np.float64)
    youngest, oldest = np.maximum(start - release, 0), np.maximum(data.border - release, 0)
    passed = [(oldest.clip(max=edge) - youngest.clip(max=edge)).sum() for edge in (*EDGES, np.inf)]
    exposure = np.diff(passed, prepend=0.0) / _HOUR
    mean = events.sum() / max(exposure.sum(), 1.0)
    return np.log((events + 0.5) / (exposure * mean + 0.5)).astype(np.float32)


def _bin(age: np.ndarray) -> np.ndarray:
    return np.searchsorted(EDGES, age, side="right")


def _shares(data: TrainingData) -> np.ndarray:
    """Share of the window that is ranked which each item spends at each age, float64 [M, len(EDGES) + 1]."""
    step = (data.end - data.border) / MOMENTS
    moments = data.border + (np.arange(MOMENTS) + 0.5) * step
    release = np.minimum(data.release, moments[-1])
    shares = np.zeros((len(release), len(EDGES) + 1))
    for moment in moments:
        there = np.flatnonzero(moment >= release)
        shares[there, _bin((moment - release[there]).astype(np.int64))] += 1 / MOMENTS
    return shares


class AgeTerm(nn.Module):
    """Step function of an item's age; starts at the logarithm of the rates that the fitted rows show.

    Parameters
    ----------
    data
        What may be learned from; `data.dated` must be true.
    """

    edges: Tensor

    def __init__(self, data: TrainingData) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.from_numpy(log_rates(data)))
        self.register_buffer("edges", torch.from_numpy(EDGES), persistent=False)
        self.shares = _shares(data)

    def forward(self, age: Tensor) -> Tensor:
        """The term of ages (int64, milliseconds), of their shape."""
        return self.values[torch.bucketize(age, self.edges, right=True)]

    def cuts(self, releases: Tensor, time: Tensor) -> Tensor:
        """Cut items in order of release into ages, oldest first, for each of some moments.

        Parameters
        ----------
        releases
            int64 [N], ascending, milliseconds UTC.
        time
            int64 [T], milliseconds UTC.

        Returns
        -------
        Tensor
            int64 [T, len(EDGES) + 1]: the first item of each age; the oldest begins at 0.
        """
        younger = torch.searchsorted(releases, time[:, None] - self.edges.flip(0), right=True)
        return torch.nn.functional.pad(younger, (1, 0))

    @torch.no_grad()
    def window(self) -> Tensor:
        """The term of each item of the problem for the whole window that is ranked, float32 [M].

        It is the logarithm of the mean over the window of exp(term), 0 before the release: an item that is released
        on the last day can be taken on that day only. One that is released later has what an item of the last moment
        has.
        """
        rates = np.exp(self.values.detach().cpu().numpy().astype(np.float64))
        return torch.from_numpy(np.log(self.shares @ rates).astype(np.float32)).to(self.values.device)
