"""`bench guide`: topics, and what the guide says of extractors, fusions and recommenders."""

from pathlib import Path

import pytest

from bench import registry
from bench.cli.list_plugins import fusions, plugins
from bench.publishing import documents
from recommenders.encoder.fusions import FUSIONS

GUIDE = Path(__file__).parents[3] / "bench" / "guide"


def test_topics_are_listed_and_printed_without_marks_of_what_is_written(bench):
    listed = [line.split()[0] for line in bench("guide").stdout.splitlines()]
    assert listed == sorted(path.stem for path in GUIDE.glob("*.md"))
    for topic in listed:
        shown = bench("guide", topic).stdout
        assert shown.startswith("# ")
        assert "<!--" not in shown


def test_an_unknown_topic_is_told_what_it_may_mean(bench):
    done = bench("guide", "protocl")
    assert (done.exit_code, "did you mean 'protocol'" in done.stderr) == (2, True)


@pytest.mark.parametrize("page", sorted(path.name for path in GUIDE.glob("*.md")))
def test_tables_of_plugins_are_those_of_bench_list(page):
    text = (GUIDE / page).read_text(encoding="utf-8")
    remedy = "`bench guide --write` writes it anew"
    assert documents.filled(text, documents.Sources([], documents.REPOSITORY, plugins)) == text, remedy


def test_the_table_of_extractors_names_all_of_ours_and_no_other():
    text = (GUIDE / "extractors.md").read_text(encoding="utf-8")
    ours = [n for n, point in registry.names("extractor").items() if point.value.startswith("feature_extractors.")]
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == ours


def test_every_fusion_and_recommender_stands_in_the_text_with_the_name_that_is_listed():
    section = (GUIDE / "recommenders.md").read_text(encoding="utf-8")
    assert [row["name"] for row in fusions()] == list(FUSIONS)
    assert all(row["summary"].startswith("x = ") for row in fusions())
    ours = [n for n, point in registry.names("model").items() if point.value.startswith("recommenders.")]
    named = section.replace("`recbole:NAME`", "`recbole`")
    # `oracle` knows the simulator and recommends nothing to anybody
    assert [name for name in (*FUSIONS, *ours) if f"`{name}`" not in named] == ["oracle"]
