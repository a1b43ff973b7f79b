"""Number of items in a model call: as many as memory holds.

The items of a batch are decided by `sharding.py`, from the list of all items alone. A smaller call inside of a batch
changes results by no more than the last bits that any change of batch changes. Where nothing runs out of memory,
nothing is done here.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from feature_extractors.media.result import Failure

OUT_OF_MEMORY = Failure("error", "out of memory")
# Items of the first call of a model whose calls grow.
FIRST_CALL = 4
# Words of allocators in a plain RuntimeError.
_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def out_of_memory(error: BaseException) -> bool:
    """Return True for an error of memory, of the host or of an accelerator, that is used up."""
    if isinstance(error, MemoryError):
        return True
    if type(error).__name__ == "OutOfMemoryError":  # torch's: this module does not import it
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


class Fitting:
    """Calls a model with as many items as fit into memory, and remembers how many that are.

    Parameters
    ----------
    title
        Of the stage, for what is said.
    say
        Called with one line whenever fewer items fit than were thought to.
    first
        Most items of the first call: calls that fit are followed by twice as large ones, until one fails; None: calls
        begin with whole batches.

    Attributes
    ----------
    limit
        Most items of a call; None: a whole batch.
    """

    def __init__(self, title: str, say: Callable[[str], None], first: int | None = None) -> None:
        self.limit = first
        self._title, self._say, self._grows = title, say, first is not None

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
        fitted = failed = 0
        while len(found) < len(ready):
            place = len(found), min(len(found) + size, len(ready))
            values = _attempt(model, ready, place, prepared)
            if values is not None:
                found += values
                fitted = max(fitted, size)
                if self._grows and place[1] - place[0] == size:
                    self.limit = whole = size = 2 * size
            elif place[1] - place[0] > 1:
                failed, self._grows = failed or size, False
                size = (place[1] - place[0]) // 2
            else:
                found.append(OUT_OF_MEMORY)
                size = whole
        if fitted and failed and not any(value is OUT_OF_MEMORY for value in found):
            self.limit = fitted
            self._say(f"{self._title}: out of memory with {failed} items at once, going on with {fitted}")
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
