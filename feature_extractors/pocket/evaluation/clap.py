"""Accuracy of a pocket CLAP: `python -m feature_extractors.pocket.evaluation.clap [--checkpoint PATH]`.

Soundtracks that no training and no demo uses, encoded as the demo encodes its own, heard by the code that hears real
clips. Zero-shot: the best of the phrases of a factor. Probe: linear, of the vectors of `clap`, and of those of
`sound-tags`, through the pocket text encoder. It is fitted on sounds without a held-back combination and tested on
others of that kind and on sounds that each have one. As such a probe may itself mistake one factor for another that
goes with it, it is fitted again with half of these sounds and tested on the other half (`shown to the probe`). The
random-weight baseline stands beside the checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from feature_extractors.media.audio import RATE, Sound
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.clap import Clap, SoundWindows, means
from feature_extractors.models.text_encoder import TextEncoder
from feature_extractors.pocket import CLAP, TEXT_ENCODER
from feature_extractors.pocket.building import soundtracks, speech
from feature_extractors.pocket.evaluation.qwen_audio import held_out_scenes
from feature_extractors.pocket.evaluation.text_encoder import most_frequent, probe
from feature_extractors.sound_tags import CLASSES, SoundTags, Tagger
from feature_extractors.text.sound_windows import read_classes, worded
from protocols.datasets.demo.factors import SPOKEN_TOPICS
from protocols.datasets.demo.scene import Scene, all_factors, render_audio

BATCH = 16
#: Phrases of each factor that zero-shot classification chooses among.
CHOICES = {
    "mood": {"bright": "a bright chord", "dark": "a dark chord"},
    "rhythm": {"none": "music without a beat", "slow": "a slow beat", "fast": "a fast beat"},
    "spoken_topic": {"none": "no voice", **{topic: f"a voice about {topic}" for topic in SPOKEN_TOPICS}},
}
PROBED = ("mood", "rhythm", "spoken", "spoken_topic")
KINDS = ("held-out sounds", "held-back combinations", "held-back combinations, shown to the probe")


def listen(model: Clap, chosen: Sequence[Scene]) -> list[SoundWindows]:
    """Encode the soundtracks of scenes, through AAC."""
    heard: list[SoundWindows] = []
    for start in range(0, len(chosen), BATCH):
        sounds = [speech.through_aac(render_audio(scene)) for scene in chosen[start : start + BATCH]]
        heard += model.encode_windows([Sound(samples, 1, RATE, "") for samples in sounds])
    return heard


def tags(model: Clap, heard: Sequence[SoundWindows]) -> list[str]:
    """Write the text of `sound-tags` for sounds, with the pocket checkpoint's own classes."""
    options = SoundTags()
    tagger = Tagger(model, read_classes(CLAP / CLASSES.name), options.template)
    return [worded(tagger.windows(one), options.top, options.least) for one in heard]


def zero_shot(model: Clap, heard: np.ndarray, chosen: Sequence[Scene], factor: str) -> float:
    """Share of sounds whose best phrase of a factor is the true one."""
    texts = model.encode_texts([soundtracks.FRAMES[0].format(phrase) for phrase in CHOICES[factor].values()])
    best = np.array(list(CHOICES[factor]))[(heard @ texts.T).argmax(axis=1)]
    return float(np.mean(best == np.array(values(chosen, factor))))


def values(chosen: Sequence[Scene], factor: str) -> list[str]:
    """Level of a factor in each scene."""
    return [str(all_factors(scene)[factor]) for scene in chosen]


def main() -> None:
    """Command line: print a markdown table."""
    parser = argparse.ArgumentParser(description="Accuracy of a pocket CLAP, beside its random-weight baseline.")
    parser.add_argument("--checkpoint", default="pocket")
    parser.add_argument("--fit-on", type=int, default=800, help="sounds that the probes are fitted on")
    parser.add_argument("--sounds", type=int, default=400, help="sounds in each of the two sets")
    arguments = parser.parse_args()
    fit_on, n = arguments.fit_on, arguments.sounds
    drawn = held_out_scenes(fit_on + n, held_back=False, seed=1) + held_out_scenes(n, held_back=True, seed=1)
    at = np.split(np.arange(len(drawn)), [fit_on, fit_on + n, fit_on + n + n // 2])
    splits = [(at[0], at[1]), (at[0], np.concatenate(at[2:])), (np.concatenate([at[0], at[2]]), at[3])]
    columns = [*(f"zero-shot {factor}" for factor in CHOICES), *(f"probe {factor}" for factor in PROBED)]
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    encode = TextEncoder(resolve("pocket", TEXT_ENCODER), "float32", "cpu")
    levels = {factor: np.array(values(drawn, factor)) for factor in PROBED}
    for word in dict.fromkeys((arguments.checkpoint, "random")):
        model = Clap(resolve(word, CLAP), "float32", "cpu")
        heard = listen(model, drawn)
        for name, vectors in (("clap", means(heard)), ("sound-tags", encode(tags(model, heard)))):
            for kind, (fit, test) in zip(KINDS, splits, strict=True):
                held = [drawn[i] for i in test]
                cells = [f"{zero_shot(model, vectors[test], held, f):.3f}" if name == "clap" else "" for f in CHOICES]
                both = np.concatenate([fit, test])
                cells += [f"{probe(vectors[both], levels[factor][both].tolist(), len(fit)):.3f}" for factor in PROBED]
                rows.append([f"{name}, {word}, {kind}", *cells])
    for kind, (_, test) in zip(KINDS, splits, strict=True):
        most = [most_frequent(levels[factor][test].tolist()) for factor in PROBED]
        rows.append([f"most frequent value, {kind}", *[""] * len(CHOICES), *most])
    sys.stdout.write("".join("| " + " | ".join(row) + " |\n" for row in rows))


if __name__ == "__main__":
    main()
