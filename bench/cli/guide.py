"""`bench guide`: the user manual, a page a topic."""

from __future__ import annotations

from importlib.resources import files

import click

from bench.cli.idle_options import refuse_beside
from protocols.errors import did_you_mean


@click.command(epilog="Example: bench guide protocol")
@click.argument("topic", required=False)
@click.option("--write", is_flag=True, help="In a checkout: write anew what documents hold of records and plug-ins.")
def guide(topic: str | None, write: bool) -> None:
    """Print a page of the user manual, or the list of its topics."""
    if write:
        refuse_beside("--write", ["topic"])
        _write()
        return
    pages = {one.name.removesuffix(".md"): one for one in files("bench").joinpath("guide").iterdir()}
    if topic is None:
        for name in sorted(pages):
            click.echo(f"{name:<14} {pages[name].read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        return
    if topic not in pages:
        raise did_you_mean("topic", topic, pages)
    text = pages[topic].read_text(encoding="utf-8")
    click.echo("\n".join(line for line in text.splitlines() if not line.startswith("<!-- ")))


def _write() -> None:
    from bench.cli.list_plugins import plugins
    from bench.publishing import documents
    from protocols.atomic_write import write_atomically

    found = documents.documents(plugins)
    for path in documents.stale(found):
        write_atomically(path, found[path])
        click.echo(f"wrote {path.relative_to(documents.REPOSITORY)}")
