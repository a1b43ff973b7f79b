"""Media files with the hash of their bytes, checked again whenever they are read.

A file is hashed first and decoded later, hours later where there are many: what is decoded then must be the bytes that
the feature is stored under.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from feature_extractors.media.container import RefusedError, check_file
from feature_extractors.media.result import Failure

Decoded = TypeVar("Decoded")
#: Size, and times of the last change of content and of the inode, in nanoseconds; a rename changes the last one.
Signature = tuple[int, int, int]
# A file that was changed this recently may change again without another time stamp: it is hashed at every check.
SETTLED_SECONDS = 2.0
# Readings of a file that changes meanwhile.
ATTEMPTS = 3


@dataclass(eq=False)
class HashedFile:
    """Media file and the hash of its bytes.

    Attributes
    ----------
    path
        The file.
    root
        Folder that no link may lead out of; None: links may lead anywhere.
    content
        SHA-256 of its bytes, in hexadecimal.
    signature
        Of the file when its bytes had this hash; None: too young to tell from it.
    """

    path: Path
    root: Path | None
    content: str
    signature: Signature | None

    @property
    def unchanged(self) -> bool:
        """True if the signature says so; False where it cannot tell."""
        try:
            return self.signature is not None and _signature(self.path.stat()) == self.signature
        except (OSError, ValueError):
            return False

    def read(self, decode: Callable[[], Decoded | Failure]) -> Decoded | Failure:
        """Call `decode` while the file holds the hashed bytes.

        Returns
        -------
        Decoded | Failure
            What `decode` returned; a failure of the moment (`Failure.passing`) where the file vanished, holds other
            bytes, or was changed during every one of some attempts.
        """
        for _ in range(ATTEMPTS):
            before = self._check()
            if isinstance(before, Failure):
                return before
            found = decode()
            after = self._check()
            if after == before or isinstance(after, Failure):
                return after if isinstance(after, Failure) else found
        return Failure("error", "the file was changed or moved while it was read", passing=True)

    def _check(self) -> Signature | Failure:
        """Return the signature of the file if its bytes are those that were hashed; reads them where it moved."""
        try:
            check_file(self.path, self.root)
            signature = _signature(self.path.stat())
            if signature == self.signature:
                return signature
            content, self_signed, signature = _hashed(self.path)
        except RefusedError as error:
            return Failure("missing", f"vanished since it was hashed: {error}", passing=True)
        except OSError as error:
            return Failure("missing", f"vanished since it was hashed: {error.strerror}", passing=True)
        if content != self.content:
            return Failure("error", "the file holds other bytes than when it was hashed", passing=True)
        self.signature = self_signed
        return signature


def hash_file(path: Path | None, root: Path | None = None) -> HashedFile | Failure:
    """Hash a file's bytes.

    Parameters
    ----------
    path
        Any path; a pipe, a device or a folder is refused unopened. None: an item without a video.
    root
        When given, links that lead out of this folder are refused.

    Returns
    -------
    HashedFile | Failure
        A failure of an absent, unreadable or zero-byte file, or of one that changes while it is read.
    """
    if path is None:
        return Failure("missing", "no video is named")
    path = Path(path)
    try:
        check_file(path, root)
        for _ in range(ATTEMPTS):
            content, signature, _ = _hashed(path)
            if content:
                return HashedFile(path, root, content, signature)
    except RefusedError as error:
        return Failure(error.status, str(error))
    except OSError as error:
        return Failure("missing", f"the file cannot be read: {error.strerror}")
    return Failure("error", "the file changes while it is read", passing=True)


def _hashed(path: Path) -> tuple[str, Signature | None, Signature]:
    """Return hash ("" where it changed meanwhile), the signature to trust if there is one, and the signature."""
    with path.open("rb") as handle:
        now = time.time_ns()
        before = _signature(os.fstat(handle.fileno()))
        content = hashlib.file_digest(handle, "sha256").hexdigest()
        after = _signature(os.fstat(handle.fileno()))
    settled = now - max(before[1:]) > SETTLED_SECONDS * 1e9
    return content if before == after else "", before if settled else None, before


def _signature(found: os.stat_result) -> Signature:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
