"""The table of extractors in README.md says what the extractors say of themselves."""

from pathlib import Path

from bench import registry
from bench.cli.listing import _plugins

README = Path(__file__).parents[2] / "README.md"


def test_the_table_of_extractors_is_what_bench_list_shows():
    text = README.read_text(encoding="utf-8")
    table = text[text.index("## Extractors\n") :].split("\n## ")[0]
    ours = {n for n, point in registry.names("extractor").items() if point.value.startswith("feature_extractors.")}
    said = [
        [f"`{row['name']}`", *(row[key] or "-" for key in ("summary", "feature", "checkpoints", "licence"))]
        for row in _plugins("extractor")
        if row["name"] in ours
    ]
    assert [line for line in table.splitlines() if line.startswith("| `")] == [
        "| " + " | ".join(cells) + " |" for cells in said
    ]
