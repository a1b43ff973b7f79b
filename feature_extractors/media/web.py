"""Ranges of files on web servers, by `https`: public hosts only, and those that the user names.

Addresses stand in tables of items that others wrote. They must not reach what only this machine or its network can:
a connection to an address that is not public is closed before anything is asked, after a redirect too, unless
`BENCH_MEDIA_HOSTS` names the host (`media.example:8080,127.0.0.1:9000`). Such a host may also speak plain `http`.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

HOSTS_VARIABLE = "BENCH_MEDIA_HOSTS"
#: Seconds without a byte, and until a server that is overloaded or out of reach is given up.
SILENCE, PATIENCE = 20.0, 45.0
_PASSING = (429, 500, 502, 503, 504)


class WebError(Exception):
    """File of a web server that cannot be read; `gone`: the server says that there is none."""

    def __init__(self, reason: str, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone


@dataclass(frozen=True)
class Part:
    """Bytes of a file, its size, and its version as the server tells it: a strong ETag, else the last change."""

    body: bytes
    size: int
    tag: str


def read(uri: str, first: int, end: int) -> Part:
    """Read the bytes from `first` to before `end` of a file.

    Raises
    ------
    WebError
        If the address is not allowed, or the server has no such file, serves no ranges or does not say versions, or
        does not answer within `PATIENCE` seconds.
    """
    until, pause = time.monotonic() + PATIENCE, 0.25
    while True:
        try:
            return _read(uri, first, end)
        except urllib.error.HTTPError as error:
            error.close()
            # not in the words of the server: it may be anybody's
            reason = f"the server says {error.code} {http.client.responses.get(error.code, '')}".rstrip()
            if error.code not in _PASSING:
                raise WebError(reason, error.code in (404, 410)) from None
        except (OSError, http.client.HTTPException) as error:  # also URLError
            reason = f"the server does not answer ({_cause(error)})"
        if time.monotonic() + pause > until:
            raise WebError(f"{reason}, for {PATIENCE:.0f} s")
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def _read(uri: str, first: int, end: int) -> Part:
    _require_allowed(uri)
    request = urllib.request.Request(
        uri, headers={"Range": f"bytes={first}-{end - 1}", "Accept-Encoding": "identity", "User-Agent": "bench"}
    )
    with _opener().open(request, timeout=SILENCE) as answer:
        told = answer.headers.get("Content-Range", "")
        unit, _, size = told.rpartition("/")
        if answer.status != 206 or not unit.startswith(f"bytes {first}-") or not size.isdecimal():
            if answer.status == 200 and answer.headers.get("Content-Length") == "0":
                return Part(b"", 0, "empty")
            raise WebError("the server does not serve ranges of the file")
        tag = answer.headers.get("ETag", "")
        tag = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
        if not tag:
            raise WebError("the server says neither ETag nor Last-Modified: the file cannot be told from a later one")
        wanted = min(end, int(size)) - first
        body = answer.read(wanted + 1)
        if len(body) != wanted:
            raise http.client.IncompleteRead(body)
        return Part(body, int(size), tag)


def _cause(error: Exception) -> str:
    """Name an error of the connection, without the address."""
    inner = getattr(error, "reason", None)
    inner = inner if isinstance(inner, Exception) else error
    return getattr(inner, "strerror", None) or type(inner).__name__


def _named(host: str) -> bool:
    return host.lower() in os.environ.get(HOSTS_VARIABLE, "").lower().replace(" ", "").split(",")


def _require_allowed(uri: str) -> None:
    parts = urlsplit(uri)
    if parts.username is not None or parts.password is not None:
        raise WebError("an address with a name and a password is refused")
    if parts.scheme != "https" and not (parts.scheme == "http" and _named(parts.netloc)):
        raise WebError(f"only https is read, and http from hosts that {HOSTS_VARIABLE} names")


class _Checked(http.client.HTTPConnection):
    """Connection that is closed before anything is said where the other side is not public."""

    def connect(self) -> None:
        super().connect()
        found = ipaddress.ip_address(self.sock.getpeername()[0].partition("%")[0])
        found = getattr(found, "ipv4_mapped", None) or found
        if not found.is_global and not (_named(self.host) or _named(f"{self.host}:{self.port}")):
            self.close()
            raise WebError(f"the host is not public; {HOSTS_VARIABLE} names those that may be read")


class _CheckedTls(http.client.HTTPSConnection, _Checked):
    """The same with TLS, which begins after the check."""


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(http.client.HTTPConnection if req.has_proxy() else _Checked, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        # the user's own proxy looks names up, and need not be public
        proxied = getattr(req, "_tunnel_host", None)
        return self.do_open(http.client.HTTPSConnection if proxied else _CheckedTls, req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _require_allowed(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Make an opener without those for files and FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(),
        _Https(),
        _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
