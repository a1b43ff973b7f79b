"""Refusals of a run before it loads data: names, options, devices, checkpoints, stored spaces near by."""

import pytest
from click.testing import CliRunner

from bench import registry
from bench.cli import cli
from bench.cli import options as shared
from feature_extractors.base import ExtractContext
from feature_extractors.captions import Captions
from feature_extractors.models.checkpoint.checkpoints import AbsentCheckpointError
from feature_extractors.pipeline import resolution
from feature_extractors.store.lance import FeatureStore, Row
from feature_extractors.titles import Titles
from protocols.errors import UserError
from protocols.features import FeatureSpace


@pytest.fixture
def bench(tmp_path, monkeypatch):
    def call(*words):
        folders = ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
        return CliRunner().invoke(cli, [*words, *folders], standalone_mode=False)

    def loaded(self, *given):
        raise AssertionError("data were loaded before everything was resolved")

    monkeypatch.setattr(registry.load("dataset", "demo"), "load", loaded)
    return call


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "sasrec.dim=-5"], "sasrec.dim=-5: expected a number from 0 on"),
        (["--set", "sasrec.dim=0"], "sasrec.dim=0: expected"),
        (["--set", "sasrec.lr=.nan"], "sasrec.lr=nan: expected a finite number"),
        (["--set", "sasrec.lr=1e999"], "sasrec.lr=inf: expected a finite number"),
        (["--model", "recbole:Narm"], "did you mean 'NARM'"),
        (["--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["--device", "gpu"], "device 'gpu' is none that torch knows"),
    ],
)
def test_what_training_would_refuse_is_refused_before_data_are_loaded(bench, words, message):
    found = bench("run", "--extractor", "id", *([] if "--model" in words else ["--model", "sasrec"]), *words)
    assert isinstance(found.exception, UserError), found.exception
    assert message in str(found.exception)


@pytest.mark.parametrize("command", ["run", "extract"])
def test_every_checkpoint_of_a_chain_is_resolved_first_and_the_remedy_names_its_option(bench, command):
    words = ["--model", "sasrec"] if command == "run" else []
    found = bench(command, "--extractor", "captions", "--set", "captions.text_encoder=/nowhere", *words)
    assert isinstance(found.exception, UserError), found.exception
    assert "--set captions.text_encoder=DIR" in found.exception.remedy


def test_no_process_is_no_number_of_jobs(bench):
    assert "0 is not in the range" in str(bench("run", "--model", "pop", "--jobs", "0").exception)


def test_the_option_of_a_checkpoint_is_found_inside_of_others():
    inner = Captions(checkpoint="x/y", text_encoder="x/y")
    joined = registry.create("extractor", "concat:captions+titles", {"captions": {"checkpoint": "x/y"}})
    assert resolution.options_of(inner, "x/y") == ["captions.text_encoder", "captions.checkpoint"]
    assert resolution.options_of(joined, "x/y") == ["captions.checkpoint"]
    with pytest.raises(AbsentCheckpointError) as raised:
        from feature_extractors.models.checkpoint.checkpoints import resolve

        resolve("/nowhere", None)
    assert raised.value.word == "/nowhere"


def test_a_stored_space_that_differs_in_one_setting_is_named(tmp_path):
    context = ExtractContext(tmp_path)

    def space(**config):
        return FeatureSpace("titles.vector", 1, "vector", {"parents": [], "dtype": "float32", "loader": 1, **config})

    store = FeatureStore(tmp_path, space(dtype="bfloat16"))
    store.describe()
    store.add([Row("a", "h", "missing", "", 0.0, None)])
    store.commit()
    lines = list(resolution.near_spaces([space()], context))
    assert lines == [
        "titles.vector is not stored with dtype float32: it is made anew; "
        f"{store.space.id} differs in that alone (bfloat16)"
    ]
    assert not list(resolution.near_spaces([space(loader=2)], context))
    assert not list(resolution.near_spaces([store.space], context))


def test_spaces_of_a_chain_are_known_before_an_item_is_read(tmp_path):
    found = resolution.resolve_chain(Titles(text_encoder="pocket", dtype="bfloat16"), ExtractContext(tmp_path))
    assert [(space.extractor, space.config["dtype"]) for space in found] == [("titles.vector", "bfloat16")]


def test_short_forms_reach_every_extractor_of_some_rows_that_has_the_option():
    options = {"titles": {"text_revision": "1"}}
    rows = ["id", "captions", "shuffled:titles"]
    shared.merge_into_rows(options, rows, dtype="bfloat16", text_encoder=None, frames="uniform:4", checkpoint="random")
    assert options == {
        "titles": {"text_revision": "1", "dtype": "bfloat16"},
        "captions": {"dtype": "bfloat16", "frames": "uniform:4", "checkpoint": "random"},
    }
    with pytest.raises(UserError, match="--prompt is an option of none of the extractors id, titles"):
        shared.merge_into_rows({}, ["id", "titles"], prompt="describe")
    with pytest.raises(UserError, match="--checkpoint may be meant for any of captions, clip"):
        shared.merge_into_rows({}, ["clip", "captions"][::-1], checkpoint="random")


@pytest.mark.parametrize("command", ["run", "grid", "tune", "extract"])
def test_options_in_the_key_of_features_are_those_of_every_command(command):
    given = {option.name for option in cli.get_command(None, command).params}
    assert given >= {"checkpoint", "text_encoder", "prompt", "frames", "dtype", "quantize", "engine", "endpoint"}
