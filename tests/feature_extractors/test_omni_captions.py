"""Omni captions: what is loaded of a checkpoint, what the model is given of a clip, what a change makes anew."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from feature_extractors import pocket
from feature_extractors.base import ItemSource
from feature_extractors.media.audio import RATE, Sound
from feature_extractors.media.av_clip import AvClip
from feature_extractors.media.result import Clip, Failure
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.generation import Answering
from feature_extractors.models.qwen_omni import OmniCaptioner
from feature_extractors.omni_captions import OmniCaptions
from feature_extractors.pipeline.av_reader import join_frames_and_sound
from feature_extractors.pocket.building.omni import build_omni, save_omni
from feature_extractors.text.limits import AT_LIMIT
from protocols.errors import CheckpointError


@pytest.fixture(scope="session")
def omni(tmp_path_factory):
    """An untrained checkpoint; weights scaled up so that what it says depends on what it sees and hears."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("omni")
    build_omni(folder, seed=0, vocabulary=["user assistant Describe what is seen and what is heard in this video."])
    path = folder / "model.safetensors"
    weights = {name: w * 5 if w.ndim > 1 else w for name, w in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def edited(omni, folder, change):
    """A copy of the checkpoint with other weights and, where `change` returns one, another configuration."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(omni, folder)
    weights, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    change(weights, config)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def load(folder, word=None, dtype="float32", prompt="Describe.", tokens=8):
    return OmniCaptioner(resolve(word or str(folder), folder), dtype, "cpu", prompt, tokens)


@pytest.fixture(scope="session")
def captioner(omni):
    return load(omni)


def clip(seed, seconds=3.0, frames=8, fps=8):
    total = round(seconds * fps)
    at = [(2 * k + 1) * total // (2 * frames) for k in range(frames)]
    pixels = np.random.default_rng(seed).integers(0, 255, (frames, 64, 64, 3), dtype=np.uint8)
    return Clip(pixels, at, [k / fps for k in at], total, float(fps), 0, "pyav")


def sound(seed, seconds=3.0):
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return Sound(samples.astype(np.float32), 1, RATE, 0)


@pytest.fixture(scope="module")
def batch():
    return [
        AvClip(clip(0), sound(0)),
        AvClip(clip(1, 2.0), None, "no audio stream"),
        AvClip(clip(2, 4.0), sound(2, 4.1)),
        AvClip(clip(3, 0.5, 4), sound(3, 0.05)),
        AvClip(clip(4, 3.5, 7), None, "digital silence"),
    ]


def test_the_layout_of_the_whole_model_loads_and_its_talker_is_left_out(omni, captioner, batch, tmp_path):
    import torch
    from safetensors import safe_open

    with safe_open(omni / "model.safetensors", "pt") as file:
        names = list(file.keys())
        stored = file.get_tensor("thinker.model.layers.1.self_attn.q_proj.weight")
    assert all(name.startswith("thinker.") for name in names)
    layer = captioner.model.model.language_model.layers[1]
    assert torch.equal(layer.self_attn.q_proj.weight, stored)

    def speaking(weights, config):
        weights["talker.model.layers.0.mlp.up_proj.weight"] = torch.ones(3, 2)
        weights["talker.thinker_to_talker_proj.weight"] = torch.ones(2)
        weights["token2wav.code2wav_dit_model.proj_out.weight"] = torch.ones(2)
        config["enable_audio_output"] = True

    other = load(edited(omni, tmp_path / "whole", speaking))
    assert not any("talker" in name or "token2wav" in name for name, _ in other.model.named_parameters())
    assert other(batch[:2]) == captioner(batch[:2])


def test_a_model_that_was_loaded_is_stored_under_the_names_it_had(omni, captioner, tmp_path):
    from safetensors.torch import load_file

    shutil.copytree(omni, tmp_path / "again")
    save_omni(captioner.model, tmp_path / "again")
    stored, again = (load_file(folder / "model.safetensors") for folder in (omni, tmp_path / "again"))
    assert stored.keys() == again.keys()
    assert all(stored[name].equal(again[name]) for name in stored)


def test_a_thinker_with_a_weight_too_few_or_too_many_is_refused(omni, tmp_path):
    import torch

    lacking, growing = "thinker.visual.merger.mlp.0.weight", "thinker.model.layers.7.mlp.up_proj.weight"
    few = edited(omni, tmp_path / "few", lambda weights, _: weights.pop(lacking))
    with pytest.raises(CheckpointError, match=r"missing keys: model\.visual\.merger\.mlp\.0\.weight"):
        load(few)
    many = edited(omni, tmp_path / "many", lambda weights, _: weights.update({growing: torch.ones(2)}))
    with pytest.raises(CheckpointError, match=r"unexpected keys: .*layers\.7\.mlp\.up_proj\.weight"):
        load(many)


def test_another_kind_of_model_is_refused_before_its_weights_are_looked_at():
    with pytest.raises(CheckpointError, match="'qwen2_5_vl' is no qwen2_5_omni"):
        load(pocket.CAPTIONER)


def test_a_processor_in_one_file_as_checkpoints_were_released_gives_the_same_inputs(omni, captioner, batch, tmp_path):
    folder = tmp_path / "released"
    shutil.copytree(omni, folder)
    whole = json.loads((folder / "processor_config.json").read_text())
    patches = {name: whole["video_processor"][name] for name in ("patch_size", "temporal_patch_size", "merge_size")}
    one = {**whole["feature_extractor"], **whole["image_processor"], **patches, "min_pixels": 2304, "max_pixels": 2304}
    one |= {"processor_class": "Qwen2_5OmniProcessor", "image_processor_type": "Qwen2VLImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(one))
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    for name in ("processor_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    first, second = captioner.inputs(batch[0]), load(folder).inputs(batch[0])
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_pixels_of_a_frame_are_bounded(omni, batch):
    from protocols.errors import UserError

    checkpoint = resolve(str(omni), omni)
    counts = []
    for pixels in ((None, None), (9216, 9216)):
        captioner = OmniCaptioner(checkpoint, "float32", "cpu", "Describe.", 2, pixels=pixels)
        counts.append(len(captioner.inputs(batch[0])["pixel_values_videos"]))
    assert counts[1] == 4 * counts[0]  # 96 x 96 in place of 48 x 48
    with pytest.raises(UserError, match="min_pixels=2304 is above max_pixels=4"):
        OmniCaptioner(checkpoint, "float32", "cpu", "Describe.", 2, pixels=(None, 4))


def test_a_processor_that_listens_at_another_rate_is_refused(omni, tmp_path):
    folder = tmp_path / "slow"
    shutil.copytree(omni, folder)
    path = folder / "processor_config.json"
    path.write_text(path.read_text().replace('"sampling_rate": 16000', '"sampling_rate": 8000'))
    with pytest.raises(CheckpointError, match="16000 Hz"):
        load(folder)


def test_answers_end_although_the_folder_does_not_say_where(omni, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(omni, folder)
    (folder / "generation_config.json").write_text("{}")
    settings = load(folder).model.generation_config
    assert (settings.eos_token_id, settings.pad_token_id) == (2, 0)


def test_the_size_of_a_batch_changes_no_text(captioner, batch, monkeypatch):
    from feature_extractors.models import qwen_omni

    together = captioner(batch)
    assert len(set(together)) == len(batch)
    assert [captioner([one])[0] for one in batch] == together
    assert captioner(batch[::-1]) == together[::-1]
    assert [places for places, _ in captioner.prepare(batch)] == [[0, 2, 3], [1, 4]]
    monkeypatch.setattr(qwen_omni, "TOKENS", 120)
    assert len(captioner.prepare(batch)) > 2
    assert captioner(batch) == together


def test_frames_and_sound_stand_interleaved_in_time(captioner, batch):
    tokenizer = captioner.processor.tokenizer
    long = captioner.inputs(batch[2])
    assert long["video_second_per_grid"].tolist() == [2.0]  # 8 frames in 4 s, 4 of them in a row of tokens
    text = tokenizer.decode(long["input_ids"][0])
    short = text.replace("<|VIDEO|>", "v").replace("<|AUDIO|>", "a")
    assert f"<|vision_bos|><|audio_bos|>{'v' * 9}{'a' * 50}{'v' * 9}{'a' * 50}aa<|audio_eos|><|vision_eos|>" in short
    alone = captioner.inputs(batch[1])
    assert alone["video_second_per_grid"].tolist() == [1.0]
    assert "input_features" not in alone
    assert "<|AUDIO|>" not in tokenizer.decode(alone["input_ids"][0])


def test_only_what_the_sound_decides_changes_with_the_sound(captioner, batch):
    one, other = batch[0], AvClip(batch[0].clip, sound(9))
    first, second = captioner.inputs(one), captioner.inputs(other)
    changed = {name for name, values in first.items() if not np.array_equal(values, second[name])}
    assert changed == {"input_features"}
    seen = captioner.inputs(AvClip(clip(7), one.sound))
    assert {name for name in first if not np.array_equal(first[name], seen[name])} == {"pixel_values_videos"}


def test_frames_get_the_size_of_the_class_unless_the_checkpoint_wants_smaller_ones(captioner, omni, tmp_path):
    assert captioner.inputs(AvClip(clip(0), None))["video_grid_thw"].tolist() == [[2, 6, 6]]
    large = tmp_path / "large"
    shutil.copytree(omni, large)
    path = large / "processor_config.json"
    config = json.loads(path.read_text())
    config["video_processor"]["size"] = {"shortest_edge": 3136, "longest_edge": 12845056}
    path.write_text(json.dumps(config))
    _, height, width = load(large).inputs(AvClip(clip(0), None))["video_grid_thw"].tolist()[0]
    assert 128 * 28 * 28 <= 8 * height * 8 * width <= 768 * 28 * 28


def test_random_weights_say_something(omni, batch):
    texts = load(omni, "random")(batch)
    assert all(texts)


def test_half_precision_keeps_seconds(omni, batch, monkeypatch):
    captioner = load(omni, dtype="bfloat16")
    assert len(captioner(batch)) == len(batch)
    given = {}
    monkeypatch.setattr(
        Answering, "_answers", lambda _, inputs: given.update(inputs) or [""] * len(inputs["input_ids"])
    )
    captioner.run(captioner.prepare(batch[:1]))
    assert str(given["video_second_per_grid"].dtype) == "torch.float32"
    assert str(given["input_features"].dtype) == "torch.bfloat16"


def test_what_is_read_of_a_file_is_put_together():
    seen, heard = clip(0), sound(0)
    both = join_frames_and_sound(
        replace(seen, damage="damaged: 2 packets do not decode"),
        replace(heard, damage="damaged: 1 packets do not decode"),
    )
    assert both.note == "damaged: 2 packets do not decode; damaged: 1 packets do not decode"
    assert join_frames_and_sound(Failure("empty", "no video stream"), heard).status == "empty"
    for status in ("empty", "undecodable"):
        alone = join_frames_and_sound(seen, Failure(status, "why"))
        assert (alone.sound, alone.note) == (None, "frames alone: why")
    assert join_frames_and_sound(seen, Failure("error", "the decoder crashed")) == Failure(
        "error", "sound: the decoder crashed"
    )


def source(paths):
    return ItemSource([f"item{k}" for k in range(len(paths))], ["a red ring"] * len(paths), paths)


def test_every_clip_has_a_text_or_a_reason(omni, context, tmp_path, make_clip, make_sound, note_stages):
    from protocols.datasets.demo.media import encode
    from protocols.datasets.demo.scene import sample_scene

    loads = note_stages(lambda name, items: name)
    scene = replace(sample_scene(np.random.default_rng(0)), mood="none", rhythm="none", spoken="")
    (tmp_path / "silent.mp4").write_bytes(encode(scene))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = [
        make_clip(tmp_path / "loud.mp4", audio=True), make_clip(tmp_path / "mute.mp4"), tmp_path / "silent.mp4",
        make_sound(tmp_path / "sound.mp4"), tmp_path / "broken.mp4", None,
    ]  # fmt: skip
    options = OmniCaptions(checkpoint=str(omni), text_encoder="pocket", max_new_tokens=4)
    vectors = options.extract(source(paths), context)
    assert vectors.status.tolist() == ["ok"] * 3 + ["undecodable", "undecodable", "missing"]
    assert vectors.values.shape == (6, 128)
    texts = options.texts(source(paths), context)
    assert all(texts.values[:3])
    cut, alone = f"{AT_LIMIT} 4 tokens", "frames alone"
    assert texts.reason.tolist()[:3] == [cut, f"{alone}: no audio stream; {cut}", f"{alone}: digital silence; {cut}"]
    assert loads == ["omni-captions.text", "omni-captions.vector"]


CHANGES = (
    ({"prompt": "describe"}, ["text", "vector"]),
    ({"frames": "uniform:4"}, ["text", "vector"]),
    ({"frames": "clip-topk:2", "frame_clip": "pocket"}, ["text", "vector"]),
    ({"max_seconds": 1.0}, ["text", "vector"]),
    ({"checkpoint": "copy"}, ["text", "vector"]),
    ({"text_encoder": "random"}, ["vector"]),
    ({"batch": 1}, []),
)


def test_what_a_change_makes_anew(omni, context, tmp_path, make_clip):
    def ids(options):
        made = options.texts(chosen, looking), options.extract(chosen, looking)
        return {"text": made[0].space.id, "vector": made[1].space.id}

    chosen, looking = source([make_clip(tmp_path / "a.mp4")]), replace(context, overwrite="never")
    edited(omni, tmp_path / "copy", lambda weights, _: weights["thinker.model.norm.weight"].mul_(2))
    options = OmniCaptions(checkpoint=str(omni), text_encoder="pocket")
    first = ids(options)
    for change, again in CHANGES:
        if "checkpoint" in change:
            change = {"checkpoint": str(tmp_path / "copy")}
        second = ids(replace(options, **change))
        assert [stage for stage in first if first[stage] != second[stage]] == again, change


def test_frames_chosen_by_title_keep_the_sound_of_the_clip(omni, context, tmp_path, make_clip):
    options = OmniCaptions(checkpoint=str(omni), frames="clip-topk:2", frame_clip="pocket", max_new_tokens=2)
    texts = options.texts(source([make_clip(tmp_path / "a.mp4", audio=True)]), context)
    assert (texts.status.tolist(), texts.reason.tolist()) == (["ok"], [f"{AT_LIMIT} 2 tokens"])
    assert [parent.split("-v")[0] for parent in texts.space.config["parents"]] == ["frame-choice"]
