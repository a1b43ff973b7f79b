"""Finding plug-ins by name."""

from dataclasses import fields
from importlib.metadata import EntryPoint

import pytest

from bench import registry
from feature_extractors.models.checkpoint import cards
from protocols.errors import BenchError, UserError


def test_built_ins_are_found_by_entry_point_without_importing_them():
    assert {"captions", "titles", "id", "random", "shuffled", "mean", "truth"} <= set(registry.names("extractor"))
    assert {"pop", "sasrec", "oracle"} <= set(registry.names("model"))
    assert "demo" in registry.names("dataset")
    assert "rolling-7d" in registry.names("protocol")


@pytest.mark.parametrize(
    "name", ["captions", "clip", "hidden-states", "structured-captions", "titles", "transcripts", "videomae"]
)
def test_an_extractor_says_which_checkpoints_it_takes_on_real_data_and_by_what_paper_and_licence(name):
    extractor = registry.load("extractor", name)
    assert extractor.paper
    assert "not in our table" not in cards.licences_of(extractor)
    # frame_clip is used by one frame policy only, which no extractor has by default
    auto = {field.name for field in fields(extractor) if field.default == "auto"} - {"frame_clip"}
    real = extractor().resolved(simulated=False)
    taken = {getattr(real, field) for field in auto} - {"auto"}
    assert taken
    assert all(checkpoint in extractor.checkpoints for checkpoint in taken)


@pytest.mark.parametrize("name", ["av-captions", "captions", "clip", "hidden-states", "omni-captions", "videomae"])
def test_a_choice_of_frames_that_is_not_asked_for_is_no_part_of_what_a_row_is(name):
    plain, chosen = (registry.load("extractor", name)(**given) for given in ({}, {"frames": "clip-topk:2"}))
    assert "frame_clip" not in plain.resolved(simulated=True).options()
    assert chosen.resolved(simulated=True).options()["frame_clip"] == "pocket"
    assert "" not in plain.resolved(simulated=True).options().values()


@pytest.mark.parametrize(
    ("kind", "typed", "meant"),
    [("extractor", "caption", "captions"), ("model", "sasrek", "sasrec"), ("dataset", "dmo", "demo")],
)
def test_unknown_name_says_what_was_probably_meant(kind, typed, meant):
    with pytest.raises(UserError, match=f"unknown {kind} '{typed}': did you mean '{meant}'"):
        registry.create(kind, typed, {})


def test_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    point = EntryPoint("broken", "package_that_is_not_there:Thing", registry.GROUPS["model"])
    monkeypatch.setattr(registry, "names", lambda kind: {"broken": point})
    with pytest.raises(UserError, match="package_that_is_not_there") as caught:
        registry.load("model", "broken")
    assert caught.value.remedy == "uv pip install package_that_is_not_there"


def test_plug_in_that_breaks_on_import_is_named(monkeypatch, tmp_path):
    (tmp_path / "breaks_on_import.py").write_text("raise ValueError('no luck')")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("broken", "breaks_on_import:Thing", registry.GROUPS["model"])
    monkeypatch.setattr(registry, "names", lambda kind: {"broken": point})
    with pytest.raises(BenchError, match=r"broken.*no luck"):
        registry.load("model", "broken")


def test_wrapping_plug_in_gets_its_inner_one_with_options():
    shuffled = registry.create("extractor", "shuffled:random", {"random": {"dim": "7"}})
    assert shuffled.inner.dim == 7
    assert registry.create("extractor", "random:titles", {}).inner.name == "titles"
    assert registry.create("extractor", "random", {}).inner is None


def test_wrapping_needs_an_inner_one_and_others_take_none():
    with pytest.raises(UserError, match="shuffled:captions"):
        registry.create("extractor", "shuffled", {})
    with pytest.raises(UserError, match="takes no ':'"):
        registry.create("extractor", "captions:x", {})


def test_option_errors_name_option_and_type():
    with pytest.raises(UserError, match="did you mean 'dim'"):
        registry.create("extractor", "random", {"random": {"dimm": "7"}})
    with pytest.raises(UserError, match=r"random\.dim='many'.*int"):
        registry.create("extractor", "random", {"random": {"dim": "many"}})
    with pytest.raises(UserError, match="did you mean 'demo'"):
        registry.check_options({"dema": {}})


def test_options_in_brackets_win_and_make_a_name_of_their_own():
    options = {"captions": {"frames": "uniform:2", "prompt": "recommend"}}
    found = registry.create("extractor", "captions[frames=uniform:4, max_new_tokens=9]", options)
    assert (found.frames, found.max_new_tokens, found.prompt) == ("uniform:4", 9, "recommend")
    assert found.label == "captions[frames=uniform:4, max_new_tokens=9]"
    assert found.resolved(simulated=True).label == found.label
    plain = registry.create("extractor", "captions", options)
    assert "variant" not in found.options()
    assert set(found.options()) == set(plain.options())
    assert registry.create("extractor", "shuffled:captions[batch=8]", {}).label == "shuffled:captions[batch=8]"
    assert (
        registry.create("extractor", "single-layer[frames=uniform:4]:2", {}).label == "single-layer[frames=uniform:4]:2"
    )
    joined = registry.create("extractor", "concat:captions[batch=8]+titles", {})
    assert joined.label == "concat:captions[batch=8]+titles"
    assert registry.at_work("extractor", "shuffled:concat:captions[batch=8]+titles") == ["captions", "titles"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("captions[]", "unknown extractor"),
        ("captions[frames]", "expected NAME"),
        ("captions[frames=]", "expected NAME"),
        ("captions[frame=uniform:4]", "did you mean 'frames'"),
        ("captions[batch=x]", "expected int"),
        ("captions[checkpoint=/models/x]", "another one on every machine"),
        ("shuffled[batch=8]:captions", "takes no options in brackets"),
        ("captions[batch=8", "unknown extractor"),
    ],
)
def test_brackets_that_make_no_sense_are_refused(spec, said):
    with pytest.raises(UserError, match=said):
        registry.create("extractor", spec, {})


def test_a_file_may_have_brackets_in_its_name(tmp_path):
    assert registry.parse("published:a[1].npy") == ("published", "", "a[1].npy")
    assert registry.parse("published:a:b]=[c") == ("published", "", "a:b]=[c")


@pytest.mark.parametrize("name", registry.names("extractor"))
def test_the_name_in_brackets_is_no_option_of_any_extractor(name):
    assert "variant" not in vars(registry.load("extractor", name))


def test_models_take_no_brackets():
    with pytest.raises(UserError, match="takes no options in brackets"):
        registry.create("model", "sasrec[dim=8]", {})
