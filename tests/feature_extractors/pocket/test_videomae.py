"""The pocket VideoMAE: what trains it, and what its vectors hold that a random twin's do not."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.videomae import VideoMae
from feature_extractors.pocket import VIDEOMAE
from feature_extractors.pocket.building.qwen_vl import PIXELS
from feature_extractors.pocket.building.videomae import FRAMES, build_videomae
from feature_extractors.pocket.evaluation.text_encoder import probe
from feature_extractors.pocket.training.videomae import MaskedAutoencoder, Recipe, initialise, train


def untrained(folder, **settings):
    from transformers import VideoMAEForPreTraining

    build_videomae(folder, seed=0)
    return VideoMAEForPreTraining.from_pretrained(folder, dtype=torch.float32, **settings).eval()


@pytest.mark.parametrize("normalised", [False, True])
def test_the_loss_that_trains_it_is_that_of_the_architecture(tmp_path, normalised):
    model = untrained(tmp_path, norm_pix_loss=normalised)
    initialise(model)
    autoencoder = MaskedAutoencoder(model)
    frames = np.random.default_rng(0).integers(0, 256, (2, FRAMES, PIXELS, PIXELS, 3), dtype=np.uint8)
    seen, told = (numbers.sort(dim=1).values for numbers in autoencoder.draw(2, masked=0.75, predicted=1.0))
    assert seen.shape == (2, 36)
    assert told.shape == (2, 108)
    hidden = torch.ones(2, 144, dtype=torch.bool).scatter(1, seen, False)
    assert hidden.gather(1, told).all()
    scaled = torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    with torch.no_grad():
        expected = model((scaled - mean) / std, bool_masked_pos=hidden).loss
        torch.testing.assert_close(autoencoder.loss(autoencoder.patches(frames), seen, told), expected)


def test_with_all_patches_seen_it_is_the_encoder_that_the_extractor_calls(tmp_path):
    model = untrained(tmp_path)
    frames = np.random.default_rng(0).integers(0, 256, (2, FRAMES, PIXELS, PIXELS, 3), dtype=np.uint8)
    scaled = torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    autoencoder = MaskedAutoencoder(model)
    with torch.no_grad():
        found = autoencoder.encode(autoencoder.patches(frames), torch.arange(144).expand(2, -1))
        expected = model.videomae((scaled - mean) / std).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_without_labelled_seconds_no_label_takes_part(small_pool, tmp_path, monkeypatch):
    from feature_extractors.pocket.training import videomae

    wrong = replace(small_pool, labels=np.full_like(small_pool.labels, 99))
    monkeypatch.setattr(videomae, "make_pool", lambda *args, **options: wrong)
    train(tmp_path / "unlabelled", Recipe(cpu_seconds=0.2, labelled_seconds=0, batch=4, seed=0), tmp_path)
    with pytest.raises(IndexError, match="out of bounds"):
        train(tmp_path / "labelled", Recipe(cpu_seconds=0, labelled_seconds=0.2, batch=4, seed=0), tmp_path)


def test_its_files_are_small_and_safe_and_have_a_card():
    files = list(VIDEOMAE.iterdir())
    assert {file.suffix for file in files} == {".json", ".safetensors", ".md"}
    assert sum(file.stat().st_size for file in files) <= 1_700_000
    card = (VIDEOMAE / "README.md").read_text(encoding="utf-8").lower()
    for word in ("apache-2.0", "simulated", "held-back combinations", "cpu seconds", "2203.12602", "not"):
        assert word in card


def test_it_loads_as_a_whole_autoencoder_and_tells_hidden_patches_better_than_their_mean(small_pool):
    from transformers import VideoMAEForPreTraining

    model, info = VideoMAEForPreTraining.from_pretrained(VIDEOMAE, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.dtype == torch.float32
    autoencoder = MaskedAutoencoder(model.eval())
    torch.manual_seed(0)
    patches = autoencoder.patches(small_pool.frames[:32])
    seen, told = autoencoder.draw(32, masked=0.75, predicted=1.0)
    with torch.no_grad():
        error = float(autoencoder.loss(patches, seen, told))
    assert error < 0.8 * float((patches - patches.mean(dim=(1, 3), keepdim=True)).square().mean())


def test_its_vectors_hold_colours_that_the_random_twins_do_not(small_pool):
    from feature_extractors.pocket.building.corpus import ATTRIBUTES

    clips = [SimpleNamespace(frames=frames) for frames in small_pool.frames]
    colours = small_pool.labels[:, list(ATTRIBUTES).index("colour")]
    shares = {}
    for word in ("pocket", "random"):
        model = VideoMae(resolve(word, VIDEOMAE), "float32", "cpu")
        found = np.concatenate([model(clips[at : at + 50]) for at in range(0, len(clips), 50)])
        shares[word] = probe(found, colours, 70)
    # 50 clips: two standard errors are .14
    assert shares["pocket"] > shares["random"] + 0.15


def test_training_writes_a_checkpoint_of_the_same_architecture(small_pool, tmp_path, monkeypatch):
    monkeypatch.setattr("feature_extractors.pocket.training.videomae.make_pool", lambda *args, **options: small_pool)
    before = untrained(tmp_path / "before").state_dict()
    train(tmp_path / "out", Recipe(cpu_seconds=0.5, labelled_seconds=0.5, batch=4, seed=0), tmp_path)
    from transformers import VideoMAEForPreTraining

    after = VideoMAEForPreTraining.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert after.config.to_dict().items() >= {"norm_pix_loss": False, "num_frames": FRAMES}.items()
    assert all((after.state_dict()[name] != weight).any() for name, weight in before.items() if weight.ndim > 1)
