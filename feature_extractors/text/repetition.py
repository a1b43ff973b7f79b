"""Detection of repetitive text, as models write that are caught in a loop.

Short loops are not found: one that ends after some thirty characters stays below the limit.
"""

from __future__ import annotations

import zlib

#: Ratio of compression above which a text repeats itself: Whisper's own threshold.
LIMIT = 2.4
# Characters that are judged at once. Whisper's threshold is for thirty seconds of speech, about as many; longer prose
# without any loop goes above it, for zlib finds more to refer to.
PIECE = 500


def compression(text: str) -> float:
    """Return the bytes of a text over those of its zlib compression, as `whisper.utils.compression_ratio`; 0 for ""."""
    data = text.encode("utf-8", "surrogatepass")
    return len(data) / len(zlib.compress(data))


def highest(text: str) -> float:
    """Return the highest compression ratio among the consecutive pieces of `PIECE` characters of a text."""
    return max((compression(text[at : at + PIECE]) for at in range(0, len(text), PIECE)), default=0.0)
