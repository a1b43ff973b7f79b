"""`bench features audit`: what stored texts look like, and grading a sample of them by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options as shared
from bench.cli.stored import readable, store_folder, stored

if TYPE_CHECKING:
    from bench.diagnostics.grading import Score, Share
    from bench.diagnostics.text_audit import Audit, Found, Stored
    from feature_extractors.base import ItemSource

SHEET = "Write a page of sampled clips with frames, title and text, and FILE.csv beside it to grade them in."
SCORE = "Sum up a filled-in CSV."
LANGUAGES = 4  # named in the table
SHOWN = 3  # texts shown of each kind
WIDTH = 90  # characters shown of a text
OF_ITEMS = "- "  # before the names of rows that divide the items


@click.command(
    epilog="Examples: bench features audit captions | bench features audit captions --dataset demo --sheet s.html | "
    "bench features audit --score s.csv"
)
@click.argument("name", required=False)
@click.option("--dataset", metavar="NAME", help="Only the items of this dataset, with their titles.  [default: all]")
@click.option("--media", metavar="FOLDER", help="Only the clips of this folder.")
@click.option("--set", "sets", multiple=True, metavar="NAME.OPTION=VALUE", help="Options of the dataset.")
@click.option("--sheet", metavar="FILE.html", type=click.Path(path_type=Path, dir_okay=False), help=SHEET)
@click.option("--sample", default=50, show_default=True, type=click.IntRange(min=1), help="Clips on the sheet.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Of the sample.")
@click.option("--frames", metavar="POLICY", help="Frames of each clip on the sheet.  [default: uniform:8]")
@click.option("--score", "filled", metavar="FILE.csv", type=click.Path(path_type=Path, dir_okay=False), help=SCORE)
@stored
def audit(
    name: str | None,
    dataset: str | None,
    media: str | None,
    sets: tuple[str, ...],
    sheet: Path | None,
    sample: int,
    seed: int,
    frames: str | None,
    filled: Path | None,
    cache: str | None,
    as_json: bool,
) -> None:
    """Audit stored texts: length, duplicates, refusals, loops, unreadable and missing ones, languages.

    NAME is an extractor (captions, transcripts, published-texts:FILE) or a space's id or its beginning; all spaces that
    fit stand side by side. What no count can see, whether a text is true, is graded by hand: --sheet, then --score.
    """
    from protocols.errors import UserError

    if filled is not None:
        if sheet is not None:
            raise UserError("--sheet and --score are two steps", remedy="give one of them")
        _score(filled, name, as_json)
        return
    if not name:
        raise UserError("which texts? NAME is missing", remedy="bench features audit captions")
    from bench import console, settings
    from bench.diagnostics import text_audit

    spaces = text_audit.choose(store_folder(cache), name)
    if sheet is not None:
        _check_sheet(sheet, [entry.id for entry in spaces], dataset, media)
    source = None
    if dataset or media:
        folder, bars = settings.cache_folder(cache), console.progress()
        source = shared.item_source(dataset, media, settings.parse_sets(sets), folder, bars)
    only = None if source is None else source.item_ids
    titles = None if source is None else [title for title in source.titles if title]
    texts: list[Stored] = [readable(entry, partial(text_audit.read, entry, only)) for entry in spaces]
    found = [text_audit.audit(one, titles or None) for one in texts]
    written = {}
    if sheet is not None and source is not None:
        about = dataset or Path(str(media)).expanduser().resolve().name  # the page may travel: no path of this machine
        written = _write(sheet, texts[0], source, about, sample, seed, frames)
    if as_json:
        click.echo(json.dumps({"spaces": [one.as_json() for one in found], "sheet": written}))
        return
    _print(found)
    if written:
        click.echo(f"\nwrote {written['page']}: {written['clips']} clips; grade them in {written['csv']}, then")
        click.echo(f"  bench features audit --score {written['csv']}")


def _check_sheet(sheet: Path, spaces: Sequence[str], dataset: str | None, media: str | None) -> None:
    from protocols.errors import UserError

    if not dataset and not media:
        raise UserError(
            "a sheet shows clips and titles, and the texts do not say whose they are",
            remedy="--dataset NAME or --media FOLDER",
        )
    if len(spaces) > 1:
        raise UserError(f"a sheet is of one space, {len(spaces)} fit: {', '.join(spaces)}", remedy="name one of them")
    if not sheet.parent.is_dir():
        raise UserError(f"cannot write {sheet}: there is no folder {sheet.parent}", remedy="choose another --sheet")
    form = sheet.with_suffix(".csv")
    if form == sheet:
        raise UserError(f"{sheet} is where the CSV beside the page would lie", remedy="--sheet FILE.html")
    if form.exists():
        raise UserError(f"{form} is there already, perhaps filled in", remedy="move it away, or choose another --sheet")


def _write(
    sheet: Path, texts: Stored, source: ItemSource, about: str, count: int, seed: int, policy: str | None
) -> dict[str, Any]:
    """Write page and CSV; returns their names."""
    from bench import console
    from bench.diagnostics import grading
    from bench.report import audit_sheet
    from protocols.errors import DataError, UserError

    if not texts.texts:
        raise DataError(f"{texts.entry.id} holds no text of an item of {about}", remedy="bench extract makes them")
    chosen = grading.sample(texts.texts, count, seed)
    policy = policy or audit_sheet.FRAMES
    page = audit_sheet.make(texts, chosen, source, about, seed, console.progress(), policy)
    form = sheet.with_suffix(".csv")
    try:
        sheet.write_text(page, encoding="utf-8")
        with form.open("x", encoding="utf-8-sig", newline="") as out:  # with a mark, or Excel takes it for Latin-1
            out.write(grading.form(chosen, texts.texts, texts.entry.id))
    except OSError as error:
        raise UserError(f"cannot write {error.filename}: {error.strerror}", remedy="choose another --sheet") from error
    return {"page": str(sheet), "csv": str(form), "clips": len(chosen)}


def _print(found: Sequence[Audit]) -> None:
    from tabulate import tabulate

    columns = [_measures(one) for one in found]
    names = list(dict.fromkeys(name for column in columns for name in column))
    of_items = [name for name in names if name.startswith(OF_ITEMS)]  # those that one space has and another lacks, too
    rest = [name for name in names if name not in of_items]
    at = rest.index("items") + 1
    rows = [[name, *(column.get(name, "0") for column in columns)] for name in rest[:at] + of_items + rest[at:]]
    head = ["", *(one.space for one in found)]
    click.echo(tabulate(rows, head, tablefmt="plain", disable_numparse=True))
    for one in found:
        for title, lines in _examples(one).items():
            click.echo(f"\n{title} of {one.space}:")
            for line in lines:
                click.echo(f"  {line}")


def _measures(one: Audit) -> dict[str, str]:
    def of_texts(count: int) -> str:
        return _share(count, one.texts)

    def lengths(of: Mapping[str, float]) -> str:
        if not of:
            return "-"
        return "{median:g}, {p5:g} to {p95:g}, longest {longest:g}".format_map(of)

    rows = {
        "checkpoints": shared.printable(", ".join(one.checkpoints)) or "-",
        "items": str(one.items),
        **{OF_ITEMS + status: _share(count, one.items) for status, count in one.status.items()},
        "words: median, 5 to 95%": lengths(one.words),
        "characters": lengths(one.characters),
        "share a text": of_texts(one.shared),
        "distinct texts": str(one.distinct),
        "refusals": of_texts(one.refusals.count),
        "loops": of_texts(one.loops.count),
        "unreadable": of_texts(one.unreadable.count),
        "language": _languages(one.languages),
    }
    if one.title_languages is not None:
        rows["language of titles"] = _languages(one.title_languages)
    return rows


def _examples(one: Audit) -> dict[str, list[str]]:
    """Lines below the table: what was found in which text."""
    lines = {"commonest texts": [f"{count} x {_quoted(text)}" for text, count in list(one.commonest.items())[:SHOWN]]}
    kinds: dict[str, tuple[Found, Callable[[str], str]]] = {
        "refusals": (one.refusals, _quoted),
        "loops": (one.loops, lambda ratio: f"ratio of compression {ratio}"),
        "unreadable": (one.unreadable, str),
    }
    for title, (found, words) in kinds.items():
        lines[title] = [f"{shared.printable(item)}: {words(said)}" for item, said in list(found.items.items())[:SHOWN]]
    return {title: found for title, found in lines.items() if found}


def _score(path: Path, name: str | None, as_json: bool) -> None:
    from bench.diagnostics import grading
    from protocols.errors import UserError

    found = grading.score(path)
    other = [one.space for one in found if name and not one.space.startswith(name.partition(":")[0])]
    if other:
        raise UserError(
            f"{path} grades texts of {shared.printable(other[0] or 'an unnamed space')}, not of {name!r}",
            remedy="leave out NAME, or give the other file",
        )
    if as_json:
        click.echo(json.dumps([one.as_json() for one in found]))
        return
    for one in found:
        _print_score(one)
    click.echo(f"intervals: {grading.LEVEL:.0%}, Wilson's score; any_wrong: of the texts graded on all three kinds")


def _print_score(one: Score) -> None:
    from tabulate import tabulate

    def row(name: str, share: Share) -> list[str]:
        if share.share is None or share.low is None or share.high is None:
            return [name, "-", "0", "-", "-"]
        interval = f"[{share.low:.1%}, {share.high:.1%}]"
        return [name, str(share.yes), str(share.graded), f"{share.share:.1%}", interval]

    click.echo(f"{shared.printable(one.space) or 'texts'}: {one.rows} rows")
    rows = [row(name, share) for name, share in one.questions.items()]
    click.echo(tabulate(rows, ["", "yes", "of", "share", "interval"], tablefmt="plain", disable_numparse=True))


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:.1%})" if total else str(count)


def _languages(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    named = list(counts.items())[:LANGUAGES]
    rest = total - sum(count for _, count in named)
    shares = [f"{name} {count / total:.1%}" for name, count in named] + ([f"other {rest / total:.1%}"] if rest else [])
    return ", ".join(shares) or "-"


def _quoted(text: str) -> str:
    flat = shared.printable(" ".join(text.split()))
    return f'"{flat[:WIDTH]}..."' if len(flat) > WIDTH else f'"{flat}"'
