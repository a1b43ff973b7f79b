"""What stored texts look like: length, duplicates, refusals, loops, empties, languages; no model is asked."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.diagnostics import refusals
from bench.diagnostics.languages import language
from feature_extractors.store import catalogue
from feature_extractors.text import repetition
from protocols.errors import UserError

# Texts shown of those that many items share, and items named of those in which something was found.
COMMONEST, NAMED = 5, 20
# A text with a character that stands for none, or of none of the kinds that print: bytes cut in the middle of a letter.
UNREADABLE = frozenset({"Cc", "Cs", "Co", "Cn"})


@dataclass(frozen=True, eq=False)
class Stored:
    """The texts of a space.

    Attributes
    ----------
    entry
        The space.
    texts
        By item id; none is blank.
    status
        Number of items by what became of them, `ok` for those with a text; blank texts are `empty`, rows whose
        checksum does not fit `damaged`, and items that were asked for and are not there `not stored`.
    """

    entry: catalogue.Entry
    texts: dict[str, str]
    status: dict[str, int]


@dataclass(frozen=True)
class Found:
    """Texts in which something was found.

    Attributes
    ----------
    count
        How many.
    items
        At most `NAMED` of their ids, each with what was found.
    """

    count: int
    items: dict[str, str]


@dataclass(frozen=True)
class Audit:
    """What was found in the texts of a space.

    Attributes
    ----------
    space, checkpoints
        Whose texts these are.
    status
        As `Stored.status`.
    words, characters
        `median`, `p5`, `p95` (nearest ranks) and `longest`: words are what white space parts; look at the characters
        where a language does without.
    longest
        Item with the most words.
    distinct
        Different texts, in any case and with any white space between words.
    shared
        Texts that are the same as that of another item.
    commonest
        The texts that most items share, at most `COMMONEST`, each with their number.
    refusals
        Texts with a phrase of `refusals.txt`.
    loops
        Texts that repeat themselves: the highest ratio of compression of their pieces is above `repetition.LIMIT`.
    unreadable
        Texts with replacement or control characters.
    languages, title_languages
        Number of texts, and of titles of all items asked for, by language; no titles were given: None.
    """

    space: str
    checkpoints: list[str]
    status: dict[str, int]
    words: dict[str, float]
    characters: dict[str, float]
    longest: str
    distinct: int
    shared: int
    commonest: dict[str, int]
    refusals: Found
    loops: Found
    unreadable: Found
    languages: dict[str, int]
    title_languages: dict[str, int] | None

    @property
    def items(self) -> int:
        """Items, with and without a text."""
        return sum(self.status.values())

    @property
    def texts(self) -> int:
        """Items with a text."""
        return self.status.get("ok", 0)

    def as_json(self) -> dict[str, Any]:
        """Everything, with the two sums."""
        return {**asdict(self), "items": self.items, "texts": self.texts}


def choose(root: Path, name: str) -> list[catalogue.Entry]:
    """Find the stored texts that a name means.

    Parameters
    ----------
    root
        The store.
    name
        An extractor (`captions`, `published-texts:FILE`: only what came from this very content), or a space's id or
        its beginning.

    Returns
    -------
    list
        Spaces of kind `text`; where one was made from another (transcripts from what Whisper said of each window),
        only the last of them, unless the name means the other alone.

    Raises
    ------
    UserError
        If there are none.
    """
    among = [entry for entry in catalogue.find_all(root) if entry.space is not None and entry.space.kind == "text"]
    extractor, _, argument = name.partition(":")
    fitting = [entry for entry in among if entry.extractor.partition(".")[0] == extractor]
    if argument:
        content = registry.create("extractor", name, {}).options().get("content")
        fitting = [entry for entry in fitting if entry.space and entry.space.config.get("content") == content]
    fitting = fitting or [entry for entry in among if name and entry.id.startswith(name)]
    parents = {parent for entry in fitting if entry.space for parent in entry.space.config.get("parents", ())}
    found = [entry for entry in fitting if entry.id not in parents]
    if not found:
        known = sorted({entry.extractor.partition(".")[0] for entry in among})
        raise UserError(
            f"no texts of {name!r} in {root}; there are texts of: {', '.join(known) or 'nothing'}",
            remedy="bench extract --extractor NAME makes them; `bench features list` shows what there is",
        )
    return found


def read(entry: catalogue.Entry, only: Collection[str] | None = None) -> Stored:
    """Read the texts of a space.

    Parameters
    ----------
    entry
        A space of kind `text`.
    only
        Ids of the items that count; None: all that are stored.

    Raises
    ------
    DamagedStoreError
        If the space cannot be read.
    """
    index = catalogue.read_index(entry.store)
    wanted = set(index.item_ids if only is None else only)
    pairs = zip(index.item_ids, index.status, strict=True)
    status = Counter(one for item, one in pairs if item in wanted and one != "ok")
    texts: dict[str, str] = {}
    for rows in catalogue.read_ok(entry.store, index):
        for row in rows:
            if row is not None and row.item_id in wanted:
                texts[row.item_id] = str(row.value)
    blank = [item for item, text in texts.items() if not text.strip()]
    for item in blank:
        del texts[item]
    ok = sum(one == "ok" and item in wanted for item, one in zip(index.item_ids, index.status, strict=True))
    status["empty"] += len(blank)
    status["damaged"] += ok - len(texts) - len(blank)
    status["not stored"] += len(wanted.difference(index.item_ids))
    return Stored(entry, texts, {"ok": len(texts), **{one: count for one, count in status.items() if count}})


def audit(stored: Stored, titles: Iterable[str] | None = None) -> Audit:
    """Measure the texts of a space.

    Parameters
    ----------
    stored
        The texts.
    titles
        Titles of the items, to be told the language of; None: there are none.
    """
    texts, space = stored.texts, stored.entry.space
    words = {item: len(text.split()) for item, text in texts.items()}
    same = Counter(" ".join(text.casefold().split()) for text in texts.values())
    ratios = {item: repetition.highest(text) for item, text in texts.items()}
    return Audit(
        space=stored.entry.id,
        checkpoints=[str(one) for one in (space.provenance.get("checkpoints", ()) if space else ())],
        status=stored.status,
        words=_lengths(list(words.values())),
        characters=_lengths([len(text) for text in texts.values()]),
        longest=max(words, key=words.__getitem__, default=""),
        distinct=len(same),
        shared=sum(count for count in same.values() if count > 1),
        commonest={text: count for text, count in same.most_common(COMMONEST) if count > 1},
        refusals=_found({item: refusals.phrase(text) for item, text in texts.items()}),
        loops=_found({item: f"{ratio:.1f}" for item, ratio in ratios.items() if ratio > repetition.LIMIT}),
        unreadable=_found({item: _strange(text) for item, text in texts.items()}),
        languages=_languages(texts.values()),
        title_languages=None if titles is None else _languages(titles),
    )


def _lengths(counts: list[int]) -> dict[str, float]:
    if not counts:
        return {}
    low, high = np.percentile(counts, (5, 95), method="nearest")
    return {"median": float(np.median(counts)), "p5": int(low), "p95": int(high), "longest": max(counts)}


def _found(what: Mapping[str, str]) -> Found:
    items = {item: said for item, said in what.items() if said}
    return Found(len(items), dict(list(items.items())[:NAMED]))


def _strange(text: str) -> str:
    """Name the first character of a text that nobody can read, "" where there is none."""
    for character in text:
        if character == "\N{REPLACEMENT CHARACTER}" or (
            unicodedata.category(character) in UNREADABLE and character not in "\t\n\r"
        ):
            return f"U+{ord(character):04X}"
    return ""


def _languages(texts: Iterable[str]) -> dict[str, int]:
    return dict(Counter(map(language, texts)).most_common())
