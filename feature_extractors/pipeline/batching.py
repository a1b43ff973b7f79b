"""How many items a model is called with: as many as memory holds, as many tokens as make a full call.

Which items share a batch is decided by `selection.py`, from the list of all items alone. What is decided here happens
inside of a batch, and changes results by no more than the last bits that any change of batch changes:

- `by_tokens` is a function of the sizes of the items in the batch. A resumed run makes the same calls as an
  uninterrupted one.
- `Fitting` depends on the memory there is. Where nothing runs out of it, it does nothing.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from feature_extractors.media.result import Failure

OUT_OF_MEMORY = Failure("error", "out of memory")
# What allocators say in a plain RuntimeError.
_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the host or of an accelerator, is used up."""
    if isinstance(error, MemoryError):
        return True
    if type(error).__name__ == "OutOfMemoryError":  # torch's: this module does not import it
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def by_tokens(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Cut a batch into model calls of at most `budget` tokens, padding included; items of like size go together.

    Parameters
    ----------
    sizes
        Tokens of each item.
    budget
        Tokens of one call; an item that has more by itself is called alone.

    Returns
    -------
    list
        Positions of the items of each call, ascending in a call; one call in the given order when all fit.

    Examples
    --------
    >>> by_tokens([5, 90, 6, 80], budget=200), by_tokens([5, 90, 6, 80], budget=400)
    ([[1, 3], [0, 2]], [[0, 1, 2, 3]])
    """
    if max(sizes, default=0) * len(sizes) <= budget:
        return [list(range(len(sizes)))] if sizes else []
    calls: list[list[int]] = []
    room = 0
    for at in sorted(range(len(sizes)), key=lambda at: (-sizes[at], at)):
        if room == 0:
            calls.append([])
            room = max(1, budget // max(1, sizes[at]))  # the first of a call is its longest
        calls[-1].append(at)
        room -= 1
    return [sorted(call) for call in calls]


class Fitting:
    """Calls a model with as many items as fit into memory, and remembers how many that are.

    Parameters
    ----------
    title
        Of the stage, for what is said.
    say
        Called with one line whenever fewer items fit than were thought to.

    Attributes
    ----------
    limit
        Most items of a call; None: no call has failed yet.
    """

    def __init__(self, title: str, say: Callable[[str], None]) -> None:
        self.limit: int | None = None
        self._title, self._say = title, say

    def parts(self, count: int) -> list[tuple[int, int]]:
        """Cut `count` items into calls: [start, stop) of each."""
        size = min(self.limit or count, count) or 1
        return [(start, min(start + size, count)) for start in range(0, count, size)]

    def values(self, model: Any, ready: Sequence[Any], prepared: Mapping[tuple[int, int], Any]) -> list[Any]:
        """Return the model's value of each item, or `OUT_OF_MEMORY` for one that does not fit alone.

        A call that does not fit is made in halves. How many items fit then is kept for the calls to come, unless the
        batch has an item that does not fit alone: then the next batch will tell.

        Parameters
        ----------
        model
            Takes a list of items; `model.run` takes what is in `prepared`.
        ready
            The items.
        prepared
            What `model.prepare` made of the items from start to stop, where it was called already.
        """
        found: list[Any] = []
        whole = size = self.limit or len(ready)
        fitted = 0
        while len(found) < len(ready):
            place = len(found), min(len(found) + size, len(ready))
            values = _attempt(model, ready, place, prepared)
            if values is not None:
                found += values
                fitted = max(fitted, size)
            elif place[1] - place[0] > 1:
                size = (place[1] - place[0]) // 2
            else:
                found.append(OUT_OF_MEMORY)
                size = whole
        if 0 < fitted < whole and not any(value is OUT_OF_MEMORY for value in found):
            self.limit = fitted
            self._say(f"{self._title}: out of memory with {whole} items at once, going on with {fitted}")
        return found


def _attempt(
    model: Any, ready: Sequence[Any], place: tuple[int, int], prepared: Mapping[tuple[int, int], Any]
) -> list[Any] | None:
    """Make one call; None if it runs out of memory."""
    try:
        return list(model.run(prepared[place]) if place in prepared else model(list(ready[slice(*place)])))
    except Exception as error:
        if not out_of_memory(error):
            raise
    # Only here the error is gone, and with it the frames that hold on to tensors.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
    return None
