"""Small random-weight checkpoints of many model types, each built of its configuration class, in its own layout."""

import json

import pytest

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
DECODER = SMALL | {"num_hidden_layers": 3, "num_key_value_heads": 2, "max_position_embeddings": 4096, "eos_token_id": 2}
TOWER = SMALL | {"num_hidden_layers": 2, "image_size": 28, "patch_size": 7}
SQUARE = {"height": 28, "width": 28}
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} {% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}VIDEO{% elif part['type'] == 'image' %}IMAGE{% elif part['type'] == 'audio' %}"
    "AUDIO{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ENDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VISION = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
QWEN_TEMPLATE = CHATML.replace("VIDEO", "<|vision_start|><|video_pad|><|vision_end|>").replace(
    "IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"
)
QWEN_IDS = {"image_token_id": 3, "video_token_id": 4, "vision_start_token_id": 5, "vision_end_token_id": 6}
AREA = {"size": {"shortest_edge": 32 * 32, "longest_edge": 8 * 32 * 32}, "patch_size": 8, "merge_size": 2}
PATCHES = {"patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2}
QWEN_TOWER = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32} | PATCHES
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}


def tokenizer(*special, **named):
    """Byte-level, without merges; the first three tokens are padding, beginning and end."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers.models.qwen2 import Qwen2Tokenizer

    vocab = {token: i for i, token in enumerate([*special, *sorted(ByteLevel.alphabet())])}
    return Qwen2Tokenizer(
        vocab=vocab,
        merges=[],
        eos_token=special[2],
        pad_token=special[0],
        extra_special_tokens=list(special),
        model_specific_special_tokens=named,
    )


def save(folder, processor, model_class, config):
    import torch
    from transformers import GenerationConfig

    processor.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_class(config)
        for name, weight in model.named_parameters():  # small weights would leave every token as it came
            if weight.ndim > 1 and any(part in name for part in ("language_model.layers", "text_model.layers")):
                weight.data *= 6
            if not weight.any():  # projections that are learned from nothing would hide the clip
                weight.data.normal_(std=0.1)
    model.generation_config = GenerationConfig(eos_token_id=2, pad_token_id=0)
    model.save_pretrained(folder)


def qwen_processor(words, kind, video_kind=None):
    import transformers

    video_kind = video_kind or transformers.Qwen2VLVideoProcessor
    return kind(
        image_processor=transformers.Qwen2VLImageProcessor(**AREA, temporal_patch_size=2),
        tokenizer=words,
        video_processor=video_kind(**AREA, temporal_patch_size=2),
        chat_template=QWEN_TEMPLATE,
    )


def build_qwen2_vl(folder):
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor

    words = tokenizer(*ENDS, *VISION)
    config = Qwen2VLConfig(
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2} | PATCHES,
        text_config=DECODER | {"vocab_size": len(words), "rope_parameters": MROPE},
        **QWEN_IDS,
    )
    save(folder, qwen_processor(words, Qwen2VLProcessor), Qwen2VLForConditionalGeneration, config)


def build_qwen2_5_vl(folder):
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

    words = tokenizer(*ENDS, *VISION)
    config = Qwen2_5_VLConfig(
        vision_config=QWEN_TOWER | {"window_size": 32, "fullatt_block_indexes": [0, 1]},
        text_config=DECODER | {"vocab_size": len(words), "rope_parameters": MROPE},
        **QWEN_IDS,
    )
    save(folder, qwen_processor(words, Qwen2_5_VLProcessor), Qwen2_5_VLForConditionalGeneration, config)


def build_qwen3_vl(folder):
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor, Qwen3VLVideoProcessor

    words = tokenizer(*ENDS, *VISION)
    rope = MROPE | {"mrope_interleaved": True}
    config = Qwen3VLConfig(
        vision_config=QWEN_TOWER | {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64},
        text_config=DECODER | {"vocab_size": len(words), "head_dim": 16, "rope_parameters": rope},
        **QWEN_IDS,
    )
    processor = qwen_processor(words, Qwen3VLProcessor, Qwen3VLVideoProcessor)
    save(folder, processor, Qwen3VLForConditionalGeneration, config)


def build_qwen3_5(folder):
    from transformers import (
        Qwen3_5Config,
        Qwen3_5ForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    words = tokenizer(*ENDS, *VISION)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    linear = {"linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2}
    config = Qwen3_5Config(
        vision_config=QWEN_TOWER | {"num_position_embeddings": 64},
        text_config=DECODER
        | linear
        | {"vocab_size": len(words), "head_dim": 16, "linear_num_value_heads": 2, "full_attention_interval": 2}
        | {"rope_parameters": rope | {"partial_rotary_factor": 0.5}},
        **QWEN_IDS,
    )
    processor = qwen_processor(words, Qwen3VLProcessor, Qwen3VLVideoProcessor)
    save(folder, processor, Qwen3_5ForConditionalGeneration, config)


def build_llava_onevision(folder):
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    words = tokenizer(*ENDS, "<image>", "<video>")
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=[[28, 28]]),
        tokenizer=words,
        video_processor=LlavaOnevisionVideoProcessor(size=SQUARE),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=CHATML.replace("VIDEO", "<video>\n"),
    )
    config = LlavaOnevisionConfig(
        vision_config=TOWER | {"model_type": "siglip_vision_model", "vision_use_head": False},
        text_config=DECODER | {"model_type": "qwen2", "vocab_size": len(words)},
        image_token_index=3,
        video_token_index=4,
        image_grid_pinpoints=[[28, 28]],
    )
    save(folder, processor, LlavaOnevisionForConditionalGeneration, config)


def build_llava_next_video(folder):
    from transformers import (
        LlavaNextImageProcessor,
        LlavaNextVideoConfig,
        LlavaNextVideoForConditionalGeneration,
        LlavaNextVideoProcessor,
        LlavaNextVideoVideoProcessor,
    )

    words = tokenizer(*ENDS, "<image>", "<video>")
    size = {"size": {"shortest_edge": 28}, "crop_size": SQUARE}
    processor = LlavaNextVideoProcessor(
        image_processor=LlavaNextImageProcessor(**size, image_grid_pinpoints=[[28, 28]]),
        tokenizer=words,
        video_processor=LlavaNextVideoVideoProcessor(**size),
        patch_size=7,
        vision_feature_select_strategy="default",
        chat_template=CHATML.replace("VIDEO", "<video>\n"),
    )
    config = LlavaNextVideoConfig(
        vision_config=TOWER | {"model_type": "clip_vision_model"},
        text_config=DECODER | {"model_type": "llama", "vocab_size": len(words)},
        image_token_index=3,
        video_token_index=4,
        image_grid_pinpoints=[[28, 28]],
    )
    save(folder, processor, LlavaNextVideoForConditionalGeneration, config)


def build_video_llava(folder):
    from transformers import (
        VideoLlavaConfig,
        VideoLlavaForConditionalGeneration,
        VideoLlavaImageProcessor,
        VideoLlavaProcessor,
        VideoLlavaVideoProcessor,
    )

    words = tokenizer("<pad>", "<s>", "</s>", "<image>", "<video>")
    size = {"size": {"shortest_edge": 28}, "crop_size": SQUARE}
    processor = VideoLlavaProcessor(
        image_processor=VideoLlavaImageProcessor(**size),
        video_processor=VideoLlavaVideoProcessor(**size),
        tokenizer=words,
        patch_size=7,
    )
    config = VideoLlavaConfig(
        vision_config=TOWER | {"model_type": "clip_vision_model"},
        text_config=DECODER | {"model_type": "llama", "vocab_size": len(words)},
        image_token_index=3,
        video_token_index=4,
    )
    save(folder, processor, VideoLlavaForConditionalGeneration, config)


def build_internvl(folder):
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
    )

    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    words = tokenizer(*ENDS, *named.values(), **named)
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=SQUARE),
        tokenizer=words,
        video_processor=InternVLVideoProcessor(size=SQUARE),
        image_seq_length=4,
        chat_template=CHATML.replace("VIDEO", "<video>\n").replace("IMAGE", "<IMG_CONTEXT>\n"),
    )
    config = InternVLConfig(
        vision_config=TOWER,
        text_config=DECODER | {"model_type": "qwen2", "vocab_size": len(words)},
        image_token_id=5,
        image_seq_length=4,
    )
    save(folder, processor, InternVLForConditionalGeneration, config)


def build_smolvlm(folder):
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    words = tokenizer(*ENDS, "<image>", "<video>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    size = {"size": {"longest_edge": 28}, "max_image_size": {"longest_edge": 28}}
    processor = SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(**size),
        tokenizer=words,
        video_processor=SmolVLMVideoProcessor(**size),
        image_seq_len=4,
        chat_template=CHATML.replace("VIDEO", "<video>").replace("IMAGE", "<image>"),
    )
    config = SmolVLMConfig(
        vision_config=TOWER,
        text_config=DECODER | {"model_type": "llama", "vocab_size": len(words), "pad_token_id": 0},
        image_token_id=3,
        scale_factor=2,
        pad_token_id=0,
    )
    save(folder, processor, SmolVLMForConditionalGeneration, config)


def build_gemma3(folder):
    """Its processor takes images alone."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessor, Gemma3Processor

    named = {"boi_token": "<start_of_image>", "image_token": "<image_soft_token>", "eoi_token": "<end_of_image>"}
    words = tokenizer(*ENDS, *named.values(), **named)
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessor(size=SQUARE),
        tokenizer=words,
        image_seq_length=4,
        chat_template=CHATML.replace("IMAGE", "<start_of_image>"),
    )
    config = Gemma3Config(
        vision_config=TOWER | {"model_type": "siglip_vision_model", "vision_use_head": False},
        text_config=DECODER | {"vocab_size": len(words), "head_dim": 16, "pad_token_id": 0, "bos_token_id": 1},
        boi_token_index=3,
        image_token_index=4,
        eoi_token_index=5,
        mm_tokens_per_image=4,
    )
    save(folder, processor, Gemma3ForConditionalGeneration, config)


def build_gemma3n(folder):
    """Its processor takes images alone; its tower is a model of timm, here one of timm's own tests."""
    from transformers import (
        Gemma3nAudioFeatureExtractor,
        Gemma3nConfig,
        Gemma3nForConditionalGeneration,
        Gemma3nProcessor,
        SiglipImageProcessor,
    )

    named = {
        "boi_token": "<start_of_image>",
        "image_token": "<image_soft_token>",
        "eoi_token": "<end_of_image>",
        "boa_token": "<start_of_audio>",
        "audio_token": "<audio_soft_token>",
        "eoa_token": "<end_of_audio>",
    }
    words = tokenizer(*ENDS, *named.values(), **named)
    processor = Gemma3nProcessor(
        feature_extractor=Gemma3nAudioFeatureExtractor(),
        image_processor=SiglipImageProcessor(size={"height": 64, "width": 64}),
        tokenizer=words,
        image_seq_length=4,
        chat_template=CHATML.replace("IMAGE", "<image_soft_token>"),
    )
    text = {"vocab_size": len(words), "vocab_size_per_layer_input": len(words), "hidden_size_per_layer_input": 8}
    layers = {"layer_types": ["sliding_attention", "full_attention", "full_attention"], "num_kv_shared_layers": 1}
    config = Gemma3nConfig(
        vision_config={"architecture": "test_convnext", "hidden_size": 64, "vocab_size": 1, "vocab_offset": len(words)},
        text_config=DECODER | text | layers | {"head_dim": 16, "laurel_rank": 4, "bos_token_id": 1, "pad_token_id": 0},
        audio_config={
            "hidden_size": 32,
            "vocab_size": 1,
            "vocab_offset": len(words) + 1,
            "conf_num_hidden_layers": 1,
            "conf_num_attention_heads": 2,
            "sscp_conv_channel_size": [8, 4],
        },
        vision_soft_tokens_per_image=4,
        boi_token_id=3,
        image_token_id=4,
        eoi_token_id=5,
        boa_token_id=6,
        audio_token_id=7,
        eoa_token_id=8,
    )
    save(folder, processor, Gemma3nForConditionalGeneration, config)


def build_gemma4(folder):
    from transformers import (
        Gemma4AudioFeatureExtractor,
        Gemma4Config,
        Gemma4ForConditionalGeneration,
        Gemma4ImageProcessor,
        Gemma4Processor,
        Gemma4VideoProcessor,
    )

    named = {
        "boi_token": "<|image>",
        "image_token": "<|image|>",
        "eoi_token": "<image|>",
        "boa_token": "<|audio>",
        "audio_token": "<|audio|>",
        "eoa_token": "<audio|>",
    }
    words = tokenizer(*ENDS, *named.values(), "<|video|>", **named)
    processor = Gemma4Processor(
        feature_extractor=Gemma4AudioFeatureExtractor(),
        image_processor=Gemma4ImageProcessor(patch_size=4, max_soft_tokens=70),
        tokenizer=words,
        video_processor=Gemma4VideoProcessor(patch_size=4, max_soft_tokens=70),
        chat_template=CHATML.replace("VIDEO", "<|video|>").replace("IMAGE", "<|image|>"),
    )
    layer_types = ["sliding_attention", "sliding_attention", "full_attention"]
    config = Gemma4Config(
        vision_config=SMALL
        | {"num_hidden_layers": 2, "num_key_value_heads": 2, "head_dim": 16, "patch_size": 4}
        | {"position_embedding_size": 256},
        text_config=DECODER
        | {"vocab_size": len(words), "head_dim": 16, "pad_token_id": 0, "bos_token_id": 1, "layer_types": layer_types}
        | {"vocab_size_per_layer_input": len(words), "hidden_size_per_layer_input": 8},
        audio_config=None,
        boi_token_id=3,
        image_token_id=4,
        eoi_token_id=5,
        boa_token_id=6,
        audio_token_id=7,
        eoa_token_index=8,
        video_token_id=9,
    )
    save(folder, processor, Gemma4ForConditionalGeneration, config)


def build_video_llama_3(folder):
    from transformers import (
        VideoLlama3Config,
        VideoLlama3ForConditionalGeneration,
        VideoLlama3ImageProcessor,
        VideoLlama3Processor,
        VideoLlama3VideoProcessor,
    )

    words = tokenizer(*ENDS, "<|image_pad|>", "<|video_pad|>")
    area = AREA | {"size": {"shortest_edge": 32 * 32, "longest_edge": 8 * 32 * 32}}
    processor = VideoLlama3Processor(
        image_processor=VideoLlama3ImageProcessor(**area),
        tokenizer=words,
        video_processor=VideoLlama3VideoProcessor(**area),
        chat_template=CHATML.replace("VIDEO", "<|video_pad|>").replace("IMAGE", "<|image_pad|>"),
    )
    config = VideoLlama3Config(
        vision_config=SMALL | {"num_hidden_layers": 2, "patch_size": 8},
        text_config=DECODER | {"model_type": "qwen2", "vocab_size": len(words)},
        image_token_id=3,
        video_token_id=4,
    )
    save(folder, processor, VideoLlama3ForConditionalGeneration, config)


OMNI = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "audio_token": "<|audio_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}


def omni_processor(words, kind):
    import transformers

    area = AREA | {"temporal_patch_size": 2}
    return kind(
        image_processor=transformers.Qwen2VLImageProcessor(**area),
        video_processor=transformers.Qwen2VLVideoProcessor(**area),
        feature_extractor=transformers.WhisperFeatureExtractor(
            feature_size=128, chunk_length=10, return_attention_mask=True
        ),
        tokenizer=words,
        chat_template=QWEN_TEMPLATE,
    )


def save_thinker(folder, processor, model_class, config, kind):
    """Write a thinker as the released ones are: under its prefix, its settings inside those of the whole model."""
    from safetensors.torch import load_file, save_file

    save(folder, processor, model_class, config)
    path = folder / "model.safetensors"
    named = {f"thinker.{name.removeprefix('thinker.')}": values for name, values in load_file(path).items()}
    save_file(named, path, metadata={"format": "pt"})
    thinker = json.loads((folder / "config.json").read_text())
    whole = {"model_type": kind, "enable_audio_output": False, "thinker_config": thinker}
    (folder / "config.json").write_text(json.dumps(whole))


def build_qwen2_5_omni(folder):
    from transformers import (
        Qwen2_5OmniProcessor,
        Qwen2_5OmniThinkerConfig,
        Qwen2_5OmniThinkerForConditionalGeneration,
    )

    words = tokenizer(*ENDS, *OMNI.values(), **OMNI)
    config = Qwen2_5OmniThinkerConfig(
        vision_config=QWEN_TOWER | {"window_size": 32, "fullatt_block_indexes": [0, 1]},
        text_config=DECODER | {"vocab_size": len(words), "rope_parameters": MROPE, "pad_token_id": 0},
        audio_config={"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 32}
        | {"output_dim": 32},
        image_token_index=3,
        video_token_index=4,
        audio_token_index=5,
        vision_start_token_id=6,
        vision_end_token_id=7,
        audio_start_token_id=8,
        audio_end_token_id=9,
    )
    processor = omni_processor(words, Qwen2_5OmniProcessor)
    save_thinker(folder, processor, Qwen2_5OmniThinkerForConditionalGeneration, config, "qwen2_5_omni")


def build_qwen3_omni_moe(folder):
    from transformers import (
        Qwen3OmniMoeProcessor,
        Qwen3OmniMoeThinkerConfig,
        Qwen3OmniMoeThinkerForConditionalGeneration,
    )

    words = tokenizer(*ENDS, *OMNI.values(), **OMNI)
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 16}
    config = Qwen3OmniMoeThinkerConfig(
        vision_config=QWEN_TOWER | {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64},
        text_config=DECODER
        | experts
        | {"vocab_size": len(words), "rope_parameters": MROPE | {"mrope_interleaved": True}, "pad_token_id": 0},
        audio_config={"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 32}
        | {"output_dim": 32, "downsample_hidden_size": 8},
        image_token_id=3,
        video_token_id=4,
        audio_token_id=5,
        vision_start_token_id=6,
        vision_end_token_id=7,
        audio_start_token_id=8,
        audio_end_token_id=9,
    )
    processor = omni_processor(words, Qwen3OmniMoeProcessor)
    save_thinker(folder, processor, Qwen3OmniMoeThinkerForConditionalGeneration, config, "qwen3_omni_moe")


BUILDERS = {name.removeprefix("build_"): build for name, build in list(globals().items()) if name.startswith("build_")}


@pytest.fixture(scope="session")
def build_checkpoint():
    """Build a small random-weight checkpoint of a model type in a folder."""
    return lambda kind, folder: BUILDERS[kind](folder)
