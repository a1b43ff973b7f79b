"""Train the pocket Qwen2.5-Omni: `python -m feature_extractors.pocket.training.omni --out DIR`.

It starts from the pocket captioner and the pocket Qwen2-Audio (`omni_architecture.adopt`), whose eyes and ears stay as
they are: what they make of clips and sounds is computed once. What is learned is to read both at once, in the order and
at the positions in time that the stock processor and model give them, and to say both: the language model and the
projection of what is heard. Clips and sounds are those of new seeds, so neither eyes nor ears have been trained on
them. All factors of the simulated world are independent, so any sound goes with any clip of about its length. One batch
in seven is of clips without sound. Everything runs in one process with one thread.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from feature_extractors.media.audio import RATE
from feature_extractors.pocket.building import sound_captions
from feature_extractors.pocket.building.clip_pool import make_pool
from feature_extractors.pocket.building.omni import adopt, build_omni, joint_caption, save_omni, users
from feature_extractors.pocket.building.qwen_vl import TEMPORAL_PATCH
from feature_extractors.pocket.training.captioner import GRID, VIDEO_TOKENS, patches
from feature_extractors.pocket.training.loop import IGNORE, command, descend, rows_of
from feature_extractors.pocket.training.qwen_audio import tokens_of

HOP = RATE // 100
#: Of the sounds about as long as a clip, one of this many neighbours in the order of length goes with it.
NEIGHBOURS = 400


@dataclass(frozen=True)
class Recipe:
    """Training hyper-parameters.

    Attributes
    ----------
    cpu_seconds
        Length of the training; the learning rate follows a cosine over it, after a short warm-up.
    chunks
        Clips in the pool, in units of 250.
    sounds
        Training sounds.
    silent
        Share of the batches without sound.
    seed
        Of clips, sounds, weights and order; not 1 or 2, of whose clips the captioner has seen all.
    """

    cpu_seconds: float = 900.0
    chunks: int = 32
    sounds: int = 6000
    batch: int = 32
    rate: float = 1.2e-3
    weight_decay: float = 0.02
    silent: float = 0.14
    seed: int = 3


class World:
    """States of the frozen vision and audio towers for clips and sounds, with the true values of these.

    Attributes
    ----------
    seen
        float16 [clips, VIDEO_TOKENS, D].
    heard
        float16 [frames / 4, d] of each sound, before the projection, sounds in the order of their length.
    frames
        int64 [sounds]: log-mel frames.
    """

    def __init__(self, model: Any, processor: Any, recipe: Recipe, work: Path) -> None:
        self.pool = make_pool(work, recipe.chunks, recipe.seed)
        with torch.inference_mode():
            self.seen = torch.cat([self._see(model, processor, at) for at in range(0, len(self.pool.frames), 64)])
            sounds = sound_captions.training_sounds(recipe.seed, recipe.sounds)
            found = [(*self._hear(model, processor, samples), named) for samples, named in sounds]
        found.sort(key=lambda one: one[1])
        self.heard = [tokens for tokens, _, _ in found]
        self.frames = np.array([frames for _, frames, _ in found])
        self.named = [named for _, _, named in found]

    def _see(self, model: Any, processor: Any, start: int) -> torch.Tensor:
        cut = patches(torch.from_numpy(self.pool.frames[start : start + 64])).float()
        seeing = processor.video_processor
        mean, std = (
            torch.tensor(x).repeat_interleave(cut.shape[-1] // 3) for x in (seeing.image_mean, seeing.image_std)
        )
        pixels = (cut / 255 - mean) / std
        found = model.model.visual(pixels.flatten(0, 1), grid_thw=torch.tensor([GRID] * len(cut))).pooler_output
        return found.view(len(cut), VIDEO_TOKENS, -1).half()

    @staticmethod
    def _hear(model: Any, processor: Any, samples: np.ndarray) -> tuple[torch.Tensor, int]:
        listening = processor.feature_extractor
        frames = min(math.ceil(len(samples) / HOP), listening.nb_max_frames)
        mels = torch.from_numpy(sound_captions.log_mel(listening, samples, frames))
        states: list[torch.Tensor] = []
        hook = model.model.audio_tower.proj.register_forward_pre_hook(lambda _, given: states.append(given[0]))
        model.model.audio_tower(mels, feature_lens=torch.tensor([frames]))
        hook.remove()
        return states[0].half(), frames

    def sounds_for(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a sound for each clip, about as long as the clip."""
        lengths = self.pool.seconds[rows] * self.pool.frames.shape[1] * 100
        near = np.searchsorted(self.frames, lengths) + rng.integers(-NEIGHBOURS // 2, NEIGHBOURS // 2, len(rows))
        return np.clip(near, 0, len(self.frames) - 1)


class Turns:
    """Token ids of whole turns, prompt and answer, cut and interleaved as the shipped processor does it."""

    def __init__(self, processor: Any) -> None:
        self._processor, self.tokenizer = processor, processor.tokenizer
        self.turns = [
            processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": user}]}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for user in users()
        ]

    def ids(self, turn: str, seconds: float, frames: int | None, answer: str) -> tuple[list[int], int]:
        """Return the ids of a turn and how many of them are the answer.

        Parameters
        ----------
        seconds
            From one row of video tokens in time to the next.
        frames
            Log-mel frames of the sound; None: there is none.
        """
        marks = self._processor.video_token * VIDEO_TOKENS
        if frames is not None:
            marks = self._processor.replace_video_with_audio_token(
                {"video_grid_thw": [np.array(GRID)], "video_second_per_grid": [seconds]}, 0,
                {"num_audio_tokens": [tokens_of(frames)]}, 0,
                position_id_per_seconds=self._processor.position_id_per_seconds,
                seconds_per_chunk=self._processor.seconds_per_chunk,
            )  # fmt: skip
        prompt = self.tokenizer(turn.replace(self._processor.video_token, marks))["input_ids"]
        said = [*self.tokenizer(answer)["input_ids"], self.tokenizer.eos_token_id]
        return [*prompt, *said], len(said)

    def batch(self, rows: list[tuple[list[int], int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ids [B, T], their mask and the next tokens [B, T] (answers, else `IGNORE`), filled up on the right."""
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id)
        mask, following = torch.zeros_like(ids), torch.full_like(ids, IGNORE)
        for at, (one, length) in enumerate(rows):
            ids[at, : len(one)] = torch.tensor(one)
            mask[at, : len(one)] = 1
            following[at, len(one) - length - 1 : len(one) - 1] = torch.tensor(one[-length:])
        return ids, mask, following


def loss_of(
    model: Any, turns: Turns, world: World, rows: np.ndarray, sounds: np.ndarray | None, rng: np.random.Generator
) -> torch.Tensor:
    """Return the language model's loss on clips `rows` with `sounds`, or without sound."""
    seconds = world.pool.seconds[rows] * TEMPORAL_PATCH
    turn = turns.turns[0 if rng.random() < 0.5 else int(rng.integers(len(turns.turns)))]
    chosen = [None] * len(rows) if sounds is None else list(sounds)
    ids, mask, following = turns.batch([
        turns.ids(
            turn, float(second), None if sound is None else int(world.frames[sound]),
            joint_caption(world.pool.named(row), None if sound is None else world.named[sound]),
        )
        for row, second, sound in zip(rows, seconds, chosen, strict=True)
    ])  # fmt: skip
    embedded = model.get_input_embeddings()(ids)
    embedded = embedded.masked_scatter((ids == model.config.video_token_id)[..., None], world.seen[rows].float())
    if sounds is not None:
        heard = model.model.audio_tower.proj(torch.cat([world.heard[sound] for sound in sounds]).float())
        embedded = embedded.masked_scatter((ids == model.config.audio_token_id)[..., None], heard)
    positions, _ = model.get_rope_index(
        ids, video_grid_thw=torch.tensor([GRID] * len(rows)), attention_mask=mask,
        use_audio_in_video=sounds is not None,
        audio_seqlens=None if sounds is None else torch.from_numpy(world.frames[sounds]),
        second_per_grids=torch.from_numpy(seconds),
    )  # fmt: skip
    # padding stands behind everything that looks at what came before it: no mask is needed
    states = model.model.language_model(inputs_embeds=embedded, position_ids=positions, use_cache=False)
    answered = following != IGNORE
    return F.cross_entropy(model.lm_head(states.last_hidden_state[answered]), following[answered])


def train(out: Path, work: Path, recipe: Recipe, start: Path | None = None) -> None:
    """Train, from the weights in `start` if given, and write the checkpoint to `out`, every minute and at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    if start:
        shutil.copytree(start, out, dirs_exist_ok=True)
    else:
        build_omni(out, recipe.seed)
    processor: Any = Qwen2_5OmniProcessor.from_pretrained(out)
    model: Any = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(out, dtype=torch.float32)
    if not start:
        adopt(model, processor.tokenizer)
    model.requires_grad_(False)
    learned: tuple[nn.Module, ...] = (model.model.language_model, model.lm_head, model.model.audio_tower.proj)
    for part in learned:
        part.requires_grad_(True)
    world, turns = World(model.eval(), processor, recipe, work), Turns(processor)
    print(f"{len(world.seen)} clips, {len(world.heard)} sounds", flush=True)
    batches = rows_of(len(world.seen), recipe.batch, rng)

    def loss(_: float) -> dict[str, torch.Tensor]:
        rows = next(batches)
        sounds = None if rng.random() < recipe.silent else world.sounds_for(rows, rng)
        return {"lm": loss_of(model, turns, world, rows, sounds, rng)}

    descend(
        model.parameters(), loss, cpu_seconds=recipe.cpu_seconds, rate=recipe.rate,
        weight_decay=recipe.weight_decay, save=lambda: save_omni(model, out), matrices_only=True,
    )  # fmt: skip


def main() -> None:
    """Command line."""
    folders, recipe = command(
        "Train the pocket Qwen2.5-Omni.", Recipe(), "cpu_seconds", "chunks", "sounds", "rate", "seed"
    )
    train(**folders, recipe=recipe)


if __name__ == "__main__":
    main()
