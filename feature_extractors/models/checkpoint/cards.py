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
    "image-text-to-text",
    "audio-lm",
    "omni",
    "openai-whisper",
    "sentence-transformers",
    "clap",
    "open_clip",
    "videomae",
    "image-encoder",
    "video-encoder",
    "video-embedding",
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
QWEN3_VL_EMBEDDING = "Qwen3-VL-Embedding (arXiv 2601.04720)"
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
    Card(
        "google/siglip2-base-patch16-224", "image-encoder", ("text", "image"), "Apache-2.0",
        "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2", 375_187_970,
        readout="mean", tokens=64, citation="SigLIP 2 (arXiv 2502.14786)",
    ),
    Card(
        "facebook/dinov3-vitb16-pretrain-lvd1689m", "image-encoder", ("image",), "DINOv3 License",
        "5931719e67bbdb9737e363e781fb0c67687896bc", 85_660_416,
        readout="mean", citation="DINOv3 (arXiv 2508.10104)",
    ),
    Card(
        "openai/clip-vit-base-patch32", "image-encoder", ("text", "image"), None,
        "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268", 151_277_313,
        readout="mean", tokens=77, citation="CLIP (arXiv 2103.00020)",
    ),
    Card(
        "facebook/vjepa2-vitl-fpc64-256", "video-encoder", ("video",), "MIT",
        "b3c1679b7c34d3255ef3547f27c7b226aefab26f", 325_971_328,
        readout="mean", citation="V-JEPA 2 (arXiv 2506.09985)",
    ),
    Card(
        "google/videoprism-base-f16r288", "video-encoder", ("video",), "Apache-2.0",
        "2be2ef51d0d611d0fadf21a6d1470a4ad4af9249", 114_365_184,
        readout="mean", citation="VideoPrism (arXiv 2402.13217)",
    ),
    Card(
        "Qwen/Qwen3-VL-Embedding-2B", "video-embedding", ("text", "image", "video"), "Apache-2.0",
        "9f2f7e710d6d81056aa5c0a4f04764fec6bb7bda", 2_127_532_032,
        readout="last", instruction="Represent the user's input.", tokens=32_768, citation=QWEN3_VL_EMBEDDING,
    ),
    Card(
        "Qwen/Qwen3-VL-Embedding-8B", "video-embedding", ("text", "image", "video"), "Apache-2.0",
        "2c4565515e0f265c6511776e7193b22c0968ddc7", 8_144_793_840,
        readout="last", instruction="Represent the user's input.", tokens=32_768, citation=QWEN3_VL_EMBEDDING,
    ),
    Card(  # parameters and licence as its page on the hub says: mteb counts the text model alone
        "google/embeddinggemma-2", "video-embedding", ("text", "image", "video", "audio"), "Apache-2.0",
        "914f7f89142e33e77833254d9c9b90c3cef7303b", 740_000_000, ("float32", "bfloat16"),
        readout="mean", tokens=8192,
    ),
    Card(
        "VLM2Vec/VLM2Vec-V2.0", "video-embedding", ("text", "image", "video"), "Apache-2.0",
        "e39ff079b8275ef876d3656da8c0bddbff3c4dde", 2_208_985_600, readout="last", tokens=32_768,
    ),
    Card(
        "facebook/pe-av-small-16-frame", "video-embedding", ("text", "video", "audio"), "Apache-2.0",
        "9f888eea95c83622212bb742e91bf01d3b46fe96", 846_991_308, tokens=512,
    ),
    Card(
        "facebook/pe-av-large-16-frame", "video-embedding", ("text", "video", "audio"), "Apache-2.0",
        "446d823f089b1301a0ff37175ab283b6927db757", 2_234_700_748, tokens=512,
    ),
    Card(
        "Qwen/Qwen3-Embedding-0.6B", "sentence-transformers", ("text",), "Apache-2.0",
        "b22da495047858cce924d27d76261e96be6febc0", 595_776_512, readout="last", tokens=32_768,
    ),
    Card(
        "google/embeddinggemma-300m", "sentence-transformers", ("text",), "Gemma Terms of Use",
        "64614b0b8b64f0c6c1e52b07e4e9a4e8fe4d2da2", 307_581_696, ("float32", "bfloat16"), readout="mean", tokens=2048,
    ),
    Card(
        "intfloat/e5-large-v2", "sentence-transformers", ("text",), "MIT",
        "b322e09026e4ea05f42beadf4d661fb4e101d311", 335_000_000,
        readout="mean", instruction="passage: {}", tokens=514, citation="E5 (arXiv 2212.03533)",
    ),
    Card(
        "Alibaba-NLP/gte-modernbert-base", "sentence-transformers", ("text",), "Apache-2.0",
        "7ca8b4ca700621b67618669f5378fe5f5820b8e4", 149_014_272, readout="cls", tokens=8192,
    ),
    Card(
        "BAAI/bge-m3", "sentence-transformers", ("text",), "MIT",
        "5617a9f61b028005a4858fdac845db406aefb181", 568_000_000,
        readout="cls", tokens=8192, citation="BGE-M3 (arXiv 2402.03216)",
    ),
)  # fmt: skip


def find(name: str) -> Card | None:
    """Return the card of a hub id or of a name of openai-whisper."""
    return next((card for card in CARDS if card.id == name), None)


def named(word: str) -> Card | None:
    """Return the card of a checkpoint by its word: a hub id, a name of openai-whisper, or a folder."""
    return find(word) or of_folder(word.rstrip("/").rpartition("/")[2])


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
