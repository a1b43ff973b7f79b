"""Train the pocket Whisper from scratch: `python -m feature_extractors.pocket.training.whisper --out DIR`.

The loss is the cross-entropy of the decoder's tokens. Two things make thirty-second windows affordable for sounds of
four seconds, and both are estimates of, or equal to, what the stock model computes: of the padding's positions, which
differ by their place alone, a few are drawn for each step and stand for all of them (their attention weights are
multiplied by the number they stand for); and the vocabulary's untrained rows are one row, counted as often as it
stands. Everything runs in one process with one thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

from feature_extractors.models.whisper import draw_weights
from feature_extractors.pocket.building import speech
from feature_extractors.pocket.training.loop import IGNORE, command, descend, rows_of

#: Encoder positions of a sound and its first padding; the last of them is padding through and through.
HEARD = speech.FRAMES // 2 - 1


@dataclass(frozen=True)
class Recipe:
    """Training hyper-parameters.

    Attributes
    ----------
    cpu_seconds
        Length of the training; the learning rate follows a cosine over it, after a short warm-up.
    sounds
        Training sounds.
    padding
        Positions of the padding that are drawn for each step.
    noise
        Standard deviation of the noise on the log-mel values.
    timestamps
        Weight of a timestamp in the loss; that of any other token is 1.
    """

    cpu_seconds: float = 500.0
    sounds: int = 6000
    batch: int = 32
    rate: float = 2e-3
    weight_decay: float = 0.01
    padding: int = 32
    noise: float = 0.05
    timestamps: float = 0.3
    seed: int = 1


class Sounds:
    """Log-mel frames of all training sounds, and their tokens as numbers of the learned rows."""

    def __init__(self, recipe: Recipe) -> None:
        self.tokenizer: Any = get_tokenizer(False)
        self.used = speech.used_tokens(self.tokenizer)
        place = {token: at for at, token in enumerate(self.used)}
        self.mels = np.empty((recipe.sounds, 80, speech.FRAMES), dtype=np.float16)
        self.tokens = []
        for at, mix in enumerate(speech.training_mixes(recipe.seed, recipe.sounds)):
            self.mels[at] = speech.log_mel(mix.samples)
            tokens = [self.tokenizer.sot, *speech.tokens_of(mix, self.tokenizer)]
            self.tokens.append([place[token] for token in tokens])
        self.first_timestamp = place[self.tokenizer.timestamp_begin]

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return log-mel float32 [B, 80, `FRAMES`], tokens [B, T] and targets [B, T], where the padding is ignored."""
        tokens = [self.tokens[row] for row in rows]
        longest = max(map(len, tokens)) - 1
        fed = torch.tensor([[*t[:-1], *[0] * (longest - len(t) + 1)] for t in tokens])
        wanted = torch.tensor([[*t[1:], *[IGNORE] * (longest - len(t) + 1)] for t in tokens])
        return torch.from_numpy(self.mels[rows]).float(), fed, wanted


def attend(layer: Any, x: torch.Tensor, source: torch.Tensor, bias: torch.Tensor | None, causal: bool) -> torch.Tensor:
    """Attend as `whisper.model.MultiHeadAttention` does, with a number added to the logits of each key."""
    query, key, value = (
        part.unflatten(-1, (layer.n_head, -1)).transpose(1, 2)
        for part in (layer.query(x), layer.key(source), layer.value(source))
    )
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, is_causal=causal)
    return layer.out(out.transpose(1, 2).flatten(2))


def encode(model: Whisper, mels: torch.Tensor, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode a batch: the sound, and the drawn positions of the padding.

    Parameters
    ----------
    mels
        float32 [B, 80, `FRAMES`].
    drawn
        Positions of the padding, from `HEARD` on.

    Returns
    -------
    tuple
        States [B, `HEARD` + drawn, D] and what to add to the attention logits of each, so that the drawn positions
        weigh as much as all of the padding.
    """
    encoder: Any = model.encoder
    x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mels)))).transpose(1, 2)[:, :HEARD]
    x = torch.cat([x, x[:, -1:].expand(-1, len(drawn), -1)], dim=1)
    places = torch.cat([torch.arange(HEARD), drawn])
    x = x + encoder.positional_embedding[places]
    bias = torch.zeros(len(places))
    bias[HEARD:] = math.log((model.dims.n_audio_ctx - HEARD) / len(drawn))
    for block in encoder.blocks:
        h = block.attn_ln(x)
        x = x + attend(block.attn, h, h, bias.view(1, 1, 1, -1), False)
        x = x + block.mlp(block.mlp_ln(x))
    return encoder.ln_post(x), bias


def decode(model: Whisper, tokens: torch.Tensor, heard: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the logits [B, T, rows] of every next token."""
    decoder: Any = model.decoder
    x = decoder.token_embedding(tokens) + decoder.positional_embedding[: tokens.shape[1]]
    for block in decoder.blocks:
        h = block.attn_ln(x)
        x = x + attend(block.attn, h, h, None, True)
        x = x + attend(block.cross_attn, block.cross_attn_ln(x), heard, bias.view(1, 1, 1, -1), False)
        x = x + block.mlp(block.mlp_ln(x))
    return decoder.ln(x) @ decoder.token_embedding.weight.T


def save(model: Whisper, used: Sequence[int], out: Path) -> None:
    """Write the checkpoint with the whole vocabulary."""
    dims = ModelDimensions(**speech.dimensions())
    whole = Whisper(dims)
    weights = model.state_dict()
    name = "decoder.token_embedding.weight"
    whole.load_state_dict({**weights, name: speech.spread(weights[name], list(used), dims.n_vocab)})
    speech.save_whisper(whole, out)


def train(out: Path, recipe: Recipe) -> None:
    """Train and write the checkpoint to `out`, every minute and at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    clock = time.process_time()
    sounds = Sounds(recipe)
    print(f"{len(sounds.tokens)} sounds, {time.process_time() - clock:.0f} CPU-s", flush=True)
    dims = ModelDimensions(**speech.dimensions())
    others = dims.n_vocab - len(sounds.used)
    model = Whisper(replace(dims, n_vocab=len(sounds.used) + 1))
    draw_weights(model)
    counted = torch.zeros(len(sounds.used) + 1)
    counted[-1] = math.log(others)
    weight = torch.ones(len(counted))
    weight[sounds.first_timestamp : -1] = recipe.timestamps
    batches = rows_of(recipe.sounds, recipe.batch, rng)

    def loss(_: float) -> dict[str, torch.Tensor]:
        mels, fed, wanted = sounds.batch(next(batches))
        mels += torch.randn_like(mels) * recipe.noise * float(rng.random())
        drawn = torch.from_numpy(rng.choice(np.arange(HEARD, dims.n_audio_ctx), recipe.padding, replace=False))
        heard, bias = encode(model, mels, drawn)
        logits = decode(model, fed, heard, bias) + counted
        return {"loss": F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weight=weight, ignore_index=IGNORE)}

    descend(
        model.parameters(),
        loss,
        cpu_seconds=recipe.cpu_seconds,
        rate=recipe.rate,
        weight_decay=recipe.weight_decay,
        save=lambda: save(model, sounds.used, out),
        warm_up=100,
    )


def main() -> None:
    """Command line."""
    folders, recipe = command(
        "Train the pocket Whisper from scratch.",
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
