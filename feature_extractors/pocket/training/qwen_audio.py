"""Train the pocket Qwen2-Audio from scratch: `python -m feature_extractors.pocket.training.qwen_audio --out DIR`.

The loss is the language model's on the captions plus, weighted one half, the cross-entropies of three throw-away linear
heads that predict mood, rhythm and spoken word from the mean and the maximum of the audio tokens. The padding of a
sound is masked in the encoder, so it is left out here: what training computes is what the stock model computes.
Everything runs in one process with one thread.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForMultimodalLM

from feature_extractors.media.audio import RATE, Sound
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.qwen_audio import AudioCaptioner, SoundWithTexts
from feature_extractors.pocket.building import sound_captions as corpus
from feature_extractors.pocket.training.loop import IGNORE, command, descend, rows_of
from feature_extractors.text.prompt_files import read_prompt

#: Log-mel frames that training looks at: the longest soundtrack of the demo and a margin.
FRAMES = 404
HOP = RATE // 100


@dataclass(frozen=True)
class Recipe:
    """Training hyper-parameters.

    Attributes
    ----------
    cpu_seconds
        Length of the training; the learning rate follows a cosine over it, after a short warm-up.
    sounds
        Training sounds.
    aux
        Weight of the throw-away heads' losses (sum over heads); that of the language model's is 1.
    noise
        Standard deviation of the noise on the log-mel values.
    masked
        Bands of the log-mel values that are hidden, of each sound another run of neighbours, at most this many
        (SpecAugment, arXiv 1904.08779): what beats must be heard wherever it can be.
    """

    cpu_seconds: float = 420.0
    sounds: int = 6000
    batch: int = 32
    rate: float = 1.5e-3
    weight_decay: float = 0.02
    aux: float = 0.5
    noise: float = 0.05
    masked: int = 20
    seed: int = 1


class Sounds:
    """Log-mel frames of all training sounds, their lengths and their values."""

    def __init__(self, captioner: AudioCaptioner, recipe: Recipe) -> None:
        self.captioner = captioner
        self.tokenizer = captioner.processor.tokenizer
        self.audio_token = captioner.processor.audio_token_id
        self.mels = np.empty((recipe.sounds, corpus.MELS, FRAMES), dtype=np.float16)
        self.lengths = np.empty(recipe.sounds, dtype=np.int64)
        self.named = []
        listening = captioner.processor.feature_extractor
        for at, (samples, named) in enumerate(corpus.training_sounds(recipe.seed, recipe.sounds)):
            samples = samples[: FRAMES * HOP]
            self.mels[at] = corpus.log_mel(listening, samples, FRAMES)
            self.lengths[at] = min(FRAMES, math.ceil(len(samples) / HOP))
            self.named.append(named)
        self.labels = torch.tensor(
            [[values.index(n[factor]) for factor, values in corpus.FACTORS.items()] for n in self.named]
        )

    def batch(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ids [B, T], their mask and the targets [B, T] (captions, else `IGNORE`), filled up on the left."""
        sequences, answers = [], []
        for row in rows:
            told = SoundWithTexts(Sound(np.zeros(0, np.float32), 1, RATE, ""), *corpus.draw_told(self.named[row], rng))
            text = self.captioner.turn(told, 1)
            mark = self.captioner.processor.audio_token
            prompt = self.tokenizer(text.replace(mark, mark * tokens_of(int(self.lengths[row]))))["input_ids"]
            answer = [*self.tokenizer(corpus.caption(self.named[row]))["input_ids"], self.tokenizer.eos_token_id]
            sequences.append([*prompt, *answer])
            answers.append(len(answer))
        longest = max(map(len, sequences))
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id)
        mask, targets = torch.zeros_like(ids), torch.full_like(ids, IGNORE)
        for at, (sequence, length) in enumerate(zip(sequences, answers, strict=True)):
            ids[at, -len(sequence) :] = torch.tensor(sequence)
            mask[at, -len(sequence) :] = 1
            targets[at, -length:] = ids[at, -length:]
        return ids, mask, targets


def hide_bands(mels: torch.Tensor, most: int, rng: np.random.Generator) -> torch.Tensor:
    """Return log-mel values [B, bands, frames] without up to `most` neighbouring bands a sound: they are its lowest."""
    bands = mels.shape[1]
    width = rng.integers(0, most + 1, size=(len(mels), 1))
    first = rng.integers(0, bands - width + 1)
    hidden = (np.arange(bands) >= first) & (np.arange(bands) < first + width)
    lowest = mels.amin(dim=(1, 2), keepdim=True)
    return torch.where(torch.from_numpy(hidden)[..., None], lowest, mels)


def tokens_of(frames: int) -> int:
    """Audio tokens of a number of log-mel frames, as the processor counts them."""
    return (((frames - 1) // 2 + 1) - 2) // 2 + 1


def listen(model: Any, mels: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return projected audio tokens [B, T, D] and which of them are sound [B, T], of the first `FRAMES` frames."""
    tower = model.model.audio_tower
    x = F.gelu(tower.conv2(F.gelu(tower.conv1(mels)))).transpose(1, 2)
    x = x + tower.embed_positions.weight[: x.shape[1]]
    inside = torch.arange(x.shape[1]) < ((lengths - 1) // 2 + 1)[:, None]
    for layer in tower.layers:
        x = layer(x, inside[:, None, None, :])
    x = tower.layer_norm(tower.avg_pooler(x.transpose(1, 2)).transpose(1, 2))
    counts = torch.tensor([tokens_of(int(length)) for length in lengths])
    return model.model.multi_modal_projector(x), torch.arange(x.shape[1]) < counts[:, None]


def losses(
    model: Any, heads: nn.ModuleList, sounds: Sounds, rows: np.ndarray, mels: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the language model's loss on a batch and the summed losses of the heads."""
    tokens, inside = listen(model, mels, torch.from_numpy(sounds.lengths[rows]))
    mean = (tokens * inside[..., None]).sum(1) / inside.sum(1, keepdim=True)
    highest = tokens.masked_fill(~inside[..., None], -1e4).amax(1)
    flat, labels = torch.cat([mean, highest], dim=1), sounds.labels[rows]
    aux = torch.stack([F.cross_entropy(head(flat), labels[:, i]) for i, head in enumerate(heads)]).sum()

    ids, mask, targets = sounds.batch(rows, rng)
    embedded = model.get_input_embeddings()(ids)
    embedded = embedded.masked_scatter((ids == sounds.audio_token)[..., None], tokens[inside])
    answer = int((targets != IGNORE).sum(1).max())
    states = model.model.language_model(
        inputs_embeds=embedded, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0), use_cache=False
    ).last_hidden_state[:, -answer - 1 : -1]
    logits = model.lm_head(states)
    return F.cross_entropy(logits.flatten(0, 1), targets[:, -answer:].flatten(), ignore_index=IGNORE), aux


def train(out: Path, recipe: Recipe) -> None:
    """Train and write the checkpoint to `out`, every minute and at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    corpus.build_qwen_audio(out, recipe.seed)
    prompt = read_prompt("describe-audio")
    captioner = AudioCaptioner(Checkpoint("untrained", out, ""), "float32", "cpu", prompt, corpus.MAX_NEW_TOKENS)
    clock = time.process_time()
    sounds = Sounds(captioner, recipe)
    print(f"{len(sounds.named)} sounds, {time.process_time() - clock:.0f} CPU-s", flush=True)
    model = AutoModelForMultimodalLM.from_pretrained(out, dtype=torch.float32).train()
    heads = nn.ModuleList(nn.Linear(2 * corpus.WIDTH, len(values)) for values in corpus.FACTORS.values())
    batches = rows_of(recipe.sounds, recipe.batch, rng)

    def loss(_: float) -> dict[str, torch.Tensor]:
        rows = next(batches)
        mels = torch.from_numpy(sounds.mels[rows]).float()
        mels += torch.randn_like(mels) * recipe.noise * float(rng.random())
        lm, aux = losses(model, heads, sounds, rows, hide_bands(mels, recipe.masked, rng), rng)
        return {"lm": lm, "aux": recipe.aux * aux}

    descend(
        [*model.parameters(), *heads.parameters()],
        loss,
        cpu_seconds=recipe.cpu_seconds,
        rate=recipe.rate,
        weight_decay=recipe.weight_decay,
        save=lambda: corpus.save_qwen_audio(model, out),
        warm_up=100,
    )


def main() -> None:
    """Command line."""
    folders, recipe = command(
        "Train the pocket Qwen2-Audio from scratch.",
        Recipe(),
        "cpu_seconds",
        "sounds",
        "rate",
        "seed",
        work=False,
        start=False,
    )
    train(**folders, recipe=recipe)


if __name__ == "__main__":
    main()
