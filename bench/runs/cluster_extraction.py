"""Extraction on a Ray cluster: whole blocks of items are the unit, so the store is what one process would make it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.runs.engines import RayEngine, drive
from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.pipeline import sharding
from feature_extractors.pipeline.device_worker import Order
from protocols.errors import BenchError
from protocols.features import Features
from protocols.wording import counted

#: Parts for each call that runs at a time: the last ones are short, and a node that is lost loses little.
PARTS = 4
#: Blocks of a part at most: a process holds the features of its part.
MOST_BLOCKS = 64

Part = tuple[int, int]

# Models that this process of a node has loaded, for the next part of the same extractor, by its repr.
_models: dict[str, dict[str, Any]] = {}


def extract(
    extractor: Extractor, source: ItemSource, context: ExtractContext, address: str, gpus: float = 1.0
) -> Features | None:
    """Extract on all nodes of a cluster, which may come and go.

    A part of a lost node is extracted by another one, which goes on where the store ends. A process loads a model once.

    Parameters
    ----------
    extractor, source, context
        As in `Extractor.extract`. The store and the clips lie under the same paths on all nodes; each call has
        `context.workers` decoding processes beside the one of its model.
    address
        As in `engines.RayEngine`.
    gpus
        Share of a GPU that a call takes if `context.device` is a GPU.

    Returns
    -------
    Features
        Of all items, as they stand in the store afterwards; None: the extractor has none.

    Raises
    ------
    UserError
        As `engines.RayEngine`, or if a node does not see the store, or what an extraction raises.
    BenchError
        If the processes of a part died again and again; the other parts are done.
    """
    order = Order(extractor, source, context).sendable()
    lost: list[Part] = []
    with RayEngine(
        address, _extract_part, order, Path(context.store), context.device, cpus=1 + context.workers, gpus=gpus
    ) as cluster:
        parts = list(_parts(source.item_ids, context.only, PARTS * cluster.slots()))
        with context.progress.task("extract", sum(end - start for start, end in parts)) as bar:

            def finish(part: Part, _: None) -> bool:
                bar.advance(part[1] - part[0])
                return True

            drive(cluster, parts, finish, lost.append)
    if lost:
        raise BenchError(
            f"the processes of {len(lost)} of {counted(len(parts), 'part')} died again and again: their items are "
            "not finished",
            remedy="run the same command again to go on where they were; fewer calls at a time need less memory",
        )
    return extractor.extract(source, replace(context, overwrite="never"))


def _parts(item_ids: Any, only: Any, wanted: int) -> Iterator[Part]:
    """Cut the sorted items into some parts of whole blocks, those left out of which nothing is asked for."""
    order = sorted(item_ids)
    size = sharding.BLOCK * min(MOST_BLOCKS, max(1, math.ceil(len(order) / sharding.BLOCK / wanted)))
    for start in range(0, len(order), size):
        if only is None or not only.isdisjoint(order[start : start + size]):
            yield start, min(start + size, len(order))


def _extract_part(order: Order, part: Part) -> None:
    """Extract the items of a part; runs on a node."""
    context, source = order.context, order.source
    at = sorted(range(len(source.item_ids)), key=source.item_ids.__getitem__)[slice(*part)]
    ids = [source.item_ids[i] for i in at]
    mine = replace(source, item_ids=ids, titles=[source.titles[i] for i in at], videos=[source.videos[i] for i in at])
    only = None if context.only is None else context.only & set(ids)
    if repr(order.extractor) not in _models:
        _models.clear()  # a GPU may not hold those of two
    models = _models.setdefault(repr(order.extractor), {})
    order.extractor.extract(mine, replace(context, only=only, part="{}to{}".format(*part), models=models))
