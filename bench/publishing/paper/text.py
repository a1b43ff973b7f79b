"""Text of a paper, from templates; everything put into them is escaped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.publishing.paper.sections import Section
from bench.tables.latex import PACKAGES, tex

MAIN = "main.tex"
_PARTS = ("method", "results", "closing")


class _Source(str):
    """TeX that stands as it is: names of files, labels and keys, which this package makes."""


def files(found: Sequence[Section], title: str = "") -> dict[str, str]:
    """Write the texts of a paper by file name.

    Parameters
    ----------
    found
        A section for each board.
    title
        Of the paper; "": one that names the data.
    """
    templates = Environment(
        loader=PackageLoader("bench.publishing.paper"),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,
        finalize=lambda value: value if isinstance(value, _Source) else tex(str(value)),
    )
    templates.filters["source"] = _Source
    named = ", ".join(dict.fromkeys(section.board.facts["dataset"] for section in found))
    content = {
        "title": title or f"Features of Videos in Recommenders: Results on {named}",
        "sections": found,
        "protocols": _same(found),
        "packages": _Source(PACKAGES),
        "pocket": any("pocket" in one for section in found for one in section.checkpoints()),
        "simulated": [section for section in found if section.board.simulated],
        "few_seeds": [section for section in found if section.board.these_seeds_only],
        "parts": [_Source(part) for part in _PARTS],
    }
    texts = {MAIN: templates.get_template(MAIN).render(content)}
    for part in _PARTS:
        texts[f"text/{part}.tex"] = templates.get_template(f"{part}.tex").render(content)
    return texts


def _same(found: Sequence[Section]) -> list[tuple[str, list[str]]]:
    """Put boards with equal protocols together: their titles, and the sentences."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for section in found:
        groups[tuple(section.protocol())].append(section.board.facts["protocol"])
    return [(", ".join(dict.fromkeys(names)), list(said)) for said, names in groups.items()]
