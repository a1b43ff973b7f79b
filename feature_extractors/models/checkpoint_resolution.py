"""Words for checkpoints in the options of extractors: what `auto` stands for, and the files behind a word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from feature_extractors.base import ExtractContext

if TYPE_CHECKING:
    from feature_extractors.models.checkpoints import Checkpoint, Layout
    from feature_extractors.models.quantization import Quantize


def resolved(word: str, simulated: bool, real: str) -> str:
    """Replace `auto`: by `pocket` on simulated data, by the real default elsewhere.

    Examples
    --------
    >>> resolved("auto", True, "a/b"), resolved("auto", False, "a/b"), resolved("random", True, "a/b")
    ('pocket', 'a/b', 'random')
    """
    if word != "auto":
        return word
    return "pocket" if simulated else real


def choosing(frames: str, word: str, simulated: bool) -> str:
    """Resolve the option `frame_clip`: the CLIP that chooses frames; "" under a frame policy that asks none.

    Examples
    --------
    >>> choosing("clip-topk:4", "auto", True), choosing("uniform:8", "auto", True)
    ('pocket', '')
    """
    from feature_extractors.clip import REAL

    return resolved(word, simulated, REAL) if frames.partition(":")[0] == "clip-topk" else ""


def found(
    word: str,
    real: str,
    pocket: Path,
    context: ExtractContext,
    revision: str | None = None,
    quantize: Quantize = "none",
    layout: Layout | None = None,
) -> Checkpoint:
    """Find the files of a checkpoint; `auto` is the real default.

    Parameters
    ----------
    word, pocket, revision, layout
        As in `backbones.checkpoints.resolve`; None: the layout of transformers.
    real
        What `auto` stands for.
    context
        Hub revisions are remembered in its store.
    quantize
        What is asked for of the weights.

    Raises
    ------
    UserError, CheckpointError
        As `backbones.checkpoints.resolve`; a UserError too where the weights cannot be quantized here.
    """
    from feature_extractors.models import quantization
    from feature_extractors.models.checkpoints import TRANSFORMERS, resolve

    quantization.check(quantize, word == "random")
    return resolve(resolved(word, False, real), pocket, revision, pins_file(context), layout or TRANSFORMERS)


def pins_file(context: ExtractContext) -> Path | None:
    """Where hub revisions are remembered: beside the feature spaces, when these are on a local disk."""
    return None if "://" in str(context.store) else Path(context.store) / "pins.json"
