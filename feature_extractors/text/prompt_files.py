"""Prompts by name, or from a text file."""

from __future__ import annotations

import re
from pathlib import Path

from protocols.errors import UserError

PROMPTS = Path(__file__).parent / "prompts"


def read_prompt(prompt: str) -> str:
    """Return the text of a named prompt or of a prompt file; `none` is an empty prompt.

    Raises
    ------
    UserError
        If there is no such prompt, or it is empty.
    """
    if prompt == "none":
        return ""
    path = PROMPTS / f"{prompt}.txt" if re.fullmatch(r"[\w-]+", prompt) else Path(prompt).expanduser()
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(p.stem for p in PROMPTS.glob("*.txt")))
        raise UserError(f"no prompt {prompt!r}", remedy=f"known prompts: none, {known}; or give a text file") from error
    if not text:
        raise UserError(f"the prompt file {path} is empty")
    return text
