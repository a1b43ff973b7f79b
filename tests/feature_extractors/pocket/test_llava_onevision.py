"""The shipped pocket LLaVA-OneVision: it loads strictly, is small, describes what is seen; its builder and training."""

import numpy as np
import pytest

from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.pocket import LLAVA_ONEVISION
from feature_extractors.pocket.building.corpus import ATTRIBUTES, UNNAMED
from protocols.errors import CheckpointError


def test_the_shipped_files_are_small_and_safe_and_have_a_card():
    from safetensors import safe_open

    files = [path for path in LLAVA_ONEVISION.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 2_600_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".jinja", ".md"}
    with safe_open(LLAVA_ONEVISION / "model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118
    card = (LLAVA_ONEVISION / "README.md").read_text(encoding="utf-8").lower()
    for word in ("apache-2.0", "simulated", "held-back combinations", "cpu seconds", "2408.03326", *ATTRIBUTES):
        assert word in card


@pytest.fixture(scope="module")
def captioner():
    from feature_extractors.models.video_captioner import Captioner

    return Captioner(resolve("pocket", LLAVA_ONEVISION), "float32", "cpu", "Describe this video.", 32)


def test_it_is_the_real_class_with_no_key_left_over(captioner):
    from transformers import AutoModelForImageTextToText

    model, info = AutoModelForImageTextToText.from_pretrained(LLAVA_ONEVISION, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(model).__name__ == "LlavaOnevisionForConditionalGeneration"
    assert str(model.dtype) == "torch.float32"
    assert type(captioner.processor).__name__ == "LlavaOnevisionProcessor"


def test_captions_of_clips_never_trained_on_name_what_is_seen(captioner, tmp_path):
    from feature_extractors.pocket.evaluation.captioner import accuracy, caption_scenes, held_out_scenes

    scenes = held_out_scenes(24, held_back=False, seed=9)
    captions = list(caption_scenes(captioner, scenes, tmp_path))
    shares = accuracy(captions, scenes)
    # Chance is at most .33 for each of these, .35 for the word.
    for attribute in ("colour", "setting", "word"):
        assert shares[attribute] > 0.85, shares
    assert min(shares[a] for a in ("count", "shape")) > 0.5, shares
    assert captions[3::-1] == list(caption_scenes(captioner, scenes[3::-1], tmp_path))


def test_training_prepares_frames_as_the_processor_does(captioner):
    from feature_extractors.media.result import Clip
    from feature_extractors.pocket.building.clip_pool import Pool, resize
    from feature_extractors.pocket.training.llava_onevision import Recipe, Trainer

    frames = np.random.default_rng(0).integers(0, 255, (8, 112, 112, 3)).astype(np.uint8)
    clip = Clip(frames, list(range(8)), [k / 8 for k in range(8)], 8, 8.0, 0, "pyav")
    expected = captioner.inputs([clip])["pixel_values_videos"]
    pool = Pool(resize(frames)[None], np.zeros((1, 6), dtype=np.int64), np.ones(1, dtype=np.float32))
    trainer = Trainer(captioner.model, captioner.processor, pool, Recipe(noise=0.0))
    found = trainer.pixels(np.array([0]), np.arange(8)[None])
    assert np.abs(found - expected).max() < 1e-5


def test_training_prompts_name_nothing_that_is_unnamed(captioner):
    import re

    from feature_extractors.pocket.building.clip_pool import Pool
    from feature_extractors.pocket.training.llava_onevision import VIDEO_TOKENS, Recipe, Trainer

    pool = Pool(np.zeros((1, 8, 48, 48, 3), np.uint8), np.zeros((1, 6), dtype=np.int64), np.ones(1, np.float32))
    trainer = Trainer(captioner.model, captioner.processor, pool, Recipe(side_text=0.5))
    prompts = [trainer.prompt() for _ in range(200)]
    assert all(prompt.count(trainer.texts.video_token) == VIDEO_TOKENS for prompt in prompts)
    texts = captioner.processor.batch_decode(prompts, skip_special_tokens=True)
    assert any("Title: " in text for text in texts)
    assert not {word for text in texts for word in re.findall(r"[a-z]+", text.lower())} & UNNAMED


def test_losses_reach_every_weight_that_features_depend_on(tmp_path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from feature_extractors.pocket.building.clip_pool import Pool
    from feature_extractors.pocket.building.llava_onevision import build_llava_onevision
    from feature_extractors.pocket.training.llava_onevision import Recipe, Trainer

    build_llava_onevision(tmp_path, seed=0, texts=["Describe this video."])
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(len(values), size=4) for values in ATTRIBUTES.values()], axis=1)
    pool = Pool(rng.integers(0, 255, (4, 8, 48, 48, 3)).astype(np.uint8), labels, np.ones(4, np.float32))
    trainer = Trainer(model, AutoProcessor.from_pretrained(tmp_path), pool, Recipe(batch=2))
    sum(trainer.describe(np.array([0, 1])).values()).backward()
    without = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    # The features are what leaves the tower's last layer, before its own last norm; a bias of keys changes nothing.
    assert {name for name in without if "post_layernorm" not in name and "k_proj.bias" not in name} == set()
    before = sum(trainer.look(np.array([2, 3])).values())
    assert np.isfinite(before.item())


def test_two_heads_start_out_looking_one_and_two_frames_back(tmp_path):
    import torch
    from transformers import AutoModelForImageTextToText
    from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

    from feature_extractors.pocket.building.llava_onevision import FRAME_TOKENS, build_llava_onevision
    from feature_extractors.pocket.training.llava_onevision import look_back

    build_llava_onevision(tmp_path, seed=0, texts=["Describe this video."])
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    look_back(model)
    decoder = model.model.language_model
    attention, states = decoder.layers[0].self_attn, torch.zeros(1, 60, decoder.config.hidden_size)
    cos, sin = decoder.rotary_emb(states, torch.arange(60)[None])
    heads = [
        layer(states).view(1, 60, -1, attention.head_dim).transpose(1, 2)
        for layer in (attention.q_proj, attention.k_proj)
    ]
    queries, keys = apply_rotary_pos_emb(*heads, cos, sin)
    for head, frames in ((0, 1), (1, 2)):
        seen = (queries[0, head, -1] @ keys[0, 0].T / attention.head_dim**0.5).softmax(dim=-1)
        assert 59 - int(seen.argmax()) == frames * FRAME_TOKENS
        assert seen.max() > 0.2
    assert not queries[0, 2:].any()


def test_the_loop_goes_down_saves_and_shows_every_row_before_one_again():
    from itertools import islice

    import torch

    from feature_extractors.pocket.training.loop import descend, rows_of

    seen = np.concatenate(list(islice(rows_of(10, 5, np.random.default_rng(0)), 4)))
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    weight, saved, values = torch.nn.Parameter(torch.tensor(3.0)), [], []

    def loss(spent):
        parts = {"square": (weight - 1) ** 2, "same": weight.detach() * 0}
        values.append(parts["square"].item())
        return parts

    descend([weight], loss, cpu_seconds=0.3, rate=0.1, weight_decay=0.0, save=lambda: saved.append(weight.item()))
    assert values[-1] < 0.01 < values[0]
    assert saved == [weight.item()]


def test_missing_and_unexpected_weights_are_named(tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    from feature_extractors.models.video_lm import load_model

    folder = shutil.copytree(LLAVA_ONEVISION, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    weights["some.other.weight"] = weights.pop("image_newline" if "image_newline" in weights else "model.image_newline")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing keys: .*image_newline.*unexpected keys: .*some\.other"):
        load_model(resolve(str(folder), folder), "float32", "cpu")


def test_the_twin_has_the_shape_and_not_the_weights(captioner):
    import torch

    from feature_extractors.models.video_lm import load_model

    twin = load_model(resolve("random", LLAVA_ONEVISION), "float32", "cpu")[1].state_dict()
    real = captioner.model.state_dict()
    assert {k: v.shape for k, v in real.items()} == {k: v.shape for k, v in twin.items()}
    drawn = [k for k in real if real[k].ndim > 1]
    assert not any(torch.equal(real[k], twin[k]) for k in drawn)
