"""Train the pocket captioner from scratch: `python -m feature_extractors.pocket.training.captioner --out DIR`.

The loss is the language model's on the captions plus, weighted one half, the cross-entropies of six throw-away linear
heads on the vision tokens that predict the *named* attributes. Without the heads the motion stays at chance for long.
For the first third the language model reads half of each batch only: what is hard to learn at first is to see.
Everything runs in one process with one thread; the pool of clips is rendered first by two processes.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen

from feature_extractors.pocket.building.clip_pool import Pool, make_pool
from feature_extractors.pocket.building.corpus import Named, caption
from feature_extractors.pocket.building.qwen_vl import (
    FRAMES,
    MERGE,
    PATCH,
    PIXELS,
    SMALL,
    TEMPORAL_PATCH,
    USUAL,
    Size,
    build_captioner,
    save_captioner,
)
from feature_extractors.pocket.training.loop import IGNORE, Classifiers, Texts, command, descend, rows_of

GRID = (FRAMES // TEMPORAL_PATCH, PIXELS // PATCH, PIXELS // PATCH)
VIDEO_TOKENS = math.prod(GRID) // MERGE**2


#: Hyper-parameters that the scripts of captioners have an option for.
OPTIONS = ("cpu_seconds", "chunks", "rate", "seed")


@dataclass(frozen=True)
class Recipe:
    """Training hyper-parameters.

    Attributes
    ----------
    cpu_seconds
        Length of the training; the learning rate follows a cosine over it, after a short warm-up.
    chunks
        Clips in the pool, in units of 250.
    lm, aux
        Weights of the language model's loss (mean over tokens) and of the attribute heads' (sum over heads).
    noise
        Standard deviation of the pixel noise, of 255.
    size
        Of the model, where it does not start from another.
    """

    cpu_seconds: float = 800.0
    chunks: int = 48
    batch: int = 32
    rate: float = 1.5e-3
    weight_decay: float = 0.02
    lm: float = 2.0
    aux: float = 0.5
    noise: float = 4.0
    seed: int = 1
    size: Size = USUAL


def patches(frames: torch.Tensor) -> torch.Tensor:
    """Cut uint8 [B, 8, 48, 48, 3] into [B, patches, values] in the order of `Qwen2VLVideoProcessor.patchify`."""
    b, (t, h, w) = len(frames), GRID
    x = frames.view(b, t, TEMPORAL_PATCH, h // MERGE, MERGE, PATCH, w // MERGE, MERGE, PATCH, 3)
    return x.permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8).reshape(b, t * h * w, -1)


@contextmanager
def fast_vision() -> Iterator[None]:
    """Replace, for the length of training, two slow CPU paths by equal ones.

    The convolution whose kernel is its stride is a matrix product (five times as fast), and clips of one size can
    attend in one batch instead of one by one. What is saved and shipped runs through the stock classes.
    """

    def embed(self: Any, pixels: torch.Tensor) -> torch.Tensor:
        return F.linear(pixels, self.proj.weight.view(self.embed_dim, -1))

    def attend(
        self: Any, hidden_states: torch.Tensor, cu_seqlens: torch.Tensor, position_embeddings: Any, **_: Any
    ) -> torch.Tensor:
        n, chunks = len(hidden_states), len(cu_seqlens) - 1
        q, k, v = self.qkv(hidden_states).reshape(n, 3, self.num_heads, -1).permute(1, 0, 2, 3).unbind(0)
        q, k = qwen.apply_rotary_pos_emb_vision(q, k, *position_embeddings)
        q, k, v = (x.reshape(chunks, n // chunks, self.num_heads, -1).transpose(1, 2) for x in (q, k, v))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, -1))

    patch_embed: Any = qwen.Qwen2_5_VisionPatchEmbed
    attention: Any = qwen.Qwen2_5_VLVisionAttention
    stock = patch_embed.forward, attention.forward
    patch_embed.forward, attention.forward = embed, attend
    try:
        yield
    finally:
        patch_embed.forward, attention.forward = stock


class Trainer:
    """Model, clips and throw-away heads, with the losses of captioning.

    Parameters
    ----------
    model, processor
        Of the captioner.
    pool
        Clips to learn from.
    recipe
        Weights of the losses, noise and batches.
    """

    def __init__(self, model: Any, processor: Any, pool: Pool, recipe: Recipe) -> None:
        self.model, self.pool, self.recipe = model, pool, recipe
        self.rng = np.random.default_rng(recipe.seed)
        self.heads = Classifiers(VIDEO_TOKENS * model.config.vision_config.out_hidden_size)
        self._cut = torch.empty((len(pool.frames), math.prod(GRID), 3 * TEMPORAL_PATCH * PATCH**2), dtype=torch.uint8)
        for i in range(0, len(self._cut), 512):
            self._cut[i : i + 512] = patches(torch.from_numpy(pool.frames[i : i + 512]))
        mean, std = (
            torch.tensor(x).repeat_interleave(self._cut.shape[-1] // 3)
            for x in (processor.video_processor.image_mean, processor.video_processor.image_std)
        )
        self._scale, self._shift = 1 / (255 * std), -mean / std
        self._noise = torch.randn(4_000_000) * recipe.noise / 255 / 0.27
        self._batches = rows_of(len(self._cut), recipe.batch, self.rng)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Of model and heads."""
        return [*self.model.parameters(), *self.heads.parameters()]

    def pixels(self, rows: np.ndarray) -> torch.Tensor:
        """Normalised, noisy pixels of clips, float32 [B, patches, values]."""
        pixels = torch.addcmul(self._shift, self._cut[torch.from_numpy(rows)].float(), self._scale)
        at = int(self.rng.integers(len(self._noise) - pixels[0].numel()))
        pixels += self._noise[at : at + pixels[0].numel()].view_as(pixels[0]) * float(self.rng.random())
        return pixels

    def describe(
        self, texts: Texts, say: Callable[[Named], str] = caption, read: int | None = None
    ) -> dict[str, torch.Tensor]:
        """Losses of the next batch: the language model's on part of it, the heads' on all of it.

        Parameters
        ----------
        texts
            Prompts to draw from.
        say
            What is to be said of a clip with these attributes.
        read
            Of how many of the clips the language model says something; None: of all.
        """
        rows = next(self._batches)
        pixels, prompt = self.pixels(rows), texts.draw(self.rng)
        grid = torch.tensor([GRID] * len(rows))
        seen = self.model.model.visual(pixels.flatten(0, 1), grid_thw=grid).pooler_output
        seen = seen.view(len(rows), VIDEO_TOKENS, -1)
        aux = self.heads(seen.flatten(1), torch.from_numpy(self.pool.labels[rows]))

        rows, seen, grid = rows[:read], seen[:read], grid[:read]
        ids, targets = texts.batch(prompt, [say(self.pool.named(i)) for i in rows])
        is_video = ids == texts.video_token
        embedded = self.model.get_input_embeddings()(ids).masked_scatter(is_video[..., None], seen)
        positions, _ = self.model.model.get_rope_index(
            ids, mm_token_type_ids=2 * is_video.int(), video_grid_thw=grid,
            second_per_grid_ts=torch.from_numpy(self.pool.seconds[rows] * TEMPORAL_PATCH),
        )  # fmt: skip
        states = self.model.model.language_model(
            inputs_embeds=embedded, position_ids=positions, use_cache=False
        ).last_hidden_state
        logits = self.model.lm_head(states[:, len(prompt) - 1 : -1])
        lm = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
        return {"lm": self.recipe.lm * lm, "aux": self.recipe.aux * aux}

    def descend(self, loss: Callable[[float], dict[str, torch.Tensor]], out: Path) -> None:
        """Train on `loss`, see `training.descend`, and write the checkpoint to `out`, every minute and at the end."""
        descend(
            self.parameters, loss, cpu_seconds=self.recipe.cpu_seconds, rate=self.recipe.rate,
            weight_decay=self.recipe.weight_decay, save=lambda: save_captioner(self.model, out),
        )  # fmt: skip


def train(out: Path, work: Path, recipe: Recipe, start: Path | None = None) -> None:
    """Train, from the weights in `start` if given, and write the checkpoint to `out`, every minute and at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    pool = make_pool(work, recipe.chunks, recipe.seed)
    if start:
        shutil.copytree(start, out, dirs_exist_ok=True)
    else:
        build_captioner(out, recipe.seed, size=recipe.size)
    processor = AutoProcessor.from_pretrained(out)
    model = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32).train()
    trainer, texts = Trainer(model, processor, pool, recipe), Texts(processor, VIDEO_TOKENS)

    def loss(spent: float) -> dict[str, torch.Tensor]:
        half = not start and spent < recipe.cpu_seconds / 3
        return trainer.describe(texts, read=recipe.batch // 2 if half else None)

    trainer.descend(loss, out)


def main() -> None:
    """Command line."""
    folders, recipe = command("Train the pocket captioner from scratch.", Recipe(), *OPTIONS, small={"size": SMALL})
    with fast_vision():
        train(**folders, recipe=recipe)


if __name__ == "__main__":
    main()
