"""Endpoint: requests to a server of models with OpenAI's interface, bounded in number and repeated where that helps."""

from __future__ import annotations

import asyncio
import math
import os
import random
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from feature_extractors.media.result import Failure
from protocols.errors import UserError

#: Environment variable of the key. That of the `openai` library is not read: it may belong to another server.
KEY_VARIABLE = "BENCH_API_KEY"
# Seconds before the first repetition (doubled each time), at most, and at most where the server names a time.
FIRST_WAIT, LONGEST_WAIT, LONGEST_NAMED_WAIT = 0.5, 30.0, 300.0
# A request that the server does not answer in time is repeated this often only: it may be what the server hangs on.
TIMEOUTS = 2
# Answers of a server, beside 5xx, after which the same request may succeed: timeout, conflict, too many requests.
PASSING = (408, 409, 429)
# Answers that every request would get.
REFUSED = {
    401: f"set the key of the server in the environment variable {KEY_VARIABLE}",
    403: f"the key in {KEY_VARIABLE} may not use this model",
    404: "bench doctor --endpoint URL lists the models that the server has; the address usually ends with /v1",
}
# Characters of a reason that are kept.
LONGEST_REASON = 200

Answer = TypeVar("Answer")
Request = Callable[[Any], Awaitable[Answer]]


@dataclass(frozen=True)
class Endpoint:
    """A server of models.

    Attributes
    ----------
    url
        Address of the interface, `http://HOST:8000/v1`.
    in_flight
        Most requests at the same time.
    timeout
        Seconds that the server has for an answer.
    retries
        Repetitions of a request that failed in a way that may pass; ten of them wait about two minutes altogether.
    """

    url: str
    in_flight: int = 16
    timeout: float = 120.0
    retries: int = 10

    def check(self) -> None:
        """Refuse an address that is none, or that holds a password.

        Raises
        ------
        UserError
            Naming the fault, not the address.
        """
        example = "--endpoint http://127.0.0.1:8000/v1"
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise UserError(f"endpoint {self.url!r} is no address of a server", remedy=example)
        if "@" in parts.netloc:
            raise UserError("the endpoint holds a user name or a password", remedy=f"{REFUSED[401]}; {example}")


class Connection:
    """Requests to an endpoint, sent from a thread of its own.

    Examples
    --------
    >>> connection = Connection(Endpoint("http://127.0.0.1:8000/v1"))  # doctest: +SKIP
    >>> future = connection.submit(lambda client: client.models.list())  # doctest: +SKIP
    """

    def __init__(self, endpoint: Endpoint) -> None:
        import openai

        endpoint.check()
        self.endpoint = endpoint
        self._key = os.environ.get(KEY_VARIABLE, "")
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "none", base_url=endpoint.url, timeout=endpoint.timeout, max_retries=0
        )
        self._free = asyncio.Semaphore(endpoint.in_flight)
        self._closed = False
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True).start()

    @property
    def keyed(self) -> bool:
        """True if requests carry a key."""
        return bool(self._key)

    def submit(self, request: Request[Answer]) -> Future[Answer | Failure]:
        """Send a request as soon as fewer than `in_flight` are on their way.

        Returns
        -------
        Future
            Of the answer, or of a failure with the reason where the request fails for good. It raises a UserError where
            every request would fail: the server is gone, refuses the key, or has no such model.
        """
        return self._start(self._bounded(request))

    def once(self, request: Request[Answer]) -> Answer | Failure:
        """Send a request without repetition and wait for the answer."""
        return self._start(self._tried(request, 0)).result()

    def close(self) -> None:
        """Drop all requests that are on their way."""

        async def stop() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._client.close()

        if not self._closed:
            self._start(stop()).result()
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _start(self, work: Coroutine[Any, Any, Answer]) -> Future[Answer]:
        if self._closed:
            work.close()
            raise RuntimeError("the connection is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _bounded(self, request: Request[Answer]) -> Answer | Failure:
        async with self._free:
            return await self._tried(request, self.endpoint.retries)

    async def _tried(self, request: Request[Answer], retries: int) -> Answer | Failure:
        import openai

        timeouts = 0
        cause: Exception | None = None
        for attempt in range(retries + 1):
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1.0)
            try:
                return await request(self._client)
            except openai.APIStatusError as error:
                status, cause = error.status_code, error
                if status in REFUSED:
                    raise UserError(f"{self._place}: {self._reason(error)}", remedy=REFUSED[status]) from None
                if status < 500 and status not in PASSING:
                    return Failure("error", self._reason(error), unexpected=True)
                wait = max(wait, _named_wait(error.response.headers.get("retry-after")))
            except openai.APITimeoutError:
                timeouts += 1
                cause = None
                if timeouts > TIMEOUTS:
                    break
            except (openai.APIError, ValueError) as error:  # a lost connection, or an answer that is no JSON
                cause = error
            if attempt < retries:
                await asyncio.sleep(wait)
        if cause is None:
            waited = f"no answer in {self.endpoint.timeout:g} s, {timeouts} times"
            return Failure("error", waited, unexpected=True)
        if isinstance(cause, openai.APIConnectionError) and not await self._alive():
            raise UserError(
                f"{self._place} does not answer: {self._reason(cause)}",
                remedy="start the server, then run the same command again to go on; bench doctor --endpoint URL tries",
            ) from None
        return Failure("error", self._reason(cause), unexpected=True)

    async def _alive(self) -> bool:
        """Ask the server for its models; True if it answers at all."""
        import openai

        try:
            await self._client.models.list()
        except openai.APIStatusError:
            return True
        except openai.APIConnectionError:
            return False
        return True

    @property
    def _place(self) -> str:
        return f"the server at {self.endpoint.url}"

    def _reason(self, error: Exception) -> str:
        """Return an error in words, without the key, which a server may repeat."""
        text = " ".join(f"{error} {error.__cause__ or ''}".split())
        if self._key:
            text = text.replace(self._key, "***")
        return text[:LONGEST_REASON]


def _named_wait(header: str | None) -> float:
    """Seconds that a server asks to wait for; 0 where it names none, or a date."""
    try:
        seconds = float(header or 0)
    except ValueError:
        return 0.0
    return min(seconds, LONGEST_NAMED_WAIT) if math.isfinite(seconds) and seconds > 0 else 0.0
