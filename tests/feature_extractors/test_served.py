"""Extractors whose chat model is somewhere else: on a server with OpenAI's interface, or in vLLM."""

import sys
import types
from dataclasses import fields, replace

import pytest
from stub_server import MODEL, media_bytes, now_and_then, pictures, stub_server

from bench import registry
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.serving import endpoint as endpoints
from feature_extractors.real_defaults import option
from feature_extractors.store.lance import FeatureStore
from protocols.errors import UserError

POCKET = {"text_encoder": "pocket", "whisper": "pocket", "clap": "pocket"}
CHATS = ["captions", "structured-captions", "chain-captions", "audio-captions", "omni-captions", "av-captions"]


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(endpoints, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(endpoints, "LONGEST_WAIT", 0.05)
    with stub_server() as running:
        yield running


@pytest.fixture(scope="module")
def clips(tmp_path_factory, make_clip):
    """A function that makes a source of so many clips with sound, all different."""

    def make(count):
        folder = tmp_path_factory.mktemp("clips")
        paths = [make_clip(folder / f"{at:03d}.mp4", seed=at, frames=8, audio=True) for at in range(count)]
        return ItemSource([path.name for path in paths], [None] * count, paths)

    return make


def served(name, stub, **options):
    extractor = registry.create("extractor", name, {})
    given = {"engine": "openai", "endpoint": stub.url, "checkpoint": MODEL, "audio_checkpoint": MODEL, **POCKET}
    known = {field.name for field in fields(extractor)}
    return replace(extractor, **({key: value for key, value in given.items() if key in known} | options))


@pytest.mark.parametrize("name", CHATS)
def test_every_extractor_that_asks_for_words_can_ask_a_server(stub, clips, tmp_path, name):
    if name == "structured-captions":
        field = '{"topic": "a", "entities": ["b"], "mood": "c", "audience": "d", "style": "e"}'
        answer = stub.chat
        stub.chat = lambda body: answer({**body, "messages": [{"content": [{"type": "text", "text": field}]}]})
    found = served(name, stub).extract(clips(3), ExtractContext(tmp_path))
    assert found.status.tolist() == ["ok"] * 3, found.reason
    kinds = {tuple(sorted({part["type"] for part in body["messages"][0]["content"]})) for body in stub.bodies}
    frames, sound = ("image_url", "text"), ("input_audio", "text")
    expected = {
        "chain-captions": {frames, ("text",)},
        "audio-captions": {sound},
        "omni-captions": {("image_url", "input_audio", "text")},
        "av-captions": {frames, sound},
    }
    assert kinds == expected.get(name, {frames})


def test_texts_are_those_of_the_clips_and_stay_when_the_server_is_gone(stub, clips, tmp_path):
    source, context = clips(5), ExtractContext(tmp_path)
    extractor = served("captions", stub, frames_as="video")
    found = extractor.texts(source, context)
    for body in stub.bodies[-5:]:
        assert len(pictures(body["messages"][0]["content"][0])) == 8
    assert len(set(found.values)) == 5
    assert found.space.provenance["checkpoints"] == [MODEL]
    stub.close()
    again = extractor.texts(source, context)
    assert again.values.tolist() == found.values.tolist()
    assert again.ok.all()


def rows_of(context, features):
    """Rows of a space as they lie on disk."""
    import lance

    return lance.dataset(FeatureStore(context.store, features.space).uri).count_rows()


def test_a_bad_server_loses_and_doubles_nothing(stub, clips, tmp_path):
    source = clips(40)
    good = served("captions", stub).texts(source, ExtractContext(tmp_path / "good"))
    answered = len(stub.answered)
    stub.fault = now_and_then(0.2)
    context = ExtractContext(tmp_path / "bad")
    bad = replace(served("captions", stub), batch=8, in_flight=8).texts(source, context)
    assert bad.values.tolist() == good.values.tolist()
    assert len(stub.answered) == 2 * answered
    assert rows_of(context, bad) == 40


def test_a_server_that_dies_half_way_ends_the_run_and_the_next_run_goes_on(stub, clips, tmp_path):
    source, context = clips(24), ExtractContext(tmp_path)
    extractor = replace(served("captions", stub, retries=1), batch=8, in_flight=8)

    def die(number, body):
        if number == 21:  # of the third batch: the first is done
            stub.ended.set()
            stub.server.socket.close()
        return "drop" if number >= 21 else None

    stub.fault = die
    with pytest.raises(UserError, match="does not answer"):
        extractor.texts(source, context)
    with stub_server() as other:
        found = replace(extractor, endpoint=other.url).texts(source, context)
        assert 0 < len(other.answered) <= 16
    assert found.ok.all()
    assert len(set(found.values)) == 24
    assert rows_of(context, found) == 24


def test_a_request_that_fails_for_good_is_a_row_with_its_reason_and_is_tried_again(stub, clips, tmp_path):
    source, context = clips(4), ExtractContext(tmp_path / "second")
    extractor = served("captions", stub)
    good = extractor.texts(source, ExtractContext(tmp_path / "first"))
    stub.fault = lambda number, body: 413 if stub.text(body) == good.values[2] else None
    found = extractor.texts(source, context)
    assert found.status.tolist() == ["ok", "ok", "error", "ok"]
    assert "413" in found.reason[2]
    stub.fault = lambda number, body: None
    again = extractor.texts(source, replace(context, retry=True))
    assert again.values.tolist() == good.values.tolist()


def space_of(extractor, tmp_path):
    return extractor.texts(ItemSource([], [], []), ExtractContext(tmp_path, overwrite="never")).space


def test_the_key_holds_engine_model_and_frames_and_no_circumstances(stub, tmp_path):
    base = served("captions", stub)
    same = [{"endpoint": "http://elsewhere/v1"}, {"in_flight": 3}, {"timeout": 1.0}, {"retries": 0}, {"batch": 5}]
    same += [{"dtype": "bfloat16"}]  # of the text encoder: the server has its own
    other = [{"checkpoint": "another"}, {"frames_as": "png"}, {"frames": "uniform:4"}, {"prompt": "describe-omni"}]
    other += [
        {"max_new_tokens": 7},
        {"engine": "local", "checkpoint": "pocket"},
        {"engine": "vllm", "checkpoint": "pocket"},
    ]
    ids = {space_of(replace(base, **change), tmp_path).id for change in same}
    assert ids == {space_of(base, tmp_path).id}
    others = {space_of(replace(base, **change), tmp_path).id for change in other}
    assert len(others) == len(other)
    assert not others & ids


def test_the_key_of_the_server_is_nowhere_in_the_store_or_the_options(stub, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_API_KEY", "secret-of-mine")
    stub.fault = lambda number, body: 413 if number == 2 else None
    extractor = served("captions", stub)
    found = extractor.extract(clips(3), ExtractContext(tmp_path))
    assert (~found.ok).sum() == 1
    assert "sent Bearer ***" in found.reason[~found.ok][0]
    assert stub.headers[-1]["authorization"] == "Bearer secret-of-mine"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"secret" in path.read_bytes() for path in files)
    assert "secret" not in f"{extractor} {extractor.options()} {found.space}"


def test_options_of_engines_are_in_records_where_they_decide_something(stub):
    local = registry.create("extractor", "av-captions", {}).options()
    names = {"engine", "endpoint", "frames_as", "in_flight", "timeout", "retries", "text_engine", "text_endpoint"}
    assert not local.keys() & (names | {"audio_engine", "audio_endpoint"})
    kept = served("av-captions", stub, text_engine="openai", text_endpoint=stub.url, audio_engine="local").options()
    assert kept.keys() & (names | {"audio_engine", "audio_endpoint"}) == {
        "engine",
        "frames_as",
        "text_engine",
        "audio_engine",
    }


def test_a_text_encoder_can_be_served_too(stub, tmp_path):
    titles = registry.create("extractor", "titles", {"titles": {"text_engine": "openai", "text_encoder": MODEL}})
    source = ItemSource(["a", "b", "c"], ["one", "longer", None], [None] * 3)
    found = replace(titles, text_endpoint=stub.url).extract(source, ExtractContext(tmp_path))
    assert found.status.tolist() == ["ok", "ok", "missing"]
    assert found.values[:2, 0].tolist() == [3.0, 6.0]
    local = replace(titles, text_engine="local", text_encoder="pocket")
    assert local.extract(source, ExtractContext(tmp_path)).space.id != found.space.id


def test_real_names_stand_for_auto_on_a_server_whatever_the_data(stub):
    for name in CHATS:
        plain = replace(registry.create("extractor", name, {}), engine="openai", text_engine="openai")
        found = plain.resolved(simulated=True)
        assert (found.checkpoint, found.text_encoder) == (plain.default_checkpoint, "BAAI/bge-large-en-v1.5")


@pytest.mark.parametrize("word", ["pocket", "random"])
def test_a_server_has_no_checkpoint_of_this_repository(stub, tmp_path, word):
    with pytest.raises(UserError, match=f"no server has a model '{word}'"):
        space_of(served("captions", stub, checkpoint=word), tmp_path)


def test_weights_are_quantized_here_only(stub):
    with pytest.raises(UserError, match="quantize=4bit is of --engine local"):
        served("captions", stub, quantize="4bit")


def test_without_vllm_the_message_says_what_to_install(clips, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    extractor = registry.create("extractor", "captions", {"captions": {"engine": "vllm", "checkpoint": "pocket"}})
    with pytest.raises(UserError, match="--engine vllm needs vLLM") as error:
        extractor.texts(clips(1), ExtractContext(tmp_path))
    assert "video-rec-bench[vllm]" in error.value.remedy


@pytest.fixture
def vllm(monkeypatch):
    """A module with the classes of vLLM that are used, which notes what it is given."""
    module = types.ModuleType("vllm")

    class LLM:
        def __init__(self, **given):
            import os

            module.given, module.gpus = given, os.environ["CUDA_VISIBLE_DEVICES"]

        def chat(self, turns, sampling, use_tqdm):
            module.sampling = sampling
            text = [f" {len(turn[0]['content'])} parts\n{media_bytes(turn[0]['content'][0])[:4]}" for turn in turns]
            return [
                types.SimpleNamespace(outputs=[types.SimpleNamespace(text=one, finish_reason="stop")]) for one in text
            ]

    module.LLM, module.SamplingParams = LLM, dict
    monkeypatch.setitem(sys.modules, "vllm", module)
    return module


def test_vllm_in_this_process_gets_the_folder_the_frames_and_greedy_decoding(vllm, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    options = {"engine": "vllm", "checkpoint": "pocket", "frames_as": "png", "dtype": "bfloat16"}
    extractor = registry.create("extractor", "captions", {"captions": options})
    found = extractor.texts(clips(2), ExtractContext(tmp_path, device="cuda:1"))
    assert found.values.tolist() == ["9 parts b'\\x89PNG'"] * 2
    assert vllm.given["model"].endswith("captioner")
    assert vllm.given["dtype"] == "bfloat16"
    assert vllm.given["trust_remote_code"] is False
    assert vllm.given["media_io_kwargs"] == {"video": {"num_frames": -1}}
    assert vllm.sampling == {"temperature": 0.0, "max_tokens": option(extractor, "max_new_tokens")}
    assert vllm.gpus == "7"
    with pytest.raises(UserError, match="vLLM needs a GPU"):
        extractor.texts(clips(1), ExtractContext(tmp_path / "cpu"))
