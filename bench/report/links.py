"""Links to papers, and the cards of checkpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import registry
from bench.boards.rows import BoardRow
from feature_extractors.models.checkpoint import cards
from feature_extractors.models.checkpoint.cards import Card
from protocols.errors import BenchError

_ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
PAGE = "checkpoints.html"


@dataclass(frozen=True)
class Method:
    """Model or extractor of a board.

    Attributes
    ----------
    name, summary
        As `bench list` has them.
    paper
        Text with links, see `linked`.
    checkpoints
        Names of checkpoints that rows used, each with its link; "" for one without a card.
    """

    name: str
    summary: str
    paper: list[tuple[str, str]]
    checkpoints: list[tuple[str, str]]


def linked(text: str) -> list[tuple[str, str]]:
    """Cut a citation into pieces, each with its address or "".

    Examples
    --------
    >>> linked("DFF (arXiv 2512.21863)")
    [('DFF (', ''), ('arXiv 2512.21863', 'https://arxiv.org/abs/2512.21863'), (')', '')]
    """
    pieces: list[tuple[str, str]] = []
    at = 0
    for found in _ARXIV.finditer(text):
        pieces += [(text[at : found.start()], ""), (found[0], f"https://arxiv.org/abs/{found[1]}")]
        at = found.end()
    return [piece for piece in [*pieces, (text[at:], "")] if piece[0]]


def anchor(card: Card) -> str:
    """Name the place of a card on the page of cards."""
    return re.sub(r"[^a-z0-9.]+", "-", card.id.lower())


def checkpoints(names: str) -> list[tuple[str, str]]:
    """Pair the checkpoints of a record, `A + B`, with the places of their cards; "" where there is none."""
    known = {name: card for card in cards.CARDS for name in (card.id, card.label)}
    parts = names.split(" + ") if names else []
    return [(part, f"{PAGE}#{anchor(known[part])}" if part in known else "") for part in parts]


def methods(rows: Sequence[BoardRow]) -> list[Method]:
    """Describe the models and extractors of a board that are installed plug-ins, models first."""
    used: dict[tuple[str, str], dict[str, None]] = {}
    for kind in ("model", "extractor"):
        for row in rows:
            # `shuffled:captions` is a control of an extractor, `recbole:NARM` a model of a family
            for part in re.split(r"[:+]", getattr(row, "model" if kind == "model" else "extractor")):
                name = part.partition("[")[0]
                if name in registry.names(kind):
                    used.setdefault((kind, name), {})[row.checkpoints if kind == "extractor" else ""] = None
    return [found for (kind, name), of in used.items() if (found := _method(kind, name, of)) is not None]


def _method(kind: str, name: str, of: dict[str, None]) -> Method | None:
    try:
        plugin: Any = registry.load(kind, name)
    except BenchError:  # it needs a package that is not installed here
        return None
    found = dict.fromkeys(pair for names in of for pair in checkpoints(names))
    return Method(name, plugin.summary(), linked(str(getattr(plugin, "paper", "") or "")), list(found))
