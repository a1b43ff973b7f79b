"""Qwen3-ASR with random weights: transcripts as Whisper's, by its folder alone."""

import numpy as np
import pytest

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.media.audio import Sound
from feature_extractors.models import qwen3_asr
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.whisper import parse
from feature_extractors.pocket import WHISPER
from feature_extractors.transcripts import Transcripts
from protocols.errors import UserError

MARKS = {"audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for item in message['content'] %}"
    "{{ item['text'] if item['type'] == 'text' else '<|audio_start|><|audio_pad|><|audio_end|>' }}{% endfor %}"
    "<|im_end|>\n{% endfor %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch
    import transformers

    from feature_extractors.pocket.building.qwen_vl import byte_level_bpe

    path = tmp_path_factory.mktemp("asr") / "asr"
    special = ["<|endoftext|>", "<|im_end|>", "<|im_start|>", *MARKS.values(), "<asr_text>"]
    tokenizer = byte_level_bpe(["language English<asr_text>so my fellow Americans"], special, MARKS)
    ids = {"audio_token_id": tokenizer.convert_tokens_to_ids("<|audio_pad|>"), "pad_token_id": tokenizer.pad_token_id}
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    audio = {"num_mel_bins": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    config = transformers.Qwen3ASRConfig(
        audio_config={**audio, "d_model": 32, "output_dim": 32, "downsample_hidden_size": 8},
        text_config={**small, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": len(tokenizer)},
        eos_token_id=tokenizer.eos_token_id,
        **ids,
    )
    torch.manual_seed(0)
    model = transformers.Qwen3ASRForConditionalGeneration(config)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = (
        tokenizer.eos_token_id,
        ids["pad_token_id"],
    )
    model.save_pretrained(path)
    listen = transformers.Qwen3ASRFeatureExtractor(feature_size=16)
    transformers.Qwen3ASRProcessor(listen, tokenizer, chat_template=TEMPLATE).save_pretrained(path)
    return path


def test_a_transcript_has_the_scores_that_windows_are_judged_by(folder, monkeypatch):
    monkeypatch.setattr(qwen3_asr, "TOKENS", 8)
    transcribe = qwen3_asr.Transcriber(resolve(str(folder), WHISPER), "float32", "cpu", "en")
    rng = np.random.default_rng(0)
    sounds = [Sound(rng.standard_normal(8000 * n).astype(np.float32) / 10, 1, 16000, "") for n in (1, 3)]
    together = [parse(text)[0] for text in transcribe(sounds)]
    alone = [parse(transcribe([sound])[0])[0] for sound in sounds]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.no_speech for one in together] == [0.0, 0.0]  # the language is given
    assert all(one.logprob < 0 for one in together)
    told = qwen3_asr.Transcriber(resolve(str(folder), WHISPER), "float32", "cpu", "auto")
    assert parse(told(sounds[:1])[0])[0].no_speech == 1.0  # random weights name no language


def test_the_extractor_knows_the_folder_and_its_key(folder, tmp_path, make_clip, monkeypatch):
    monkeypatch.setattr(qwen3_asr, "TOKENS", 8)
    source = ItemSource(["a"], ["A"], [make_clip(tmp_path / "a.mp4", audio=True)])
    context = ExtractContext(tmp_path / "store")
    windows = Transcripts(checkpoint=str(folder), text_encoder="pocket").windows(source, context)
    assert windows.ok.all()
    assert len(parse(windows.values[0])) == 1
    assert windows.space.config["loader"] == qwen3_asr.VERSION


def test_a_language_that_it_does_not_know_is_refused(folder):
    with pytest.raises(UserError, match="knows no language 'xx'"):
        qwen3_asr.Transcriber(resolve(str(folder), WHISPER), "float32", "cpu", "xx")
