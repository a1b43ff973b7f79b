"""Whisper (arXiv 2212.04356) by openai-whisper's own class and decoding: sound to transcript.

Several clips are transcribed at once: a model call holds the current window of thirty seconds of each, and every clip
moves on to its next window by its own timestamps, as `whisper.transcribe` does for one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from feature_extractors.media.audio import Sound
from feature_extractors.models.checkpoint import checkpoints
from feature_extractors.models.checkpoint.checkpoints import Checkpoint, check_files, check_keys, unreadable
from feature_extractors.models.checkpoint.loading import random_weights
from feature_extractors.models.threads import torch_threads
from protocols.errors import BenchError, CheckpointError, UserError
from protocols.hashing import file_digest

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
# What whisper.transcribe takes for silence, where it moves on by a whole window.
SILENCE_PROBABILITY, SILENCE_LOGPROB = 0.6, -1.0
# Tokens that random weights may write for a window: they never end by themselves.
RANDOM_WEIGHT_TOKENS = 16


@dataclass(frozen=True)
class Window:
    """Transcript of at most thirty seconds, with Whisper's scores.

    Attributes
    ----------
    start
        Seconds since the first sound.
    text
        Transcript; may be "".
    no_speech
        Probability that nobody speaks.
    logprob
        Mean natural logarithm of the probabilities of the tokens chosen.
    compression
        Bytes of the text over those of its zlib compression: repetitions have a high one.
    """

    start: float
    text: str
    no_speech: float
    logprob: float
    compression: float


def dump(windows: Sequence[Window]) -> str:
    """Write windows as JSON; numbers are rounded to three decimals."""
    rows = [
        {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(window).items()}
        for window in windows
    ]
    return json.dumps(rows, ensure_ascii=False)


def parse(text: str) -> list[Window]:
    """Read what `dump` wrote."""
    return [Window(**row) for row in json.loads(text)]


def resolve(word: str, pocket: Path) -> Checkpoint:
    """Find the files that a checkpoint word stands for.

    Parameters
    ----------
    word
        `pocket`, `random`, a directory with `config.json` (the model's dimensions) and `model.safetensors`, a `.pt`
        file, or a name of openai-whisper (`tiny`, `base.en`, ...), which is downloaded once to its own cache.
    pocket
        Directory of the pocket checkpoint.

    Raises
    ------
    UserError
        If it is none of these, or cannot be downloaded.
    CheckpointError
        If a directory lacks a file.
    """
    import whisper

    path = Path(word).expanduser()
    if word in ("pocket", "random") or path.is_dir():
        return checkpoints.resolve(word, pocket)
    if path.suffix == ".pt" and path.is_file():
        return Checkpoint(path.name, path, file_digest(path))
    if word not in whisper._MODELS:
        raise checkpoints.AbsentCheckpointError(
            word,
            f"checkpoint {word!r} is neither a directory, nor a .pt file, nor a model of openai-whisper",
            remedy=f"give one of {', '.join(whisper.available_models())}, a path, or 'pocket'",
        )
    return _published(word, whisper._MODELS[word])


def _published(name: str, url: str) -> Checkpoint:
    """Return a checkpoint of openai-whisper's list, whose addresses hold the SHA-256 of their files."""
    import whisper

    cache = Path(os.getenv("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper"
    known = url.split("/")[-2]
    path = cache / url.split("/")[-1]
    if not path.is_file():
        try:
            whisper._download(url, str(cache), in_memory=False)
        except (OSError, RuntimeError) as error:
            raise checkpoints.AbsentCheckpointError(
                name,
                f"whisper {name!r} is not in {cache} and cannot be fetched ({type(error).__name__})",
                remedy="give a directory or a .pt file (--checkpoint PATH), or 'pocket', which needs no network",
            ) from error
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != known:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is {found[:12]}, not {known[:12]}", remedy="delete it")
    return Checkpoint(name, path, f"whisper:{name}@{known}", known)


def load_model(checkpoint: Checkpoint, device: str) -> Any:
    """Load a `whisper.model.Whisper`; its weights are float32, its arithmetic is what it is fed.

    Raises
    ------
    CheckpointError
        If a file is missing or unreadable, or a weight key is missing or unexpected.
    """
    from whisper.model import ModelDimensions, Whisper

    try:
        dims, weights = _read(checkpoint)
        with random_weights():
            model = Whisper(ModelDimensions(**{field.name: dims[field.name] for field in fields(ModelDimensions)}))
            draw_weights(model)
        if not checkpoint.random:
            own = model.state_dict()
            clash = [name for name, value in weights.items() if name in own and value.shape != own[name].shape]
            problems = {"missing_keys": own.keys() - weights.keys(), "unexpected_keys": weights.keys() - own.keys()}
            check_keys(checkpoint, {**problems, "mismatched_keys": clash})
            model.load_state_dict(weights)
    except BenchError:
        raise
    except Exception as error:
        raise unreadable(checkpoint, error) from error
    return model.eval().to(device)


def _read(checkpoint: Checkpoint) -> tuple[dict[str, int], dict[str, Any]]:
    """Read dimensions and weights; those of a random-weight baseline are not read."""
    import torch
    from safetensors.torch import load_file

    if checkpoint.folder.is_file():
        saved = torch.load(checkpoint.folder, map_location="cpu", weights_only=True)
        return saved["dims"], saved["model_state_dict"]
    check_files(checkpoint.folder)
    dims = json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8"))
    return dims, {} if checkpoint.random else load_file(checkpoint.folder / "model.safetensors")


def draw_weights(model: Any) -> None:
    """Draw those weights that openai-whisper leaves as they are in memory; its code never trains."""
    from torch import nn

    nn.init.normal_(model.decoder.positional_embedding, std=0.02)
    nn.init.normal_(model.decoder.token_embedding.weight, std=0.02)


class Transcriber:
    """Sounds to windows of text, as JSON (`parse` reads it); greedy decoding.

    Parameters
    ----------
    checkpoint, device
        As in `load_model`.
    dtype
        Of the arithmetic: `float32` or `float16`.
    language
        Code like `en`, or `auto`: each window in the language that Whisper hears in it.
    threads
        Torch threads.

    Raises
    ------
    UserError
        If Whisper does not know the language, or the checkpoint knows English only.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: str,
        device: str,
        language: str = "en",
        threads: int = 1,
    ) -> None:
        from whisper.decoding import DecodingOptions
        from whisper.tokenizer import LANGUAGES

        if language != "auto" and language not in LANGUAGES:
            raise UserError(f"Whisper knows no language {language!r}", remedy="give a code like en, or auto")
        with torch_threads(threads):
            self.model = load_model(checkpoint, device)
        if language not in ("auto", "en") and not self.model.is_multilingual:
            raise UserError(f"whisper {checkpoint.name!r} knows English only, not {language!r}")
        self._threads = threads
        self._options = DecodingOptions(
            language="en" if not self.model.is_multilingual else None if language == "auto" else language,
            temperature=0.0,
            fp16=dtype == "float16",
            sample_len=RANDOM_WEIGHT_TOKENS if checkpoint.random else None,
        )

    def __call__(self, sounds: Sequence[Sound]) -> list[str]:
        """Transcribe a batch."""
        import torch
        from whisper.audio import FRAMES_PER_SECOND, N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim

        with torch_threads(self._threads), torch.inference_mode():
            bands, device = self.model.dims.n_mels, self.model.device
            mels = [log_mel_spectrogram(sound.samples, bands, padding=N_SAMPLES, device=device) for sound in sounds]
            frames = [mel.shape[-1] - N_FRAMES for mel in mels]
            at, windows = [0] * len(mels), [list[Window]() for _ in mels]
            while todo := [i for i in range(len(mels)) if at[i] < frames[i]]:
                sizes = [min(N_FRAMES, frames[i] - at[i]) for i in todo]
                batch = torch.stack(
                    [
                        pad_or_trim(mels[i][:, at[i] : at[i] + size], N_FRAMES)
                        for i, size in zip(todo, sizes, strict=True)
                    ]
                )
                found = self.model.decode(batch, self._options)
                for i, size, result in zip(todo, sizes, found, strict=True):
                    start = at[i] / FRAMES_PER_SECOND
                    scores = (result.no_speech_prob, result.avg_logprob, result.compression_ratio)
                    text, moved = self._spoken(result, size)
                    windows[i].append(Window(start, text, *scores))
                    at[i] += moved
        return [dump(found) for found in windows]

    def _spoken(self, result: Any, size: int) -> tuple[str, int]:
        """Return the text of a window and the frames of 10 ms to the next one, by the rules of `whisper.transcribe`.

        A sentence that the end of a window cuts off is left to the next one, which starts after the last whole one.
        """
        from whisper.tokenizer import get_tokenizer

        model = self.model
        tokenizer = get_tokenizer(model.is_multilingual, num_languages=model.num_languages, language=result.language)
        first, tokens = tokenizer.timestamp_begin, result.tokens
        silent = result.no_speech_prob > SILENCE_PROBABILITY and result.avg_logprob <= SILENCE_LOGPROB
        is_time = [token >= first for token in tokens]
        pairs = [at for at in range(1, len(tokens)) if is_time[at - 1] and is_time[at]]
        moved = size
        if pairs and not silent and is_time[-2:] != [False, True]:
            tokens = tokens[: pairs[-1]]
            # an encoder position is two frames of 10 ms
            moved = (tokens[-1] - first) * 2
        text = tokenizer.decode([token for token in tokens if token < tokenizer.eot]).strip()
        return text, moved if moved > 0 else size
