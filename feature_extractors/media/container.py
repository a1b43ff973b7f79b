"""Media files opened with PyAV: regular local files only, within stated limits, every packet accounted for.

Shared by video and sound. Runs in decoding processes: never imports torch.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Largest frame that is decoded, 8192 x 8192: 8K video is half of it. A header that declares more is refused.
MAX_PIXELS = 1 << 26
# Largest decoded clip or sound that is handed on, in bytes.
MAX_CLIP_BYTES = 1 << 30
# Formats that are lists of other files, or text that is drawn: a clip is one file, and it is a recording.
REFUSED_FORMATS = frozenset({"concat", "dash", "hls", "imf", "sdp", "tty"})


class RefusedError(Exception):
    """A file that is not decoded; `status` is one of `protocols.features.STATUSES`, the message the reason."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def check_file(path: Path, root: Path | None = None) -> None:
    """Refuse all but regular files with content, without opening them (opening a pipe blocks for ever).

    Parameters
    ----------
    path
        Any path.
    root
        When given, links that lead out of this folder are refused as well.

    Raises
    ------
    RefusedError
        `missing` for a file that is absent, not regular or out of bounds, `empty` for 0 bytes.
    """
    try:
        found = path.stat()
        if root is not None and not path.resolve().is_relative_to(root.resolve()):
            raise RefusedError("missing", "a link that leads out of the media folder")
    except (FileNotFoundError, NotADirectoryError):
        raise RefusedError("missing", "a link to nothing" if path.is_symlink() else "no such file") from None
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a name with a null byte
        raise RefusedError("missing", f"the file cannot be read: {error_text(error)}") from None
    if stat.S_ISDIR(found.st_mode):
        raise RefusedError("missing", "a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise RefusedError("missing", "not a regular file")
    if found.st_size == 0:
        raise RefusedError("empty", "the file has 0 bytes")


def open_media(path: Path) -> Any:
    """Open a file for reading, as a context manager.

    Raises
    ------
    RefusedError
        If it is not a regular file or of a refused format.
    av.FFmpegError
        If no demuxer takes it.
    """
    import av

    check_file(path)
    container = av.open(
        # A name with a colon is no protocol, and what the file refers to is not fetched from a network.
        f"file:{path.absolute()}",
        options={"protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)},
        **_any_encoding(av.__version__),
    )
    if REFUSED_FORMATS & set(container.format.name.split(",")):
        container.close()
        raise RefusedError("undecodable", f"a file of format {container.format.name} is not a recording")
    return container


def _any_encoding(version: str) -> dict[str, Any]:
    """Return the options by which PyAV opens a file whose titles are not UTF-8; from version 19 on it needs none."""
    return {"metadata_errors": "replace"} if int(version.split(".")[0]) < 19 else {}


def video_stream(container: Any) -> Any:
    """Return the stream that FFmpeg would show, ready for decoding.

    Raises
    ------
    RefusedError
        If there is none, or its frames are larger than `MAX_PIXELS`.
    """
    from av.stream import Disposition

    stream = container.streams.best("video")
    if stream is None:
        raise RefusedError("undecodable", "no video stream")
    if stream.disposition & Disposition.attached_pic:
        raise RefusedError("undecodable", "no video stream but a cover picture")
    context = stream.codec_context
    if context is None:
        raise RefusedError("undecodable", "a codec that this FFmpeg cannot decode")
    if context.width * context.height > MAX_PIXELS:
        limit = f"the limit is {MAX_PIXELS} pixels"
        raise RefusedError("undecodable", f"the header declares frames of {context.width}x{context.height}; {limit}")
    # Also for frames that grow on the way.
    context.options = {"max_pixels": str(MAX_PIXELS)}
    # Threads belong to the processes around us; one per decoder also makes damaged files repeatable.
    stream.thread_type = "NONE"
    context.thread_count = 1
    return stream


class DamageCounter:
    """Counter of packets that do not decode."""

    def __init__(self) -> None:
        self.damaged = 0


def decoded_frames(container: Any, stream: Any, counter: DamageCounter) -> Iterator[Any]:
    """Yield all frames of a stream in one sequential pass; packets that do not decode are counted and skipped.

    Raises
    ------
    MemoryError
        If a frame does not fit.
    """
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            counter.damaged += 1
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            counter.damaged += 1


class Orientation(NamedTuple):
    """Turn of a stored frame to be upright: transposed first, then flipped."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @property
    def mirrored(self) -> bool:
        """True for a mirror image, which no rotation gives."""
        return self.transpose ^ self.flip_rows ^ self.flip_columns

    def upright(self, image: np.ndarray) -> np.ndarray:
        """Turn an image [H, W, 3]; contiguous, [W, H, 3] where it is transposed."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        return np.ascontiguousarray(image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1])


def orientation(frame: Any) -> Orientation:
    """Read a frame's display matrix (ISO/IEC 14496-12, 8.3.2), to the nearest quarter turn, mirrored or not.

    The matrix sends a point (x, y) to (a x + c y, b x + d y), with x to the right and y down.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].astype(np.int64)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, bool(d < 0), bool(a < 0))
    return Orientation(True, bool(b < 0), bool(c < 0))


def error_text(error: Exception) -> str:
    """Return the message of a decoder without the path: reasons are stored, and compared between machines."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


def file_size(path: Path) -> int:
    """Return the bytes of a file, 0 where the system does not tell."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
