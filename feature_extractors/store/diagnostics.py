"""Diagnostics of a feature space: degenerate vectors are found before a model is trained on them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from protocols.features import Features, FeatureSpace
from protocols.wording import counted

#: A space (or a layer) is called degenerate below this effective rank ...
MIN_RANK = 2.0
#: ... above this mean cosine between the vectors of two items ...
MAX_COSINE = 0.99
#: ... or when more than this share of its vectors repeat another one.
MAX_DUPLICATES = 0.5
#: Fewer items than this allow no verdict: the rank of n vectors is below n, whatever made them.
MIN_ITEMS = 10
#: Most items of a sample, drawn with `SEED`; fewer where so many do not fit into `SAMPLE_BYTES`.
SAMPLE, SAMPLE_BYTES, SEED = 10_000, 1 << 29, 0
#: Most items for the verdict that goes into every run record: a share of a second.
QUICK_SAMPLE, QUICK_BYTES = 2_000, 1 << 27


@dataclass(frozen=True)
class Diagnosis:
    """Statistics of [N, D] vectors.

    Attributes
    ----------
    part
        Layer and readout; "" for a space of single vectors.
    items, dim
        N and D.
    effective_rank
        Of the centred vectors, from 1 to min(N - 1, D); 0 when all are equal. See `effective_rank`.
    norm_mean, norm_sd, norm_min, norm_max
        Of the Euclidean norms.
    cosine
        Mean over all pairs of items, from vectors as they are (not centred); None for fewer than two that are not zero.
    duplicates
        Share of vectors that repeat an earlier one exactly.
    constant
        Number of dimensions with one value for all items.
    zeros
        Number of vectors that are all zero.
    """

    part: str
    items: int
    dim: int
    effective_rank: float
    norm_mean: float
    norm_sd: float
    norm_min: float
    norm_max: float
    cosine: float | None
    duplicates: float
    constant: int
    zeros: int

    @property
    def degenerate(self) -> str:
        """Reasons why the vectors hardly distinguish items; empty if they do, or below `MIN_ITEMS` items."""
        if self.items < MIN_ITEMS:
            return ""
        found = []
        if self.effective_rank < MIN_RANK:
            found.append(f"effective rank {self.effective_rank:.2f} < {MIN_RANK:g}")
        if self.cosine is not None and self.cosine > MAX_COSINE:
            found.append(f"mean cosine {self.cosine:.4f} > {MAX_COSINE:g}")
        if self.duplicates > MAX_DUPLICATES:
            found.append(f"{self.duplicates:.0%} duplicates > {MAX_DUPLICATES:.0%}")
        return ", ".join(found)

    def as_json(self) -> dict[str, Any]:
        """All numbers and the verdict."""
        return {**asdict(self), "degenerate": self.degenerate}


def effective_rank(values: np.ndarray) -> float:
    """Compute the effective rank: exp of the entropy of the singular values, taken as shares of their sum.

    Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007, definition 1.

    Parameters
    ----------
    values
        [N, D].

    Returns
    -------
    float
        From 1 (one direction) to min(N, D) (all singular values equal); 0 for a matrix of zeros.

    Examples
    --------
    >>> round(effective_rank(np.eye(4)), 6), effective_rank(np.zeros((3, 2)))
    (4.0, 0.0)
    """
    values = np.asarray(values, dtype=np.float64)
    gram = values @ values.T if len(values) < values.shape[1] else values.T @ values
    squares = np.linalg.eigvalsh(gram).clip(min=0)
    # below this, squares are rounding noise of the product
    singular = np.sqrt(np.where(squares > squares.max(initial=0) * len(gram) * np.finfo(np.float64).eps, squares, 0))
    if singular.sum() == 0:
        return 0.0
    shares = singular[singular > 0] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def diagnose(values: np.ndarray, part: str = "") -> Diagnosis:
    """Compute the statistics of [N, D] vectors, N at least 1; see `Diagnosis`."""
    items, dim = values.shape
    exact = np.ascontiguousarray(values + 0)  # -0 becomes 0: equal vectors have equal bytes
    wide = values.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1)
    lengths = np.where(norms > 0, norms, 1.0)
    count = int((norms > 0).sum())
    # the sum over all pairs is the squared length of the sum, less the n pairs of a vector with itself
    pairs = float(np.square((wide / lengths[:, None]).sum(axis=0)).sum()) - count
    same = bool((values == values[0]).all())
    return Diagnosis(
        part=part,
        items=items,
        dim=dim,
        effective_rank=0.0 if same else effective_rank(wide - wide.mean(axis=0)),
        norm_mean=float(norms.mean()),
        norm_sd=float(norms.std()),
        norm_min=float(norms.min()),
        norm_max=float(norms.max()),
        cosine=pairs / (count * (count - 1)) if count > 1 else None,
        duplicates=(items - len({row.tobytes() for row in exact})) / items,
        constant=int((values == values[0]).all(axis=0).sum()),
        zeros=items - count,
    )


def sample(count: int, row_bytes: int, most: int = SAMPLE, most_bytes: int = SAMPLE_BYTES) -> np.ndarray:
    """Draw the items of a sample: sorted positions out of `count`, always the same ones.

    Parameters
    ----------
    count
        Items there are.
    row_bytes
        Size of one item's feature.
    most, most_bytes
        Bounds of the sample; at least `MIN_ITEMS` are drawn.
    """
    size = min(count, most, max(MIN_ITEMS, most_bytes // max(1, row_bytes)))
    return np.sort(np.random.default_rng(SEED).permutation(count)[:size])


def diagnose_space(space: FeatureSpace, values: np.ndarray) -> list[Diagnosis]:
    """Diagnose every layer and readout of a space, or its single vectors.

    Parameters
    ----------
    space
        Its config may name the `readouts`.
    values
        [N, D] or [N, L, R, D] of items with status ok.

    Returns
    -------
    list of Diagnosis
        One for `vector`, L * R for `layers`, none for `text` or without items.
    """
    if space.kind == "text" or len(values) == 0:
        return []
    if space.kind == "vector":
        return [diagnose(values)]
    layers, readouts = values.shape[1:3]
    names = [str(name) for name in space.config.get("readouts", ())]
    if len(names) != readouts:
        names = [str(at) for at in range(readouts)]
    return [
        diagnose(values[:, layer, at], f"layer {layer} {name}")
        for layer in range(layers)
        for at, name in enumerate(names)
    ]


@lru_cache(maxsize=8)
def verdict(features: Features) -> str:
    """Return the reasons why a space hardly distinguishes items, from a sample of them; empty if it does."""
    ok = np.flatnonzero(features.ok)
    if features.space.kind == "text" or len(ok) == 0:
        return ""
    chosen = ok[sample(len(ok), features.values[:1].nbytes, QUICK_SAMPLE, QUICK_BYTES)]
    return summary(diagnose_space(features.space, features.values[chosen]))


def summary(found: list[Diagnosis]) -> str:
    """Join the verdicts on the parts of a space; empty if no part is degenerate."""
    bad = [one for one in found if one.degenerate]
    if not bad:
        return ""
    if not bad[0].part:
        return bad[0].degenerate
    named = "; ".join(f"{one.part}: {one.degenerate}" for one in bad[:3])
    return f"{len(bad)} of {counted(len(found), 'part')}: {named}" + ("; ..." if len(bad) > 3 else "")
