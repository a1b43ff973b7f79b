"""BibTeX of the datasets, extractors and models in boards."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from bench import records, registry
from bench.boards import leaderboard
from bench.tables.latex import tex
from protocols.errors import BenchError

_ARXIV = re.compile(r"\(arXiv (\d{4}\.\d{4,5})\)")
_CITATION = re.compile(r"(?P<authors>.+?)\. (?P<year>(?:19|20)\d\d)\. (?P<title>.+?)\. (?P<rest>.+)")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


def bibliography(boards: Sequence[Mapping[Path, records.Record]]) -> str:
    """Write entries for the datasets, extractors and models of boards, and for this software.

    Parameters
    ----------
    boards
        Records of each, see `bench.boards.leaderboard.groups`.

    Returns
    -------
    str
        BibTeX; comments give the id of each table, and the names without a known reference.
    """
    lines, entries = [], {"video-rec-bench": _software()}
    for group in boards:
        first = next(iter(group.values()))
        cell = first.cell
        lines.append(
            f"% {_word(cell['dataset'])}, {_word(cell['protocol'])}: table {leaderboard.table_id(group.values())}"
        )
        for key, entry in references(group.values()):
            if entry:
                entries.setdefault(key, entry)
            else:
                lines.append(f"% {key}: no reference known")
    return "\n".join([*dict.fromkeys(lines), "", *(entries[key] for key in sorted(entries))]).rstrip()


def references(found: Iterable[records.Record]) -> Iterable[tuple[str, str]]:
    """Yield keys and entries of the datasets, extractors and models of records; "" where no reference is known."""
    known = list(found)
    for record in {record.cell["dataset"]: record for record in known}.values():
        name, citation = record.cell["dataset"], str(record.dataset.get("citation", ""))
        note = citation or ("Simulated by video-rec-bench" if record.simulated else "")
        key = f"dataset-{_word(name)}"
        yield key, _dataset(key, name, note) if note else ""
    named = {
        (kind, name)
        for record in known
        for kind in ("extractor", "model")
        if record.cell[kind] not in ("-", "id")
        for name in _at_work(kind, record.cell[kind])
    }
    for kind, name in sorted(named):
        key = f"{kind}-{_word(name)}"
        try:
            plugin = registry.load(kind, name.partition(":")[0])
        except BenchError:
            yield key, ""
            continue
        papers = [part.strip() for part in str(getattr(plugin, "paper", "") or "").split(";") if part.strip()]
        if not papers:
            yield key, ""
        for at, paper in enumerate(papers):
            mine = key if at == 0 else f"{key}-{at + 1}"
            yield mine, _paper(mine, paper)


def _at_work(kind: str, name: str) -> list[str]:
    """List the extractors inside controls (`shuffled:captions`) and joined ones; for models the plug-in itself."""
    try:
        return registry.at_work(kind, name) if kind == "extractor" else [name]
    except BenchError:
        return [name]


def _paper(key: str, paper: str) -> str:
    """Write an entry of a plug-in's `paper`: `Name (arXiv 1234.56789)`, or `Authors, Title, Venue Year`; else ""."""
    arxiv = _ARXIV.search(paper)
    if arxiv:
        title = paper[: arxiv.start()].strip()
        fields = {"author": authors().get(arxiv[1], ""), "title": title}
        # plain styles print no eprint
        fields |= {"howpublished": f"arXiv:{arxiv[1]}", "eprint": arxiv[1], "archiveprefix": "arXiv"}
        fields["year"] = f"20{arxiv[1][:2]}"
        return _entry("misc", key, fields)
    parts = [part.strip() for part in paper.split(", ")]
    if len(parts) < 3:
        return ""
    year = _YEAR.findall(parts[-1])
    venue = _YEAR.sub("", parts[-1]).strip(" .") or parts[-1]
    fields = {"author": parts[0].replace(" et al.", " and others"), "title": ", ".join(parts[1:-1])}
    fields |= {"booktitle": venue, "year": year[-1] if year else ""}
    return _entry("inproceedings", key, fields)


def _dataset(key: str, name: str, note: str) -> str:
    """Write an entry of a dataset's citation: `A. Name, B. Other and C. Third. 2024. Title. Venue`, or any text."""
    cited = _CITATION.fullmatch(note)
    if cited:
        fields = {"author": " and ".join(re.split(r",? and |, ", cited["authors"])), "title": cited["title"]}
        return _entry("misc", key, {**fields, "note": cited["rest"], "year": cited["year"]})
    years = _YEAR.findall(note)
    return _entry("misc", key, {"title": f"Dataset {name}", "note": note, "year": years[-1] if years else ""})


@cache
def authors() -> dict[str, str]:
    """Read the authors of papers by their arXiv number, as BibTeX has them; first ones where there are many."""
    lines = files("bench").joinpath("reference/authors.csv").read_text(encoding="utf-8").splitlines()
    return {row["arxiv"]: row["authors"] for row in csv.DictReader(lines)}


def _software() -> str:
    fields = {
        "title": "video-rec-bench: a benchmark harness for video recommendation with multimodal LLM features",
        "author": "{video-rec-bench maintainers}",
        "version": version("video-rec-bench"),
        "note": "Apache-2.0",
    }
    return _entry("software", "video-rec-bench", fields)


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    inside = [f"  {name} = {{{_field(name, value)}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *inside, "}", ""])


def _field(name: str, value: str) -> str:
    """Escape a value; the inner braces of a title keep its capital letters."""
    if name == "author":
        return value
    return f"{{{tex(value)}}}" if name == "title" else tex(value)


def _word(text: str) -> str:
    """Make a name valid in a BibTeX key and in a comment."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)
