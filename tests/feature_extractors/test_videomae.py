"""VideoMAE: clips become vectors, batch or alone; which weights load; what is extracted again when."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from feature_extractors.base import ItemSource
from feature_extractors.media import video
from feature_extractors.media.frame_policy import Uniform
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.videomae import VideoMae as Backbone
from feature_extractors.models.videomae import load_model
from feature_extractors.pocket.building.videomae import build_videomae
from feature_extractors.videomae import VideoMae
from protocols.errors import CheckpointError, UserError

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained checkpoint; weights scaled up so that vectors depend on what is seen."""
    path = tmp_path_factory.mktemp("checkpoint")
    build_videomae(path, seed=0)
    scaled = {name: w * 6 if w.ndim > 1 else w for name, w in load_file(path / WEIGHTS).items()}
    save_file(scaled, path / WEIGHTS, metadata={"format": "pt"})
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
    return [video.decode(path, Uniform(16)) for path in paths]


def source(paths):
    return ItemSource([f"item{k}" for k in range(len(paths))], [None] * len(paths), paths)


def backbone(folder, dtype="float32", variant="checkpoint"):
    return Backbone(resolve(str(folder), folder), dtype, "cpu", variant)


def change(folder, edit):
    """Rewrite the weights of a checkpoint."""
    weights = load_file(folder / WEIGHTS)
    save_file(edit(weights), folder / WEIGHTS, metadata={"format": "pt"})


def settings(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 40), (1, 7), (40, 3)])
def test_frames_of_one_or_three_pixels_keep_their_colours(folder, height, width):
    model = Backbone(resolve(str(folder), folder), "float32", "cpu")
    frames = np.zeros((16, height, width, 3), dtype=np.uint8)
    frames[..., 0] = 255
    pixels = model.prepare([SimpleNamespace(frames=frames)])
    assert pixels.shape == (1, 16, 3, 48, 48)
    red, *others = pixels[0].transpose(0, 1)
    assert (red > 2).all()
    assert all((other < -1).all() for other in others)


def test_a_vector_is_the_mean_over_the_tokens_of_the_whole_model(folder, clips):
    from transformers import VideoMAEForPreTraining, VideoMAEImageProcessor

    whole = VideoMAEForPreTraining.from_pretrained(folder, dtype=torch.float32).eval()
    processor = VideoMAEImageProcessor.from_pretrained(folder)
    pixels = processor(list(clips[0].frames), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 16, 3, 48, 48)
    with torch.no_grad():
        states = whole.videomae(pixels).last_hidden_state
    assert states.shape == (1, 4 * 6 * 6, 128)
    found = backbone(folder)(clips[:1])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], states[0].mean(dim=0).numpy(), atol=1e-5)
    # the final layer norm is in it: every token has mean 0 over its dimensions
    assert abs(found.mean()) < 1e-5


def test_half_precision_is_near_and_the_order_of_frames_matters(folder, clips):
    exact, half = backbone(folder)(clips), backbone(folder, "bfloat16")(clips)
    cosines = (exact * half).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(half, axis=1)
    assert cosines.min() > 0.995
    backwards = replace(clips[0], frames=np.ascontiguousarray(clips[0].frames[::-1]))
    assert np.abs(backbone(folder)([backwards])[0] - exact[0]).max() > 1e-2


def bare(weights):
    prefix = "videomae."
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def classifier(weights):
    encoder = {name: w for name, w in weights.items() if name.startswith("videomae.")}
    return {**encoder, "classifier.weight": torch.zeros(2, 128), "classifier.bias": torch.zeros(2)}


def new_names(weights):
    """Biases as the modules are named; saved checkpoints, ours and MCG-NJU/videomae-base, call them q_bias, v_bias."""
    return {name.replace("q_bias", "query.bias").replace("v_bias", "value.bias"): w for name, w in weights.items()}


@pytest.mark.parametrize("layout", [bare, classifier, new_names])
def test_bare_encoders_classifiers_and_new_names_load_to_the_same_vectors(folder, copied, clips, layout):
    change(copied, layout)
    assert set(load_file(copied / WEIGHTS)) != set(load_file(folder / WEIGHTS))
    np.testing.assert_array_equal(backbone(copied)(clips[:2]), backbone(folder)(clips[:2]))


def test_a_finetuned_checkpoint_has_no_norm_behind_its_encoder(folder, copied, clips):
    settings(copied, use_mean_pooling=True)
    change(copied, lambda weights: {
        **{name: w for name, w in classifier(weights).items() if not name.startswith("videomae.layernorm")},
        "fc_norm.weight": torch.ones(128), "fc_norm.bias": torch.zeros(128),
    })  # fmt: skip
    found = backbone(copied)
    assert found.model.layernorm is None
    assert np.abs(found(clips[:1]) - backbone(folder)(clips[:1])).max() > 0.1


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "videomae.encoder.layer.1.output.dense.weight"}, "missing"),
        (lambda w: {k: v for k, v in w.items() if not k.startswith("videomae.layernorm")}, "missing"),
        (lambda w: {**w, "videomae.encoder.layer.9.output.dense.weight": torch.zeros(2, 2)}, "unexpected"),
        (lambda w: {**w, "decoder.extra.weight": torch.zeros(2)}, "unexpected"),
        (lambda w: {**w, "videomae.layernorm.weight": torch.zeros(64)}, "layernorm"),
    ],
)
def test_a_missing_or_unexpected_key_is_an_error(copied, edit, named):
    change(copied, edit)
    with pytest.raises(CheckpointError, match=named):
        load_model(resolve(str(copied), copied), "float32", "cpu")


def test_another_model_is_refused_by_name(copied, paths, context):
    settings(copied, model_type="vit")
    with pytest.raises(CheckpointError, match="'vit'"):
        VideoMae(checkpoint=str(copied)).extract(source(paths), context)
    (copied / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="preprocessor_config"):
        load_model(resolve(str(copied), copied), "float32", "cpu")


def test_the_variant_of_microlens_sees_the_first_tubelets_of_five_frames_and_has_no_final_norm(folder, clips, paths):
    from transformers import VideoMAEConfig, VideoMAEModel

    # what their script does: every setting but the size of the model is the class's own
    size = (
        "image_size",
        "patch_size",
        "tubelet_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
    )
    own = VideoMAEConfig.from_pretrained(folder)
    config = VideoMAEConfig(num_frames=5, **{name: getattr(own, name) for name in size})
    theirs = VideoMAEModel.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    model = backbone(folder, variant="microlens")
    five = [video.decode(path, Uniform(5)) for path in paths[:3]]
    with torch.no_grad():
        states = theirs(model.prepare(five)).last_hidden_state
    assert states.shape == (3, 6 * 6, 128)
    expected = torch.nn.AdaptiveAvgPool2d((1, 128))(states).squeeze(1).numpy()
    np.testing.assert_allclose(model(five), expected, atol=1e-5)


def test_frames_must_be_as_many_as_the_model_takes(folder, paths, context):
    extractor = VideoMae(checkpoint=str(folder))
    assert extractor.policy(16).key == "uniform:16"
    for frames, why in (("uniform:5", "5 frames"), ("first:30s", "8 frames"), ("fps:1", "as many")):
        with pytest.raises(UserError, match=why) as caught:
            replace(extractor, frames=frames).extract(source(paths), context)
        assert "--frames uniform:16" in caught.value.remedy
        assert ("microlens" in caught.value.remedy) == (frames == "uniform:5")
    assert not (context.store.exists() and list(context.store.iterdir()))
    microlens = replace(extractor, recipe="microlens")
    with pytest.raises(UserError, match="16 frames"):
        replace(microlens, frames="uniform:16").extract(source(paths), context)
    sixteen, five = (one.extract(source(paths[:2]), context) for one in (extractor, microlens))
    assert five.space.config["frames"] == "uniform:5"
    assert np.abs(sixteen.values - five.values).max() > 0.1
