"""Train the pocket CLIP: `python -m feature_extractors.pocket.training.clip --out DIR`.

Contrastively, as CLIP (arXiv 2103.00020): a frame and a text that is true of it are drawn together, the others of the
batch apart. Here it is known which texts are true of which frames, so that a true one is never pushed away. Texts name
what single frames show: number, colour, shape, setting and written word. Throw-away linear heads tell the same five
from the image tower's tokens, because by the contrast alone a model of this size is slow to see shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F

from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.clip_image import LAYOUT, load_model
from feature_extractors.pocket.building.clip import SHOWN, build_clip, save_clip, text_of
from feature_extractors.pocket.building.clip_pool import Pool, make_pool
from feature_extractors.pocket.building.corpus import ATTRIBUTES
from feature_extractors.pocket.training.clap import contrast
from feature_extractors.pocket.training.loop import Classifiers, command, descend, rows_of

#: How often a text of one attribute is about each of `SHOWN`: mostly about what is hardest to see.
ABOUT = {"count": 0.3, "colour": 0.1, "shape": 0.4, "setting": 0.1, "word": 0.1}


@dataclass(frozen=True)
class Recipe:
    """Training hyper-parameters.

    Attributes
    ----------
    cpu_seconds
        Of training, after the clips are rendered.
    chunks
        Of 250 clips in the pool.
    batch
        Frames a step, each of another clip.
    single
        Texts of one attribute a step, beside one of all attributes for each frame.
    rate, weight_decay
        Of AdamW.
    heads
        Weight of the heads' loss.
    noise
        Standard deviation of the noise on pixels, of 255.
    seed
        Of the clips, the weights and the order.
    """

    cpu_seconds: float = 750.0
    chunks: int = 24
    batch: int = 48
    single: int = 48
    rate: float = 1.5e-3
    weight_decay: float = 0.02
    heads: float = 0.2
    noise: float = 4.0
    seed: int = 1


class Pairs:
    """Batches of frames and texts.

    Parameters
    ----------
    pool
        Clips.
    recipe
        Sizes of a batch.
    folder
        The checkpoint, for its tokenizer and its normalisation of pixels.
    """

    def __init__(self, pool: Pool, recipe: Recipe, folder: Path, look: dict[str, Any]) -> None:
        self._pool, self._recipe = pool, recipe
        self._tokenizer = open_clip.get_tokenizer(f"local-dir:{folder.resolve()}")
        self._rng = np.random.default_rng([recipe.seed, 0xC11])
        self._rows = rows_of(len(pool.frames), recipe.batch, self._rng)
        self._mean, self._std = (torch.tensor(look[name])[:, None, None] for name in ("mean", "std"))
        self._columns = [list(ATTRIBUTES).index(name) for name in SHOWN]

    def draw(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return frames, texts, which texts are true of which frames, and what the frames show.

        Returns
        -------
        tuple
            Pixels [N, 3, H, W]; tokens [K, context]; bool [N, K]; int64 [N, 5], the number of each value of `SHOWN`.
        """
        rows, rng = next(self._rows), self._rng
        frames = self._pool.frames[rows, rng.integers(self._pool.frames.shape[1], size=len(rows))]
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
        pixels = (pixels + torch.randn_like(pixels) * self._recipe.noise) / 255
        labels = self._pool.labels[rows][:, self._columns]
        texts, true = self._texts(labels)
        normal = (pixels - self._mean) / self._std
        return normal, self._tokenizer(texts), torch.from_numpy(true), torch.from_numpy(labels)

    def _texts(self, labels: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Write a text of all attributes for each frame, and texts of one for some; bool [N, K]: which are true."""
        rows = [*range(len(labels)), *self._rng.integers(len(labels), size=self._recipe.single)]
        single = self._rng.choice(len(SHOWN), size=self._recipe.single, p=[ABOUT[name] for name in SHOWN])
        mentioned = [list(range(len(SHOWN)))] * len(labels) + [[int(one)] for one in single]
        texts = [
            text_of({SHOWN[k]: ATTRIBUTES[SHOWN[k]][labels[row, k]] for k in chosen})
            for row, chosen in zip(rows, mentioned, strict=True)
        ]
        true = [
            (labels[:, chosen] == labels[row, chosen]).all(axis=1) for row, chosen in zip(rows, mentioned, strict=True)
        ]
        return texts, np.stack(true, axis=1)


def train(out: Path, recipe: Recipe, work: Path, start: Path | None = None) -> None:
    """Train, from the weights in `start` if given, and write the checkpoint to `out`, every minute and at the end."""
    torch.set_num_threads(1)
    build_clip(out, recipe.seed)
    pool = make_pool(work, recipe.chunks, recipe.seed, frames=16)
    torch.manual_seed(recipe.seed)
    model, _ = load_model(resolve(str(start or out), out, layout=LAYOUT), "float32", "cpu")
    model.train()
    model.visual.output_tokens = True
    pairs = Pairs(pool, recipe, out, model.visual.preprocess_cfg)
    heads = Classifiers(model.visual.conv1.out_channels * int(np.prod(model.visual.grid_size)), SHOWN)

    def loss(spent: float) -> dict[str, torch.Tensor]:
        pixels, tokens, true, labels = pairs.draw()
        seen, patches = model.visual(pixels)
        read = model.encode_text(tokens, normalize=True)
        logits = model.logit_scale.exp().clamp(max=100) * F.normalize(seen, dim=-1) @ read.T
        mentioned = torch.ones_like(true)
        return {
            "frames": contrast(logits, true, mentioned) / 2,
            "texts": contrast(logits.T, true.T, mentioned.T) / 2,
            "heads": recipe.heads * heads(patches.flatten(1), labels),
        }

    descend(
        [*model.parameters(), *heads.parameters()], loss, cpu_seconds=recipe.cpu_seconds, rate=recipe.rate,
        weight_decay=recipe.weight_decay, save=lambda: save_clip(model, out),
    )  # fmt: skip


def main() -> None:
    """Command line."""
    folders, recipe = command("Train the pocket CLIP from scratch.", Recipe(), "cpu_seconds", "chunks", "rate", "seed")
    train(**folders, recipe=recipe)


if __name__ == "__main__":
    main()
