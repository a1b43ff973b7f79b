"""Media files opened with PyAV: regular or remote files only, within stated limits, every packet accounted for.

Shared by video and sound. Runs in decoding processes: never imports torch.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from feature_extractors.media.remote_file import RemoteFile, Source

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


def open_media(source: Source) -> Any:
    """Open a file for reading, as a context manager.

    Raises
    ------
    RefusedError
        If it is not a regular file or of a refused format.
    RemoteError
        If a remote one cannot be read.
    av.FFmpegError
        If no demuxer takes it.
    """
    import av

    if isinstance(source, RemoteFile):
        file: Any = source.open()
    else:
        check_file(source)
        file = f"file:{source.absolute()}"  # a name with a colon is no protocol
    container = av.open(
        file,
        # what the file refers to is not fetched: nothing from a network, and nothing at all for a remote one
        options={
            "protocol_whitelist": "none" if isinstance(source, RemoteFile) else "file",
            "max_pixels": str(MAX_PIXELS),
        },
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


@dataclass(eq=False)
class Damage:
    """Signs of damage that one pass over a stream meets.

    Attributes
    ----------
    undecodable
        Packets that do not decode.
    impossible
        Packets that decode although they hold bytes that no encoder writes, or that the file marks as corrupt.
    corrupt
        Frames that the decoder marks as corrupt.
    missing, declared
        Seconds between the end of what decodes and the end that the header declares, and these; 0 where nothing is
        missing, or the pass did not go to the end.
    """

    undecodable: int = 0
    impossible: int = 0
    corrupt: int = 0
    missing: float = 0.0
    declared: float = 0.0

    def inspect(self, packet: Any) -> None:
        """Count a packet that cannot be as it was written."""
        if packet.is_corrupt or (packet.size and _is_impossible(bytes(packet), packet.stream.codec_context)):
            self.impossible += 1

    def end(self, stream: Any, decoded: float, step: float) -> None:
        """Compare the end of what decodes with what the header declares.

        Parameters
        ----------
        stream
            All of which was read.
        decoded
            Seconds that decode.
        step
            Seconds of one frame.
        """
        self.declared = _declared_seconds(stream, step)
        short = self.declared - decoded
        self.missing = short if short > max(SHORT_FRAMES * step, SHORT_SHARE * self.declared) else 0.0

    @property
    def note(self) -> str:
        """Remark for the reader of a row with features; "" without a sign of damage."""
        counts = {
            "packets do not decode": self.undecodable,
            "packets hold impossible bytes": self.impossible,
            "frames are marked as corrupt": self.corrupt,
        }
        signs = [f"{count} {sign}" for sign, count in counts.items() if count]
        if self.missing:
            signs.append(f"the last {self.missing:.1f} of {self.declared:.1f} s are missing")
        return f"damaged: {', '.join(signs)}" if signs else ""


# A header may be wrong by this much without a word: duration is often that of the sound, or rounded to whole frames.
SHORT_FRAMES, SHORT_SHARE = 3, 0.05
# Inside of a NAL unit two zero bytes are never followed by a third one or by 1 or 2 (emulation prevention, ITU-T H.264
# 7.4.1, H.265 7.4.2); between units zeros only stand before a start code.
_ZEROS_IN_UNIT = re.compile(rb"\x00\x00[\x00-\x02]+[^\x00]")
_ZEROS_BETWEEN_UNITS = re.compile(rb"\x00\x00\x00+[^\x00\x01]|\x00\x00\x02")
# VP8, VP9 and AV1 code by arithmetic: zeros come one by one, but for pictures without anything in them.
_ARITHMETIC, _LONG_ZEROS = ("vp8", "vp9", "av1"), re.compile(rb"[^\x00]\x00{16}")


def _is_impossible(content: bytes, context: Any) -> bool:
    """Return True for a packet with zeros where no encoder of its codec writes them."""
    codec = context.codec.canonical_name
    if codec in _ARITHMETIC:
        return _LONG_ZEROS.search(content) is not None
    if codec not in ("h264", "hevc"):
        return False
    header = context.extradata or b""
    if not header.startswith(b"\x01"):
        return _ZEROS_BETWEEN_UNITS.search(content) is not None
    at, width = 0, 1 + ((header[4] if codec == "h264" else header[21]) & 3)  # ISO/IEC 14496-15
    while at < len(content):
        start = at + width
        at = start + int.from_bytes(content[at:start], "big")
        if at > len(content) or _ZEROS_IN_UNIT.search(content, start, at):
            return True
    return False


def _declared_seconds(stream: Any, step: float) -> float:
    """Return what the header says of a stream's duration; 0 where it says nothing."""
    import av

    whole = (stream.container.duration or 0) / av.time_base
    own = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    own = own or _seconds(stream.metadata.get("DURATION", ""))
    if not own:  # that of the longest stream
        own = whole if len(stream.container.streams) == 1 else 0.0
    # The index of a truncated AVI is made anew, and its duration with it: the count in the header stays.
    counted = stream.frames * step if "avi" in stream.container.format.name.split(",") else 0.0
    return max(min(own, whole or own), counted)


def _seconds(text: str) -> float:
    """Read `00:01:02.5`, as Matroska writes durations; 0 for anything else."""
    parts = text.split(":")
    try:
        return sum(float(part) * 60**place for place, part in enumerate(reversed(parts))) if len(parts) == 3 else 0.0
    except ValueError:
        return 0.0


def decoded_frames(container: Any, stream: Any, damage: Damage) -> Iterator[Any]:
    """Yield all frames of a stream in one sequential pass; signs of damage are counted.

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
            damage.undecodable += 1
            return
        if packet is None:
            return
        damage.inspect(packet)
        try:
            for frame in packet.decode():
                damage.corrupt += bool(getattr(frame, "is_corrupt", False))
                yield frame
        except av.error.EOFError:
            return
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            damage.undecodable += 1


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


def file_size(source: Source) -> int:
    """Return the bytes of a file, 0 where the system does not tell."""
    if isinstance(source, RemoteFile):
        return source.size
    try:
        return source.stat().st_size
    except (OSError, ValueError):
        return 0
