"""Media files at addresses: objects of `s3://` and `gs://`, and files of web servers, read by ranges.

A file is what its address, its size and the version that its server tells (ETag) say: features of it are reused as long
as these stay. Every range is read of that version, so that what is decoded is what the feature is stored under.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Buffer

from feature_extractors.media.result import Failure
from protocols import object_store
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.media.web import Part

SCHEMES = (*object_store.SCHEMES, "https", "http")
#: Bytes of a range, and ranges that a process keeps: a clip is read several times, from its header on.
RANGE, KEPT = 1 << 22, 16
#: Seconds that a server may be busy, and bytes that it sends a second at least.
PATIENCE, BYTES_PER_SECOND = 90.0, 1e6


class RemoteError(Exception):
    """File that cannot be read now; `gone`: there is no such file."""

    def __init__(self, reason: str, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone

    @property
    def failure(self) -> Failure:
        """Of the item; one of the moment unless the file is gone."""
        return Failure("missing", str(self), passing=not self.gone)


@dataclass(frozen=True)
class RemoteFile:
    """File at an address.

    Attributes
    ----------
    uri
        Its address.
    size
        Bytes.
    tag
        Version, as its server tells it.
    """

    uri: str
    size: int
    tag: str

    @property
    def content(self) -> str:
        """Hash that stands for the bytes, in hexadecimal."""
        return hashlib.sha256("\0".join((self.uri, str(self.size), self.tag)).encode()).hexdigest()

    def open(self) -> io.BufferedReader:
        """Open the file for reading and seeking; reading raises RemoteError."""
        return io.BufferedReader(_Ranges(self), 1 << 16)

    def as_json(self) -> dict[str, Any]:
        """All fields, for a decoding process."""
        return asdict(self)


Source = Path | RemoteFile


def source_of(video: str) -> Path | str:
    """Turn the video of an item into a path, or keep its address.

    Examples
    --------
    >>> source_of("s3://bucket/a.mp4"), source_of("/clips/a.mp4").name
    ('s3://bucket/a.mp4', 'a.mp4')
    """
    return video if object_store.is_uri(video) else Path(video)


def name_of(source: Path | str) -> str:
    """Return the last part of a path or an address, without what may be secret in a query."""
    return source.name if isinstance(source, Path) else source.partition("?")[0].rpartition("/")[2]


def look_up(uri: str) -> RemoteFile | Failure:
    """Ask a server for size and version of a file.

    Returns
    -------
    RemoteFile | Failure
        A failure of an absent or empty file, and one of the moment where the server refuses or does not answer.
    """
    if uri.partition("://")[0] not in SCHEMES:
        return Failure("missing", f"the address is none of {', '.join(SCHEMES[:-1])}")
    try:
        found = _looked_up(uri)
    except RemoteError as error:
        return error.failure
    return found if found.size else Failure("empty", "the file has 0 bytes")


def _looked_up(uri: str) -> RemoteFile:
    if uri.startswith("http"):
        part = _web(uri, 0, 1)
        return RemoteFile(uri, part.size, part.tag)
    try:
        found = object_store.look(uri)
    except UserError as error:
        raise RemoteError(str(error)) from None
    if found is None:
        raise RemoteError("no such object", gone=True)
    return RemoteFile(uri, found.size, found.tag)


def _web(uri: str, first: int, end: int) -> Part:
    from feature_extractors.media import web  # TLS takes a while to load, and most clips are files

    try:
        return web.read(uri, first, end)
    except web.WebError as error:
        raise RemoteError(str(error), error.gone) from None


@lru_cache(maxsize=KEPT)
def _range(file: RemoteFile, number: int) -> bytes:
    """Read a range of a file, of the version that was looked up."""
    first = number * RANGE
    end = min(first + RANGE, file.size)
    if file.uri.startswith("http"):
        part = _web(file.uri, first, end)
        if (part.size, part.tag) != (file.size, file.tag):
            raise RemoteError("the file was changed since it was looked up")
        return part.body
    try:
        return object_store.read(file.uri, first, end, file.tag)
    except FileNotFoundError:
        raise RemoteError("the file was changed or removed since it was looked up") from None
    except UserError as error:
        raise RemoteError(str(error)) from None


class _Ranges(io.RawIOBase):
    """Bytes of a file, range by range."""

    def __init__(self, file: RemoteFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        if self._at >= self._file.size:
            return 0
        number, skipped = divmod(self._at, RANGE)
        view = memoryview(buffer)
        part = _range(self._file, number)[skipped : skipped + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)


def seconds_to_read(source: Source) -> float:
    """Return the seconds that a file may take to arrive; 0 for one on this machine."""
    return PATIENCE + source.size / BYTES_PER_SECOND if isinstance(source, RemoteFile) else 0.0
