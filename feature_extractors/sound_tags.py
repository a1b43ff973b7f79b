"""Sound tags: names of the sounds in each clip, by zero-shot classification with CLAP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import AudioOptions, ModelOptions, TextExtractor
from feature_extractors.text.sound_windows import Tag, TaggedWindow, dump, parse, read_classes, worded
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.media.audio import Sound
    from feature_extractors.models.checkpoint.checkpoints import Checkpoint
    from feature_extractors.models.clap import SoundWindows
    from protocols.features import Features

CLASSES = Path(__file__).parent / "text" / "sound_classes.txt"
# Best classes of a window that are stored; `top` chooses among them.
KEPT = 10


@dataclass(frozen=True)
class SoundTags(AudioOptions, ModelOptions, TextExtractor):
    """Sounds of each clip, named from a list by CLAP, as text, and the text as a vector.

    A chain of three cached stages. `sound-tags.windows`: for each window of the checkpoint's length (10 s) the ten best
    classes with their scores, as JSON. `sound-tags.text`: the best of them, like `a drum kit .51, a dog barking .30`;
    of several windows each with its time, like `0-10 s: rain .49; 10-20 s: thunder .51, rain .42`.
    `sound-tags.vector`. Other limits or another text encoder do not run CLAP again.

    A score is the cosine between a window and `template` filled with the class, in CLAP's space; it does not depend on
    the other classes of the list, and several sounds at once can all have a high one.

    Options: `AudioOptions`, `ModelOptions`, `TextEncoderOptions`.

    Attributes
    ----------
    classes
        A text file with one class a line; a line like `[music]` names the group of the lines below it. `auto`: the
        file `sound_classes.txt` of the checkpoint's own directory, which the pocket one has, as it knows no other
        words; else the list of this package.
    template
        Text of a class, which stands for `{}`.
    top
        Most classes of a window in the text, at most 10.
    least
        Lowest score of a class in the text; the best one of a window is always there.
    """

    name: ClassVar[str] = "sound-tags"
    paper: ClassVar[str] = "CLAP (arXiv 2211.06687)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.CLAP, defaults.TEXT_ENCODER)
    default_checkpoint: ClassVar[str] = defaults.CLAP
    pocket: ClassVar[str] = "CLAP"
    noun: ClassVar[str] = "sound tag"

    classes: str = "auto"
    template: str = "This is a sound of {}."
    top: int = 3
    least: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.top <= KEPT:
            raise UserError(f"sound-tags.top={self.top}: expected 1 to {KEPT}")
        if self.template.count("{}") != 1:
            raise UserError(f"sound-tags.template {self.template!r} must hold {{}} once, where the class stands")

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the tags as words with scores, a feature space of kind `text`."""
        from feature_extractors.pipeline.run import run_text_stage

        windows = self.windows(source, context)
        config = {"top": self.top, "least": self.least}
        model = partial(_worded, self.top, self.least)
        return run_text_stage(
            f"{self.name}.text", self.code_version, "words of sound tags", windows, config, model, context
        )

    def windows(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the best classes of every window, as JSON (`sound_windows.parse` reads it), of kind `text`."""
        from feature_extractors.models import clap

        checkpoint = self.locate(context)
        classes = self._classes(checkpoint)

        def load(*given: Any, **options: Any) -> Tagger:
            return Tagger(clap.Clap(*given, **options), classes, self.template)

        config = {"classes": classes, "template": self.template}
        sounds = self.select_audio(source, context)
        return self.run_model("windows", load, clap.VERSION, checkpoint, sounds, context, config, "sound tags")

    def _classes(self, checkpoint: Checkpoint) -> list[tuple[str, str]]:
        if self.classes != "auto":
            return read_classes(Path(self.classes).expanduser())
        own = checkpoint.folder / CLASSES.name
        return read_classes(own if own.is_file() else CLASSES)


def _worded(top: int, least: float, texts: Sequence[str]) -> list[str]:
    return [worded(parse(text), top, least) for text in texts]


class Tagger:
    """Sounds to JSON, as the stage stores it; the classes are encoded once.

    Parameters
    ----------
    model
        A `models.clap.Clap`.
    classes, template
        As `SoundTags` has them, the classes read.
    """

    def __init__(self, model: Any, classes: Sequence[tuple[str, str]], template: str) -> None:
        self._model, self._classes = model, classes
        self._texts = model.encode_texts([template.format(name) for name, _ in classes])

    def __call__(self, sounds: Sequence[Sound]) -> list[str]:
        """Tag a batch of sounds, one JSON text each (`sound_windows.parse`)."""
        return [dump(self.windows(sound)) for sound in self._model.encode_windows(sounds)]

    def windows(self, sound: SoundWindows) -> list[TaggedWindow]:
        """Find the best classes of each window of a sound."""
        import numpy as np

        scores = sound.vectors.astype(np.float64) @ self._texts.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :KEPT]
        windows = zip(sound.starts, sound.seconds, scores, best, strict=True)
        return [
            TaggedWindow(float(start), float(seconds), [self._tag(at, row[at]) for at in order])
            for start, seconds, row, order in windows
        ]

    def _tag(self, at: int, score: float) -> Tag:
        name, group = self._classes[at]
        return Tag(name, group, float(score))
