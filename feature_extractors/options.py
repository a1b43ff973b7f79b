"""Options that extractors share: each is declared, checked, resolved and entered into the key in one place.

An extractor inherits the mix-ins of the options that it has. A mix-in that decides what a model computes adds its
entries to `key_entries`, under which features are stored, and its arguments to `load_arguments`, with which the model
is loaded. `batch`, and whatever else changes speed and memory alone, is no part of the key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from feature_extractors import pocket as folders
from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.models.checkpoint import defaults, quantization
from feature_extractors.models.serving.engines import Engine, FramesAs
from feature_extractors.pipeline.sharding import BLOCK
from feature_extractors.real_defaults import Auto, option
from feature_extractors.text.prompt_files import read_prompt
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.media.frame_policy import ClipTopK, FramePolicy
    from feature_extractors.models.checkpoint.checkpoints import Checkpoint
    from feature_extractors.pipeline.frame_selection import FrameInputs
    from feature_extractors.pipeline.stage import Inputs
    from protocols.features import Features


@dataclass(frozen=True)
class DtypeOption(Extractor):
    """Precision of the models.

    Attributes
    ----------
    dtype
        Precision of the models' arithmetic; `auto`: float32, and for real checkpoints bfloat16 on a GPU that has it.
    """

    autos: ClassVar[Mapping[str, Auto]] = {"dtype": Auto("float32", "")}

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    def key_entries(self) -> dict[str, Any]:
        """Return the options that decide what a model computes, for the config of its feature space."""
        return {"dtype": option(self, "dtype")}

    def load_arguments(self) -> dict[str, Any]:
        """Return the arguments that the model is loaded with."""
        return {"dtype": option(self, "dtype")}


@dataclass(frozen=True)
class TextEncoderOptions(DtypeOption):
    """Sentence encoder that turns texts into vectors.

    Attributes
    ----------
    text_encoder, text_revision
        A directory, a hub id (with a revision), `pocket`, `random`; `auto`: pocket on simulated data, else BGE-large.
    text_prompt
        Stands before each text: the name of one of the encoder's prompts (`Clustering`), or a text such as
        `passage: ` (E5); empty: the encoder's default prompt or that of documents, else
        that of its card; `none`.
    text_engine, text_endpoint
        `openai`: the encoder that a server has under the name `text_encoder`, at the address `text_endpoint`.
    """

    text_encoder: str = "auto"
    text_revision: str | None = None
    text_prompt: str = ""
    text_engine: Literal["local", "openai"] = "local"
    text_endpoint: str = ""

    def options(self) -> dict[str, Any]:
        """All options, without an engine that is `local`, and without an address, which decides nothing."""
        left_out = {"text_endpoint", *(["text_engine"] if self.text_engine == "local" else [])}
        return {name: value for name, value in super().options().items() if name not in left_out}

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket encoder on simulated data, by the real one elsewhere."""
        from feature_extractors.models.checkpoint.resolution import resolve_checkpoint

        encoder = resolve_checkpoint(
            self.text_encoder, simulated and self.text_engine == "local", defaults.TEXT_ENCODER
        )
        return replace(super().resolved(simulated), text_encoder=encoder)

    def encode(self, texts: Inputs, what: str, context: ExtractContext) -> Features:
        """Encode texts into the space `NAME.vector`; `what` they are (`title`) stands beside the progress bar."""
        from feature_extractors.models.serving.endpoint import Endpoint
        from feature_extractors.pipeline.text_embedding import text_vectors

        return text_vectors(
            f"{self.name}.vector",
            texts,
            context,
            checkpoint=self.text_encoder,
            revision=self.text_revision,
            dtype=option(self, "dtype"),
            title=f"{what} vectors",
            prompt=self.text_prompt,
            endpoint=Endpoint(self.text_endpoint) if self.text_engine == "openai" else None,
        )


@dataclass(frozen=True)
class TextExtractor(TextEncoderOptions):
    """Extractor that makes a text of each item (`NAME.text`), then a vector of the text (`NAME.vector`).

    Attributes
    ----------
    noun
        Word for one of its texts.
    """

    feature: ClassVar[str] = "text, vector"
    noun: ClassVar[str] = "text"

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the texts of all items, a feature space of kind `text`."""
        raise NotImplementedError

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Make the texts of all items, then encode them."""
        from feature_extractors.pipeline.stage import stage_inputs

        return self.encode(stage_inputs(self.texts(source, context)), self.noun, context)


@dataclass(frozen=True)
class CheckpointOptions(DtypeOption):
    """Model with a checkpoint of its own.

    Attributes
    ----------
    checkpoint
        A directory, a hub id, `pocket`, `random` (the pocket architecture with random weights); `auto`: the pocket one
        on simulated data, else `default_checkpoint`.
    batch
        Items per model call; changes speed and memory, not the key.
    default_checkpoint
        Checkpoint on real data.
    pocket
        Constant of `feature_extractors.pocket` that names the folder of `pocket` and `random`; "": there is none, and
        `auto` is the default checkpoint everywhere.
    """

    default_checkpoint: ClassVar[str] = ""
    pocket: ClassVar[str] = ""

    checkpoint: str = "auto"
    batch: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(1, "batch")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoint on simulated data, by the real one elsewhere."""
        from feature_extractors.models.checkpoint.resolution import resolve_checkpoint

        word = resolve_checkpoint(self.checkpoint, simulated and bool(self.pocket), self.default_checkpoint)
        return replace(super().resolved(simulated), checkpoint=word)

    @property
    def call_size(self) -> int:
        """Items of a batch."""
        return self.batch

    def locate(self, context: ExtractContext, word: str = "", pocket: str = "", **how: Any) -> Checkpoint:
        """Find the checkpoint's files.

        Parameters
        ----------
        word, pocket
            In place of `checkpoint` and of the class attribute `pocket`.
        how
            As in `locate_checkpoint`: `layout`.

        Raises
        ------
        UserError, CheckpointError
            If there is no such checkpoint; before anything is fetched, if another option is wrong.
        """
        from feature_extractors.models.checkpoint.resolution import locate_checkpoint

        self.key_entries()
        word, pocket = word or self.checkpoint, pocket or self.pocket
        if word in ("pocket", "random") and not pocket:
            raise UserError(
                f"{self.name} has no pocket checkpoint",
                remedy=f"--set {self.name}.checkpoint=DIR, or a hub id such as {self.default_checkpoint}",
            )
        folder = getattr(folders, pocket or "CAPTIONER")
        return locate_checkpoint(word, self.default_checkpoint, folder, context, **how)

    def run_model(
        self,
        part: str,
        load: Callable[..., Any],
        version: Any,
        checkpoint: Checkpoint,
        inputs: Inputs,
        context: ExtractContext,
        config: Mapping[str, Any] | None = None,
        title: str = "",
        facts: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> Features:
        """Run a stage around a model: the space `NAME.PART`, from the store where it has it.

        Parameters
        ----------
        part
            `vector` or `layers`, which are kinds of features, too; another word is a space of kind `text`.
        load
            Class of the model: (checkpoint, device=, threads=, **load_arguments, **arguments) -> model.
        version
            Of the behaviour of that class.
        checkpoint
            As `locate` returns it.
        inputs
            Items with their reader, parents and entries of the key.
        config, arguments
            Further entries of the key, and arguments of `load`; they win over those of the options.
        title
            Shown beside the progress bar; "": the extractor's name.
        facts
            Further provenance.
        """
        from feature_extractors.models.checkpoint.precision import check_dtype
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage

        check_dtype(checkpoint.name, checkpoint.card, option(self, "dtype"))
        stage = Stage.for_model(
            f"{self.name}.{part}",
            self.code_version,
            title or self.name,
            checkpoint,
            partial(
                load,
                checkpoint,
                device=context.device,
                threads=context.threads,
                **{**self.load_arguments(), **arguments},
            ),
            {"loader": version, **self.key_entries(), **(config or {})},
            inputs,
            self.call_size,
            facts,
        )
        return run_stage(stage, inputs, context)


@dataclass(frozen=True)
class ModelOptions(CheckpointOptions):
    """Model with a checkpoint of the Hugging Face hub.

    Attributes
    ----------
    revision
        Commit, branch or tag on the hub; none: the newest, which is then pinned in the store.
    """

    revision: str | None = None

    def locate(self, context: ExtractContext, word: str = "", pocket: str = "", **how: Any) -> Checkpoint:
        """Find the checkpoint's files, of the revision that is asked for."""
        return super().locate(context, word, pocket, revision=self.revision, **how)


@dataclass(frozen=True)
class QuantizedModelOptions(ModelOptions):
    """Language model of the Hugging Face hub whose weights may be quantized.

    Attributes
    ----------
    quantize
        `4bit`: the language model's weights in 4 bits (bitsandbytes, on a GPU).
    """

    quantize: Literal["none", "4bit"] = "none"

    def key_entries(self) -> dict[str, Any]:
        """Add the quantisation, where there is one."""
        return {**super().key_entries(), **quantization.key(self.quantize)}

    def load_arguments(self) -> dict[str, Any]:
        """Add the quantisation."""
        return {**super().load_arguments(), "quantize": self.quantize}

    def locate(self, context: ExtractContext, word: str = "", pocket: str = "", **how: Any) -> Checkpoint:
        """Find the checkpoint's files, if they can be quantized as is asked for."""
        return super().locate(context, word, pocket, quantize=self.quantize, **how)


@dataclass(frozen=True)
class PixelOptions(DtypeOption):
    """Pixels of a frame in a video language model.

    Attributes
    ----------
    min_pixels, max_pixels
        Least and most pixels, as the checkpoint's processor counts them; empty: its own. More pixels are more tokens.
    """

    min_pixels: str = ""
    max_pixels: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self._given().items():
            if not value.isdecimal() or int(value) < 1:
                raise UserError(f"{self.name}.{name}={value}: expected a number of pixels, or nothing")

    def _given(self) -> dict[str, str]:
        names = ("min_pixels", "max_pixels")
        return {name: str(getattr(self, name)) for name in names if getattr(self, name) != ""}

    def key_entries(self) -> dict[str, Any]:
        """Add the pixels that are asked for."""
        return {**super().key_entries(), **{name: int(value) for name, value in self._given().items()}}

    def load_arguments(self) -> dict[str, Any]:
        """Add the pixels that are asked for."""
        given = self._given()
        pixels = tuple(int(given[name]) if name in given else None for name in ("min_pixels", "max_pixels"))
        return {**super().load_arguments(), **({"pixels": pixels} if given else {})}


@dataclass(frozen=True)
class PromptOption(DtypeOption):
    """Model that is given a prompt.

    Attributes
    ----------
    prompt
        Name of a file in `feature_extractors/text/prompts`, or the path of a text file; `none`: no prompt. `auto`, of
        captions: what is seen, intent, humour, references and text on screen, as "Describe What You See"
        (arXiv 2508.09789) asks of real checkpoints; the small ones of this repository know a short prompt alone.
    """

    prompt: str = "describe"

    def key_entries(self) -> dict[str, Any]:
        """Add the text of the prompt."""
        return {**super().key_entries(), "prompt": read_prompt(option(self, "prompt"))}

    def load_arguments(self) -> dict[str, Any]:
        """Add the text of the prompt."""
        return {**super().load_arguments(), "prompt": read_prompt(option(self, "prompt"))}


@dataclass(frozen=True)
class GenerationOptions(PromptOption):
    """Model that writes texts.

    Attributes
    ----------
    max_new_tokens
        Longest text; none: 256 of real checkpoints, less of the small ones of this repository. A row says when its
        text ends there.
    """

    autos: ClassVar[Mapping[str, Auto]] = {"max_new_tokens": Auto(48, 256, unset=None)}

    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_new_tokens is not None:
            self.check_least(1, "max_new_tokens")

    def key_entries(self) -> dict[str, Any]:
        """Add the longest text."""
        return {**super().key_entries(), "max_new_tokens": option(self, "max_new_tokens")}

    def load_arguments(self) -> dict[str, Any]:
        """Add the longest text."""
        return {**super().load_arguments(), "max_new_tokens": option(self, "max_new_tokens")}


@dataclass(frozen=True)
class ChatOptions(GenerationOptions, QuantizedModelOptions):
    """Chat model that writes texts of items: in this process, or on a server.

    Attributes
    ----------
    engine
        `local`: transformers; `openai`: a server with OpenAI's interface, such as vLLM's, where `checkpoint` is the
        name of the model there; `vllm`: vLLM in this process, on a GPU.
    endpoint
        Address of the server, `http://HOST:8000/v1`. Its key is in the environment variable BENCH_API_KEY.
    frames_as
        Frames for an engine that is not `local`: `jpeg` (quality 95) or `png` images, or a lossless `video` with their
        times.
    in_flight, timeout, retries
        Most requests at the same time, seconds for an answer, repetitions of a request that failed; no part of the key.
    """

    engine: Engine = "local"
    endpoint: str = ""
    frames_as: FramesAs = "jpeg"
    in_flight: int = 16
    timeout: float = 120.0
    retries: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(1, "in_flight")
        self.check_least(0, "retries")
        if not self.timeout > 0:
            raise UserError(f"{self.name}.timeout={self.timeout}: expected seconds above 0")
        pixels = [name for name in ("min_pixels", "max_pixels") if getattr(self, name, "")]
        if self.engine != "local" and pixels:
            raise UserError(f"{self.name}.{pixels[0]} is of --engine local, not of {self.engine}")
        if self.engine != "local" and self.quantize != "none":
            raise UserError(
                f"{self.name}.quantize={self.quantize} is of --engine local, not of {self.engine}",
                remedy="serve a checkpoint whose weights are quantized",
            )

    def options(self) -> dict[str, Any]:
        """All options, without those of engines where it is `local`, and without those that decide nothing."""
        left_out = {"endpoint", "in_flight", "timeout", "retries"}
        if self.engine == "local":
            left_out |= {"engine", "frames_as"}
        return {name: value for name, value in super().options().items() if name not in left_out}

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto`: a server has no pocket checkpoint."""
        if self.engine == "openai" and self.checkpoint == "auto":
            return replace(self, checkpoint=self.default_checkpoint).resolved(simulated)
        return super().resolved(simulated)

    def key_entries(self) -> dict[str, Any]:
        """Add the engine where it is not `local`; on a server the precision is the server's."""
        entries = super().key_entries()
        if self.engine == "local":
            return entries
        if self.engine == "openai":
            del entries["dtype"]
        return {**entries, "engine": self.engine, "frames_as": self.frames_as, "temperature": 0}

    def load_arguments(self) -> dict[str, Any]:
        """Add the server, or leave out what the engine has no use for."""
        from feature_extractors.models.serving.endpoint import Endpoint

        arguments = super().load_arguments()
        if self.engine == "local":
            return arguments
        kept = {name: arguments[name] for name in ("prompt", "max_new_tokens")} | {"frames_as": self.frames_as}
        if self.engine == "vllm":
            return {**kept, "dtype": option(self, "dtype")}
        server = Endpoint(self.endpoint, self.in_flight, self.timeout, self.retries)
        return {**kept, "endpoint": server, "model": self.served_name}

    @property
    def served_name(self) -> str:
        """Name of the model on the server."""
        return self.default_checkpoint if self.checkpoint == "auto" else self.checkpoint

    @property
    def call_size(self) -> int:
        """Items of a batch: vLLM makes calls by itself, and a server is never short of requests."""
        return {"local": self.batch, "openai": max(self.batch, self.in_flight), "vllm": BLOCK}[self.engine]

    def locate(self, context: ExtractContext, word: str = "", pocket: str = "", **how: Any) -> Checkpoint:
        """Find the checkpoint's files; a server's are not asked for."""
        from feature_extractors.models.checkpoint.resolution import served_checkpoint

        if self.engine != "openai":
            return super().locate(context, word, pocket, **how)
        self.key_entries()
        return served_checkpoint(word or self.checkpoint, self.default_checkpoint)[0]

    def on_engine(self, load: Callable[..., Any], version: Callable[[], Any]) -> tuple[Callable[..., Any], Any]:
        """Return the class of the model on the engine, and the version of its behaviour.

        Parameters
        ----------
        load, version
            Of the engine `local`.
        """
        if self.engine == "openai":
            from feature_extractors.models.serving import served_chat

            return served_chat.ServedChat, served_chat.VERSION
        if self.engine == "vllm":
            from feature_extractors.models.serving import vllm_chat

            return vllm_chat.VllmChat, vllm_chat.VERSION
        return load, version()


@dataclass(frozen=True)
class DurationOption(Extractor):
    """Length of clips.

    Attributes
    ----------
    max_seconds
        Frames and sound from this time of a clip on are left out, unless a frame policy sets its own end; none: all
        are read.
    """

    max_seconds: float | None = 240.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise UserError(f"{self.name}.max_seconds={self.max_seconds}: expected a number above 0, or none")


@dataclass(frozen=True)
class FrameOptions(DurationOption):
    """Frames of a clip.

    Attributes
    ----------
    frames
        Frame policy, see `media/frame_policy.py`.
    frame_clip
        Checkpoint of the CLIP that selects frames with `clip-topk`, a word as for the extractor `clip`.
    """

    frames: str = "uniform:8"
    frame_clip: str = "auto"

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket CLIP on simulated data, by the real one elsewhere; refuse an unknown policy."""
        from feature_extractors.media.frame_policy import parse_any
        from feature_extractors.models.checkpoint.resolution import resolve_frame_clip

        if self.frames != "auto":  # as many as the model takes
            parse_any(self.frames, self.max_seconds)
        word = resolve_frame_clip(self.frames, self.frame_clip, simulated)
        return replace(super().resolved(simulated), frame_clip=word)

    def select_frames(
        self, source: ItemSource, context: ExtractContext, policy: FramePolicy | ClipTopK | None = None
    ) -> FrameInputs:
        """Select frames of all clips, by `frames` unless another policy is given."""
        from feature_extractors.media.frame_policy import parse_any
        from feature_extractors.pipeline.frame_selection import select_frames

        return select_frames(policy or parse_any(self.frames, self.max_seconds), self.frame_clip, source, context)


@dataclass(frozen=True)
class AudioOptions(DurationOption):
    """Sound of a clip."""

    def select_audio(self, source: ItemSource, context: ExtractContext) -> Inputs:
        """Select the sound of all clips."""
        from feature_extractors.media.audio import Listening
        from feature_extractors.media.pool import DecodePool
        from feature_extractors.pipeline.stage import video_inputs

        wanted = Listening(self.max_seconds)
        inputs = video_inputs(source, context)
        return replace(
            inputs, reader=lambda workers: DecodePool(workers, wanted, inputs.files), config={"audio": wanted.key}
        )
