"""Feature contract between extractors and recommenders.

An extractor delivers `Features`: item ids, an array, a status per item and their provenance. A recommender
receives `ItemFeatures`: the same rows aligned to the items of one fold, with the missing ones filled in and the
statistics that standardise them, all learned from training items only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from protocols.errors import UserError, did_you_mean
from protocols.hashing import digest

if TYPE_CHECKING:
    from protocols.resource_usage import Usage

Kind = Literal["vector", "layers", "text"]
Standardisation = Literal["scale", "whiten", "z-score", "l2", "none"]
STATUSES = ("ok", "missing", "undecodable", "empty", "error")


@dataclass(frozen=True)
class FeatureSpace:
    """Named, versioned, content-addressed set of item features.

    Attributes
    ----------
    extractor
        Extractor and stage that made it, e.g. `captions.text`.
    version
        Code version of that stage; bumped when its behaviour changes.
    kind
        `vector` float32 [D], `layers` float16 [L, R, D] (see `protocols.layer_scaling`) or `text` str.
    config
        Everything else that decides the content: checkpoint bytes, pinned revision, prompt, frame policy, dtype,
        `parents`, the ids of the spaces it was made from, and for `layers` the names of the `readouts`.
    provenance
        Facts for the reader that decide nothing: licence, paper, checkpoint name.
    """

    extractor: str
    version: int
    kind: Kind
    config: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`extractor-vVERSION-HASH`: safe as a folder name."""
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in self.extractor)
        return f"{safe}-v{self.version}-{digest(dict(self.config), 12)}"

    @property
    def readouts(self) -> tuple[str, ...]:
        """Names of the R readouts of kind `layers`, in the order of the axis; empty for other kinds."""
        return tuple(self.config.get("readouts", ()))


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a list of items, as extracted.

    Attributes
    ----------
    space
        Feature space that they belong to.
    item_ids
        Raw ids, [N].
    values
        float32 [N, D], float16 [N, L, R, D], or object [N] of str. Rows whose status is not `ok` hold zeros or "".
    status
        [N] of `ok | missing | undecodable | empty | error`.
    reason
        [N] of str; "" where ok, unless there is something to know (packets that did not decode).
    seconds
        float32 [N]; extraction seconds per item, as recorded when it was made.
    scales
        float32 [L] for kind `layers`: a state is value * scale; 1 where float16 holds the layer as it is. None else.
    usage
        What each stage of their chain has taken so far, by id of its feature space; None where nobody measured it.
    """

    space: FeatureSpace
    item_ids: Sequence[str]
    values: np.ndarray
    status: np.ndarray
    reason: np.ndarray
    seconds: np.ndarray
    scales: np.ndarray | None = None
    usage: Mapping[str, Usage | None] = field(default_factory=dict)

    @property
    def ok(self) -> np.ndarray:
        """Bool [N]: rows that hold a real feature."""
        return self.status == "ok"

    @property
    def digest(self) -> str:
        """Hash of the rows themselves: ids, status and values. Two runs with equal digests used equal features."""
        content = hashlib.sha256("\0".join((self.space.id, *self.item_ids)).encode())
        content.update("\0".join(self.status.astype(str)).encode())
        content.update("\0".join(self.values).encode() if self.values.dtype == object else as_bytes(self.values))
        content.update(b"" if self.scales is None else self.scales.tobytes())
        return content.hexdigest()[:16]

    def readout(self, layer: int, name: str) -> np.ndarray:
        """States of one layer and readout of kind `layers`, float32 [N, D], their scale undone.

        Raises
        ------
        UserError
            If the space has no such layer or readout.
        """
        known = self.space.readouts
        if name not in known:
            raise did_you_mean(f"readout of {self.space.extractor}", name, known)
        if not len(self.item_ids):
            return np.zeros((0, 0), np.float32)
        count = self.values.shape[1]
        if not -count <= layer < count:
            raise UserError(f"{self.space.id} has layers 0 to {count - 1}, no layer {layer}")
        scale = 1.0 if self.scales is None else float(self.scales[layer])
        return self.values[:, layer, known.index(name)].astype(np.float32) * scale

    def layer(self, layer: int, name: str) -> Features:
        """One layer and readout of kind `layers` as vectors.

        Raises
        ------
        UserError
            As `readout`.
        """
        config = {**self.space.config, "parents": [self.space.id], "layer": layer, "readout": name}
        space = replace(self.space, kind="vector", config=config)
        return replace(self, space=space, values=self.readout(layer, name), scales=None)

    def select_readout(self, name: str) -> Features:
        """One readout of every layer, of kind `layers`; no copy."""
        at = self.space.readouts.index(name)
        config = {**self.space.config, "parents": [self.space.id], "readouts": [name]}
        return replace(self, space=replace(self.space, config=config), values=self.values[:, :, at : at + 1])

    def align(self, items: Sequence[str], training: np.ndarray) -> ItemFeatures:
        """Reorder to the items of one fold, fill gaps and fit the standardisation.

        Parameters
        ----------
        items
            Raw ids of the fold's items, [M].
        training
            Bool [M]: items with an event in the rows the model is fitted on. Only these decide the mean that stands
            in for absent features and the standardisation.

        Returns
        -------
        ItemFeatures
        """
        row = {item: i for i, item in enumerate(self.item_ids) if self.status[i] == "ok"}
        at = np.array([row.get(item, -1) for item in items], dtype=np.int64)
        present = at >= 0
        values = np.zeros((len(items), *self.values.shape[1:]), dtype=self.values.dtype)
        values[present] = self.values[at[present]]
        mean, spread = _statistics(values, present & training)
        scale = float(np.sqrt(np.mean(np.square(spread))))
        values[~present] = mean.astype(values.dtype)
        each = None
        if self.space.kind == "layers":
            each = np.sqrt(np.square(spread, dtype=np.float64).mean(axis=(1, 2))).astype(np.float32)
            each = np.where(each > 0, each, np.float32(1.0))
        return ItemFeatures(
            self.space.id,
            values,
            present,
            mean,
            scale if scale > 0 else 1.0,
            scales=self.scales,
            layer_scale=each,
            readouts=self.space.readouts,
        )


def join_notes(*notes: str) -> str:
    """Join remarks on an item, each once, in the order of the stages that made them.

    Examples
    --------
    >>> join_notes("digital silence; cut", "", "cut; damaged")
    'digital silence; cut; damaged'
    """
    return "; ".join(dict.fromkeys(part for note in notes for part in note.split("; ") if part))


#: Features beyond this size (bytes) are processed slice by slice, and never copied as a whole.
LARGE = 1 << 30


def as_bytes(array: np.ndarray) -> memoryview:
    """View the bytes of an array in C order; copies only an array in another order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Scale rows [N, D] to length one; zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, np.float32(1.0))


def row_slices(array: np.ndarray, size: int = 64 << 20) -> list[slice]:
    """Cut the rows of an array into slices of about `size` bytes."""
    step = max(1, size // max(1, array[:1].nbytes))
    return [slice(at, min(at + step, len(array))) for at in range(0, len(array), step)]


def _statistics(values: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the chosen rows (bool [M]), float32; zeros and ones if no row is chosen."""
    shape, count = values.shape[1:], int(chosen.sum())
    if not count:
        return np.zeros(shape, np.float32), np.ones(shape, np.float32)
    if values.nbytes <= LARGE:
        known = values[chosen].astype(np.float32)
        return known.mean(axis=0), deviation(known)
    total, square = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
    for part in row_slices(values):
        total += values[part][chosen[part]].sum(axis=0, dtype=np.float64)
    mean = total / count
    for part in row_slices(values):
        square += np.square(values[part][chosen[part]] - mean).sum(axis=0)
    return mean.astype(np.float32), np.sqrt(square / count).astype(np.float32)


def deviation(rows: np.ndarray) -> np.ndarray:
    """Compute the standard deviation of each column, without the rounding where all rows are equal."""
    return rows.std(axis=0) * (np.ptp(rows, axis=0) > 0)


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """Features aligned to the items of one fold, the input of a recommender.

    A recommender standardises as `(values - mean) @ transform` where there is one, else as `(values - mean) / scale`:
    centred per dimension, one scale for all of them, so that the geometry of the space stays as the extractor made it.
    See `standardised` for the other ways.

    Attributes
    ----------
    space_id
        Id of the feature space, or of the control made from it.
    values
        float32 [M, D] or float16 [M, L, R, D]; the store's bytes, except for absent items (mean of training items).
    present
        Bool [M]: False where the value is that mean.
    mean, scale
        Fitted on training items only. `mean` has the shape of one row; `scale` is one number.
    transform
        float32 [D, K] from `whitening`, or [D] that each dimension is multiplied with; fitted on training items only.
        None: divide by `scale`.
    scales
        As in `Features`; `values`, `mean` and `scale` are before it.
    layer_scale
        float32 [L] for kind `layers`: `scale` of each layer by itself. None else.
    readouts
        Names of the R readouts of kind `layers`.
    """

    space_id: str
    values: np.ndarray
    present: np.ndarray
    mean: np.ndarray
    scale: float
    transform: np.ndarray | None = None
    scales: np.ndarray | None = None
    layer_scale: np.ndarray | None = None
    readouts: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of the fold's items with a real feature."""
        return float(self.present.mean()) if len(self.present) else 0.0

    @property
    def width(self) -> int:
        """Dimensions of a standardised vector, of features of one vector an item."""
        return self.values.shape[1] if self.transform is None else self.transform.shape[-1]

    def standardised(self, how: Standardisation, training: np.ndarray) -> ItemFeatures:
        """Set the standardisation, fitted on the training items (bool [M]) that have a real feature.

        Parameters
        ----------
        how
            `scale`: as aligned; `whiten`: by `whitening`; `z-score`: each dimension by its own deviation; `l2`: rows
            of length sqrt(D), not centred; `none`: as extracted. After `whiten` and `z-score`, which divide by small
            deviations, items outside of the training items are drawn in to `REACH`. Of kind `layers` every layer is
            centred and divided by its own scale, and `whiten` and `scale` are left to the recommender.

        Raises
        ------
        UserError
            If layers are to be standardised in a way that only vectors are.
        """
        if how == "scale" or (how == "whiten" and self.layer_scale is not None):
            return self
        if self.layer_scale is not None:
            raise UserError(
                f"standardise={how} takes one vector an item; {self.space_id} holds layers",
                remedy="choose one layer (for example --fusion gate/last), or standardise=whiten or scale",
            )
        known = self.values[self.present & training].astype(np.float32)
        if how == "whiten":
            return replace(self, transform=whitening(known))._drawn_in(training) if len(known) else self
        if how == "z-score":
            spread = deviation(known) if len(known) else np.ones_like(self.mean)
            rounding = 1e-6 * np.maximum(np.abs(self.mean), self.scale)
            factor = 1 / np.where(spread > rounding, spread, np.inf)  # what is constant stays zero
            return replace(self, transform=factor.astype(np.float32))._drawn_in(training)
        plain = replace(self, mean=np.zeros_like(self.mean), scale=1.0)
        if how == "none":
            return plain
        length = np.linalg.norm(self.values.astype(np.float32), axis=1, keepdims=True)
        values = self.values * np.float32(self.values.shape[1] ** 0.5) / np.where(length > 0, length, np.float32(1))
        known = values[self.present & training]
        values[~self.present] = known.mean(axis=0) if len(known) else 0
        return replace(plain, values=values.astype(np.float32))

    def _drawn_in(self, training: np.ndarray) -> ItemFeatures:
        """Shorten the vectors of other items than the training items (bool [M]) to at most `REACH`."""
        length = np.linalg.norm(self.vectors().astype(np.float64), axis=1)
        known = self.present & training
        limit = REACH * np.sqrt(np.square(length[known]).mean()) if known.any() else np.inf
        far = ~training & (length > limit)
        if not far.any():
            return self
        values = self.values.copy()
        values[far] = self.mean + (values[far] - self.mean) * (limit / length[far, None]).astype(np.float32)
        return replace(self, values=values)

    def vectors(self) -> np.ndarray:
        """All items standardised, float32 [M, K]; of features of one vector an item."""
        centred = self.values.astype(np.float32) - self.mean
        if self.transform is None:
            return centred / np.float32(self.scale)
        return centred * self.transform if self.transform.ndim == 1 else centred @ self.transform

    def shuffled(self, seed: int) -> ItemFeatures:
        """Derange vectors: every item with a real feature gets another such item's (control `shuffled:X`).

        The standardisation stays as fitted on the right assignment.
        """
        return replace(self, space_id=f"shuffled:{self.space_id}", values=self.values[self.derangement(seed)])

    def derangement(self, seed: int) -> np.ndarray:
        """Item whose vector each item gets in `shuffled`: int64 [M]; its own if it has no real feature."""
        rng = np.random.default_rng([seed, 0x5817])
        rows = np.flatnonzero(self.present)
        order = np.arange(len(self.values))
        if len(rows) > 1:
            cycle = rng.permutation(rows)  # one cycle through all rows has no fixed point
            order[cycle] = np.roll(cycle, 1)
        return order

    def constant(self) -> ItemFeatures:
        """Give every item one constant vector (control `mean:X`): same parameters, no information.

        Standardised, the vector is one in every dimension: the projection has an input to learn from, of the size of
        a real one.
        """
        if self.transform is None:
            step = np.asarray(self.scale)
        elif self.transform.ndim == 1:
            step = 1 / np.where(self.transform > 0, self.transform, np.inf)
        else:
            step = np.linalg.pinv(self.transform).sum(axis=0)
        values = np.broadcast_to((self.mean + step).astype(self.values.dtype), self.values.shape).copy()
        return replace(self, space_id=f"mean:{self.space_id}", values=values)


#: Most directions that are kept, and the least share of the mean variance in what each one is divided by.
RANK, SHRINKAGE = 256, 0.01
#: Variance that is rounding: relative to the largest of a direction, and to the mean square of a vector's length.
ROUNDING, ROUNDING_OF_LENGTH = 1e-6, 1e-12
#: No item lies further out than so many times the root mean square of the training items.
REACH = 2.0


def whitening(values: np.ndarray) -> np.ndarray:
    """Fit a whitening transform: principal directions, each divided by its shrunk standard deviation.

    Text and image encoders put most of the variance into a few directions; the differences between items lie in the
    others too, and a projection that is trained by small steps hardly finds them there. Directions in which the
    training items do not differ are dropped: what they do to other items is unknown. The variances are shrunk towards
    their mean by `shrinkage`, so that those estimated from few distinct items are not blown up.

    Parameters
    ----------
    values
        [N, D]; of training items only.

    Returns
    -------
    np.ndarray
        float32 [D, K] with K = min(rank of the centred values, `RANK`): `(values - mean) @ it` has a mean variance per
        column of 1 and no correlations. One column of zeros where all vectors are equal. The largest component of a
        column is positive. The same bits on any number of threads.
    """
    with threadpool_limits(1):
        centred = centre(values)
        variance, directions = _principal_directions(centred)
        length = np.square(values, dtype=np.float64).sum(axis=1).mean()
        real = variance > max(ROUNDING * variance.max(initial=0), ROUNDING_OF_LENGTH * length)
        variance, directions = variance[real], directions[:, real]
        if not real.any():
            return np.zeros((values.shape[1], 1), dtype=np.float32)
        factor = whitening_factors(variance, shrinkage(centred @ directions, copies(values)))
    sign = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0))
    return (directions * (sign * factor)).astype(np.float32)


def centre(values: np.ndarray) -> np.ndarray:
    """Subtract the mean of the rows: float64 [N, D]."""
    exact = values.astype(np.float64)
    return exact - exact.mean(axis=0)


def whitening_factors(variance: np.ndarray, share: float) -> np.ndarray:
    """Compute what each direction is multiplied with, given its variance [K] and the `shrinkage`."""
    shrunk = (1 - share) * variance + share * variance.mean()
    return 1 / np.sqrt(shrunk * np.mean(variance / shrunk))


def copies(values: np.ndarray) -> np.ndarray:
    """Count the rows [N, D] that equal each row up to rounding, itself included: int64 [N]."""
    apart = values - values[0]
    rows = np.rint(apart / (np.abs(apart).max(initial=0) or 1.0) * 1e5).astype(np.int32)
    _, group, count = np.unique([row.tobytes() for row in rows], return_inverse=True, return_counts=True)
    return count[group]


def shrinkage(scores: np.ndarray, multiplicity: np.ndarray) -> float:
    """Estimate how far variances must be shrunk towards their mean, at least `SHRINKAGE`.

    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate
    Analysis 2004, lemma 3.4: the sampling error of the covariance over its distance to a multiple of the identity.
    Copies of a vector are one observation with more weight.

    Parameters
    ----------
    scores
        float64 [N, K]: centred, on principal directions.
    multiplicity
        int [N]: rows that are copies of each row, itself included.

    Returns
    -------
    float
        In [`SHRINKAGE`, 1].
    """
    variance = np.square(scores).mean(axis=0)
    length = np.square(scores).sum(axis=1)
    apart = length**2 - 2 * np.square(scores) @ variance + np.square(variance).sum()
    error = (multiplicity * apart).sum() / len(scores) ** 2
    distance = np.square(variance - variance.mean()).sum()
    return float(np.clip(error / distance, SHRINKAGE, 1.0)) if distance > 0 else 1.0


def _principal_directions(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances [K], largest first, and directions [D, K] of the centred vectors [N, D]; K = min(D, N, `RANK`)."""
    count = min(*centred.shape, RANK)
    if len(centred) >= centred.shape[1]:
        variance, directions = np.linalg.eigh(centred.T @ centred / len(centred))
        return variance[-count:][::-1], directions[:, -count:][:, ::-1]
    # fewer vectors than dimensions: the smaller of the two products
    variance, left = np.linalg.eigh(centred @ centred.T / len(centred))
    directions = centred.T @ left[:, -count:][:, ::-1]
    length = np.linalg.norm(directions, axis=0)
    return variance[-count:][::-1], directions / np.where(length > 0, length, 1.0)
