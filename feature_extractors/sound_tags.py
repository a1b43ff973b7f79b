"""Sound tags: which of a list of sounds are heard in each clip, by the zero-shot classification of CLAP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models import checkpoint_resolution
from feature_extractors.text.sound_windows import Tag, TaggedWindow, dump, parse, read_classes, worded
from feature_extractors.titles import TextEncoded
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.media.audio import Sound
    from feature_extractors.models.checkpoints import Checkpoint
    from feature_extractors.models.clap import Heard
    from protocols.features import Features

CLASSES = Path(__file__).parent / "text" / "sound_classes.txt"
# Best classes of a window that are stored; `top` chooses among them.
KEPT = 10


@dataclass(frozen=True)
class SoundTags(TextEncoded):
    """Sounds that are heard in each clip, named from a list, as text, and the text as a vector.

    A chain of three cached stages. `sound-tags.windows`: for each window of the checkpoint's length (10 s) the ten best
    classes with their scores, as JSON. `sound-tags.text`: the best of them, like `a drum kit .51, a dog barking .30`;
    of several windows each with its time, like `0-10 s: rain .49; 10-20 s: thunder .51, rain .42`.
    `sound-tags.vector`. Other limits or another text encoder do not listen again.

    A score is the cosine between a window and `template` filled with the class, in CLAP's space; it does not depend on
    the other classes of the list, and several sounds that are heard at once can all have a high one.

    Attributes
    ----------
    checkpoint, revision
        CLAP: a directory, a hub id (with a revision), `pocket`, `random`; `auto`: the pocket one on simulated data,
        else laion/clap-htsat-unfused.
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
    max_seconds
        Sound from this time on is not listened to.
    dtype
        Of the arithmetic.
    batch
        Clips per model call; changes speed and memory, not the key.
    """

    name: ClassVar[str] = "sound-tags"
    feature: ClassVar[str] = "text, vector"
    paper: ClassVar[str] = "CLAP (arXiv 2211.06687)"
    licence: ClassVar[str] = "clap-htsat-unfused: Apache-2.0; bge-large-en-v1.5: MIT"
    checkpoints: ClassVar[str] = "laion/clap-htsat-unfused, BAAI/bge-large-en-v1.5"

    checkpoint: str = "auto"
    classes: str = "auto"
    template: str = "This is a sound of {}."
    top: int = 3
    least: float = 0.2
    max_seconds: float = 240.0
    batch: int = 16
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.batch < 1 or not self.max_seconds > 0 or not 1 <= self.top <= KEPT:
            raise UserError(f"sound-tags: batch must be at least 1, max_seconds above 0, top between 1 and {KEPT}")
        if self.template.count("{}") != 1:
            raise UserError(f"sound-tags.template {self.template!r} must hold {{}} once, where the class stands")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoints on simulated data, by the real ones elsewhere."""
        from feature_extractors.clap import REAL

        checkpoint = checkpoint_resolution.resolved(self.checkpoint, simulated, REAL)
        return replace(super().resolved(simulated), checkpoint=checkpoint)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Tag all clips, then encode the tags."""
        from feature_extractors.pipeline.text_embedding import vectors_of

        return vectors_of(self.name, self.texts(source, context), context, self, title="sound tag vectors")

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the tags as words with scores, a feature space of kind `text`."""
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, stage_inputs
        from protocols.features import FeatureSpace

        windows = self.windows(source, context)
        config = {"parents": [windows.space.id], "top": self.top, "least": self.least}
        space = FeatureSpace(f"{self.name}.text", self.code_version, "text", config, windows.space.provenance)
        stage = Stage(space, "words of sound tags", 64, lambda: partial(_worded, self.top, self.least))
        texts = run_stage(stage, stage_inputs(windows), context)
        return replace(texts, seconds=texts.seconds + windows.seconds)

    def windows(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the best classes of every window, as JSON (`sound_windows.parse` reads it), of kind `text`."""
        from feature_extractors.clap import REAL
        from feature_extractors.media.audio import Listening
        from feature_extractors.media.pool import DecodePool
        from feature_extractors.models import clap
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Model, Stage, video_inputs
        from feature_extractors.pocket import CLAP
        from protocols.features import FeatureSpace

        wanted = Listening(self.max_seconds)
        found = checkpoint_resolution.found(self.checkpoint, REAL, CLAP, context, self.revision)
        classes = self._classes(found)
        config: dict[str, Any] = {
            "parents": [],
            "checkpoint": found.fingerprint,
            "loader": clap.VERSION,
            "classes": classes,
            "template": self.template,
            "audio": wanted.key,
            "dtype": self.dtype,
        }
        space = FeatureSpace(f"{self.name}.windows", self.code_version, "text", config, found.provenance)

        def model() -> Model:
            return Tagger(clap.Clap(found, self.dtype, context.device, context.threads), classes, self.template)

        stage = Stage(
            space, f"sound tags ({found.name})", self.batch, model, reader=lambda workers: DecodePool(workers, wanted)
        )
        return run_stage(stage, video_inputs(source, context), context)

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
        A `backbones.clap.Clap`.
    classes, template
        As `SoundTags` has them, the classes read.
    """

    def __init__(self, model: Any, classes: Sequence[tuple[str, str]], template: str) -> None:
        self._model, self._classes = model, classes
        self._texts = model.read([template.format(name) for name, _ in classes])

    def __call__(self, sounds: Sequence[Sound]) -> list[str]:
        """Tag a batch of sounds, one JSON text each (`sound_windows.parse`)."""
        return [dump(self.windows(heard)) for heard in self._model.listen(sounds)]

    def windows(self, heard: Heard) -> list[TaggedWindow]:
        """Find the best classes of each window of a sound."""
        scores = heard.vectors.astype(np.float64) @ self._texts.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :KEPT]
        windows = zip(heard.starts, heard.seconds, scores, best, strict=True)
        return [
            TaggedWindow(float(start), float(seconds), [self._tag(at, row[at]) for at in order])
            for start, seconds, row, order in windows
        ]

    def _tag(self, at: int, score: float) -> Tag:
        name, group = self._classes[at]
        return Tag(name, group, float(score))
