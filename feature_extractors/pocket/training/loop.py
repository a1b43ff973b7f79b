"""Shared parts of the training scripts: prompts and captions as tokens, classifiers, the loop, the command line."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from feature_extractors.pocket.building.corpus import ATTRIBUTES, PROMPTS, SYSTEM_MESSAGES

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Targets that no loss counts.
IGNORE = -100

#: Default folder of rendered clips.
WORK = Path(".cache/pocket")
HELP = {
    "cpu_seconds": "CPU seconds of training",
    "labelled_seconds": "CPU seconds of fine-tuning with labels",
    "looking": "CPU seconds of the first round",
    "chunks": "clips in the pool, in units of 250",
    "sounds": "number of training sounds",
    "rate": "highest learning rate",
    "pool": "seed of the pool",
    "seed": "seed of the data, the weights and the order",
}

R = TypeVar("R", bound="DataclassInstance")


class Texts:
    """Token ids of prompts and captions, cut as the shipped processor cuts them.

    Parameters
    ----------
    processor
        Of the checkpoint.
    video_tokens
        Number of tokens of a clip.
    users
        Wordings of the user's turn, the most frequent one first.
    """

    def __init__(self, processor: Any, video_tokens: int, users: Sequence[str] = PROMPTS) -> None:
        self.tokenizer, self._processor = processor.tokenizer, processor
        self.video_token = processor.video_token_id
        self._video = processor.video_token * video_tokens
        self.prompts = [self.prompt(user, system) for system in (None, *SYSTEM_MESSAGES) for user in users]

    def prompt(self, user: str, system: str | None = None) -> list[int]:
        """Return the token ids of a turn of the user behind a clip, up to the answer."""
        return self._turn([{"type": "video"}, {"type": "text", "text": user}], system)

    def reading(self, user: str) -> list[int]:
        """Return the token ids of a turn of the user without a clip, up to the answer."""
        return self._turn([{"type": "text", "text": user}], None)

    def _turn(self, content: list[dict[str, str]], system: str | None) -> list[int]:
        messages = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
        turn = {"role": "user", "content": content}
        text = self._processor.apply_chat_template([*messages, turn], add_generation_prompt=True, tokenize=False)
        return self.tokenizer(text.replace(self._processor.video_token, self._video))["input_ids"]

    def draw(self, rng: np.random.Generator) -> list[int]:
        """Draw a prompt: half of the time the first wording."""
        return self.prompts[0 if rng.random() < 0.5 else int(rng.integers(len(self.prompts)))]

    def batch(self, prompt: list[int], captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids [B, prompt + answer] and targets [B, answer], where the padding is ignored."""
        answers = [[*self.tokenizer(text)["input_ids"], self.tokenizer.eos_token_id] for text in captions]
        longest = max(map(len, answers))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[*prompt, *answer, *[pad] * (longest - len(answer))] for answer in answers])
        targets = torch.tensor([[*answer, *[IGNORE] * (longest - len(answer))] for answer in answers])
        return ids, targets

    def pairs(self, prompts: Sequence[list[int]], answers: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and targets [B, longest], each prompt with an answer of its own; prompts and padding are ignored.

        The target at a place is the token of that place: a model's logits predict those of the next one.
        """
        said = [[*self.tokenizer(text)["input_ids"], self.tokenizer.eos_token_id] for text in answers]
        rows = [[*prompt, *answer] for prompt, answer in zip(prompts, said, strict=True)]
        ids = torch.full((len(rows), max(map(len, rows))), self.tokenizer.pad_token_id)
        targets = torch.full_like(ids, IGNORE)
        for at, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
            ids[at, : len(row)] = torch.tensor(row)
            targets[at, len(prompt) : len(row)] = ids[at, len(prompt) : len(row)]
        return ids, targets


class Classifiers(nn.Module):
    """Throw-away linear classifiers of named attributes; they are not saved.

    Parameters
    ----------
    width
        Of the vectors to classify.
    names
        Some of `ATTRIBUTES`.
    """

    def __init__(self, width: int, names: Iterable[str] = tuple(ATTRIBUTES)) -> None:
        super().__init__()
        self.each = nn.ModuleList([nn.Linear(width, len(ATTRIBUTES[name])) for name in names])

    def forward(self, vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Summed cross-entropy of vectors [B, D] and labels int64 [B, names], the numbers of the values."""
        losses = [F.cross_entropy(one(vectors), labels[:, at]) for at, one in enumerate(self.each)]
        return torch.stack(losses).sum()


def rows_of(n: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield batches of row numbers for ever, each pass over the `n` rows in another order."""
    order = np.empty(0, dtype=np.int64)
    while True:
        if len(order) < batch:
            order = rng.permutation(n)
        yield order[:batch]
        order = order[batch:]


def descend(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[float], dict[str, torch.Tensor]],
    *,
    cpu_seconds: float,
    rate: float,
    weight_decay: float,
    save: Callable[[], None],
    warm_up: int = 50,
    matrices_only: bool = False,
) -> None:
    """Train with AdamW; the learning rate follows a cosine over the CPU seconds, after a warm-up.

    Parameters
    ----------
    parameters
        Those without a gradient are left as they are.
    loss
        Given the CPU seconds spent so far, the parts of the loss by name; their sum goes down.
    save
        Called every minute and at the end.
    warm_up
        Steps over which the learning rate rises.
    matrices_only
        True: weight decay leaves biases, gains and other vectors alone.
    """
    parameters = [one for one in parameters if one.requires_grad]
    decayed = [one for one in parameters if one.ndim > 1 or not matrices_only]
    others = [one for one in parameters if one.ndim <= 1 and matrices_only]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, betas=(0.9, 0.98))
    started, saved, step = time.process_time(), 0.0, 0
    while (spent := time.process_time() - started) < cpu_seconds:
        parts = loss(spent)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * spent / cpu_seconds))
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 25 == 0:
            losses = "  ".join(f"{name} {part.item():.4f}" for name, part in parts.items())
            _print(f"{spent:6.0f} CPU-s  step {step}  {losses}")
        if spent - saved > 60:
            save()
            saved = spent
    save()
    _print(f"{step} steps, {time.process_time() - started:.0f} CPU-s")


def command(
    description: str, recipe: R, *options: str, work: bool = True, start: bool = True, **switches: dict[str, Any]
) -> tuple[dict[str, Any], R]:
    """Read the command line of a training script.

    Parameters
    ----------
    description
        Of the script.
    recipe
        Defaults of the hyper-parameters.
    options
        Fields of the recipe that have an option.
    work, start
        Offer `--work` (folder of rendered clips) and `--start` (checkpoint to start from).
    switches
        Names of options without a value, and the fields of the recipe that each replaces.

    Returns
    -------
    tuple
        Folders by name (`out`, and `work` and `start` where offered), and the recipe.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint directory to write")
    folders = ["out"] + ["work"] * work + ["start"] * start
    if work:
        parser.add_argument("--work", type=Path, default=WORK, help="where rendered clips are kept between runs")
    if start:
        parser.add_argument("--start", type=Path, help="checkpoint whose weights to start from")
    for name in options:
        default = getattr(recipe, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=HELP.get(name))
    for name in switches:
        parser.add_argument(f"--{name}", action="store_true")
    given = vars(parser.parse_args())
    chosen = {name: given[name] for name in options}
    for name, values in switches.items():
        chosen |= values if given[name] else {}
    return {name: given[name] for name in folders}, replace(recipe, **chosen)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
