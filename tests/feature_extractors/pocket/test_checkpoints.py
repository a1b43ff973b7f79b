"""The shipped pocket checkpoints: they load strictly, are small, describe what is seen, and tell texts apart."""

import numpy as np
import pytest

from feature_extractors.pocket import CAPTIONER, CAPTIONER_SMALL, TEXT_ENCODER
from feature_extractors.pocket.building.corpus import (
    ATTRIBUTES,
    PROMPTS,
    read_caption,
)

FOLDER = CAPTIONER.parent


def test_the_shipped_files_are_small_and_safe_and_have_a_card():
    files = [path for folder in (CAPTIONER, TEXT_ENCODER) for path in folder.rglob("*") if path.is_file()]
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert len(weights) == 2
    assert sum(path.stat().st_size for path in files) <= 6_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".jinja"}
    card = (FOLDER / "README.md").read_text(encoding="utf-8").lower()
    for word in ("apache-2.0", "simulated", "held-back combinations", "cpu seconds", *ATTRIBUTES):
        assert word in card


@pytest.fixture(scope="module")
def captioner():
    from feature_extractors.models.checkpoint.checkpoints import resolve
    from feature_extractors.models.video_captioner import Captioner

    return Captioner(resolve("pocket", CAPTIONER), "float32", "cpu", PROMPTS[0], 32)


@pytest.mark.parametrize("folder", [CAPTIONER, CAPTIONER_SMALL], ids=["usual", "small"])
def test_the_captioner_is_stored_in_half_precision_and_loads_with_no_key_left_over(folder):
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForImageTextToText

    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118
    model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert model.dtype == torch.float32  # config.json says so: half precision is slow on CPUs


def test_captions_of_clips_never_trained_on_name_what_is_seen(captioner, tmp_path):
    from feature_extractors.pocket.evaluation.captioner import accuracy, caption_scenes, held_out_scenes

    scenes = held_out_scenes(48, held_back=False, seed=9)
    shares = accuracy(list(caption_scenes(captioner, scenes, tmp_path)), scenes)
    # Chance is below .17 for each of these, .35 for the word.
    assert shares["colour"] > 0.85
    assert shares["setting"] > 0.85
    assert shares["word"] > 0.9
    assert shares["motion"] > 0.8


def test_a_caption_depends_on_the_pixels_alone(captioner, tmp_path):
    from feature_extractors.pocket.evaluation.captioner import caption_scenes, held_out_scenes

    scenes = held_out_scenes(4, held_back=False, seed=10)
    there = list(caption_scenes(captioner, scenes, tmp_path))
    back = list(caption_scenes(captioner, scenes[::-1], tmp_path))
    assert there == back[::-1]
    assert len(set(there)) > 1


def test_an_image_works_as_well_as_a_video(captioner):
    processor, model = captioner.processor, captioner.model
    picture = np.zeros((60, 80, 3), dtype=np.uint8)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPTS[0]}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[text], images=[picture], return_tensors="pt")
    tokens = model.generate(**inputs, max_new_tokens=2)
    assert tokens.shape[1] > inputs["input_ids"].shape[1]


@pytest.fixture(scope="module")
def encode():
    from feature_extractors.models.checkpoint.checkpoints import resolve
    from feature_extractors.models.text_encoder import TextEncoder

    return TextEncoder(resolve("pocket", TEXT_ENCODER), "float32", "cpu")


def test_the_text_encoder_loads_with_no_key_left_over():
    from transformers import AutoModel

    model, info = AutoModel.from_pretrained(TEXT_ENCODER, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(model).__name__ == "BertModel"


def test_a_paraphrase_is_nearer_than_a_caption_that_differs_in_one_attribute(encode):
    from feature_extractors.pocket.evaluation.text_encoder import near_misses_refused

    assert np.allclose((encode(["Two red rings."]) ** 2).sum(), 1, atol=1e-3)
    assert near_misses_refused(encode, n=100) > 0.95


def test_words_that_no_training_text_contains_are_told_apart(encode):
    from feature_extractors.pocket.evaluation.text_encoder import unseen_words_found

    assert unseen_words_found(encode) > 0.75
    # Nor any that this repository names: any English word is covered by pieces.
    assert unseen_words_found(encode, ("velvet", "mountain", "breakfast", "Xylophone", "quiz", "don't")) == 1


def test_a_caption_that_names_nothing_reads_as_nothing():
    assert set(read_caption("A nice day.").values()) == {""}
