"""Ctrl-C as a request to finish what is in hand, within a few seconds."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable
from typing import Any, Self

#: Seconds that the batch in hand has after the first Ctrl-C; with what follows a process ends within five.
GRACE = 2.0


class Interrupt:
    """Turns the first Ctrl-C into a request; the second one, or the end of `grace`, interrupts at once.

    Outside of the main thread it does nothing.

    Parameters
    ----------
    say
        Called with a line on the first Ctrl-C: what is being finished.
    grace
        Seconds from the request to the interruption; None: none comes.

    Attributes
    ----------
    asked
        Whether there was one.
    """

    def __init__(self, say: Callable[[], None] = lambda: None, grace: float | None = GRACE) -> None:
        self.asked = False
        self._say, self._grace = say, grace
        self._before: Any = None
        self._timer: threading.Timer | None = None
        self._lock, self._over = threading.Lock(), False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._grace is not None:
            self._timer = threading.Timer(self._grace, self._interrupt)
            self._timer.daemon = True
            self._timer.start()
        self._say()

    def _interrupt(self) -> None:
        with self._lock:
            if self._over:
                return
            main = threading.main_thread().ident
            if hasattr(signal, "pthread_kill") and main is not None:
                signal.pthread_kill(main, signal.SIGINT)  # also wakes the thread where it waits for a lock
            else:
                _thread.interrupt_main()

    def __exit__(self, *exception: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            with self._lock:
                self._over = True
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
