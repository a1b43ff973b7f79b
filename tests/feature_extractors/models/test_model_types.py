"""Captions and hidden states of checkpoints of many model types, known by their folder alone."""

import re
import shutil

import numpy as np
import pytest

from feature_extractors.media.result import Clip
from feature_extractors.models import model_types
from feature_extractors.models.architectures import decoder_of, family_of
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.checkpoint.loading import checkpoint_errors
from feature_extractors.models.decoder_states import READOUTS, StateReader, reduced
from feature_extractors.models.joint_embedding import JointEmbedder, TitledClip
from feature_extractors.models.video_captioner import Captioner
from protocols.errors import CheckpointError, UserError

#: One that takes frames in one array, one that takes images alone, one with linear attention.
FAST = ("internvl", "gemma3", "qwen3_5")
KINDS = [
    pytest.param(one, id=one.kind, marks=[] if one.kind in FAST else pytest.mark.slow) for one in model_types.TRIED
]


def clip(seed, frames=4, height=40, width=40):
    pixels = np.random.default_rng(seed).integers(0, 255, (frames, height, width, 3), dtype=np.uint8)
    return Clip(pixels, list(range(frames)), [i / 8 for i in range(frames)], frames, 8.0, 0, "pyav")


#: Of several lengths and shapes.
CLIPS = [clip(0), clip(1, 6), clip(2, 4, 24, 72)]


@pytest.fixture(scope="module", params=KINDS)
def tried(request):
    return request.param


@pytest.fixture(scope="module")
def checkpoint(tried, tmp_path_factory, build_checkpoint):
    if tried.kind == "smolvlm":
        pytest.importorskip("num2words")
    folder = tmp_path_factory.mktemp("types") / "model"
    build_checkpoint(tried.kind, folder)
    return resolve(str(folder), folder)


@pytest.fixture
def states(tried, checkpoint):
    """A function that makes the reader of decoder states; a type without them is refused with the reason."""

    def make(**options):
        return StateReader(checkpoint, family_of(checkpoint), "float32", "cpu", "What is it?", **options)

    if not tried.states:
        return make
    with pytest.raises(CheckpointError, match=re.escape(tried.states)):
        make()(CLIPS[:1])
    return pytest.skip(f"{tried.kind}: {tried.states}")


def test_clips_are_captioned_alone_as_in_a_batch(checkpoint):
    captioner = Captioner(checkpoint, "float32", "cpu", "What is it?", 6)
    texts = captioner(CLIPS)
    assert all(texts)
    assert texts == [captioner([one])[0] for one in CLIPS]
    assert [at for places, _ in captioner.prepare(CLIPS) for at in places] in ([0, 1, 2], [0, 2, 1])


def test_hidden_states_are_those_that_transformers_returns(checkpoint, states):
    import torch

    decoder, reader = decoder_of(checkpoint), states()
    found = reader(CLIPS)
    assert found.shape == (3, decoder.layers + 1, len(READOUTS), decoder.width)
    # placeholders of a clip are those of videos, or those of images
    names = ["video_token_id", "image_token_id"]
    marks = [getattr(reader.model.config, name) for name in names if hasattr(reader.model.config, name)]
    for at, one in enumerate(CLIPS):
        inputs = reader.inputs([one])
        with torch.inference_mode():
            layers = reader.model(**inputs, output_hidden_states=True).hidden_states
        visual = torch.isin(inputs["input_ids"][0], torch.tensor(marks))
        assert visual.sum() >= len(one.frames) / 2
        states = torch.stack([layer[0] for layer in layers]).numpy()
        readouts = {"visual": states[:, visual].mean(axis=1), "last": states[:, -1], "mean": states.mean(axis=1)}
        for name, expected in readouts.items():
            np.testing.assert_allclose(found[at, :, READOUTS.index(name)], expected, rtol=1e-3, atol=1e-4)
    assert np.abs(found[0] - found[2])[:, READOUTS.index("visual")].max() > 1e-3  # the clip is seen
    assert np.abs(found[0] - found[2])[-1, READOUTS.index("last")].max() > 1e-4


def test_decoded_tokens_are_read_too(states):
    found = states(new_tokens=2)(CLIPS)
    assert found.shape[2] == len(READOUTS) + 1
    plain = states()(CLIPS)
    np.testing.assert_allclose(found[:, :, :-1], plain, rtol=1e-3, atol=1e-4)


def test_frames_and_title_are_one_vector_or_the_reason_is_said(tried, checkpoint):
    if tried.embedding:
        with pytest.raises(CheckpointError, match=re.escape(tried.embedding)):
            JointEmbedder(checkpoint, "float32", "cpu")
        return
    encode = JointEmbedder(checkpoint, "float32", "cpu")
    batch = [TitledClip(CLIPS[0], None, "a b"), TitledClip(CLIPS[2], None, "a b"), TitledClip(CLIPS[0], None, "c")]
    found = encode(batch)
    np.testing.assert_allclose(found[:1], encode(batch[:1]), atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-5
    assert np.abs(found[0] - found[2]).max() > 1e-5


def test_a_batch_in_several_calls_says_the_same(checkpoint, monkeypatch):
    from feature_extractors.models import token_batching, video_lm

    captioner = Captioner(checkpoint, "float32", "cpu", "What is it?", 6)
    texts = captioner(CLIPS)
    monkeypatch.setattr(video_lm, "calls", lambda inputs, again: token_batching.calls(inputs, again, 1))
    assert len(captioner.prepare(CLIPS)) == 3
    assert captioner(CLIPS) == texts


def test_a_type_that_writes_no_text_about_media_is_refused_by_name(tmp_path, untrained):
    shutil.copytree(untrained / "text_encoder", tmp_path / "bert")
    found = resolve(str(tmp_path / "bert"), tmp_path)
    with pytest.raises(UserError, match="model_type 'bert' is no model of transformers"):
        family_of(found)
    with pytest.raises(UserError, match="'bert'"):
        Captioner(found, "float32", "cpu", "What is it?", 6)


def test_layers_that_hand_on_several_states_a_token_are_refused():
    import torch

    class Stack:
        layers = torch.nn.ModuleList([torch.nn.Identity()])
        norm = torch.nn.Identity()

    one = torch.ones(1, 2)
    with reduced(Stack, one.unsqueeze(1), one.bool(), []), pytest.raises(CheckpointError, match=r"\(4, 1, 2, 8\)"):
        Stack.layers[0](torch.ones(4, 1, 2, 8))


def test_a_missing_package_is_named(tmp_path, untrained):
    found = resolve(str(untrained / "captioner"), tmp_path)
    with pytest.raises(UserError, match="num2words"), checkpoint_errors(found):
        raise ImportError("Package `num2words` is required to run SmolVLM processor.")
