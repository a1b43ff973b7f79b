"""Checkpoint resolution: the word that `auto` stands for, and the files that a word stands for."""

from __future__ import annotations

from pathlib import Path

from feature_extractors.base import ExtractContext
from feature_extractors.models.checkpoint import defaults, quantization
from feature_extractors.models.checkpoint.checkpoints import TRANSFORMERS, Checkpoint, Layout, resolve
from protocols.errors import UserError


def resolve_checkpoint(word: str, simulated: bool, real: str) -> str:
    """Replace `auto`: by `pocket` on simulated data, by the real default elsewhere.

    Examples
    --------
    >>> names = ("auto", True), ("auto", False), ("random", True)
    >>> [resolve_checkpoint(word, simulated, "a/b") for word, simulated in names]
    ['pocket', 'a/b', 'random']
    """
    if word != "auto":
        return word
    return "pocket" if simulated else real


def resolve_frame_clip(frames: str, word: str, simulated: bool) -> str:
    """Resolve the option `frame_clip`, the CLIP that selects frames; "" under a frame policy that needs none.

    Examples
    --------
    >>> resolve_frame_clip("clip-topk:4", "auto", True), resolve_frame_clip("uniform:8", "auto", True)
    ('pocket', '')
    """
    return resolve_checkpoint(word, simulated, defaults.CLIP) if frames.partition(":")[0] == "clip-topk" else ""


def locate_checkpoint(
    word: str,
    real: str,
    pocket: Path,
    context: ExtractContext,
    revision: str | None = None,
    quantize: quantization.Quantize = "none",
    layout: Layout = TRANSFORMERS,
) -> Checkpoint:
    """Find the files of a checkpoint; `auto` is the real default.

    Parameters
    ----------
    word, pocket, revision, layout
        As in `checkpoints.resolve`.
    real
        Checkpoint that `auto` stands for.
    context
        Hub revisions are remembered in its store.
    quantize
        Quantisation of the weights.

    Raises
    ------
    UserError, CheckpointError
        As `checkpoints.resolve`; a UserError too where the weights cannot be quantized here.
    """
    quantization.check(quantize, word == "random")
    # beside the feature spaces, when these are on a local disk
    pins = None if "://" in str(context.store) else Path(context.store) / "pins.json"
    return resolve(resolve_checkpoint(word, False, real), pocket, revision, pins, layout)


def served_checkpoint(word: str, real: str) -> tuple[Checkpoint, str]:
    """Return the checkpoint that a server has under a name, and that name; `auto` is the real default.

    Nothing is asked of the server: features that are stored are there without it. Of a name that is a path the last
    part is shown.

    Raises
    ------
    UserError
        For `pocket` and `random`, which no server knows.

    Examples
    --------
    >>> served_checkpoint("auto", "a/b")[0].fingerprint, served_checkpoint("/models/c", "a/b")[0].name
    ('openai:a/b', 'c')
    """
    if word in ("pocket", "random"):
        raise UserError(
            f"no server has a model {word!r}", remedy="--checkpoint NAME, as `bench doctor --endpoint` lists"
        )
    name = real if word == "auto" else word
    shown = Path(name).name if name.startswith(("/", "~", ".")) else name
    return Checkpoint(shown, Path(), f"openai:{name}"), name
