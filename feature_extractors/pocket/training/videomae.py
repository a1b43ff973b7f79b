"""Train the pocket VideoMAE: `python -m feature_extractors.pocket.training.videomae --out DIR`.

First masked autoencoding, as VideoMAE (arXiv 2203.12602): a quarter of the patches of each clip is seen, and the pixels
of the others are predicted. No label and no text takes part. Two things differ from the paper, because a model of
this size learns nothing of them in minutes: patches are masked one by one and not as tubes through time, and the
predicted pixels are not normalised per patch, which in flat parts of a drawing makes noise of them.

Then a short fine-tuning with labels, as the authors fine-tune on Kinetics or Something-Something: throw-away linear
classifiers predict the six named attributes from the mean of a clip's tokens. Masked autoencoding goes on beside it, so
that the decoder stays one of this encoder. `--labelled-seconds 0` leaves the second part out.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import VideoMAEForPreTraining
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from feature_extractors.pocket.building.clip_pool import make_pool
from feature_extractors.pocket.building.videomae import FRAMES, build_videomae, save_videomae
from feature_extractors.pocket.training.loop import Classifiers, command, descend, rows_of


@dataclass(frozen=True)
class Recipe:
    """Training hyper-parameters.

    Attributes
    ----------
    cpu_seconds
        Of masked autoencoding, after the clips are rendered.
    labelled_seconds
        CPU seconds of fine-tuning with labels.
    chunks
        Of 250 clips in the pool.
    batch
        Clips a step.
    masked
        Share of the patches that are not seen.
    predicted
        Share of them that the decoder is asked for at a step; the others cost nothing.
    labels
        Weight of the classifiers' loss beside that of masked autoencoding.
    rate, weight_decay
        Of AdamW.
    seed
        Of the clips, the weights, the order and the masks.
    """

    cpu_seconds: float = 700.0
    labelled_seconds: float = 300.0
    chunks: int = 24
    batch: int = 32
    masked: float = 0.75
    predicted: float = 0.5
    labels: float = 0.05
    rate: float = 1.5e-3
    weight_decay: float = 0.02
    seed: int = 1


class MaskedAutoencoder:
    """Masked autoencoder from the parts of a `VideoMAEForPreTraining`: masked patches are not embedded, few predicted.

    With all masked patches predicted, the loss is that of the model's own `forward`.

    Parameters
    ----------
    model
        To train.
    """

    def __init__(self, model: VideoMAEForPreTraining) -> None:
        self.model = model
        config: Any = model.config
        self.grid = (config.num_frames // config.tubelet_size, config.image_size // config.patch_size)
        self._tubelet, self._patch = config.tubelet_size, config.patch_size
        mean, std = (torch.tensor(values)[:, None] for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
        self._mean, self._std = mean, std

    def patches(self, frames: np.ndarray) -> torch.Tensor:
        """Cut uint8 [B, T, H, W, 3] into patches, float32 [B, patches, 3, pixels], in [0, 1]."""
        (times, side), tubelet, patch = self.grid, self._tubelet, self._patch
        cut = torch.from_numpy(frames).view(len(frames), times, tubelet, side, patch, side, patch, 3)
        cut = cut.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(len(frames), times * side * side, 3, -1)
        return cut.float() / 255

    def loss(self, patches: torch.Tensor, seen: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the predicted patches.

        Parameters
        ----------
        patches
            As `patches` gives them.
        seen, predicted
            int64 [B, S] and [B, K]: numbers of the visible and of the predicted patches.
        """
        places = self.model.position_embeddings[0]
        states = self.model.encoder_to_decoder(self.encode(patches, seen)) + places[seen]
        masked = self.model.mask_token + places[predicted]
        found = self.model.decoder(torch.cat([states, masked], dim=1), predicted.shape[1]).logits
        wanted = _pick(patches, predicted)
        if self.model.config.norm_pix_loss:
            wanted = (wanted - wanted.mean(-1, keepdim=True)) / (wanted.std(-1, keepdim=True) + 1e-6)
        # the model's own order of targets: pixels first, then colours
        return F.mse_loss(found, wanted.transpose(2, 3).flatten(2))

    def encode(self, patches: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Last hidden state of the patches that are seen, float32 [B, S, D]; with all, that of the model itself."""
        encoder, embed = self.model.videomae, self.model.videomae.embeddings
        kernel = embed.patch_embeddings.projection
        visible = ((_pick(patches, seen) - self._mean) / self._std).flatten(2)
        states = F.linear(visible, kernel.weight.flatten(1), kernel.bias) + embed.position_embeddings[0][seen]
        states = encoder.encoder(states).last_hidden_state
        return states if encoder.layernorm is None else encoder.layernorm(states)

    def draw(self, batch: int, masked: float, predicted: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the visible and the predicted patches, as `loss` takes them."""
        times, side = self.grid
        order = torch.rand(batch, times * side * side).argsort(dim=1)
        seen = round((1 - masked) * order.shape[1])
        return order[:, :seen], order[:, seen : seen + round(predicted * (order.shape[1] - seen))]


def _pick(patches: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    return patches.gather(1, numbers[..., None, None].expand(-1, -1, *patches.shape[2:]))


def initialise(model: VideoMAEForPreTraining) -> None:
    """Draw the weights of linear layers and patches as the authors of VideoMAE do: Xavier's uniform."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    kernel = model.videomae.embeddings.patch_embeddings.projection.weight
    nn.init.xavier_uniform_(kernel.view(len(kernel), -1))
    nn.init.normal_(model.mask_token, std=0.02)


def train(out: Path, recipe: Recipe, work: Path, start: Path | None = None) -> None:
    """Train, from the weights in `start` if given, and write the checkpoint to `out`, every minute and at the end."""
    torch.set_num_threads(1)
    if start:
        shutil.copytree(start, out, dirs_exist_ok=True)
    else:
        build_videomae(out, recipe.seed)
    pool = make_pool(work, recipe.chunks, recipe.seed, frames=FRAMES)
    torch.manual_seed(recipe.seed)
    model = VideoMAEForPreTraining.from_pretrained(out, dtype=torch.float32).train()
    if not start:
        initialise(model)
    autoencoder = MaskedAutoencoder(model)
    classifiers = Classifiers(model.config.hidden_size)
    rows = rows_of(len(pool.frames), recipe.batch, np.random.default_rng(recipe.seed))

    def error(patches: torch.Tensor) -> torch.Tensor:
        return autoencoder.loss(patches, *autoencoder.draw(len(patches), recipe.masked, recipe.predicted))

    def unlabelled(spent: float) -> dict[str, torch.Tensor]:
        return {"error": error(autoencoder.patches(pool.frames[next(rows)]))}

    def labelled(spent: float) -> dict[str, torch.Tensor]:
        chosen = next(rows)
        patches, labels = autoencoder.patches(pool.frames[chosen]), torch.from_numpy(pool.labels[chosen])
        everything = torch.arange(patches.shape[1]).expand(len(patches), -1)
        labelled = classifiers(autoencoder.encode(patches, everything).mean(dim=1), labels)
        return {"error": error(patches), "labels": recipe.labels * labelled}

    for loss, seconds in ((unlabelled, recipe.cpu_seconds), (labelled, recipe.labelled_seconds)):
        if seconds:
            descend(
                [*model.parameters(), *classifiers.parameters()], loss, cpu_seconds=seconds, rate=recipe.rate,
                weight_decay=recipe.weight_decay, save=lambda: save_videomae(model, out),
            )  # fmt: skip


def main() -> None:
    """Command line."""
    folders, recipe = command(
        "Train the pocket VideoMAE from scratch.", Recipe(), "cpu_seconds", "labelled_seconds", "chunks", "rate", "seed"
    )
    train(**folders, recipe=recipe)


if __name__ == "__main__":
    main()
