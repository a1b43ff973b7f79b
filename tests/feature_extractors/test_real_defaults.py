"""Defaults that depend on the checkpoint and the device."""

from dataclasses import replace

import numpy as np
import pytest

from bench.runs.rows import extractor_for
from feature_extractors.audio_captions import AudioCaptions
from feature_extractors.base import ExtractContext
from feature_extractors.captions import Captions
from feature_extractors.media.audio import Listening
from feature_extractors.models.checkpoint import cards, precision
from feature_extractors.models.checkpoint.precision import best_dtype, check_dtype
from feature_extractors.pipeline import devices
from feature_extractors.pipeline.resolution import resolve_chain
from feature_extractors.real_defaults import option, settled
from feature_extractors.titles import Titles
from protocols.errors import UserError

# (pocket, real)
DEFAULTS = {
    "captions": {"max_new_tokens": (48, 256), "prompt": ("describe", "describe-whole")},
    "audio-captions": {"max_new_tokens": (96, 256), "prompt": ("describe-audio", "describe-audio-whole")},
    "omni-captions": {"max_new_tokens": (128, 256), "prompt": ("describe-omni", "describe-omni-whole")},
    "chain-captions": {"max_new_tokens": (48, 256), "summary_tokens": (96, 256)},
    "structured-captions": {"max_new_tokens": (256, 256), "prompt": ("structured", "structured")},
    "av-captions": {"audio_max_new_tokens": (96, 256), "audio_prompt": ("describe-audio", "describe-audio-whole")},
    "transcripts": {"language": ("en", "auto")},
    "linkedout": {"language": ("en", "auto"), "prompt": ("recommend", "recommend")},
    "hidden-states": {"prompt": ("describe", "describe")},
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_options_that_nobody_set_are_those_of_the_checkpoint(name):
    for dataset, at in (("demo", 0), ("", 1)):
        found = extractor_for(name, {}, dataset).options()
        assert {key: found[key] for key in DEFAULTS[name]} == {key: both[at] for key, both in DEFAULTS[name].items()}
        assert found["dtype"] == "float32"
    given = {name: dict.fromkeys(DEFAULTS[name].keys() - {"prompt", "audio_prompt", "language"}, 7)}
    assert {extractor_for(name, given, "").options()[key] for key in given[name]} <= {7}


def test_each_part_of_a_chain_follows_its_own_checkpoint_and_wrapped_extractors_are_settled():
    mixed = {"av-captions": {"audio_checkpoint": "pocket", "whisper": "pocket"}}
    found = extractor_for("av-captions", mixed, "")
    assert (found.max_new_tokens, found.audio_max_new_tokens, found.language) == (256, 96, "en")
    assert extractor_for("shuffled:captions", {}, "").options()["inner"]["max_new_tokens"] == 256
    parts = extractor_for("concat:captions+titles", {}, "demo").options()["parts"]
    assert [part["dtype"] for part in parts] == ["float32", "float32"]
    # an extractor that was not settled has the same values where they are used
    assert option(Captions(checkpoint="some/model"), "max_new_tokens") == 256
    assert Captions(checkpoint="pocket").key_entries() == settled(Captions(checkpoint="pocket")).key_entries()


def test_real_checkpoints_run_in_bfloat16_on_a_gpu_that_has_it_and_never_in_float16(monkeypatch):
    monkeypatch.setattr(precision, "_has_bfloat16", lambda device: device == "cuda:1")
    assert [best_dtype(device, None) for device in ("cpu", "mps", "cuda:0", "cuda:1")] == ["float32"] * 3 + ["bfloat16"]
    only = replace(cards.CARDS[0], dtypes=("bfloat16", "float16"))
    assert best_dtype("cpu", only) == "bfloat16"
    real, pocket = Titles(text_encoder="a/b"), Titles(text_encoder="pocket")
    assert (settled(real, "cuda:1").dtype, settled(pocket, "cuda:1").dtype) == ("bfloat16", "float32")
    assert settled(replace(real, dtype="float16"), "cuda:1").dtype == "float16"


def test_a_precision_that_a_checkpoint_forbids_is_refused(tmp_path, untrained, monkeypatch):
    card = replace(cards.CARDS[0], id="a/text_encoder", dtypes=("bfloat16", "float32"))
    with pytest.raises(UserError, match="must not be run in float16") as caught:
        check_dtype("mine", card, "float16")
    assert caught.value.remedy == "--dtype bfloat16"
    monkeypatch.setattr(cards, "CARDS", (card,))
    folder = str(untrained / "text_encoder")
    with pytest.raises(UserError, match="text_encoder must not be run in float16"):
        resolve_chain(Titles(text_encoder=folder, dtype="float16"), ExtractContext(tmp_path))


def test_auto_is_the_best_device_that_is_there(monkeypatch):
    import torch

    monkeypatch.setattr(devices, "GPU_NODES", ("/dev/null",))
    for cuda, mps, expected in ((True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert devices.choose_device("auto") == expected
        assert devices.choose_device("auto", simulated=True) == "cpu"
        assert devices.choose_device("cuda:1", simulated=True) == "cuda:1"


def test_sound_tags_hear_no_more_than_the_audio_captions(tmp_path):
    chosen = AudioCaptions(max_seconds=3.0).resolved(True)
    chain = {space.extractor: space for space in resolve_chain(chosen, ExtractContext(tmp_path))}
    for name in ("sound-tags.windows", "transcripts.windows", "audio-captions.text"):
        assert chain[name].config["audio"] == Listening(3.0).key


def test_pixels_of_a_frame_are_bounded_where_the_processor_knows_bounds(tmp_path, untrained):
    from feature_extractors.media.result import Clip
    from feature_extractors.models.checkpoint.checkpoints import resolve
    from feature_extractors.models.video_captioner import Captioner

    with pytest.raises(UserError, match="max_pixels=many"):
        Captions(max_pixels="many")
    assert Captions(max_pixels="576", checkpoint="pocket").key_entries()["max_pixels"] == 576
    folder = untrained / "captioner"
    frames = np.zeros((4, 96, 96, 3), dtype=np.uint8)
    clip = Clip(frames, [0, 1, 2, 3], [0.0, 0.1, 0.2, 0.3], 4, 10.0, 0, "pyav")
    rows = []
    for pixels in ((None, None), (9216, 9216)):
        captioner = Captioner(resolve(str(folder), folder), "float32", "cpu", "Describe.", 2, pixels=pixels)
        assert captioner.model.config._attn_implementation == "sdpa"
        [(_, inputs)] = captioner.prepare([clip])
        rows.append(len(inputs["pixel_values_videos"]))
    assert rows[1] == 4 * rows[0]  # 96 x 96 in place of 48 x 48
    with pytest.raises(UserError, match="is above max_pixels=4"):
        Captioner(resolve(str(folder), folder), "float32", "cpu", "Describe.", 2, pixels=(None, 4))
