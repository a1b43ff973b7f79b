"""Audits of texts as a table, one column a space, with examples below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tabulate import tabulate

from bench.console import printable
from bench.diagnostics.text_audit import Audit, Found

LANGUAGES = 4  # named in the table
SHOWN = 3  # texts shown of each kind
WIDTH = 90  # characters shown of a text
OF_ITEMS = "- "  # before the names of rows that divide the items


def text(found: Sequence[Audit]) -> str:
    """Write audits side by side, then the texts in which something was found."""
    columns = [_measures(one) for one in found]
    names = list(dict.fromkeys(name for column in columns for name in column))
    of_items = [name for name in names if name.startswith(OF_ITEMS)]  # of all spaces, beside one another
    rest = [name for name in names if name not in of_items]
    at = rest.index("items") + 1
    rows = [[name, *(column.get(name, "0") for column in columns)] for name in rest[:at] + of_items + rest[at:]]
    parts = [tabulate(rows, ["", *(one.space for one in found)], tablefmt="plain", disable_numparse=True)]
    for one in found:
        for title, lines in _examples(one).items():
            parts.append("\n".join([f"{title} of {one.space}:", *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts)


def _measures(one: Audit) -> dict[str, str]:
    def of_texts(count: int) -> str:
        return _share(count, one.texts)

    def lengths(of: Mapping[str, float]) -> str:
        if not of:
            return "-"
        return "{median:g}, {p5:g} to {p95:g}, longest {longest:g}".format_map(of)

    rows = {
        "checkpoints": printable(", ".join(one.checkpoints)) or "-",
        "items": str(one.items),
        **{OF_ITEMS + status: _share(count, one.items) for status, count in one.status.items()},
        "words: median, 5 to 95%": lengths(one.words),
        "characters": lengths(one.characters),
        "share a text": of_texts(one.shared),
        "distinct texts": str(one.distinct),
        "refusals": of_texts(one.refusals.count),
        "loops": of_texts(one.loops.count),
        **{f"cut: {printable(remark)}": of_texts(count) for remark, count in one.cut.items()},
        "unreadable": of_texts(one.unreadable.count),
        "language": _languages(one.languages),
    }
    if one.title_languages is not None:
        rows["language of titles"] = _languages(one.title_languages)
    return rows


def _examples(one: Audit) -> dict[str, list[str]]:
    lines = {"commonest texts": [f"{count} x {_quoted(text)}" for text, count in list(one.commonest.items())[:SHOWN]]}
    kinds: dict[str, tuple[Found, Callable[[str], str]]] = {
        "refusals": (one.refusals, _quoted),
        "loops": (one.loops, lambda ratio: f"compression ratio {ratio}"),
        "unreadable": (one.unreadable, str),
    }
    for title, (found, write) in kinds.items():
        lines[title] = [f"{printable(item)}: {write(part)}" for item, part in list(found.items.items())[:SHOWN]]
    return {title: found for title, found in lines.items() if found}


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:.1%})" if total else str(count)


def _languages(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    named = list(counts.items())[:LANGUAGES]
    rest = total - sum(count for _, count in named)
    shares = [f"{name} {count / total:.1%}" for name, count in named] + ([f"other {rest / total:.1%}"] if rest else [])
    return ", ".join(shares) or "-"


def _quoted(text: str) -> str:
    flat = printable(" ".join(text.split()))
    return f'"{flat[:WIDTH]}..."' if len(flat) > WIDTH else f'"{flat}"'
