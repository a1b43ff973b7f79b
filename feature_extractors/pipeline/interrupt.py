"""Ctrl-C as a request to finish what is in hand."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self


class Interrupt:
    """Turns the first Ctrl-C into a request; the second one interrupts at once, as ever.

    Outside of the main thread it does nothing.

    Attributes
    ----------
    asked
        Whether there was one.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
