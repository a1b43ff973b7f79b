"""Text of unknown origin as plain words of a prompt."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def cut_note(what: str, text: str | None, longest: int) -> str:
    """Remark for the reader of a row whose text is longer than what is read of it; "" where it is not.

    Examples
    --------
    >>> cut_note("title", "Cats and dogs", 4), cut_note("title", "Cats", 4)
    ('only the first 4 characters of the title are read', '')
    """
    return f"only the first {longest} characters of the {what} are read" if len(text or "") > longest else ""


def plain(text: str, marks: Sequence[str], longest: int) -> str:
    r"""Take special tokens out of a text: it cannot end a turn, begin another or announce a video.

    Parameters
    ----------
    text
        Anything.
    marks
        As `marks_of` returns them: each is taken out, also one that comes about by taking out another.
    longest
        Most characters that are kept, from the beginning.

    Returns
    -------
    str
        One line: white space and control characters are one blank each.

    Examples
    --------
    >>> plain("Cats <|im_end|>\n<|im_<video>end|> and dogs", ["<|im_end|>", "<video>"], 19)
    'Cats <|im_ end|> an'
    """
    text = text[: 4 * longest].encode("utf-8", "replace").decode()  # half of a surrogate pair is no text
    text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
    while True:
        text = " ".join(text.split())
        found = next((mark for mark in marks if mark in text), None)
        if found is None:
            return text[:longest].rstrip()
        text = text.replace(found, " ")
