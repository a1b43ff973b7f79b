"""Image and video encoders of many architectures, with random weights, each loaded by its folder alone."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.image_encoder import ImageEncoder
from feature_extractors.media.result import Clip
from feature_extractors.models import vision_encoders
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.pocket import CLIP, IMAGE_ENCODER, VIDEOMAE
from feature_extractors.video_encoder import VideoEncoder
from feature_extractors.videomae import VideoMae
from protocols.errors import CheckpointError, UserError

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
VIT = {**SMALL, "image_size": 32, "patch_size": 8}
TEXT = {
    **SMALL,
    "vocab_size": 50,
    "max_position_embeddings": 16,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
SQUARE = {"height": 32, "width": 32}
CROP = {"size": {"shortest_edge": 32}, "crop_size": SQUARE}
JEPA = {
    "crop_size": 32,
    "patch_size": 16,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "frames_per_clip": 8,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
}
PRISM = {
    "image_size": 32,
    "tubelet_size": [1, 8, 8],
    "num_frames": 4,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_spatial_layers": 1,
    "num_temporal_layers": 1,
    "num_auxiliary_layers": 1,
}
# (class, configuration, processor, its settings)
IMAGES = {
    "siglip": ("SiglipModel", {"text_config": TEXT, "vision_config": VIT}, "SiglipImageProcessor", {"size": SQUARE}),
    "siglip2-naflex": (
        "Siglip2Model",
        {"text_config": TEXT, "vision_config": {**SMALL, "patch_size": 8, "num_patches": 16}},
        "Siglip2ImageProcessor",
        {"patch_size": 8, "max_num_patches": 16},
    ),
    "clip": (
        "CLIPModel",
        {"text_config": TEXT, "vision_config": VIT, "projection_dim": 16},
        "CLIPImageProcessor",
        CROP,
    ),
    "aimv2": ("Aimv2VisionModel", VIT, "CLIPImageProcessor", CROP),
    "dinov2": ("Dinov2Model", {**SMALL, "image_size": 32, "patch_size": 8}, "BitImageProcessor", CROP),
    "dinov3": ("DINOv3ViTModel", {**VIT, "num_register_tokens": 2}, "DINOv3ViTImageProcessor", {"size": SQUARE}),
    "dinov3-convnext": (
        "DINOv3ConvNextModel",
        {"hidden_sizes": [8] * 4, "depths": [1] * 4},
        "DINOv3ViTImageProcessor",
        {"size": SQUARE},
    ),
}
VIDEOS = {
    "vjepa2": ("VJEPA2Model", JEPA, "VJEPA2VideoProcessor", {"crop_size": 32}),
    "vjepa2-classifier": ("VJEPA2ForVideoClassification", JEPA, "VJEPA2VideoProcessor", {"crop_size": 32}),
    "videoprism": ("VideoPrismVisionModel", PRISM, "LlavaOnevisionVideoProcessor", {"size": SQUARE}),
    "videoprism-text": (
        "VideoPrismClipModel",
        {"vision_config": PRISM, "text_config": {**SMALL, "vocab_size": 50}},
        "LlavaOnevisionVideoProcessor",
        {"size": SQUARE},
    ),
    "videomae-classifier": (
        "VideoMAEForVideoClassification",
        {**VIT, "num_frames": 4},
        "VideoMAEVideoProcessor",
        CROP,
    ),
    "vivit": (
        "VivitModel",
        {**SMALL, "image_size": 32, "num_frames": 4, "tubelet_size": [2, 8, 8]},
        "VivitImageProcessor",
        CROP,
    ),
    "timesformer": ("TimesformerModel", {**VIT, "num_frames": 4}, "VideoMAEVideoProcessor", CROP),
}


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A function that writes a checkpoint with random weights."""
    import torch
    import transformers

    root = tmp_path_factory.mktemp("encoders")

    def make(name):
        kind, settings, processor, sizes = {**IMAGES, **VIDEOS}[name]
        if not (root / name).exists():
            torch.manual_seed(0)
            model_class = getattr(transformers, kind)
            model = model_class(model_class.config_class(**settings))
            for weight in model.parameters():  # tables of places begin at 0
                if not weight.any():
                    torch.nn.init.normal_(weight, std=0.02)
            model.save_pretrained(root / name)
            getattr(transformers, processor)(**sizes).save_pretrained(root / name)
        return root / name

    return make


def clip(seed, frames, height, width):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (frames, height, width, 3), dtype=np.uint8)
    return Clip(pixels, list(range(frames)), [at / 8 for at in range(frames)], frames, 8.0, "", "pyav")


@pytest.mark.parametrize("pooling", ["pooled", "mean"])
@pytest.mark.parametrize("name", IMAGES)
def test_a_vector_of_images_is_the_mean_over_frames_whatever_stands_beside_the_clip(build, name, pooling):
    encode = vision_encoders.ImageEncoder(resolve(str(build(name)), IMAGE_ENCODER), "float32", "cpu", pooling)
    clips = [clip(0, 3, 50, 70), clip(1, 2, 70, 50)]
    found = encode(clips)
    single = [
        np.mean([encode([Clip(frame[None], [0], [0.0], 1, 8.0, "", "pyav")])[0] for frame in one.frames], axis=0)
        for one in clips
    ]
    assert_allclose(found, np.stack(single), atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-4


@pytest.mark.parametrize("name", ["siglip", "siglip2-naflex", "aimv2"])
def test_the_pooling_head_reads_all_frames_of_a_clip_at_once(build, name):
    checkpoint = resolve(str(build(name)), IMAGE_ENCODER)
    pooled, head = (vision_encoders.ImageEncoder(checkpoint, "float32", "cpu", how) for how in ("pooled", "head"))
    one, frame = clip(0, 3, 50, 70), clip(1, 1, 70, 50)
    found = head([one, frame])
    # of one frame it is what the model makes of an image
    assert_allclose(found[1], pooled([frame])[0], atol=1e-6)
    assert_allclose(found[0], head([one])[0], atol=1e-6)
    # attention to the tokens of all frames is no mean of frames
    assert np.abs(found[0] - pooled([one])[0]).max() > 1e-6
    again = Clip(np.concatenate([one.frames, one.frames]), list(range(6)), [at / 8 for at in range(6)], 6, 8.0, "", "")
    assert_allclose(head([again])[0], found[0], atol=1e-6)


@pytest.mark.parametrize("name", ["clip", "dinov2", "dinov3"])
def test_a_model_without_a_pooling_head_is_refused(build, name):
    with pytest.raises(CheckpointError, match="gives no attention pooling head") as caught:
        vision_encoders.ImageEncoder(resolve(str(build(name)), IMAGE_ENCODER), "float32", "cpu", "head")
    assert caught.value.remedy == "--set image-encoder.pooling=pooled"


@pytest.mark.parametrize("name", VIDEOS)
def test_a_vector_of_a_video_knows_the_order_of_frames_and_not_the_batch(build, name):
    checkpoint = resolve(str(build(name)), VIDEOMAE)
    frames, _ = vision_encoders.frames_wanted(checkpoint)
    assert frames == (8 if name.startswith("vjepa2") else 4)
    encode = vision_encoders.VideoEncoder(checkpoint, "float32", "cpu")
    clips = [clip(0, frames, 50, 70), clip(1, frames, 70, 50)]
    found = encode(clips)
    assert found.shape == (2, 32)
    assert_allclose(found, np.concatenate([encode([one]) for one in clips]), atol=1e-6)
    backwards = encode([Clip(clips[0].frames[::-1].copy(), *[getattr(clips[0], f) for f in FIELDS])])[0]
    assert np.abs(backwards - found[0]).max() > 1e-6
    assert np.abs(found[0] - found[1]).max() > 1e-4


FIELDS = ("indices", "times", "total", "fps", "damage", "decoder")


def test_a_vjepa_2_is_read_without_its_predictor(build):
    import torch
    from transformers import VJEPA2Model

    folder = build("vjepa2")
    encode = vision_encoders.VideoEncoder(resolve(str(folder), VIDEOMAE), "float32", "cpu")
    one = clip(0, 8, 40, 40)
    model = VJEPA2Model.from_pretrained(folder).eval()
    with torch.inference_mode():
        wanted = model(encode.prepare([one])).last_hidden_state.mean(dim=1).numpy()
    assert_allclose(encode([one]), wanted, atol=1e-6)


def test_a_missing_weight_of_the_encoder_is_an_error_and_a_classifier_is_left_aside(build, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(build("videomae-classifier"), tmp_path / "cut")
    weights = load_file(folder / "model.safetensors")
    assert any(key.startswith("classifier") for key in weights)
    gone = next(key for key in weights if key.endswith("mlp.fc1.weight") or "intermediate" in key)
    save_file({k: v for k, v in weights.items() if k != gone}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="missing keys"):
        vision_encoders.VideoEncoder(resolve(str(folder), VIDEOMAE), "float32", "cpu")


@pytest.fixture
def source(tmp_path, make_clip):
    return ItemSource(["a"], ["A"], [make_clip(tmp_path / "a.mp4", frames=20)])


@pytest.mark.parametrize(
    ("name", "frames", "message"),
    [
        ("videoprism", "uniform:8", "gives 8, the model takes 4"),
        ("videoprism", "fps:1", "as many frames as a clip has room for"),
        ("vjepa2", "uniform:5", "the model takes 8, or a multiple of 2"),
    ],
)
def test_frames_that_a_video_encoder_does_not_take_are_refused_before_decoding(
    build, source, tmp_path, name, frames, message
):
    extractor = VideoEncoder(checkpoint=str(build(name)), frames=frames)
    with pytest.raises(UserError, match=message):
        extractor.extract(source, ExtractContext(tmp_path / "store"))


def test_an_image_encoder_is_no_video_encoder(build, source, tmp_path):
    with pytest.raises(CheckpointError, match="takes images"):
        VideoEncoder(checkpoint=str(build("dinov2"))).extract(source, ExtractContext(tmp_path / "store"))


def test_a_vjepa_2_takes_any_number_of_tubelets(build, source, tmp_path):
    found = VideoEncoder(checkpoint=str(build("vjepa2")), frames="uniform:4").extract(source, ExtractContext(tmp_path))
    assert found.ok.all()


def test_the_pocket_checkpoints_are_those_of_videomae_and_clip(source, tmp_path):
    import torch

    context = ExtractContext(tmp_path / "store")
    ours = VideoEncoder(checkpoint="pocket").extract(source, context)
    assert_allclose(ours.values, VideoMae(checkpoint="pocket").extract(source, context).values, atol=1e-6)
    assert ImageEncoder(checkpoint="pocket").extract(source, context).ok.all()

    from feature_extractors.models.clip_image import LAYOUT, ImageTower

    tower = ImageTower(resolve("pocket", CLIP, layout=LAYOUT), "float32", "cpu").model.visual
    encode = vision_encoders.ImageEncoder(resolve("pocket", IMAGE_ENCODER), "float32", "cpu")
    pixels = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 48, 48)).astype(np.float32))
    with torch.inference_mode():
        assert_allclose(encode.model(pixels).pooler_output @ tower.proj, tower(pixels), atol=1e-5)


def test_the_pocket_image_encoder_is_what_its_script_writes(tmp_path):
    from safetensors.torch import load_file

    from feature_extractors.pocket.building.image_encoder import build_image_encoder

    build_image_encoder(tmp_path)
    for name in ("config.json", "preprocessor_config.json"):
        assert (tmp_path / name).read_text() == (IMAGE_ENCODER / name).read_text()
    ours, written = (load_file(folder / "model.safetensors") for folder in (IMAGE_ENCODER, tmp_path))
    assert {k: v.tolist() for k, v in ours.items()} == {k: v.tolist() for k, v in written.items()}
