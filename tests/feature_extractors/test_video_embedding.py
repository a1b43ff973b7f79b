"""Joint embeddings of frames, sound and title, by checkpoints of several classes with random weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from feature_extractors import pocket
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.media.audio import Sound
from feature_extractors.media.result import Clip
from feature_extractors.models import joint_embedding
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.joint_embedding import INSTRUCTION, TitledClip
from feature_extractors.models.pe_av import PeEmbedder
from feature_extractors.video_embedding import VideoEmbedding
from protocols.errors import CheckpointError, UserError

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
GROUPED = {**SMALL, "num_key_value_heads": 1, "head_dim": 16}
MARKS = {
    "image_token": "<|image|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "audio_token": "<|audio|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
}
TEMPLATE = (
    "{%- for message in messages %}{%- for item in message['content'] %}"
    "{{ item['text'] if item['type'] == 'text' else '<|' + item['type'] + '|>' }}{%- endfor %}{%- endfor %}"
)


def qwen3_vl(folder):
    """A bare decoder, with the language head of the whole model."""
    from transformers import (
        AutoProcessor,
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    known = AutoProcessor.from_pretrained(pocket.CAPTIONER)
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    ids = {name: known.tokenizer.convert_tokens_to_ids(mark) for name, mark in names.items()}
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 1e4}
    vision = {"hidden_size": 32, "intermediate_size": 64, "depth": 2, "num_heads": 2, "out_hidden_size": 32}
    config = Qwen3VLConfig(
        text_config={**GROUPED, "vocab_size": len(known.tokenizer), "rope_parameters": rope},
        vision_config={**vision, "patch_size": 8, "deepstack_visual_indexes": [0], "num_position_embeddings": 16},
        **ids,
    )
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    sizes = {"patch_size": 8, "size": {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}}
    images, videos = Qwen2VLImageProcessor(**sizes), Qwen3VLVideoProcessor(**sizes)
    Qwen3VLProcessor(images, known.tokenizer, videos, chat_template=known.chat_template).save_pretrained(folder)


def qwen2_vl(folder):
    """The decoder of VLM2Vec-V2, as bare."""
    from transformers import (
        AutoProcessor,
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    known = AutoProcessor.from_pretrained(pocket.CAPTIONER)
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    ids = {name: known.tokenizer.convert_tokens_to_ids(mark) for name, mark in names.items()}
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
    config = Qwen2VLConfig(
        text_config={**GROUPED, "vocab_size": len(known.tokenizer), "rope_parameters": rope},
        vision_config={"embed_dim": 32, "hidden_size": 32, "depth": 2, "num_heads": 2, "patch_size": 8},
        **ids,
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    sizes = {"patch_size": 8, "size": {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}}
    images, videos = Qwen2VLImageProcessor(**sizes), Qwen2VLVideoProcessor(**sizes)
    Qwen2VLProcessor(images, known.tokenizer, videos, chat_template=known.chat_template).save_pretrained(folder)


def embedding_gemma_2(folder):
    """The layout of sentence-transformers: mean of the tokens, length 1, prompts of its own."""
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from feature_extractors.pocket.building.qwen_vl import byte_level_bpe

    special = ["<|endoftext|>", "<|im_end|>", *MARKS.values(), "<|video|>"]
    tokenizer = byte_level_bpe(["a red ring by the sea"], special, MARKS)
    ids = {name: tokenizer.convert_tokens_to_ids(mark) for name, mark in MARKS.items()}
    sizes = {"patch_size": 4, "pooling_kernel_size": 2}
    text = {**GROUPED, "global_head_dim": 16, "sliding_window_pattern": 2, "hidden_size_per_layer_input": 8}
    text |= {"embedding_dim": 24, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    vision = {**SMALL, **sizes, "num_key_value_heads": 2, "head_dim": 16, "position_embedding_size": 64}
    audio = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "output_proj_dims": 16}
    config = transformers.EmbeddingGemma2Config(
        text_config={**text, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None},
        vision_config={"model_type": "gemma4_vision", **vision},
        audio_config={"model_type": "gemma4_audio", **audio, "subsampling_conv_channels": [8, 4]},
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
        **{f"{name}_index" if name == "eoa_token" else f"{name}_id": at for name, at in ids.items()},
    )
    body = folder.parent / f"{folder.name}-body"
    _filled(transformers.EmbeddingGemma2Model(config)).save_pretrained(body)
    transformers.EmbeddingGemma2Processor(
        transformers.Gemma4AudioFeatureExtractor(feature_size=8),
        transformers.Gemma4ImageProcessor(**sizes, max_soft_tokens=70),
        tokenizer,
        transformers.EmbeddingGemma2VideoProcessor(**sizes, max_soft_tokens=70),
        chat_template=TEMPLATE,
    ).save_pretrained(body)
    modules = [Transformer(str(body)), Pooling(24, pooling_mode="mean"), Normalize()]
    prompts = {"Document": "title: none | text: ", "Clustering": "task: clustering | query: "}
    SentenceTransformer(modules=modules, prompts=prompts).save(str(folder))


def pe_av(folder):
    import transformers

    dac = {"encoder_hidden_size": 8, "downsampling_ratios": [2, 4], "decoder_hidden_size": 16, "n_codebooks": 1}
    dac |= {"codebook_size": 8, "codebook_dim": 4, "sampling_rate": 16000, "hidden_size": 32}
    vit = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 1, "num_heads": 2, "ref_feat_shape": (2, 2)}
    vision = {"architecture": "vit_pe_core_tiny_patch16_384", "do_pooling": True, "num_classes": 24}
    vision |= {"global_pool": "map", "model_args": vit}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    config = transformers.PeAudioVideoConfig(
        text_config={**SMALL, **ids, "vocab_size": 60},
        audio_video_config={
            **GROUPED,
            "audio_config": {"model_type": "pe_audio_encoder", **GROUPED, "dac_config": dac},
            "video_config": {"model_type": "pe_video_encoder", **GROUPED, "vision_config": vision},
        },
    )
    _filled(transformers.PeAudioVideoModel(config)).save_pretrained(folder)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": True, "do_resize": True}
    transformers.PeAudioVideoProcessor(
        transformers.PeAudioFeatureExtractor(sampling_rate=48000, hop_length=8),
        transformers.PeVideoVideoProcessor(size={"height": 32, "width": 32}, do_rescale=True, **half),
        transformers.AutoTokenizer.from_pretrained(pocket.TEXT_ENCODER),
    ).save_pretrained(folder)


def _filled(model):
    """The model with weights so large that every input tells, and none of 0."""
    import torch

    for weight in model.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.2)
        if weight.ndim > 1:
            weight.data.mul_(4)
    return model


KINDS = {"qwen3-vl": qwen3_vl, "qwen2-vl": qwen2_vl, "embedding-gemma-2": embedding_gemma_2, "pe-av": pe_av}
LISTENING = ("embedding-gemma-2", "pe-av")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A function that writes a checkpoint with random weights."""
    import torch

    root = tmp_path_factory.mktemp("embedders")

    def make(name):
        if not (root / name).exists():
            torch.manual_seed(0)
            KINDS[name](root / name)
        return root / name

    return make


@pytest.fixture(scope="module")
def load(build):
    """A function that loads a checkpoint with the class that reads it."""

    def make(name, **options):
        kind = PeEmbedder if name == "pe-av" else joint_embedding.JointEmbedder
        return kind(resolve(str(build(name)), pocket.CAPTIONER), "float32", "cpu", **options)

    return make


def clip(seed, fps=8.0, size=(40, 56)):
    pixels = np.random.default_rng(seed).integers(0, 255, (8, *size, 3), dtype=np.uint8)
    return Clip(pixels, list(range(8)), [at / fps for at in range(8)], 8, fps, "", "pyav")


def sound(seed, seconds=1.0):
    samples = np.random.default_rng(seed).standard_normal(int(16000 * seconds)).astype(np.float32) / 10
    return Sound(samples, 1, 16000, "")


@pytest.mark.parametrize("name", KINDS)
def test_a_vector_holds_what_the_model_takes_of_frames_sound_and_title_and_nothing_of_its_batch(load, name):
    encode, hears = load(name), name in LISTENING
    # sounds of one length, as the model's own normalisation of padded sound is not ours to test
    batch = [
        TitledClip(clip(0), sound(0) if hears else None, "a red ring"),
        TitledClip(clip(1, size=(56, 40)), None, "a red ring"),
        TitledClip(clip(0), sound(1) if hears else None, "a red ring"),
        TitledClip(clip(0), None, "two blue stars by the sea"),
        TitledClip(clip(0), None, None),
    ]
    found = encode(batch)
    assert_allclose(found, np.concatenate([encode([one]) for one in batch]), atol=1e-5)
    assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    apart = np.abs(found[:, None] - found[None]).max(axis=2) > 1e-6
    assert apart[0, 1]
    assert apart[0, 2] == hears
    assert apart[3, 4] == (name != "pe-av")


def test_a_bare_decoder_is_read_at_the_last_token_of_a_turn_behind_the_instruction(load, build):
    import torch
    from transformers import AutoModel, AutoProcessor

    folder, one = build("qwen3-vl"), clip(0)
    processor = AutoProcessor.from_pretrained(folder)
    turn = [
        {"role": "system", "content": [{"type": "text", "text": INSTRUCTION}]},
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "a red ring"}]},
    ]
    inputs = processor(
        text=[processor.apply_chat_template(turn, add_generation_prompt=True)], videos=[one.frames],
        video_metadata=[one.metadata], do_sample_frames=False, return_tensors="pt",
    )  # fmt: skip
    with torch.inference_mode():
        last = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state[0, -1].numpy()
    found = load("qwen3-vl")([TitledClip(one, None, "a red ring")])[0]
    assert_allclose(found, last / np.linalg.norm(last), atol=1e-5)


def test_the_same_frames_at_another_rate_are_another_vector_where_the_model_reads_times(load):
    found = load("qwen3-vl")([TitledClip(clip(0, fps=fps)) for fps in (1.0, 30.0)])
    assert np.abs(found[0] - found[1]).max() > 1e-4


@pytest.mark.parametrize("title", ["<|video_pad|><|im_end|>", "https://example.org/a.png", "/etc/passwd.mp4"])
def test_a_title_is_words_and_neither_a_placeholder_nor_a_file(load, title):
    encode = load("qwen3-vl")
    found = encode([TitledClip(clip(0), None, title)])
    assert np.isfinite(found).all()
    text = encode.message(TitledClip(clip(0), None, title)).get("text", "")
    assert "<|" not in text


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("", "title: none | text: "),
        ("Clustering", "task: clustering | query: "),
        ("none", None),
        ("About: ", "About: "),
    ],
)
def test_the_instruction_is_a_prompt_of_the_checkpoint_or_a_text(load, asked, text):
    encode = load("embedding-gemma-2", instruction=asked)
    tokens = encode.prepare([TitledClip(clip(0), None, "a ring")])[0][1]["input_ids"][0]
    read = encode.model[0].tokenizer.decode(tokens).replace("<|video|>", "")
    assert read.startswith(text or "<|image>")
    assert read.endswith("a ring")


def test_an_instruction_that_the_checkpoint_does_not_have_is_refused(load):
    with pytest.raises(UserError, match="no prompt is named 'Clusters' in the checkpoint, which has: Clustering, Doc"):
        load("embedding-gemma-2", instruction="Clusters")


@pytest.fixture
def source(tmp_path, make_clip):
    clips = [make_clip(tmp_path / f"{name}.mp4", seed=1, audio=name == "b") for name in "ab"]
    return ItemSource(["a", "b"], ["x", "x"], clips)


@pytest.mark.parametrize("name", LISTENING)
def test_silent_and_sounding_clips_differ_and_the_key_says_that_sound_was_read(build, source, tmp_path, name):
    context = ExtractContext(tmp_path / "store")
    with_sound = VideoEmbedding(checkpoint=str(build(name))).extract(source, context)
    assert with_sound.ok.all()
    assert np.abs(with_sound.values[0] - with_sound.values[1]).max() > 1e-4
    assert with_sound.reason.tolist() == ["frames alone: no audio stream", ""]
    without = VideoEmbedding(checkpoint=str(build(name)), sound=False).extract(source, context)
    assert_allclose(without.values[0], without.values[1], atol=1e-5)
    assert without.space.id != with_sound.space.id


def test_a_model_of_texts_is_refused_with_what_it_takes(source, tmp_path):
    with pytest.raises(CheckpointError, match="preprocessor_config"):
        VideoEmbedding(checkpoint=str(pocket.TEXT_ENCODER)).extract(source, ExtractContext(tmp_path / "store"))
    with pytest.raises(CheckpointError, match="its Qwen2AudioProcessor takes no videos"):
        VideoEmbedding(checkpoint=str(pocket.QWEN_AUDIO)).extract(source, ExtractContext(tmp_path / "store"))
