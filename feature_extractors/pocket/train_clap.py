"""Train the pocket CLAP: `python -m feature_extractors.pocket.train_clap --out DIR`.

Contrastively, as CLAP (arXiv 2211.06687): a sound and a text that is true of it are drawn together, the others of the
batch apart. Here it is known which texts are true of which sounds, so that a true one is never pushed away.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoProcessor, ClapModel

from feature_extractors.pocket import soundtracks
from feature_extractors.pocket.sound_captions import training_sounds


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, beside the code.

    Attributes
    ----------
    cpu_seconds
        Of training, after the sounds are made.
    sounds
        In the pool.
    batch
        Sounds a step.
    rate
        Highest learning rate.
    weight_decay
        Of AdamW.
    gain, noise
        Largest change of loudness and standard deviation of the noise on log-mel values, dB.
    seed
        Of the sounds, the weights and the order.
    """

    cpu_seconds: float = 500.0
    sounds: int = 4000
    batch: int = 32
    rate: float = 2e-3
    weight_decay: float = 0.02
    gain: float = 6.0
    noise: float = 2.0
    seed: int = 1


class Sounds:
    """Training sounds as the checkpoint's feature extractor sees them, and which phrases are true of them."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        listening = AutoProcessor.from_pretrained(folder).feature_extractor
        self.phrases = soundtracks.phrases()
        frames = listening.nb_max_samples // listening.hop_length + 1
        self.mels = np.empty((recipe.sounds, frames, listening.feature_size), np.float16)
        self.heard: list[dict[str, str]] = []
        for at, (samples, heard) in enumerate(training_sounds(recipe.seed, recipe.sounds)):
            self.mels[at] = soundtracks.log_mel(listening, samples)
            self.heard.append(heard)
        self.true = np.array([[phrase.is_true(heard) for phrase in self.phrases] for heard in self.heard])
        moods = np.array([phrase.about == "mood" for phrase in self.phrases])
        self.told = ~moods | np.array([soundtracks.tells_mood(heard) for heard in self.heard])[:, None]

    def texts(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[list[str], torch.Tensor, torch.Tensor]:
        """Draw the texts of a batch.

        Returns
        -------
        tuple
            One text of one to three phrases for each sound, and one of each phrase by itself, K in all. Bool [B, K]:
            which are true of which. Bool [B, K]: of which it is told whether they are.
        """
        drawn = [soundtracks.draw_true(self.heard[row], self.phrases, rng) for row in rows]
        drawn += [[at] for at in range(len(self.phrases))]
        texts = [soundtracks.text_of([self.phrases[at] for at in chosen], rng) for chosen in drawn]
        true, told = (
            np.stack([of[rows][:, chosen].all(axis=1) for chosen in drawn], 1) for of in (self.true, self.told)
        )
        return texts, torch.from_numpy(true), torch.from_numpy(told)


def contrast(logits: torch.Tensor, true: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each true pair among the false ones of its row; rows without a true pair count nothing.

    Parameters
    ----------
    logits
        float [N, K].
    true, told
        Bool [N, K]: pairs that fit, and pairs that count as true or as false at all.
    """
    false = logits.masked_fill(true | ~told, -1e4).logsumexp(dim=1, keepdim=True)
    pairs = true & told
    losses = F.softplus(false - logits) * pairs
    counts = pairs.sum(dim=1)
    return (losses.sum(dim=1) / counts.clamp(min=1))[counts > 0].mean()


def train(out: Path, recipe: Recipe) -> None:
    """Train and write the checkpoint to `out`, every minute and at the end."""
    torch.set_num_threads(1)
    soundtracks.build_clap(out, recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    clock = time.process_time()
    sounds = Sounds(recipe, out)
    print(f"{recipe.sounds} sounds, {time.process_time() - clock:.0f} CPU-s", flush=True)
    tokenizer = AutoProcessor.from_pretrained(out).tokenizer
    model = ClapModel.from_pretrained(out, dtype=torch.float32).train()
    # Without a gradient for what the normalisation of the input learns, none passes the resizing and the patches.
    model.audio_model.audio_encoder.batch_norm.requires_grad_(False)
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    started, saved, step, order = time.process_time(), 0.0, 0, np.empty(0, dtype=np.int64)
    while (spent := time.process_time() - started) < recipe.cpu_seconds:
        if len(order) < recipe.batch:
            order = rng.permutation(recipe.sounds)
        rows, order = order[: recipe.batch], order[recipe.batch :]
        mels = torch.from_numpy(sounds.mels[rows])[:, None].float()
        mels += torch.from_numpy(rng.uniform(-recipe.gain, recipe.gain, (len(rows), 1, 1, 1))).float()
        mels += torch.randn_like(mels) * recipe.noise * float(rng.random())
        texts, true, told = sounds.texts(rows, rng)
        heard = model.get_audio_features(mels).pooler_output
        said = model.get_text_features(**tokenizer(texts, padding=True, return_tensors="pt")).pooler_output
        cosines = heard @ said.T
        loss = contrast(model.logit_scale_a.exp() * cosines, true, told)
        loss = (loss + contrast(model.logit_scale_t.exp() * cosines.T, true.T, told.T)) / 2
        rate = recipe.rate * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * spent / recipe.cpu_seconds))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 25 == 0:
            print(f"{spent:6.0f} CPU-s  step {step}  loss {loss.item():.4f}", flush=True)
        if spent - saved > 60:
            soundtracks.save_clap(model, out)
            saved = spent
    soundtracks.save_clap(model, out)
    print(f"{step} steps, {time.process_time() - started:.0f} CPU-s")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the pocket CLAP from scratch.")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint directory to write")
    parser.add_argument("--cpu-seconds", type=float, default=Recipe.cpu_seconds)
    parser.add_argument("--sounds", type=int, default=Recipe.sounds)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="of the sounds, the weights and the order")
    arguments = parser.parse_args()
    train(
        arguments.out,
        Recipe(cpu_seconds=arguments.cpu_seconds, sounds=arguments.sounds, rate=arguments.rate, seed=arguments.seed),
    )


if __name__ == "__main__":
    main()
