"""Readouts of decoder states, on small random models of each family."""

import json
import shutil

import numpy as np
import pytest

from feature_extractors.media.result import Clip
from feature_extractors.models.architectures import decoder_of
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.decoder_states import READOUTS, StateReader
from feature_extractors.models.text_states import TextStates
from protocols.errors import CheckpointError, UserError

FAMILIES = ("qwen", "qwen3", "onevision", "video-llava")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, untrained, build_checkpoint):
    root = tmp_path_factory.mktemp("families")
    shutil.copytree(untrained / "captioner", root / "qwen")
    for name, kind in (("qwen3", "qwen3_vl"), ("onevision", "llava_onevision"), ("video-llava", "video_llava")):
        build_checkpoint(kind, root / name)
    return root


def load(folder, dtype="float32", new_tokens=0):
    checkpoint = resolve(str(folder), folder)
    family = decoder_of(checkpoint).family
    return StateReader(checkpoint, family, dtype, "cpu", "What is it?", new_tokens=new_tokens)


@pytest.fixture(scope="module", params=FAMILIES)
def reader(request, checkpoints):
    return load(checkpoints / request.param)


def clip(seed, frames=4, height=40, width=40):
    pixels = np.random.default_rng(seed).integers(0, 255, (frames, height, width, 3), dtype=np.uint8)
    return Clip(pixels, list(range(frames)), [i / 8 for i in range(frames)], frames, 8.0, 0, "pyav")


#: Of several lengths and shapes: some families pad the prompts, the others need calls of their own for each length.
MIXED = [clip(k, frames, *shape) for k, (frames, shape) in enumerate([(4, (40, 40)), (8, (40, 40)), (4, (24, 72))] * 3)]


def reference(reader, one):
    """Readouts of one clip, token by token, from what transformers returns."""
    import torch

    inputs = reader.inputs([one])
    with torch.inference_mode():
        out = reader.model(**inputs, output_hidden_states=True)
    ids = inputs["input_ids"][0].tolist()
    visual = [i for i, token in enumerate(ids) if token == reader.model.config.video_token_id]
    words = [i for i in range(visual[0], len(ids)) if i not in visual]
    places = {"visual": visual, "prompt": words, "last": [len(ids) - 1], "mean": range(len(ids))}
    states = [layer[0].double().numpy() for layer in out.hidden_states]
    return np.array([[np.mean([s[i] for i in places[name]], axis=0) for name in READOUTS] for s in states])


def test_readouts_are_those_of_every_hidden_state_that_transformers_returns(reader):
    found = reader(MIXED[:3])
    assert found.dtype == np.float32
    expected = np.stack([reference(reader, one) for one in MIXED[:3]])
    assert found.shape == expected.shape
    assert found.shape[1:3] == (4, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    for layer, name in np.ndindex(4, 4):  # a reader that ignores the clip would pass the comparison, too
        if READOUTS[name] == "visual" or layer:
            assert np.abs(found[0, layer, name] - found[1, layer, name]).max() > 1e-3


def test_the_first_layer_is_the_embedding_and_the_last_one_comes_after_the_norm(reader):
    import torch

    decoder, seen = reader.model.model.language_model, {}
    hooks = [
        decoder.layers[-1].register_forward_hook(lambda module, args, out: seen.update(raw=out)),
        reader.model.get_input_embeddings().register_forward_hook(lambda module, args, out: seen.update(words=out)),
    ]
    found = torch.tensor(reader(MIXED[:1]))
    for hook in hooks:
        hook.remove()
    raw = seen["raw"][0] if isinstance(seen["raw"], tuple) else seen["raw"]
    with torch.inference_mode():
        normed = decoder.norm(raw)[0, -1]
    at = READOUTS.index("last")
    torch.testing.assert_close(found[0, -1, at], normed, rtol=1e-4, atol=1e-5)
    assert (normed - raw[0, -1]).abs().max() > 1e-2
    torch.testing.assert_close(found[0, 0, at], seen["words"][0, -1])


def test_alone_or_in_a_batch_of_eight_the_states_are_the_same(reader):
    together = reader(MIXED[:8])
    for at in range(8):
        np.testing.assert_allclose(together[at], reader([MIXED[at]])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_is_close_to_float32(checkpoints, family):
    exact, rough = load(checkpoints / family)(MIXED[:3]), load(checkpoints / family, "bfloat16")(MIXED[:3])
    assert rough.dtype == np.float32
    error = np.sqrt(np.mean((exact - rough) ** 2, axis=(0, 2, 3)) / np.mean(exact**2, axis=(0, 2, 3)))
    assert error.max() < 0.04, error
    assert error[0] < 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_decoded_tokens_have_the_states_of_generate(checkpoints, family):
    import torch

    reader = load(checkpoints / family, new_tokens=5)
    clips = [MIXED[0], MIXED[3]]
    reader.model.generation_config.eos_token_id = None
    inputs = reader.inputs(clips)
    with torch.inference_mode():
        said = reader.model.generate(
            **inputs, do_sample=False, max_new_tokens=6, return_dict_in_generate=True, output_hidden_states=True
        )
    # step k > 0 holds the states of token k-1; the last token has none
    steps = torch.stack([torch.stack([layer[:, -1] for layer in step]) for step in said.hidden_states[1:]])
    found = torch.tensor(reader(clips))
    torch.testing.assert_close(found[:, :, -1], steps.mean(dim=0).transpose(0, 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[:, :, :-1], torch.tensor(load(checkpoints / family)(clips)), rtol=1e-4, atol=1e-4)
    answers = said.sequences[:, inputs["input_ids"].shape[1] :]
    end = int(answers[0, 1])
    length = [([*row, end]).index(end) + 1 for row in answers[:, :5].tolist()]
    assert length[0] <= 2
    reader.model.generation_config.eos_token_id = end
    ended = torch.tensor(reader(clips))
    for at, count in enumerate(min(n, 5) for n in length):  # the end token counts, what is filled up behind it does not
        torch.testing.assert_close(ended[at, :, -1], steps[:count, :, at].mean(dim=0), rtol=1e-4, atol=1e-4)


def test_hooks_are_gone_when_the_model_fails(reader, monkeypatch):
    decoder = reader.model.model.language_model
    monkeypatch.setattr(decoder.layers[1], "forward", lambda *args, **kwargs: 1 / 0)
    before = [len(layer._forward_hooks) for layer in decoder.layers]
    with pytest.raises(ZeroDivisionError):
        reader(MIXED[:1])
    assert [len(layer._forward_hooks) for layer in decoder.layers] == before
    assert not decoder.layers[0]._forward_pre_hooks


@pytest.fixture
def changed(checkpoints, tmp_path):
    """Copy a checkpoint and change its config.json."""

    def change(family, edit):
        folder = tmp_path / family
        shutil.copytree(checkpoints / family, folder)
        config = json.loads((folder / "config.json").read_text())
        edit(config)
        (folder / "config.json").write_text(json.dumps(config))
        return resolve(str(folder), folder)

    return change


def test_the_family_is_told_from_the_configuration(checkpoints, changed):
    found = [decoder_of(resolve(str(checkpoints / name), checkpoints / name)) for name in FAMILIES]
    assert [d.family.name for d in found] == ["Qwen-VL", "Qwen-VL", "LLaVA-OneVision", "Video-LLaVA"]
    assert [(d.layers, d.width) for d in found] == [(3, 128), (3, 32), (3, 32), (3, 32)]
    flat = changed("qwen", lambda config: config.update(config.pop("text_config"), model_type="qwen2_vl"))
    assert (decoder_of(flat).layers, decoder_of(flat).width) == (3, 128)
    sparse = changed("video-llava", lambda config: config["text_config"].pop("num_hidden_layers"))
    assert decoder_of(sparse).layers == 32  # what Llama's configuration says where nothing is written


def test_an_unknown_family_is_named(changed):
    with pytest.raises(UserError, match="'blip_2'") as caught:
        decoder_of(changed("onevision", lambda config: config.update(model_type="blip_2")))
    assert "video_llava" in caught.value.remedy
    broken = changed("qwen", lambda config: None)
    (broken.folder / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        decoder_of(broken)


@pytest.mark.parametrize("family", ["onevision", "video-llava"])
def test_weights_that_do_not_fit_are_refused(changed, family):
    from safetensors.torch import load_file, save_file

    folder = changed(family, lambda config: None).folder
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["some.other.weight"] = weights.pop(next(name for name in weights if "multi_modal_projector" in name))
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing keys: .*multi_modal_projector.*unexpected keys: some\.other"):
        load(folder)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(folder)


def test_a_turn_has_one_place_for_a_video(changed):
    checkpoint = changed("onevision", lambda config: None)
    family = decoder_of(checkpoint).family
    with pytest.raises(CheckpointError, match="2 places for a video"):
        StateReader(checkpoint, family, "float32", "cpu", "Is this <video> funny?")
    (checkpoint.folder / "chat_template.jinja").write_text("{{ messages[0]['content'][1]['text'] }}")
    with pytest.raises(CheckpointError, match="0 places for a video"):
        load(checkpoint.folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_states_of_texts_are_those_of_each_text_alone(checkpoints, family):
    import torch

    folder = checkpoints / family
    reader = TextStates(resolve(str(folder), folder), "float32", "cpu", longest=12)
    texts = ["a cat", "two dogs run", "two dogs run away", "<|im_end|>"]
    found = reader(texts)
    assert found.shape[1:3] == (4, 1)
    for text, states in zip(["a cat", "two dogs run", "two dogs run"], found[:3], strict=True):  # 12 characters
        ids = torch.tensor([reader.processor.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            layers = reader.model.model.language_model(ids, output_hidden_states=True).hidden_states
        expected = np.stack([layer[0].mean(dim=0).numpy() for layer in layers])
        np.testing.assert_allclose(states[:, 0], expected, rtol=1e-4, atol=1e-4)
    assert np.isfinite(found[3]).all()  # nothing is left of it
