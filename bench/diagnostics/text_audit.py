"""Audit of stored texts without a model: length, duplicates, refusals, repetition loops, languages."""

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
from bench.diagnostics.stored_features import reading
from feature_extractors.store import catalogue
from feature_extractors.text import repetition
from feature_extractors.text.limits import count_cut
from protocols.errors import UserError

# Number of commonest texts, and of items named for each fault.
COMMONEST, NAMED = 5, 20
# Unicode categories of control, surrogate, private and unassigned characters: bytes cut in the middle of a letter.
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
        Number of items by status: `ok` with a text, `empty` with a blank one, `damaged` where the checksum does not
        fit, `not stored` for requested items that are missing in the space, else the status of the extraction.
    cut
        As of `Audit`.
    """

    entry: catalogue.Entry
    texts: dict[str, str]
    status: dict[str, int]
    cut: dict[str, int]


@dataclass(frozen=True)
class Found:
    """Texts with a fault.

    Attributes
    ----------
    count
        Number of them.
    items
        At most `NAMED` of their ids, each with the faulty part.
    """

    count: int
    items: dict[str, str]


@dataclass(frozen=True)
class Audit:
    """Statistics of the texts of a space.

    Attributes
    ----------
    space, checkpoints
        Origin of the texts.
    status
        As `Stored.status`.
    words, characters
        `median`, `p5`, `p95` (nearest ranks) and `longest`: words are separated by white space; use the characters
        for a language without it.
    longest
        Item with the most words.
    distinct
        Different texts, regardless of case and white space.
    shared
        Texts equal to that of another item.
    commonest
        The most frequent texts, at most `COMMONEST`, each with its number of items.
    refusals
        Texts with a phrase of `refusals.txt`.
    loops
        Texts that repeat themselves: the highest compression ratio of their pieces is above `repetition.LIMIT`.
    cut
        Rows with a remark that a text is cut, by remark: answers that end at the limit of tokens, texts that are not
        read to their end.
    unreadable
        Texts with replacement or control characters.
    languages, title_languages
        Number of texts, and of titles of all requested items, by language; None: no titles were given.
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
    cut: dict[str, int]
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
        """Return all fields, with the two sums."""
        return {**asdict(self), "items": self.items, "texts": self.texts}


def choose(root: Path, name: str) -> list[catalogue.Entry]:
    """Find stored texts by name.

    Parameters
    ----------
    root
        The store.
    name
        An extractor (`captions`; `published-texts:FILE`: only texts from this content), or a space's id or its
        beginning.

    Returns
    -------
    list
        Spaces of kind `text`; where one was made from another (transcripts from texts of windows) only the last of
        them, unless the name fits the other alone.

    Raises
    ------
    UserError
        If no space fits.
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
            remedy="bench extract --extractor NAME makes them; `bench features list` shows all spaces",
        )
    return found


def read(entry: catalogue.Entry, only: Collection[str] | None = None) -> Stored:
    """Read the texts of a space.

    Parameters
    ----------
    entry
        A space of kind `text`.
    only
        Ids of the items to count; None: all stored ones.

    Raises
    ------
    DataError
        If the space is damaged.
    """
    with reading(entry):
        index = catalogue.read_index(entry.store)
        return _read(entry, index, set(index.item_ids if only is None else only))


def _read(entry: catalogue.Entry, index: catalogue.Index, wanted: set[str]) -> Stored:
    pairs = zip(index.item_ids, index.status, strict=True)
    status = Counter(one for item, one in pairs if item in wanted and one != "ok")
    texts: dict[str, str] = {}
    reasons: list[str] = []
    for rows in catalogue.read_ok(entry.store, index):
        for row in rows:
            if row is not None and row.item_id in wanted:
                texts[row.item_id] = str(row.value)
                reasons.append(row.reason)
    blank = [item for item, text in texts.items() if not text.strip()]
    for item in blank:
        del texts[item]
    ok = sum(one == "ok" and item in wanted for item, one in zip(index.item_ids, index.status, strict=True))
    status["empty"] += len(blank)
    status["damaged"] += ok - len(texts) - len(blank)
    status["not stored"] += len(wanted.difference(index.item_ids))
    outcomes = {"ok": len(texts), **{one: count for one, count in status.items() if count}}
    return Stored(entry, texts, outcomes, count_cut(reasons))


def audit(stored: Stored, titles: Iterable[str] | None = None) -> Audit:
    """Measure the texts of a space.

    Parameters
    ----------
    stored
        The texts.
    titles
        Titles of the items, for their languages; None: none are given.
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
        cut=stored.cut,
        unreadable=_found({item: _strange(text) for item, text in texts.items()}),
        languages=_languages(texts.values()),
        title_languages=None if titles is None else _languages(titles),
    )


def _lengths(counts: list[int]) -> dict[str, float]:
    if not counts:
        return {}
    low, high = np.percentile(counts, (5, 95), method="nearest")
    return {"median": float(np.median(counts)), "p5": int(low), "p95": int(high), "longest": max(counts)}


def _found(parts: Mapping[str, str]) -> Found:
    items = {item: part for item, part in parts.items() if part}
    return Found(len(items), dict(list(items.items())[:NAMED]))


def _strange(text: str) -> str:
    """Name the first unreadable character of a text; "" without one."""
    for character in text:
        if character == "\N{REPLACEMENT CHARACTER}" or (
            unicodedata.category(character) in UNREADABLE and character not in "\t\n\r"
        ):
            return f"U+{ord(character):04X}"
    return ""


def _languages(texts: Iterable[str]) -> dict[str, int]:
    return dict(Counter(map(language, texts)).most_common())
