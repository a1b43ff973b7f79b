"""Remarks on texts that are cut: answers that end at the limit of tokens, texts that are not read to their end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

AT_LIMIT = "the answer ends at the limit of"
UNREAD = "only the first"


class CutText(str):
    """An answer that ends at the limit of tokens, with a remark for the reader of its row."""

    limit: int
    note: str

    def __new__(cls, text: str, limit: int) -> CutText:
        """Make the text with its remark."""
        found = super().__new__(cls, text)
        found.limit = limit
        found.note = f"{AT_LIMIT} {limit} tokens"
        return found


def count_cut(reasons: Iterable[str]) -> dict[str, int]:
    """Count the rows whose remarks say that a text is cut, by remark.

    Examples
    --------
    >>> count_cut(["two frames; the answer ends at the limit of 48 tokens", "", "no title"])
    {'the answer ends at the limit of 48 tokens': 1}
    """
    parts = (part.strip() for reason in reasons for part in reason.split("; "))
    return dict(Counter(part for part in parts if part.startswith((AT_LIMIT, UNREAD))))
