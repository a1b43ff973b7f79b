"""Do titles find their clips, and at which layer: a score of features that needs no interactions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from protocols.errors import UserError
from protocols.features import Features, unit_rows

#: Columns: titles search clips, clips search titles.
DIRECTIONS = ("title to clip", "clip to title")


def by_layer(clips: Features, titles: Features, texts: Sequence[str | None]) -> pd.DataFrame:
    """Search with the states of titles among those of clips, and the other way round, at each layer.

    As VidVec (arXiv 2602.08099) compares the layers of a model: a title and its clip belong together, the order is that
    of their cosine. Ours: each side is centred first, because the states of a layer share one large direction. Items
    with the same title are found as well as each other; what scores the same as a hit counts as before it.

    Parameters
    ----------
    clips
        Of kind `layers`, [N, L, R, D].
    titles
        Of kind `layers` with one readout, [N, L, 1, D], of the same items and model.
    texts
        [N] titles.

    Returns
    -------
    pd.DataFrame
        Indexed by (layer, readout), in that order; for each of `DIRECTIONS` the columns (direction, R@1), (direction,
        R@10) and (direction, MRR). `attrs` holds `items`, how many have both a title and a clip, and `chance`, the R@1
        of a search that knows nothing.

    Raises
    ------
    UserError
        If fewer than two items have both.
    """
    both = clips.ok & titles.ok
    if both.sum() < 2:
        raise UserError(
            f"{int(both.sum())} items have a title and a clip", remedy="use data with titles, or fewer filters"
        )
    kind = pd.factorize(np.array([text for text, ok in zip(texts, both, strict=True) if ok], dtype=object))[0]
    same = kind[:, None] == kind
    rows = {}
    for layer in range(clips.values.shape[1]):
        searched = _centred(titles.readout(layer, titles.space.readouts[0])[both])
        for name in clips.space.readouts:
            cosine = searched @ _centred(clips.readout(layer, name)[both]).T
            rows[layer, name] = [*_scores(cosine, same), *_scores(cosine.T, same)]
    columns = pd.MultiIndex.from_product([DIRECTIONS, ["R@1", "R@10", "MRR"]])
    index = pd.MultiIndex.from_tuples(rows, names=["layer", "readout"])
    found = pd.DataFrame(list(rows.values()), index=index, columns=columns)
    found.attrs.update(items=int(both.sum()), chance=float(same.mean()))
    return found


def best(found: pd.DataFrame) -> tuple[int, str]:
    """Layer and readout with the highest MRR, both directions together; of equal ones the first layer."""
    mean = found.xs("MRR", axis=1, level=1).to_numpy().mean(axis=1)
    layer, name = found.index.tolist()[int(mean.argmax())]
    return int(layer), str(name)


def _centred(states: np.ndarray) -> np.ndarray:
    return unit_rows(states - states.mean(axis=0))


def _scores(score: np.ndarray, same: np.ndarray) -> list[float]:
    """R@1, R@10 and MRR of the first hit of each row."""
    hit = np.where(same, score, -np.inf).max(axis=1, keepdims=True)
    rank = 1 + ((score >= hit) & ~same).sum(axis=1)
    return [float((rank <= 1).mean()), float((rank <= 10).mean()), float((1 / rank).mean())]
