"""Training data of the pocket CLAP (soundtracks with phrases true of them) and its untrained architecture.

The sounds are those of `sound_captions`, with its held-back combinations. Phrases name mood, rhythm and speech, which
is all that a soundtrack of the demo is made of, but for its key, which no phrase names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, RobertaTokenizer

from feature_extractors.pocket.building import speech
from feature_extractors.pocket.building.qwen_vl import save_half
from feature_extractors.pocket.building.sound_captions import FACTORS, HELD_BACK
from protocols.datasets.demo.factors import SPOKEN, SPOKEN_TOPICS

#: Sampling rate and longest sound of the checkpoint, seconds; the demo's clips last at most four, and a little padding.
RATE, SECONDS = 16_000, 5
#: Samples from one log-mel frame to the next.
HOP = 200
#: Of the space that sounds and texts share: room for two moods, three rhythms and sixteen words, and little more.
DIMENSIONS = 32
#: How a text is worded around its phrases; the first one is the default of `sound-tags`.
FRAMES = ("This is a sound of {}.", "The sound of {}.", "{}", "One hears {}.")
#: Words that a text joins its phrases with.
JOINTS = (" and ", ", ", " with ")
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_MUSIC = frozenset({"bright", "dark"})


@dataclass(frozen=True)
class Phrase:
    """Words that are true of some sounds.

    Attributes
    ----------
    words
        As they stand in texts.
    claims
        Of each factor that they say something about, the values of which one must be heard.
    """

    words: str
    claims: Mapping[str, frozenset[str]]

    @property
    def about(self) -> str:
        """The factor that the words are about; rhythms also claim that there is music."""
        return list(self.claims)[-1]

    def is_true(self, heard: Mapping[str, str]) -> bool:
        """Return True if the words are true of a sound, given by its values (`sound_captions.heard_in`)."""
        return all(heard[factor] in values for factor, values in self.claims.items())


def phrases() -> list[Phrase]:
    """Return every phrase that training texts consist of.

    Examples
    --------
    >>> slow = {"mood": "bright", "rhythm": "slow", "spoken": "none"}
    >>> [phrase.words for phrase in phrases() if phrase.about == "rhythm" and phrase.is_true(slow)]
    ['a slow beat', 'a calm drum']
    """

    def naming(factor: str, value: str, *words: str) -> list[Phrase]:
        music = {"mood": _MUSIC} if factor == "rhythm" else {}
        return [Phrase(one, {**music, factor: frozenset({value})}) for one in words]

    said = [
        *naming("mood", "bright", "a bright chord", "bright music"),
        *naming("mood", "dark", "a dark chord", "dark music"),
        *naming("mood", "none", "faint noise", "a soft hiss"),
        *naming("rhythm", "none", "music without a beat", "music without a drum"),
        *naming("rhythm", "slow", "a slow beat", "a calm drum"),
        *naming("rhythm", "fast", "a fast beat", "a rapid drum"),
        *naming("spoken", "none", "nobody", "no voice"),
    ]
    said += [Phrase(words, {"spoken": frozenset(SPOKEN)}) for words in ("a voice", "somebody who speaks")]
    for topic, words in SPOKEN_TOPICS.items():
        about = {"spoken": frozenset(words)}
        said += [Phrase(f"a voice about {topic}", about), Phrase(f"a talk about {topic}", about)]
    return said + [phrase for word in SPOKEN for phrase in naming("spoken", word, f"a voice that says {word}")]


def tells_mood(heard: Mapping[str, str]) -> bool:
    """Return True if training texts mention the mood of a sound, truly or falsely.

    Where a rhythm or a word is held back with one of the two moods, it gives away the other one: all fast training
    sounds are bright. A model trained on that calls a fast beat bright.
    """
    rhythms = {rhythm for _, rhythm in HELD_BACK}
    words = {word for word, _ in speech.HELD_BACK["mood"]}
    return heard["rhythm"] not in rhythms and heard["spoken"] not in words


def text_of(chosen: Sequence[Phrase], rng: np.random.Generator) -> str:
    """Write a text of phrases, in the order given and in a wording drawn at random."""
    joint = JOINTS[int(rng.integers(len(JOINTS)))]
    return FRAMES[int(rng.integers(len(FRAMES)))].format(joint.join(phrase.words for phrase in chosen))


def draw_true(heard: Mapping[str, str], known: Sequence[Phrase], rng: np.random.Generator) -> list[int]:
    """Draw one to three phrases, by number in `known`, that are true of a sound; no two about the same factor."""
    mentioned = [at for at, phrase in enumerate(known) if phrase.about != "mood" or tells_mood(heard)]
    true = [at for at in mentioned if known[at].is_true(heard)]
    chosen: dict[str, int] = {}
    for at in rng.permutation(true)[: int(rng.integers(1, 2 * len(FACTORS)))]:
        chosen.setdefault(known[at].about, int(at))
    return list(chosen.values())


def texts() -> Iterator[str]:
    """Yield texts for the tokenizer: every phrase in every wording, by itself."""
    for frame in FRAMES:
        for phrase in phrases():
            yield frame.format("".join([phrase.words, *JOINTS]))


def build_clap(folder: Path, seed: int, vocabulary: Iterable[str] | None = None, rate: int = RATE) -> None:
    """Write an untrained CLAP-class checkpoint: configuration, tokenizer, feature extractor, fp16 weights.

    Parameters
    ----------
    folder
        Where to write; made if absent.
    seed
        Of the weights. The caller's torch generator is left as it was.
    vocabulary
        Texts to learn the byte-level BPE vocabulary from; default: training texts.
    rate
        Sampling rate.
    """
    tokenizer = roberta_bpe(texts() if vocabulary is None else vocabulary)
    config = ClapConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 192, "max_position_embeddings": 66, "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0, "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        },
        audio_config={
            "patch_size": 8, "patch_stride": [8, 8], "patch_embeds_hidden_size": 32, "hidden_size": 128,
            "depths": [2, 2, 2], "num_attention_heads": [2, 4, 8], "num_hidden_layers": 3, "mlp_ratio": 2.0,
            "hidden_dropout_prob": 0.0,
        },
        projection_dim=DIMENSIONS,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ClapModel(config)
    listening = ClapFeatureExtractor(
        sampling_rate=rate, hop_length=HOP * rate // RATE, max_length_s=SECONDS, fft_window_size=1024 * rate // RATE,
        frequency_min=50, frequency_max=7600, truncation="rand_trunc", padding="repeatpad",
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    ClapProcessor(listening, tokenizer).save_pretrained(folder)
    save_clap(model, folder)


def save_clap(model: ClapModel, folder: Path) -> None:
    """Write configuration and weights as fp16 safetensors; the processor's files are left alone."""
    save_half(model, folder)


def roberta_bpe(vocabulary: Iterable[str]) -> RobertaTokenizer:
    """Learn a byte-level BPE vocabulary of at most 500 tokens, cut as RoBERTa cuts text; it can write any text."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )  # fmt: skip
    learner.train_from_iterator(vocabulary, trainer)
    model = json.loads(learner.to_str())["model"]
    merges: Any = [tuple(pair) for pair in model["merges"]]
    return RobertaTokenizer(vocab=model["vocab"], merges=merges, model_max_length=64)


def log_mel(listening: Any, samples: np.ndarray) -> np.ndarray:
    """Compute the log-mel frames of the checkpoint's own feature extractor, all at once.

    Parameters
    ----------
    listening
        A `ClapFeatureExtractor` that repeats and pads (`repeatpad`).
    samples
        float32 [T], no longer than its window.

    Returns
    -------
    np.ndarray
        float64 [frames, mel bins], in dB.
    """
    size, hop = listening.fft_window_size, listening.hop_length
    whole = np.tile(samples.astype(np.float64), listening.nb_max_samples // len(samples))
    whole = np.pad(whole, (0, listening.nb_max_samples - len(whole)))
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(whole, size // 2, mode="reflect"), size)[::hop]
    power = np.abs(np.fft.rfft(framed * np.hanning(size + 1)[:-1])) ** 2
    return 10 * np.log10(np.maximum(power @ listening.mel_filters_slaney, 1e-10))
