"""Train the pocket CLAP: `python -m feature_extractors.pocket.training.clap --out DIR`.

Contrastively, as CLAP (arXiv 2211.06687): a sound and a text that is true of it are drawn together, the others of the
batch apart. Here it is known which texts are true of which sounds, so that a true one is never pushed away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoProcessor, ClapModel

from feature_extractors.pocket.building import soundtracks
from feature_extractors.pocket.building.sound_captions import training_sounds
from feature_extractors.pocket.training.loop import command, descend, rows_of


@dataclass(frozen=True)
class Recipe:
    """Training hyper-parameters.

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
    """Training sounds as log-mel frames, with the phrases that are true of them."""

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
        self.mentioned = ~moods | np.array([soundtracks.tells_mood(heard) for heard in self.heard])[:, None]

    def texts(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[list[str], torch.Tensor, torch.Tensor]:
        """Draw the texts of a batch.

        Returns
        -------
        tuple
            One text of one to three phrases for each sound, and one of each phrase by itself, K in all. Bool [B, K]:
            which are true of which. Bool [B, K]: pairs whose truth counts.
        """
        drawn = [soundtracks.draw_true(self.heard[row], self.phrases, rng) for row in rows]
        drawn += [[at] for at in range(len(self.phrases))]
        texts = [soundtracks.text_of([self.phrases[at] for at in chosen], rng) for chosen in drawn]
        true, mentioned = (
            np.stack([of[rows][:, chosen].all(axis=1) for chosen in drawn], 1) for of in (self.true, self.mentioned)
        )
        return texts, torch.from_numpy(true), torch.from_numpy(mentioned)


def contrast(logits: torch.Tensor, true: torch.Tensor, mentioned: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each true pair among the false ones of its row; rows without a true pair count nothing.

    Parameters
    ----------
    logits
        float [N, K].
    true, mentioned
        Bool [N, K]: pairs that fit, and pairs that count as true or as false at all.
    """
    false = logits.masked_fill(true | ~mentioned, -1e4).logsumexp(dim=1, keepdim=True)
    pairs = true & mentioned
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
    batches = rows_of(recipe.sounds, recipe.batch, rng)

    def loss(_: float) -> dict[str, torch.Tensor]:
        rows = next(batches)
        mels = torch.from_numpy(sounds.mels[rows])[:, None].float()
        mels += torch.from_numpy(rng.uniform(-recipe.gain, recipe.gain, (len(rows), 1, 1, 1))).float()
        mels += torch.randn_like(mels) * recipe.noise * float(rng.random())
        texts, true, mentioned = sounds.texts(rows, rng)
        heard = model.get_audio_features(mels).pooler_output
        said = model.get_text_features(**tokenizer(texts, padding=True, return_tensors="pt")).pooler_output
        cosines = heard @ said.T
        return {
            "sounds": contrast(model.logit_scale_a.exp() * cosines, true, mentioned) / 2,
            "texts": contrast(model.logit_scale_t.exp() * cosines.T, true.T, mentioned.T) / 2,
        }

    descend(
        model.parameters(),
        loss,
        cpu_seconds=recipe.cpu_seconds,
        rate=recipe.rate,
        weight_decay=recipe.weight_decay,
        save=lambda: soundtracks.save_clap(model, out),
        warm_up=100,
        matrices_only=True,
    )


def main() -> None:
    """Command line."""
    folders, recipe = command(
        "Train the pocket CLAP from scratch.",
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
