"""Checkpoint cards: facts about published checkpoints, as data.

A fact stands here only where it was read in a source; what is unknown is None. Revisions, parameters and token limits
are those of mteb (github.com/embeddings-benchmark/mteb, a905523, `ModelMeta`) unless a card says otherwise. A
checkpoint without a card works as well: its licence is then unknown here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from feature_extractors.base import Extractor

Loader = Literal[
    "image-text-to-text", "audio-lm", "omni", "openai-whisper", "sentence-transformers", "clap", "open_clip", "videomae"
]
Modality = Literal["text", "image", "video", "audio"]
Dtype = Literal["float32", "bfloat16", "float16"]
Readout = Literal["cls", "mean", "last", "layers", "generated"]
#: In place of the licence of a checkpoint without a card.
NOT_LISTED = "not in our table"
#: Precisions of a checkpoint without any rule.
ANY: tuple[Dtype, ...] = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Card:
    """Facts about a checkpoint; None: not known.

    Attributes
    ----------
    id
        Hub id, or a name of openai-whisper.
    loader
        Loader that reads it.
    modalities
        Inputs.
    licence
        Of the weights.
    revision
        Commit on the hub, which is loaded unless another one is asked for.
    parameters
        Number of weights.
    dtypes
        Precisions in which it may be run.
    readout
        Pooling that makes a vector of it, or `generated` text.
    instruction
        Words before an input, `{}` standing for the input.
    tokens
        Most tokens of an input.
    citation
        Paper.
    """

    id: str
    loader: Loader
    modalities: tuple[Modality, ...]
    licence: str | None = None
    revision: str | None = None
    parameters: int | None = None
    dtypes: tuple[Dtype, ...] = ANY
    readout: Readout | None = None
    instruction: str | None = None
    tokens: int | None = None
    citation: str | None = None

    @property
    def label(self) -> str:
        """Name in tables."""
        return f"Whisper {self.id}" if self.loader == "openai-whisper" else self.id

    @property
    def short(self) -> str:
        """Name without its publisher."""
        return self.label.rpartition("/")[2]

    @property
    def link(self) -> str:
        """Page of the checkpoint, which states its licence."""
        return (
            "https://github.com/openai/whisper"
            if self.loader == "openai-whisper"
            else f"https://huggingface.co/{self.id}"
        )


QWEN_RESEARCH = "Qwen Research License"
QWEN2_5_VL, WHISPER = "Qwen2.5-VL (arXiv 2502.13923)", "Whisper (arXiv 2212.04356)"
ONEVISION, BGE = "LLaVA-OneVision (arXiv 2408.03326)", "BGE (arXiv 2309.07597)"

CARDS: tuple[Card, ...] = (
    Card(
        "Qwen/Qwen2.5-VL-3B-Instruct", "image-text-to-text", ("text", "image", "video"), QWEN_RESEARCH,
        readout="generated", citation=QWEN2_5_VL,
    ),
    Card(
        "Qwen/Qwen2.5-VL-7B-Instruct", "image-text-to-text", ("text", "image", "video"),
        readout="generated", citation=QWEN2_5_VL,
    ),
    Card(
        "llava-hf/llava-onevision-qwen2-0.5b-ov-hf", "image-text-to-text", ("text", "image", "video"), "Apache-2.0",
        readout="layers", citation=ONEVISION,
    ),
    Card(
        "llava-hf/llava-onevision-qwen2-7b-ov-hf", "image-text-to-text", ("text", "image", "video"),
        readout="layers", citation=ONEVISION,
    ),
    Card(
        "LanguageBind/Video-LLaVA-7B-hf", "image-text-to-text", ("text", "image", "video"),
        readout="layers", citation="Video-LLaVA (arXiv 2311.10122)",
    ),
    Card(
        "Qwen/Qwen2-Audio-7B-Instruct", "audio-lm", ("text", "audio"), "Apache-2.0",
        readout="generated", citation="Qwen2-Audio (arXiv 2407.10759)",
    ),
    Card(
        "Qwen/Qwen2.5-Omni-3B", "omni", ("text", "image", "video", "audio"), QWEN_RESEARCH,
        "f75b40e3da2003cdd6e1829b1f420ca70797c34e", 5_537_120_672,
        readout="generated", tokens=32_768, citation="Qwen2.5-Omni (arXiv 2503.20215)",
    ),
    Card("base", "openai-whisper", ("audio",), "MIT", readout="generated", citation=WHISPER),
    Card(
        "turbo", "openai-whisper", ("audio",), "MIT", parameters=809_000_000, readout="generated", citation=WHISPER
    ),
    Card(
        "laion/clap-htsat-unfused", "clap", ("text", "audio"), "Apache-2.0",
        "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a", 153_492_890, readout="mean", citation="CLAP (arXiv 2211.06687)",
    ),
    Card(
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip", ("text", "image"), "MIT",
        "08f73555f1b2fb7c82058aebbd492887a94968ef", 151_277_313,
        readout="mean", tokens=77, citation="OpenCLIP (arXiv 2212.07143)",
    ),
    Card(
        "MCG-NJU/videomae-base", "videomae", ("video",), "CC-BY-NC-4.0",
        "dc740ceda42fce44faed2ea03c6d447db72f6af9", 86_236_416, readout="mean", citation="VideoMAE (arXiv 2203.12602)",
    ),
    Card(
        "BAAI/bge-large-en-v1.5", "sentence-transformers", ("text",), "MIT",
        "d4aa6901d3a41ba39fb536a557fa166f842b0e09", 335_000_000, readout="cls", tokens=512, citation=BGE,
    ),
    Card(
        "sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers", ("text",), "Apache-2.0",
        "8b3219a92973c328a8e22fadcfa821b5dc75636a", 22_713_216, readout="mean", tokens=256,
    ),
)  # fmt: skip


def find(name: str) -> Card | None:
    """Return the card of a hub id or of a name of openai-whisper."""
    return next((card for card in CARDS if card.id == name), None)


def of_folder(name: str) -> Card | None:
    """Return the card of a folder that is named like a checkpoint of the hub.

    Examples
    --------
    >>> of_folder("bge-large-en-v1.5") is find("BAAI/bge-large-en-v1.5"), of_folder("base")
    (True, None)
    """
    return next((card for card in CARDS if card.id.endswith(f"/{name}")), None)


def labels(ids: Iterable[str]) -> str:
    """Name checkpoints, for tables."""
    return ", ".join(card.label if (card := find(one)) else one for one in ids)


def licence_of(card: Card | None) -> str:
    """Name the licence of a checkpoint by its card, if it has one."""
    return (card.licence or "unknown") if card else NOT_LISTED


def licences(ids: Sequence[str]) -> str:
    """Name the licence of each checkpoint.

    Examples
    --------
    >>> licences(["base", "me/mine"])
    'Whisper base: MIT; mine: not in our table'
    """
    found = []
    for one in ids:
        card = find(one)
        name = card.short if card else one.rpartition("/")[2]
        found.append(f"{name}: {licence_of(card)}")
    return "; ".join(found)


def licences_of(extractor: type[Extractor]) -> str:
    """Name the licences of an extractor: its own, and those of the checkpoints that it takes on real data."""
    return "; ".join(filter(None, (extractor.licence, licences(extractor.checkpoints))))
