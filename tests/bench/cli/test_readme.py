"""README.md says of extractors, fusions and recommenders what they say of themselves."""

from pathlib import Path

from bench import registry
from bench.cli.list_plugins import fusions, plugins
from recommenders.encoder.fusions import FUSIONS

README = Path(__file__).parents[3] / "README.md"


def test_the_table_of_extractors_is_what_bench_list_shows():
    text = README.read_text(encoding="utf-8")
    table = text[text.index("## Extractors\n") :].split("\n## ")[0]
    ours = {n for n, point in registry.names("extractor").items() if point.value.startswith("feature_extractors.")}
    said = [
        [f"`{row['name']}`", *(row[key] or "-" for key in ("summary", "feature", "checkpoints", "licence"))]
        for row in plugins("extractor")
        if row["name"] in ours
    ]
    assert [line for line in table.splitlines() if line.startswith("| `")] == [
        "| " + " | ".join(cells) + " |" for cells in said
    ]


def test_every_fusion_and_recommender_stands_in_the_text_with_the_name_that_is_listed():
    text = README.read_text(encoding="utf-8")
    section = text[text.index("## Recommenders and fusions\n") :].split("\n## ")[0]
    assert [row["name"] for row in fusions()] == list(FUSIONS)
    assert all(row["summary"].startswith("x = ") for row in fusions())
    ours = [n for n, point in registry.names("model").items() if point.value.startswith("recommenders.")]
    named = section.replace("`recbole:NAME`", "`recbole`")
    # `oracle` knows the simulator and recommends nothing to anybody
    assert [name for name in (*FUSIONS, *ours) if f"`{name}`" not in named] == ["oracle"]
