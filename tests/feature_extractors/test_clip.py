"""CLIP: frames become one vector a clip, batch or alone; which weights load; what trains the pocket one."""

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from feature_extractors.base import ItemSource
from feature_extractors.clip import Clip
from feature_extractors.media import video
from feature_extractors.media.frame_policy import parse
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.clip_image import LAYOUT, ImageTower, load_model
from feature_extractors.pocket.building.clip import SHOWN, build_clip, text_of
from protocols.errors import CheckpointError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained checkpoint, its files as `laion/CLIP-ViT-B-32-laion2B-s34B-b79K` has them."""
    path = tmp_path_factory.mktemp("checkpoint")
    build_clip(path, seed=0)
    return path


@pytest.fixture
def copied(folder, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(folder, tmp_path / "copied")


@pytest.fixture(scope="module")
def paths(tmp_path_factory, make_clip):
    root = tmp_path_factory.mktemp("clips")
    sizes = [(64, 64), (96, 64), (48, 80), (64, 64), (50, 50), (64, 64), (128, 72), (64, 64)]
    return [make_clip(root / f"{i}.mp4", seed=i, size=size, frames=10 + 3 * i) for i, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def clips(paths):
    return [video.decode(path, parse("fps:2")) for path in paths]


def source(paths):
    return ItemSource([f"item{k}" for k in range(len(paths))], [None] * len(paths), paths)


def tower(folder, dtype="float32"):
    return ImageTower(resolve(str(folder), folder, layout=LAYOUT), dtype, "cpu")


def change(folder, edit):
    """Rewrite the weights of a checkpoint."""
    save_file(edit(load_file(folder / LAYOUT.weights)), folder / LAYOUT.weights, metadata={"format": "pt"})


def test_a_vector_is_the_mean_of_frames_of_length_one(folder, clips):
    import open_clip
    from PIL import Image

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.no_grad():
        frames = torch.stack([transform(Image.fromarray(frame)) for frame in clips[3].frames])
        expected = model.eval().encode_image(frames, normalize=True).mean(dim=0).numpy()
    found = tower(folder)(clips[3:4])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    backwards = replace(clips[3], frames=np.ascontiguousarray(clips[3].frames[::-1]))
    np.testing.assert_allclose(tower(folder)([backwards]), found, atol=1e-5)


def test_a_clip_gives_the_same_vector_alone_and_in_a_batch_of_eight_with_other_numbers_of_frames(
    folder, clips, monkeypatch
):
    assert len({len(clip.frames) for clip in clips}) > 3
    model = tower(folder)
    together = model(clips)
    assert together.shape == (8, 96)
    assert len(np.unique(together.round(3), axis=0)) == 8
    monkeypatch.setattr("feature_extractors.models.clip_image.TOGETHER", 5)
    for clip, vector in zip(clips, together, strict=True):
        np.testing.assert_allclose(model([clip])[0], vector, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near(folder, clips, dtype):
    exact, half = tower(folder)(clips), tower(folder, dtype)(clips)
    assert (exact != half).any()
    cosines = (exact * half).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(half, axis=1)
    assert cosines.min() > 0.99


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "visual.proj"}, "visual.proj"),
        (lambda w: {**w, "visual.extra": torch.zeros(2)}, "visual.extra"),
        # open_clip itself would stretch these two
        (lambda w: {**w, "visual.positional_embedding": torch.zeros(17, 128)}, "visual.positional_embedding"),
        (lambda w: {**w, "positional_embedding": torch.zeros(9, 96)}, "positional_embedding"),
    ],
)
def test_a_missing_unexpected_or_stretched_weight_is_an_error(copied, edit, named):
    change(copied, edit)
    with pytest.raises(CheckpointError, match=named):
        load_model(resolve(str(copied), copied, layout=LAYOUT), "float32", "cpu")


def test_a_pickle_is_never_opened(copied, paths, context):
    (copied / LAYOUT.weights).rename(copied / "open_clip_pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"open_clip_model\.safetensors is missing"):
        Clip(checkpoint=str(copied)).extract(source(paths), context)
    shutil.rmtree(copied)
    copied.mkdir()
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json is missing"):
        Clip(checkpoint=str(copied)).extract(source(paths), context)


def test_settings_of_the_processor_come_from_the_checkpoint(folder, copied, clips):
    path = copied / LAYOUT.config
    settings = json.loads(path.read_text())
    settings["preprocess_cfg"]["resize_mode"] = "squash"
    path.write_text(json.dumps(settings))
    wide, square = clips[6], clips[3]
    assert np.abs(tower(copied)([wide]) - tower(folder)([wide])).max() > 1e-3
    np.testing.assert_allclose(tower(copied)([square]), tower(folder)([square]), atol=1e-5)


def test_the_twin_differs_and_nothing_is_logged(folder, clips, caplog):
    with caplog.at_level(logging.INFO):
        twin = ImageTower(resolve("random", folder, layout=LAYOUT), "float32", "cpu")
    assert not caplog.records
    again = ImageTower(resolve("random", folder, layout=LAYOUT), "float32", "cpu")
    np.testing.assert_array_equal(twin(clips[:1]), again(clips[:1]))
    assert np.abs(twin(clips[:1]) - tower(folder)(clips[:1])).max() > 1e-2


def test_texts_of_training_name_what_one_frame_shows_and_their_truth_is_known(folder):
    from feature_extractors.pocket.building.clip_pool import Pool
    from feature_extractors.pocket.building.corpus import ATTRIBUTES
    from feature_extractors.pocket.training.clip import Pairs, Recipe

    assert "motion" not in SHOWN
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(len(values), size=12) for values in ATTRIBUTES.values()], axis=1)
    frames = rng.integers(0, 256, (12, 2, 48, 48, 3), dtype=np.uint8)
    pool = Pool(frames, labels, np.ones(12, np.float32))
    look = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    pairs = Pairs(pool, Recipe(batch=8, single=30), folder, look)
    read = []
    tokenize = pairs._tokenizer
    pairs._tokenizer = lambda texts: read.extend(texts) or tokenize(texts)
    pixels, tokens, true, shown = pairs.draw()
    assert pixels.shape == (8, 3, 48, 48)
    assert {tuple(row) for row in shown.tolist()} <= {tuple(np.delete(row, 3)) for row in labels}
    assert tokens.shape == (38, 24)
    # cut to nothing, unknown to the tokenizer: neither may happen
    assert not (tokens == 1).any()
    assert true[:, :8].diagonal().all()
    assert true.any(dim=0).all()
    assert not true.all()
    assert (
        text_of({name: ATTRIBUTES[name][0] for name in SHOWN})
        == "a picture of one red circle by the sky without a word"
    )
    assert all(text.startswith("a picture") for text in read)
    alike = dict(zip(read, true.T.tolist(), strict=True))
    assert all(alike[text] == column for text, column in zip(read, true.T.tolist(), strict=True))
