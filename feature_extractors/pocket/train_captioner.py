"""Train the pocket captioner from scratch: `python -m feature_extractors.pocket.train_captioner --out DIR`.

The loss is the language model's on the captions plus, weighted one half, the cross-entropies of six throw-away linear
heads on the vision tokens that predict the *named* attributes. Without the heads the motion stays at chance for long.
For the first third the language model reads half of each batch only: what is hard to learn at first is to see.
Everything runs in one process with one thread; the pool of clips is rendered first by two processes.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Iterator
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

from feature_extractors.pocket.architecture import (
    FRAMES,
    MERGE,
    PATCH,
    PIXELS,
    TEMPORAL_PATCH,
    build_captioner,
    save_captioner,
)
from feature_extractors.pocket.corpus import ATTRIBUTES, caption
from feature_extractors.pocket.pool import Pool, make_pool
from feature_extractors.pocket.training import IGNORE, Texts, descend, rows_of

GRID = (FRAMES // TEMPORAL_PATCH, PIXELS // PATCH, PIXELS // PATCH)
VIDEO_TOKENS = math.prod(GRID) // MERGE**2


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


def losses(
    model: Any,
    heads: nn.ModuleList,
    texts: Texts,
    pool: Pool,
    rows: np.ndarray,
    pixels: torch.Tensor,
    prompt: list[int],
    read: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the language model's loss on part of a batch and the summed losses of the attribute heads on all of it.

    Parameters
    ----------
    pixels
        float32 [B, patches, values], normalised.
    read
        How many of the clips the language model describes.
    """
    grid = torch.tensor([GRID] * len(rows))
    seen = model.model.visual(pixels.flatten(0, 1), grid_thw=grid).pooler_output.view(len(rows), VIDEO_TOKENS, -1)
    labels = torch.from_numpy(pool.labels[rows])
    flat = seen.flatten(1)
    aux = torch.stack([F.cross_entropy(head(flat), labels[:, i]) for i, head in enumerate(heads)]).sum()

    rows, seen, grid = rows[:read], seen[:read], grid[:read]
    ids, targets = texts.batch(prompt, [caption(pool.named(i)) for i in rows])
    is_video = ids == texts.video_token
    embedded = model.get_input_embeddings()(ids).masked_scatter(is_video[..., None], seen)
    positions, _ = model.model.get_rope_index(
        ids, mm_token_type_ids=2 * is_video.int(), video_grid_thw=grid,
        second_per_grid_ts=torch.from_numpy(pool.seconds[rows] * TEMPORAL_PATCH),
    )  # fmt: skip
    states = model.model.language_model(
        inputs_embeds=embedded, position_ids=positions, use_cache=False
    ).last_hidden_state
    logits = model.lm_head(states[:, len(prompt) - 1 : -1])
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE), aux


def train(out: Path, work: Path, recipe: Recipe, start: Path | None = None) -> None:
    """Train, from the weights in `start` if given, and write the checkpoint to `out`, every minute and at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    pool = make_pool(work, recipe.chunks, recipe.seed)
    cut = torch.empty((len(pool.frames), math.prod(GRID), 3 * TEMPORAL_PATCH * PATCH**2), dtype=torch.uint8)
    for i in range(0, len(cut), 512):
        cut[i : i + 512] = patches(torch.from_numpy(pool.frames[i : i + 512]))
    if start:
        shutil.copytree(start, out, dirs_exist_ok=True)
    else:
        build_captioner(out, recipe.seed)
    processor = AutoProcessor.from_pretrained(out)
    model = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32).train()
    texts = Texts(processor, VIDEO_TOKENS)
    heads = nn.ModuleList(nn.Linear(VIDEO_TOKENS * 128, len(values)) for values in ATTRIBUTES.values())
    mean, std = (
        torch.tensor(x).repeat_interleave(cut.shape[-1] // 3)
        for x in (processor.video_processor.image_mean, processor.video_processor.image_std)
    )
    scale, shift = 1 / (255 * std), -mean / std
    noise = torch.randn(4_000_000) * recipe.noise / 255 / 0.27
    batches = rows_of(len(cut), recipe.batch, rng)

    def loss(spent: float) -> dict[str, torch.Tensor]:
        rows = next(batches)
        pixels = torch.addcmul(shift, cut[torch.from_numpy(rows)].float(), scale)
        at = int(rng.integers(len(noise) - pixels[0].numel()))
        pixels += noise[at : at + pixels[0].numel()].view_as(pixels[0]) * float(rng.random())
        read = recipe.batch // 2 if not start and spent < recipe.cpu_seconds / 3 else recipe.batch
        lm, aux = losses(model, heads, texts, pool, rows, pixels, texts.draw(rng), read)
        return {"lm": recipe.lm * lm, "aux": recipe.aux * aux}

    descend(
        [*model.parameters(), *heads.parameters()], loss, cpu_seconds=recipe.cpu_seconds, rate=recipe.rate,
        weight_decay=recipe.weight_decay, save=lambda: save_captioner(model, out),
    )  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the pocket captioner from scratch.")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint directory to write")
    parser.add_argument("--work", type=Path, default=Path(".cache/pocket"), help="where the rendered pool is kept")
    parser.add_argument("--start", type=Path, help="captioner whose weights to start from")
    parser.add_argument("--cpu-seconds", type=float, default=Recipe.cpu_seconds)
    parser.add_argument("--chunks", type=int, default=Recipe.chunks, help="clips in the pool, in units of 250")
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="of the pool, the weights and the order")
    arguments = parser.parse_args()
    recipe = Recipe(
        cpu_seconds=arguments.cpu_seconds, chunks=arguments.chunks, rate=arguments.rate, seed=arguments.seed
    )
    with fast_vision():
        train(arguments.out, arguments.work, recipe, arguments.start)


if __name__ == "__main__":
    main()
