"""Cross-modal retrieval between titles and clips at each layer: a score of features without interactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from bench.runs import run as runs
from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.hidden_states import HiddenStates
from protocols.errors import UserError
from protocols.features import Features, unit_rows
from protocols.wording import counted

#: Columns: titles as queries for clips, clips as queries for titles.
DIRECTIONS = ("title to clip", "clip to title")


def with_layers(extractor: Extractor) -> HiddenStates:
    """Return an extractor that makes layers of a video language model, before any clip is read.

    Raises
    ------
    UserError
        If it makes none.
    """
    if not isinstance(extractor, HiddenStates) or extractor.feature != "layers":
        raise UserError(
            f"extractor {extractor.label!r} makes no layers of a video language model",
            remedy="try hidden-states or linkedout",
        )
    return extractor


def of_extractor(extractor: HiddenStates, source: ItemSource, context: ExtractContext) -> pd.DataFrame:
    """Extract the states of clips and titles, and score their retrieval by layer.

    Returns
    -------
    pd.DataFrame
        As of `by_layer`; `attrs` also holds `space` and `checkpoint`.
    """
    clips, titles = runs.extract(extractor, source, context), extractor.title_states(source, context)
    found = by_layer(clips, titles, source.titles)
    found.attrs.update(space=clips.space.id, checkpoint=clips.space.provenance["checkpoints"][0])
    return found


def _rows(found: pd.DataFrame) -> list[dict[str, Any]]:
    heads = [" ".join(column) for column in found.columns.tolist()]
    return [
        {"layer": int(place[0]), "readout": str(place[1]), **dict(zip(heads, map(float, cells), strict=True))}
        for place, cells in zip(found.index, found.to_numpy(), strict=True)
    ]


def as_json(found: pd.DataFrame) -> dict[str, Any]:
    """Return the scores, the best layer and readout, and the attributes; JSON-able."""
    layer, readout = best(found)
    facts = {key: found.attrs[key] for key in ("items", "chance", "space")}
    return {**facts, "best": {"layer": layer, "readout": readout}, "rows": _rows(found)}


def text(found: pd.DataFrame) -> str:
    """Write the scores as a table, and the best layer and readout."""
    layer, readout = best(found)
    return "\n".join(
        [
            f"titles and clips of {counted(found.attrs['items'], 'item')}, {found.attrs['checkpoint']}; "
            f"R@1 by chance {found.attrs['chance']:.3f}",
            tabulate(_rows(found), headers="keys", tablefmt="github", floatfmt=".3f"),
            f"highest MRR: layer {layer}, readout {readout}: single-layer:{layer} with single-layer.readout={readout}",
        ]
    )


def by_layer(clips: Features, titles: Features, texts: Sequence[str | None]) -> pd.DataFrame:
    """Retrieve clips by titles, and titles by clips, from the states of each layer.

    As VidVec (arXiv 2602.08099) compares the layers of a model: a title and its clip belong together, the order is that
    of their cosine. Ours: each side is centred first, because the states of a layer share one large direction. A clip
    with the same title is a hit, too; a non-hit with an equal score ranks before the hit.

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
        R@10) and (direction, MRR). `attrs` holds `items`, the number with both a title and a clip, and `chance`, the
        expected R@1 of a random order.

    Raises
    ------
    UserError
        If fewer than two items have both.
    """
    both = clips.ok & titles.ok
    if both.sum() < 2:
        raise UserError(
            f"{counted(int(both.sum()), 'item')} with a title and a clip, expected two or more",
            remedy="use data with titles, or fewer filters",
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
    """Return layer and readout with the highest MRR, averaged over both directions; of equal ones the first layer."""
    mean = found.xs("MRR", axis=1, level=1).to_numpy().mean(axis=1)
    layer, name = found.index.tolist()[int(mean.argmax())]
    return int(layer), str(name)


def _centred(states: np.ndarray) -> np.ndarray:
    return unit_rows(states - states.mean(axis=0))


def _scores(score: np.ndarray, same: np.ndarray) -> list[float]:
    """Compute R@1, R@10 and MRR of the first hit of each row."""
    hit = np.where(same, score, -np.inf).max(axis=1, keepdims=True)
    rank = 1 + ((score >= hit) & ~same).sum(axis=1)
    return [float((rank <= 1).mean()), float((rank <= 10).mean()), float((1 / rank).mean())]
