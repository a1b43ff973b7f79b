"""Probes of a text encoder's vectors: `python -m feature_extractors.pocket.evaluation.text_encoder [--checkpoint DIR]`.

Three questions: is a paraphrase in a wording never trained on nearer to its caption than to a caption that differs in
one attribute; are words that no training text contains told apart; and which factors can a linear probe read from the
vectors of perfect captions and of gold descriptions (which name what no training text names).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np

from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.text_encoder import TextEncoder
from feature_extractors.pocket import TEXT_ENCODER
from feature_extractors.pocket.building.clip_pool import ENTROPY
from feature_extractors.pocket.building.corpus import UNNAMED, Named, caption, change_one, plural, random_named
from protocols.datasets.demo.scene import all_factors, gold_description, named_attributes, sample_scene

Encode = Callable[[Sequence[str]], np.ndarray]


def other_wording(named: Named) -> str:
    """Paraphrase a caption in a wording that `corpus.paraphrase` never uses."""
    written = "No word" if named["word"] == "none" else f"It reads {named['word']}"
    noun = plural(named["count"], named["shape"])
    return f"{written}; {named['setting']}, {named['motion']}: {named['count']} {named['colour']} {noun}"


def near_misses_refused(encode: Encode, n: int = 300, seed: int = 1) -> float:
    """Share of paraphrases nearer to their own caption than to one that differs in one attribute; chance is .5."""
    rng = np.random.default_rng(seed)
    named = [random_named(rng) for _ in range(n)]
    own, other = encode([caption(x) for x in named]), encode([caption(change_one(x, rng)) for x in named])
    said = encode([other_wording(x) for x in named])
    return float(np.mean((own * said).sum(1) > (other * said).sum(1)))


def unseen_words_found(encode: Encode, words: Sequence[str] = tuple(sorted(UNNAMED))) -> float:
    """Share of sentences whose nearest neighbour in another wording holds the same never-trained word."""
    first = encode([f"a clip with {word} in it, and nothing else to see" for word in words])
    second = encode([f"nothing else to see: {word}" for word in words])
    return float(np.mean(np.argmax(first @ second.T, axis=1) == np.arange(len(words))))


def probe(vectors: np.ndarray, values: Sequence[str], fit_on: int) -> float:
    """Accuracy of a ridge classifier on the rows after `fit_on`, fitted on the rows before."""
    x = (vectors - vectors[:fit_on].mean(0)) / vectors[:fit_on].std()
    x = np.c_[x, np.ones(len(x))]
    _, labels = np.unique(values, return_inverse=True)
    hot = np.eye(labels.max() + 1)[labels]
    weights = np.linalg.solve(x[:fit_on].T @ x[:fit_on] + np.eye(x.shape[1]), x[:fit_on].T @ hot[:fit_on])
    return float(np.mean(np.argmax(x[fit_on:] @ weights, axis=1) == labels[fit_on:]))


def main() -> None:
    """Command line: print two lines and a markdown table."""
    parser = argparse.ArgumentParser(
        description="Probes of a text encoder's vectors, beside those of its random-weight baseline."
    )
    parser.add_argument("--checkpoint", default="pocket")
    parser.add_argument("--fit-on", type=int, default=1600, help="texts that the probes are fitted on")
    arguments = parser.parse_args()
    rng = np.random.default_rng([ENTROPY, 0xE2])
    scenes = [sample_scene(rng) for _ in range(arguments.fit_on + 800)]
    texts = {"caption": [caption(named_attributes(s)) for s in scenes], "gold": [gold_description(s) for s in scenes]}
    factors = [all_factors(s) for s in scenes]
    columns: dict[str, list[float]] = {}
    for word in dict.fromkeys((arguments.checkpoint, "random")):
        encode = TextEncoder(resolve(word, TEXT_ENCODER), "float32", "cpu")
        sys.stdout.write(f"{word}: near misses refused {near_misses_refused(encode):.3f}, ")
        sys.stdout.write(f"unseen words found {unseen_words_found(encode):.3f}\n")
        for kind, lines in texts.items():
            vectors = encode(lines)
            values = [[level(f[name]) for f in factors] for name in factors[0]]
            columns[f"{word}, {kind}"] = [probe(vectors, one, arguments.fit_on) for one in values]
    rows = [[name, most_frequent([level(f[name]) for f in factors])] for name in factors[0]]
    header = ["factor", "most frequent value", *columns]
    table = [header, ["---"] * len(header)]
    table += [[*row, *(f"{column[i]:.2f}" for column in columns.values())] for i, row in enumerate(rows)]
    sys.stdout.write("".join("| " + " | ".join(line) + " |\n" for line in table))


def level(value: float | str) -> str:
    """Reduce numbers to three steps, as gold descriptions do."""
    return value if isinstance(value, str) else str(min(int(value * 3), 2))


def most_frequent(values: Sequence[str]) -> str:
    """Share of the most frequent value, as tables show it."""
    return f"{np.unique(values, return_counts=True)[1].max() / len(values):.2f}"


if __name__ == "__main__":
    main()
