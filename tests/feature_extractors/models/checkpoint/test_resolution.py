"""Checkpoint words: their meaning, and refusals."""

import json

import numpy as np
import pytest

from feature_extractors.media import frame_policy, video
from feature_extractors.models import text_encoder, video_captioner, video_lm
from feature_extractors.models.checkpoint.checkpoints import resolve
from protocols.errors import CheckpointError, UserError


def load_captioner(folder):
    return video_lm.load_model(resolve(str(folder), folder), "float32", "cpu")


def load_encoder(folder):
    return text_encoder.load_model(resolve(str(folder), folder), "float32", "cpu")


def test_words(untrained, tmp_path):
    folder = untrained / "captioner"
    pocket, twin, named = (resolve(word, folder) for word in ("pocket", "random", str(folder)))
    assert (pocket.name, twin.name, named.name) == ("pocket", "random", "captioner")
    assert [c.random for c in (pocket, twin, named)] == [False, True, False]
    assert pocket.fingerprint != twin.fingerprint
    assert named.revision is None
    for word in ("pokcet", "no/such/folder/here", str(tmp_path / "absent"), "a b/c"):
        with pytest.raises(UserError, match="neither a directory nor a hub id") as caught:
            resolve(word, folder)
        assert "'pocket'" in caught.value.remedy


def test_fingerprint_follows_the_bytes_that_decide_and_no_others(copied):
    folder = copied / "captioner"
    before = resolve(str(folder), folder).fingerprint
    (folder / "README.md").write_text("card")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.json").write_text("{}")
    assert resolve(str(folder), folder).fingerprint == before
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    changed = resolve(str(folder), folder).fingerprint
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert len({before, changed, resolve(str(folder), folder).fingerprint}) == 3


def test_twin_does_not_depend_on_the_weights_it_throws_away(copied):
    folder = copied / "captioner"
    before = resolve("random", folder).fingerprint
    (folder / "model.safetensors").write_bytes(b"other")
    assert resolve("random", folder).fingerprint == before


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("captioner", "config.json"),
        ("captioner", "model.safetensors"),
        ("captioner", "processor_config.json"),
        ("text_encoder", "config.json"),
        ("text_encoder", "model.safetensors"),
        ("text_encoder", "modules.json"),
        ("text_encoder", "1_Pooling/config.json"),
    ],
)
def test_a_missing_file_is_named(copied, part, name):
    (copied / part / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        {"captioner": load_captioner, "text_encoder": load_encoder}[part](copied / part)


@pytest.mark.parametrize("part", ["captioner", "text_encoder"])
def test_a_missing_tokenizer_is_named(copied, part):
    for path in (copied / part).glob("tokenizer*"):
        path.unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        {"captioner": load_captioner, "text_encoder": load_encoder}[part](copied / part)


def test_a_missing_shard_is_named(copied):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    folder = copied / "captioner"
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors is missing"):
        resolve(str(folder), folder)


@pytest.mark.parametrize("part", ["captioner", "text_encoder"])
def test_a_renamed_weight_is_missing_and_unexpected(copied, part):
    from safetensors.torch import load_file, save_file

    path = copied / part / "model.safetensors"
    weights = load_file(path)
    key = next(name for name in weights if name.endswith("mlp.down_proj.weight") or "intermediate.dense.weight" in name)
    weights["some.other.weight"] = weights.pop(key)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        {"captioner": load_captioner, "text_encoder": load_encoder}[part](copied / part)
    assert "missing keys" in str(caught.value)
    assert "some.other.weight" in str(caught.value)
    assert "model.safetensors" in str(caught.value)


@pytest.mark.parametrize("part", ["captioner", "text_encoder"])
def test_truncated_weights_and_broken_configurations_are_checkpoint_errors(copied, part):
    load = {"captioner": load_captioner, "text_encoder": load_encoder}[part]
    path = copied / part / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(copied / part)
    path.write_bytes(whole)
    (copied / part / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=str(copied / part)):
        load(copied / part)


def test_code_in_a_checkpoint_is_never_run(copied):
    folder = copied / "captioner"
    config = json.loads((folder / "config.json").read_text())
    names = ("AutoConfig", "AutoModel", "AutoModelForImageTextToText", "AutoProcessor")
    config |= {"auto_map": dict.fromkeys(names, "evil.Thing")}
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    (folder / "config.json").write_text(json.dumps(config))
    load_captioner(folder)  # by the classes of transformers
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "surprise"}))
    with pytest.raises(UserError, match="'surprise'"):
        load_captioner(folder)
    assert not (folder / "ran").exists()


def test_hub_that_cannot_be_reached_says_what_to_do(tmp_path, monkeypatch):
    import huggingface_hub

    def offline(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UserError, match="is not in the local hub cache and cannot be fetched") as caught:
        resolve("Some/Model-3B", tmp_path)
    assert "local directory" in caught.value.remedy


def test_hub_revision_is_pinned_when_first_resolved(untrained, tmp_path, monkeypatch):
    import shutil

    import huggingface_hub

    asked = []

    def download(word, revision, allow_patterns, local_files_only):
        asked.append((revision, local_files_only))
        folder = tmp_path / (revision or "newest0")
        if not folder.exists():
            shutil.copytree(untrained / "captioner", folder)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    pins = tmp_path / "pins.json"
    first = resolve("Some/Model", tmp_path, pins=pins)
    assert (first.revision, first.fingerprint, asked) == ("newest0", "Some/Model@newest0", [(None, False)])
    assert json.loads(pins.read_text()) == {"Some/Model": "newest0"}
    assert resolve("Some/Model", tmp_path, pins=pins) == first
    assert asked[-1] == ("newest0", True)
    other = resolve("Some/Model", tmp_path, revision="abc", pins=pins)
    assert other.fingerprint == "Some/Model@abc"
    assert json.loads(pins.read_text()) == {"Some/Model": "newest0"}


def test_half_precision_files_run_in_the_precision_asked_for(untrained):
    _, model = load_captioner(untrained / "captioner")
    assert {str(p.dtype) for p in model.parameters()} == {"torch.float32"}


@pytest.mark.parametrize("part", ["captioner", "text_encoder"])
def test_twin_has_the_shape_but_not_the_weights_and_is_the_same_each_time(untrained, part):
    import torch

    folder = untrained / part
    load = video_lm.load_model if part == "captioner" else text_encoder.load_model
    states = []
    for word, seed in (("pocket", 1), ("random", 2), ("random", 3)):
        torch.manual_seed(seed)
        loaded = load(resolve(word, folder), "float32", "cpu")
        states.append((loaded[1] if part == "captioner" else loaded[0].auto_model).state_dict())
    real, twin, again = states
    assert {k: v.shape for k, v in real.items()} == {k: v.shape for k, v in twin.items()}
    assert all(torch.equal(twin[k], again[k]) for k in twin)
    assert any(not torch.equal(twin[k], real[k]) for k in twin)


def test_time_reaches_the_model_as_the_clip_has_it(untrained, tmp_path, make_clip):
    captioner = video_captioner.Captioner(resolve("pocket", untrained / "captioner"), "float32", "cpu", "Describe.", 4)
    policy = frame_policy.parse("uniform:8")
    clips = [video.decode(make_clip(tmp_path / f"{fps}.mp4", frames=24, fps=fps), policy) for fps in (6, 12)]
    inputs = captioner.inputs(clips)
    # 8 of 24 frames kept, 4 frames a patch: seconds per patch = 4 / (fps * 8 / 24)
    assert inputs["second_per_grid_ts"].tolist() == [2.0, 1.0]
    assert inputs["video_grid_thw"][:, 0].tolist() == [2, 2]


def test_encoder_gives_float32_unit_vectors_that_depend_on_the_text(untrained):
    encoder = text_encoder.TextEncoder(resolve("pocket", untrained / "text_encoder"), "float32", "cpu")
    vectors = encoder(["a red ring", "two blue stars", "a red ring"])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])


def test_threads_are_given_back():
    import torch

    from feature_extractors.models.threads import torch_threads

    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
