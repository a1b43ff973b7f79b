"""Train the pocket LLaVA-OneVision: `python -m feature_extractors.pocket.training.llava_onevision --out DIR`.

First the vision tower and the projector learn to see: throw-away heads predict what stands still (all named attributes
but the motion) from a frame, and the motion from two neighbouring frames. Then the language model learns to describe
eight frames. To its loss are added those of the same heads, of a head that predicts the motion from what the language
model makes of each frame, and of heads that predict all six named attributes from the state of the prompt's last token,
where the answer begins. Two attention heads start out looking one and two frames back: without that the motion stays at
chance for long. Everything runs in one process with one thread.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForImageTextToText, AutoProcessor

from feature_extractors.pocket.building.clip_pool import Pool, make_pool
from feature_extractors.pocket.building.corpus import ATTRIBUTES, PROMPTS, caption, pseudo_sentence
from feature_extractors.pocket.building.llava_onevision import (
    FRAME_TOKENS,
    WIDTH,
    build_llava_onevision,
    save_llava_onevision,
)
from feature_extractors.pocket.building.qwen_vl import FRAMES
from feature_extractors.pocket.training.loop import IGNORE, Texts, command, descend, rows_of
from feature_extractors.text.prompt_files import read_prompt

VIDEO_TOKENS = FRAMES * FRAME_TOKENS + 1
STILL = tuple(a for a in ATTRIBUTES if a != "motion")


@dataclass(frozen=True)
class Recipe:
    """Training hyper-parameters.

    Attributes
    ----------
    looking, cpu_seconds
        Length of the two rounds; in each the learning rate follows a cosine, after a short warm-up.
    chunks
        Clips in the pool, in units of 250.
    lm, aux
        Weights of the language model's loss (mean over tokens) and of the heads' (sum over heads).
    noise
        Standard deviation of the pixel noise, of 255.
    side_text
        Share of the batches whose prompt holds a title or a transcript, of pseudo-words.
    pool, seed
        Of the clips; of weights and order.
    """

    looking: float = 150.0
    cpu_seconds: float = 450.0
    chunks: int = 48
    batch: int = 32
    rate: float = 1.5e-3
    weight_decay: float = 0.02
    lm: float = 2.0
    aux: float = 0.5
    noise: float = 4.0
    side_text: float = 0.2
    pool: int = 3
    seed: int = 3


class Heads(nn.Module):
    """Throw-away heads on tokens and states; all but `pair` are linear."""

    def __init__(self) -> None:
        super().__init__()
        frame, motions = FRAME_TOKENS * WIDTH, len(ATTRIBUTES["motion"])
        self.still = nn.ModuleDict({a: nn.Linear(frame, len(ATTRIBUTES[a])) for a in STILL})
        self.pair = nn.Sequential(nn.Linear(2 * frame, 64), nn.GELU(), nn.Linear(64, motions))
        self.moving = nn.Linear(frame, motions)
        self.last = nn.ModuleDict({a: nn.Linear(WIDTH, len(values)) for a, values in ATTRIBUTES.items()})

    def on_tokens(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Summed losses of the visual tokens [B, frames, tokens, D]; labels [B, 6]. Frames and pairs are averaged."""
        flat = tokens.flatten(2)
        pairs = torch.cat([flat[:, :-1], flat[:, 1:]], dim=2)
        still = {a: head(flat).mean(dim=1) for a, head in self.still.items()}
        return _summed({**still, "motion": self.pair(pairs).mean(dim=1)}, labels)

    def on_states(self, states: torch.Tensor, last: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Summed losses of the states of frames [B, frames, tokens, D] and of the prompt's last token [B, D]."""
        moving = {"motion": self.moving(states[:, 1:].flatten(2)).mean(dim=1)}
        return _summed(moving, labels) + _summed({a: head(last) for a, head in self.last.items()}, labels)


def _summed(logits: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    at = list(ATTRIBUTES)
    return torch.stack([F.cross_entropy(values, labels[:, at.index(a)]) for a, values in logits.items()]).sum()


class Trainer:
    """Model, clips and heads, and the losses of the two rounds."""

    def __init__(self, model: Any, processor: Any, pool: Pool, recipe: Recipe) -> None:
        self.model, self.pool, self.recipe = model, pool, recipe
        self.rng = np.random.default_rng(recipe.seed)
        self.texts = Texts(processor, VIDEO_TOKENS, (*PROMPTS, read_prompt("recommend")))
        self.heads = Heads()
        still = processor.video_processor
        mean, std = (torch.tensor(x)[:, None, None] for x in (still.image_mean, still.image_std))
        self._scale, self._shift = 1 / (255 * std), -mean / std
        self._noise = torch.randn(4_000_000) * recipe.noise / 255 / 0.5
        self._frames = torch.from_numpy(pool.frames).permute(0, 1, 4, 2, 3)

    def pixels(self, rows: np.ndarray, frames: np.ndarray) -> torch.Tensor:
        """Return normalised, noisy frames [B, F, 3, 48, 48] at the positions `frames` [B, F]."""
        x = torch.addcmul(self._shift, self._frames[rows[:, None], frames].float(), self._scale)
        at = int(self.rng.integers(len(self._noise) - x[0].numel()))
        return x + self._noise[at : at + x[0].numel()].view_as(x[0]) * float(self.rng.random())

    def see(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return visual tokens [B, frames * tokens + 1, D], as the stock class does."""
        return self.model.model.get_video_features(pixels).pooler_output

    def rows(self, batch: int) -> Iterator[np.ndarray]:
        """Yield batches of clips for ever."""
        return rows_of(len(self.pool.frames), batch, self.rng)

    def look(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the losses of the first round: two neighbouring frames of each clip."""
        first = self.rng.integers(FRAMES - 1, size=(len(rows), 1))
        seen = self.see(self.pixels(rows, first + np.arange(2)))[:, :-1].unflatten(1, (2, FRAME_TOKENS))
        return {"seen": self.heads.on_tokens(seen, torch.from_numpy(self.pool.labels[rows]))}

    def describe(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the losses of the second round: all frames, and the caption."""
        labels = torch.from_numpy(self.pool.labels[rows])
        tokens = self.see(self.pixels(rows, np.arange(FRAMES)[None]))
        prompt = self.prompt()
        ids, targets = self.texts.batch(prompt, [caption(self.pool.named(i)) for i in rows])
        embedded = self.model.get_input_embeddings()(ids)
        embedded = embedded.masked_scatter((ids == self.texts.video_token)[..., None], tokens)
        states = self.model.model.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        logits = self.model.lm_head(states[:, len(prompt) - 1 : -1])
        lm = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
        start = prompt.index(self.texts.video_token)
        frames = states[:, start : start + VIDEO_TOKENS - 1].unflatten(1, (FRAMES, FRAME_TOKENS))
        seen = self.heads.on_tokens(tokens[:, :-1].unflatten(1, (FRAMES, FRAME_TOKENS)), labels)
        held = self.heads.on_states(frames, states[:, len(prompt) - 1], labels)
        recipe = self.recipe
        return {"lm": recipe.lm * lm, "seen": recipe.aux * seen, "held": recipe.aux * held}

    def prompt(self) -> list[int]:
        """Draw a prompt; some hold a title or a transcript without relation to the clip."""
        if self.rng.random() >= self.recipe.side_text:
            return self.texts.draw(self.rng)
        what = ("Title", "Transcript")[int(self.rng.integers(2))]
        words = " ".join(pseudo_sentence(self.rng, int(self.rng.integers(2, 9))))
        return self.texts.prompt(f"{what}: {words}\n{read_prompt('recommend')}")


def look_back(model: Any, sharpness: float = 12.0) -> None:
    """Make two attention heads of the first decoder layer look at the same place one and two frames back.

    Queries and keys of the heads begin with biases alone: equal ones that rotary embedding turns apart by the distance
    of two tokens, the queries' turned back by the distance looked for, so that the product is largest there.

    Parameters
    ----------
    sharpness
        Logit at the distance looked for.
    """
    decoder = model.model.language_model
    attention, turns = decoder.layers[0].self_attn, decoder.rotary_emb.inv_freq  # radians per token of distance
    size = (sharpness * attention.head_dim**0.5 / len(turns)) ** 0.5
    with torch.no_grad():
        keys = attention.k_proj.bias.view(-1, 2, len(turns))
        queries = attention.q_proj.bias.view(-1, 2, len(turns))
        keys[0] = torch.stack([torch.full_like(turns, size), torch.zeros_like(turns)])
        for head in range(2):  # both use the first head of keys
            angle = -turns * FRAME_TOKENS * (head + 1)
            queries[head] = size * torch.stack([angle.cos(), angle.sin()])


def train(out: Path, work: Path, recipe: Recipe, start: Path | None = None) -> None:
    """Train, from the weights in `start` if given, and write the checkpoint to `out`, every minute and at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    if start:
        shutil.copytree(start, out, dirs_exist_ok=True)
    else:
        build_llava_onevision(out, recipe.seed)
    model = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32).train()
    if not start:
        look_back(model)
    trainer = Trainer(model, AutoProcessor.from_pretrained(out), make_pool(work, recipe.chunks, recipe.pool), recipe)
    seeing = [model.model.vision_tower, model.model.multi_modal_projector, trainer.heads.still, trainer.heads.pair]
    settings: Any = {
        "rate": recipe.rate, "weight_decay": recipe.weight_decay, "save": lambda: save_llava_onevision(model, out),
    }  # fmt: skip
    rows = trainer.rows(2 * recipe.batch)
    descend(
        nn.ModuleList(seeing).parameters(), lambda _: trainer.look(next(rows)), cpu_seconds=recipe.looking, **settings
    )
    rows = trainer.rows(recipe.batch)
    everything = [*model.parameters(), *trainer.heads.parameters()]
    descend(everything, lambda _: trainer.describe(next(rows)), cpu_seconds=recipe.cpu_seconds, **settings)


def main() -> None:
    """Command line."""
    folders, recipe = command(
        "Train the pocket LLaVA-OneVision from scratch.",
        Recipe(),
        "looking",
        "cpu_seconds",
        "chunks",
        "rate",
        "pool",
        "seed",
    )
    train(**folders, recipe=recipe)


if __name__ == "__main__":
    main()
