"""Sharding: the items that a run fills and their batches, on which several runs must agree.

Batches are cut from the sorted list of *all* items, first into blocks of `BLOCK`, then inside a block: they depend
neither on what is stored nor on what is asked for, and every batch of every stage lies in one block.

- A shard is a set of whole blocks, so no batch is split between machines: what n machines store is what one would.
- `--limit` and `--items` may ask for a part of a batch. It is then computed from the items that are asked for and
  those stored already; whichever run adds the last one computes the batch whole and replaces the others (a text that
  changes by this is a new input to the next stage). So once all items are there in all stages, the store equals that
  of one run over everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence

from protocols.errors import UserError
from protocols.wording import counted

#: Items that are never split between shards, and the most that one model call takes.
BLOCK = 64


def blocks(item_ids: Sequence[str]) -> Iterator[list[int]]:
    """Cut the sorted list of all items into blocks; yields positions in `item_ids`."""
    order = sorted(range(len(item_ids)), key=item_ids.__getitem__)
    for start in range(0, len(order), BLOCK):
        yield order[start : start + BLOCK]


def batches(item_ids: Sequence[str], size: int) -> Iterator[list[int]]:
    """Cut the blocks into batches of `size`, at most `BLOCK`; yields positions in `item_ids`."""
    size = min(size, BLOCK)
    for block in blocks(item_ids):
        for start in range(0, len(block), size):
            yield block[start : start + size]


def beside(item_ids: Sequence[str], asked: Collection[str] | None) -> set[int]:
    """Positions of all items that share a block with one that is asked for (None: all are)."""
    if asked is None:
        return set(range(len(item_ids)))
    return {at for block in blocks(item_ids) if any(item_ids[at] in asked for at in block) for at in block}


def choose(
    item_ids: Sequence[str],
    items: Collection[str] | None = None,
    shard: tuple[int, int] | None = None,
    limit: int | None = None,
) -> frozenset[str] | None:
    """Return the items that a run is asked to fill; None: all of them.

    Parameters
    ----------
    item_ids
        Raw ids of *all* items: the same list on every machine, or the shards do not fit together.
    items
        Only these.
    shard
        (i, n): the i-th of n parts, i from 0. Blocks are put in the order of a hash of their first item id and dealt
        out, so parts differ by at most one block, and which part a block falls to looks random.
    limit
        Of what is left, only the first so many in the order of their ids.

    Raises
    ------
    UserError
        If an item is unknown, the shard is not one of its parts, or the limit is not positive.
    """
    if items is None and shard is None and limit is None:
        return None
    chosen = set(item_ids)
    if items is not None:
        unknown = sorted(set(items) - chosen)
        if unknown:
            raise UserError(
                f"{len(unknown)} of {len(set(items))} named items are not there, the first is {unknown[0]!r}",
                remedy="name items by their raw ids, as they stand in the dataset or relative to the media folder",
            )
        chosen &= set(items)
    if shard is not None:
        chosen &= _part(item_ids, *shard)
    if limit is not None:
        if limit < 1:
            raise UserError(f"a limit of {counted(limit, 'item')} leaves nothing to do", remedy="--limit 16")
        chosen = set(sorted(chosen)[:limit])
    return frozenset(chosen)


def parse_shard(text: str) -> tuple[int, int]:
    """Read `i/n`, i from 0 to n - 1.

    Examples
    --------
    >>> parse_shard("0/4")
    (0, 4)

    Raises
    ------
    UserError
        If it is something else.
    """
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal() and int(first) < int(second)):
        raise UserError(f"--shard {text!r}: expected i/n with i from 0 to n - 1", remedy="--shard 0/4, --shard 1/4 ...")
    return int(first), int(second)


def _part(item_ids: Sequence[str], index: int, count: int) -> set[str]:
    def key(block: list[int]) -> bytes:
        return hashlib.sha256(item_ids[block[0]].encode("utf-8", "surrogatepass")).digest()

    dealt = sorted(blocks(item_ids), key=key)[index::count]
    return {item_ids[at] for block in dealt for at in block}
