"""Accuracy of the structured captioner: `python -m feature_extractors.pocket.evaluation.structured [--checkpoint DIR]`.

Clips as of `evaluate_captioner.py`, asked for JSON and asked to be described, and chains drawn with seeds that training
does not use, summarised from text alone. The random-weight baseline stands beside each.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoint.checkpoints import Checkpoint, resolve
from feature_extractors.models.text_generation import PromptFields, TextAnswers
from feature_extractors.models.video_captioner import Captioner
from feature_extractors.pocket import STRUCTURED
from feature_extractors.pocket.building.clip_pool import ENTROPY
from feature_extractors.pocket.building.corpus import ATTRIBUTES, read_caption
from feature_extractors.pocket.building.structured_corpus import HEARD, Chain, draw_chain, fields, read_fields
from feature_extractors.pocket.evaluation.captioner import (
    BATCH,
    accuracy,
    chance,
    decoded,
    held_out_scenes,
    print_table,
    right,
)
from feature_extractors.pocket.training.structured import MAX_NEW_TOKENS
from feature_extractors.text.prompt_files import read_prompt
from feature_extractors.text.structured import InvalidAnswerError, parse
from protocols.datasets.demo.scene import Scene, named_attributes

RULED = ("mood", "audience", "style")
#: Most characters of a line that a prompt tells; no line of a chain is longer.
LONGEST_LINE = 200


def answers(checkpoint: Checkpoint, prompt: str, clips: Sequence[Clip]) -> Iterator[str]:
    """Answer a named prompt about clips."""
    captioner = Captioner(checkpoint, "float32", "cpu", read_prompt(prompt), MAX_NEW_TOKENS)
    for start in range(0, len(clips), BATCH):
        yield from captioner(clips[start : start + BATCH])


def read_answer(answer: str) -> dict[str, list[str]]:
    """Fields of an answer; none where it is invalid."""
    try:
        return parse(answer)
    except InvalidAnswerError:
        return {}


def structured_shares(said: Sequence[str], scenes: Sequence[Scene]) -> dict[str, float]:
    """Compute the share of clips with a right, valid answer, per attribute and field; and of invalid ones."""
    read, true = [read_answer(answer) for answer in said], [named_attributes(scene) for scene in scenes]
    shares = right([read_fields(one) if one else {} for one in read], true)
    for name in RULED:
        shares[name] = float(np.mean([one.get(name) == [fields(t)[name]] for one, t in zip(read, true, strict=True)]))
    return shares | {"invalid": float(np.mean([not one for one in read]))}


def held_out_chains(n: int, seed: int = 0) -> list[Chain]:
    """Draw chains that no training ever reads but by chance."""
    rng = np.random.default_rng([ENTROPY, seed, 0xC4A1])
    return [draw_chain(rng) for _ in range(n)]


def summaries(checkpoint: Checkpoint, chains: Sequence[Chain]) -> Iterator[str]:
    """Summarise chains from their text alone, by the code that summarises those of real videos."""
    prompt = read_prompt("summarise-chain")
    summarising = TextAnswers(checkpoint, "float32", "cpu", prompt, MAX_NEW_TOKENS, LONGEST_LINE)
    asked = [PromptFields({"captions": chain.captions, "transcript": [chain.transcript]}) for chain in chains]
    for start in range(0, len(asked), BATCH):
        yield from summarising(asked[start : start + BATCH])


def chain_shares(said: Sequence[str], chains: Sequence[Chain]) -> dict[str, float]:
    """Compute the share of summaries with the right value, per attribute, and for the presence of speech."""
    shares = right(map(read_caption, said), [chain.named for chain in chains])
    heard = [(HEARD in one) == chain.said for one, chain in zip(said, chains, strict=True)]
    return shares | {"heard": float(np.mean(heard))}


def main() -> None:
    """Command line: print markdown tables."""
    parser = argparse.ArgumentParser(
        description="Accuracy of a structured captioner, beside its random-weight baseline."
    )
    parser.add_argument("--checkpoint", default="pocket")
    parser.add_argument(
        "--pocket", type=Path, default=STRUCTURED, help="directory that `pocket` and `random` stand for"
    )
    parser.add_argument("--clips", type=int, default=400, help="clips in each of the sets, and chains")
    arguments = parser.parse_args()
    asked, described = [], []
    chains = held_out_chains(arguments.clips)
    found = [resolve(word, arguments.pocket) for word in dict.fromkeys((arguments.checkpoint, "random"))]
    for kind, held_back in (("held-out clips", False), ("held-back combinations", True)):
        scenes = held_out_scenes(arguments.clips, held_back=held_back)
        with tempfile.TemporaryDirectory() as folder:
            clips = decoded(scenes, Path(folder))
        for one in found:
            title = f"{one.name}, {kind}"
            asked.append(_row(title, structured_shares(list(answers(one, "structured", clips)), scenes)))
            described.append(_row(title, accuracy(list(answers(one, "describe", clips)), scenes)))
    chained = [_row(one.name, chain_shares(list(summaries(one, chains)), chains)) for one in found]
    print_table(["asked for JSON", *ATTRIBUTES, "all", *RULED, "invalid"], [*asked, [*chance(), *[""] * 4]])
    print_table(["asked to describe", *ATTRIBUTES, "all"], [*described, chance()])
    print_table(["chains", *ATTRIBUTES, "all", "heard"], chained)


def _row(title: str, shares: dict[str, float]) -> list[str]:
    return [title, *(f"{share:.3f}" for share in shares.values())]


if __name__ == "__main__":
    main()
