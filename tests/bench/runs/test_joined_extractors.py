"""Names like `concat:captions+titles` on the top floor: options, controls, citations, and back from a record."""

import json

import pytest

from bench import records, registry
from bench.cli import options as shared
from bench.publishing import citations
from bench.runs import grid_rows, restore
from bench.runs import rows as row_specs
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from feature_extractors.base import ExtractContext, ItemSource
from protocols.errors import UserError
from protocols.progress import Quiet


def test_parts_get_their_options_inside_controls_too():
    made = registry.create("extractor", "shuffled:concat:random+shuffled:titles", {"random": {"dim": "7"}})
    random, titles = made.inner.parts
    assert random.dim == 7 and titles.inner.name == "titles"
    assert made.label == "shuffled:concat:random+shuffled:titles"
    with pytest.raises(UserError, match="did you mean 'captions'"):
        registry.create("extractor", "concat:caption+titles", {})
    for alone in ("concat", "concat:", "concat:titles"):
        with pytest.raises(UserError, match="two extractors or more"):
            registry.create("extractor", alone, {})


def test_what_does_the_work_is_found_in_any_name():
    assert registry.at_work("extractor", "shuffled:concat:captions+mean:titles") == ["captions", "titles"]
    assert registry.at_work("extractor", "mean:titles") == ["titles"]
    assert registry.joined("extractor", "shuffled:concat:captions+mean:titles") == ["captions", "mean:titles"]
    assert registry.joined("extractor", "mean:titles") == []
    assert registry.at_work("extractor", "concat") == ["concat"]


def test_its_controls_are_noise_and_its_twin():
    row = RowSpec("sasrec", "concat:captions+titles", "gate")
    assert row_specs.with_controls([row])[6:] == [
        RowSpec("sasrec", "random:concat:captions+titles", "gate"),
        RowSpec("sasrec", "shuffled:concat:captions+titles", "gate"),
    ]
    assert len(row_specs.with_controls([RowSpec("sasrec", "shuffled:concat:captions+titles", "gate")])) == 6


def test_two_views_are_what_cross_attention_takes(tmp_path):
    for extractor in ("captions", "shuffled:titles", "concat:captions+titles+clap"):
        row = RowSpec("sasrec", extractor, "cross-attention")
        with pytest.raises(UserError, match="takes two views of an item") as caught:
            runs.run(runs.Request([row], tmp_path / "c", tmp_path / "r"), Quiet())
        assert "concat:captions+titles" in caught.value.remedy and not list(tmp_path.iterdir())
    row = RowSpec("sasrec", "concat:captions+titles", "cross-attention")
    assert row_specs.with_controls([row])[6:] == [
        RowSpec("sasrec", "random:concat:captions+titles", "cross-attention"),
        RowSpec("sasrec", "shuffled:concat:captions+titles", "cross-attention"),
    ]
    runs.resolve(runs.Request(row_specs.with_controls([row]), tmp_path / "c", tmp_path / "r"))
    axes = {"extractors": ["id", "titles", "mean:concat:captions+titles"], "fusions": ["add", "cross-attention"]}
    assert [(made.extractor, made.fusion) for made in grid_rows.expand(axes)] == [
        ("id", "id"),
        ("titles", "add"),
        ("mean:concat:captions+titles", "add"),
        ("mean:concat:captions+titles", "cross-attention"),
    ]


def test_a_short_option_does_not_choose_among_parts():
    options = {}
    shared.merge_checkpoints(options, "concat:captions+titles", checkpoint=None)
    with pytest.raises(UserError, match="--text-encoder may be meant for any of captions, titles") as caught:
        shared.merge_checkpoints(options, "concat:captions+titles", text_encoder="pocket")
    assert "--set captions.text_encoder=" in caught.value.remedy
    shared.merge_checkpoints(options, "shuffled:titles", text_encoder="pocket")
    assert options["titles"] == {"text_encoder": "pocket"}


def test_papers_of_all_parts_are_cited(write_cell):
    paths = write_cell("sasrec", "shuffled:concat:clap+titles", "gate")
    text = citations.bibliography([{path: records.read(path) for path in paths}])
    assert "{extractor-clap," in text and "{extractor-titles," in text and "extractor-concat" not in text


def test_a_cell_comes_back_from_its_record(tiny_world, tmp_path):
    row = RowSpec("content-mean", "concat:random+shuffled:random", "replace")
    request = runs.Request(
        [row], tmp_path / "c", tmp_path / "r", "tiny", options={"random": {"dim": 5}, "content-mean": {"user": "last"}}
    )
    outcome = runs.run(request, Quiet())
    record = records.read(outcome.paths[0])
    assert record.status == "ok", record.error
    assert record.features["shape"] == [10] and record.features["control"] == ""
    assert json.dumps(record.cell["options"]["extractor"])
    wanted = restore.request(record, tmp_path / "c", tmp_path / "r")
    ((cell, _, _),) = runs.resolve(wanted)
    assert cell == records.Cell(**record.cell)
    restored = restore.restore(outcome.paths[0], wanted, Quiet())
    assert restored.largest == 0


def test_joined_features_differ_from_seed_to_seed_where_a_part_does():
    made = registry.create("extractor", "concat:random+shuffled:random", {})
    source = ItemSource(["a", "b"], [None] * 2, [None] * 2)
    one, other = (made.extract(source, ExtractContext("unused", seed=seed)) for seed in (1, 2))
    assert made.per_seed and one.digest != other.digest
