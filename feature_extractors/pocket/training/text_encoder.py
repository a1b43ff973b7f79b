"""Train the pocket text encoder from scratch: `python -m feature_extractors.pocket.training.text_encoder --out DIR`.

Contrastive training (multiple negatives, each anchor also against a near miss of its own), on two kinds of batches
in turn: captions and their paraphrases, where the near miss differs in one attribute; and sentences of meaningless
words, where the positive holds most of the words in another order and the near miss swaps a few of them for others.
The second kind makes it an encoder of whatever words there are, also of those that no training text contains.
"""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, AutoTokenizer

from feature_extractors.pocket.building import corpus
from feature_extractors.pocket.building.qwen_vl import build_text_encoder, save_text_encoder
from feature_extractors.pocket.training.loop import command


@dataclass(frozen=True)
class Recipe:
    """Training hyper-parameters; the learning rate follows a cosine over `cpu_seconds`, after a short warm-up."""

    cpu_seconds: float = 200.0
    batch: int = 48
    rate: float = 2e-3
    weight_decay: float = 0.01
    temperature: float = 0.05
    seed: int = 1


Triple = tuple[str, str, str]


def about_clips(rng: np.random.Generator) -> Triple:
    """Return a caption, a paraphrase of it, and a paraphrase of a scene that differs in one attribute.

    Both paraphrases are drawn with the same random numbers, so that the one changed attribute is all that tells them
    apart; where a part that names it is left out of both, they are equal, and the loss leaves that near miss out.
    """
    named = corpus.random_named(rng)
    wording = int(rng.integers(2**32))
    other = corpus.change_one(named, rng)
    anchor = corpus.caption(named) if rng.random() < 0.7 else corpus.paraphrase(named, rng)
    return (
        anchor,
        corpus.paraphrase(named, np.random.default_rng(wording)),
        corpus.paraphrase(other, np.random.default_rng(wording)),
    )


def about_nothing(rng: np.random.Generator, n: int | None = None) -> Triple:
    """Return a pseudo-word sentence, a rewording of it, and a rewording of a sentence with a few other words."""
    words = corpus.pseudo_sentence(rng, n)
    reworded, altered = corpus.reworded(words, rng), corpus.altered(words, rng)
    return corpus.join(words, rng), corpus.join(reworded, rng), corpus.join(altered, rng)


def draw_batch(step: int, size: int, rng: np.random.Generator) -> list[Triple]:
    """Draw a batch of one kind or, at the next step, of the other; sentences of one length, so that none is padded."""
    if step % 2:
        return [about_clips(rng) for _ in range(size)]
    n = int(rng.integers(4, 33))
    return [about_nothing(rng, n) for _ in range(size)]


def contrastive_loss(
    anchors: torch.Tensor, positives: torch.Tensor, near_misses: torch.Tensor, usable: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Cross-entropy of finding the positive among all positives and the anchor's own near miss.

    Parameters
    ----------
    anchors, positives, near_misses
        float32 [B, D], normalised.
    usable
        Bool [B]: False where the near miss is no different from the positive.
    """
    among = anchors @ positives.T
    own = (anchors * near_misses).sum(1, keepdim=True).masked_fill(~usable[:, None], -math.inf)
    scores = torch.cat([among, own], dim=1) / temperature
    return F.cross_entropy(scores, torch.arange(len(anchors)))


def encode(model: Any, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    """CLS states, normalised: what the shipped modules compute."""
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    return F.normalize(model(**inputs).last_hidden_state[:, 0], dim=1)


def train(out: Path, recipe: Recipe, start: Path | None = None) -> None:
    """Train, from the weights in `start` if given, and write the checkpoint to `out`."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng([recipe.seed, 0x7E87])
    if start:
        shutil.copytree(start, out, dirs_exist_ok=True)
    else:
        build_text_encoder(out, recipe.seed)
    tokenizer = AutoTokenizer.from_pretrained(out)
    model = AutoModel.from_pretrained(out, dtype=torch.float32).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    started, step = time.process_time(), 0
    while (spent := time.process_time() - started) < recipe.cpu_seconds:
        anchors, positives, near_misses = map(list, zip(*draw_batch(step, recipe.batch, rng), strict=True))
        first, second, third = encode(model, tokenizer, anchors + positives + near_misses).chunk(3)
        usable = torch.tensor([p != n for p, n in zip(positives, near_misses, strict=True)])
        loss = contrastive_loss(first, second, third, usable, recipe.temperature)
        rate = recipe.rate * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * spent / recipe.cpu_seconds))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 50 < 2:
            print(f"{spent:6.0f} CPU-s  step {step}  loss {loss.item():.4f}", flush=True)
    save_text_encoder(model, tokenizer, out)
    print(f"{step} steps, {time.process_time() - started:.0f} CPU-s")


def main() -> None:
    """Command line."""
    folders, recipe = command(
        "Train the pocket text encoder from scratch.", Recipe(), "cpu_seconds", "rate", "seed", work=False
    )
    train(**folders, recipe=recipe)


if __name__ == "__main__":
    main()
