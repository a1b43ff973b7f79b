"""The pocket CLIP: its files, its card, and what its vectors hold that a random twin's do not."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.clip_image import LAYOUT, ImageTower, load_model
from feature_extractors.pocket import CLIP
from feature_extractors.pocket.building.clip import SHOWN, build_clip, text_of
from feature_extractors.pocket.building.corpus import ATTRIBUTES
from feature_extractors.pocket.evaluation.text_encoder import probe
from feature_extractors.pocket.training.clip import Recipe, train
from feature_extractors.pocket.training.loop import Classifiers


def labels(pool, name):
    return pool.labels[:, list(ATTRIBUTES).index(name)]


def test_its_files_are_small_and_safe_and_have_a_card():
    files = list(CLIP.iterdir())
    assert {file.suffix for file in files} == {".json", ".safetensors", ".md"}
    assert sum(file.stat().st_size for file in files) <= 4_000_000
    card = (CLIP / "README.md").read_text(encoding="utf-8").lower()
    for word in ("apache-2.0", "simulated", "held-back combinations", "cpu seconds", "2103.00020", "not", *ATTRIBUTES):
        assert word in card


def test_its_weights_are_in_half_precision_and_load_strictly():
    from safetensors import safe_open

    with safe_open(CLIP / LAYOUT.weights, "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118
    model, _ = load_model(resolve("pocket", CLIP, layout=LAYOUT), "float32", "cpu")
    assert type(model).__name__ == "CLIP"
    assert all(weight.isfinite().all() for weight in model.state_dict().values())


def test_its_vectors_hold_what_the_random_twins_do_not(small_pool):
    clips = [SimpleNamespace(frames=frames[1::4]) for frames in small_pool.frames]
    shares = {}
    for word in ("pocket", "random"):
        model = ImageTower(resolve(word, CLIP, layout=LAYOUT), "float32", "cpu")
        found = np.concatenate([model(clips[at : at + 50]) for at in range(0, len(clips), 50)])
        shares[word] = {name: probe(found, labels(small_pool, name), 70) for name in ("colour", "shape", "setting")}
    # 50 clips: two standard errors are .14
    assert shares["pocket"]["colour"] > shares["random"]["colour"] + 0.15
    assert shares["pocket"]["shape"] > shares["random"]["shape"] + 0.15
    assert shares["pocket"]["setting"] > 0.9


def test_its_texts_are_nearest_to_the_frames_that_they_are_true_of(small_pool):
    import open_clip

    model, _ = load_model(resolve("pocket", CLIP, layout=LAYOUT), "float32", "cpu")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{CLIP}")
    mean, std = (torch.tensor(model.visual.preprocess_cfg[name])[:, None, None] for name in ("mean", "std"))
    pixels = (torch.from_numpy(small_pool.frames[:, 8]).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        seen = model.encode_image(pixels, normalize=True)
        for name in ("colour", "setting"):
            texts = tokenizer([text_of({name: value}) for value in ATTRIBUTES[name]])
            said = (seen @ model.encode_text(texts, normalize=True).T).argmax(dim=1).numpy()
            assert (said == labels(small_pool, name)).mean() > 0.8


def test_heads_tell_what_is_shown_and_are_not_saved(small_pool, tmp_path, monkeypatch):
    heads = Classifiers(12, SHOWN)
    shown = torch.zeros(4, len(SHOWN), dtype=torch.int64)
    with torch.no_grad():
        for head in heads.each:
            head.weight.zero_()
            head.bias.zero_()
    expected = sum(np.log(len(ATTRIBUTES[name])) for name in SHOWN)
    assert heads(torch.randn(4, 12), shown).item() == pytest.approx(expected, abs=1e-5)

    monkeypatch.setattr("feature_extractors.pocket.training.clip.make_pool", lambda *args, **options: small_pool)
    build_clip(tmp_path / "before", seed=0)
    train(tmp_path / "after", Recipe(cpu_seconds=0.5, batch=4, single=4, seed=0), tmp_path)
    before, after = (
        load_model(resolve(str(folder), folder, layout=LAYOUT), "float32", "cpu")[0].state_dict()
        for folder in (tmp_path / "before", tmp_path / "after")
    )
    assert before.keys() == after.keys()
    # the place of the last tokens of the context is never read: no text of training is that long
    changed = [name for name, weight in before.items() if (weight != after[name]).any()]
    assert {"visual.proj", "visual.conv1.weight", "text_projection", "token_embedding.weight"} <= set(changed)
