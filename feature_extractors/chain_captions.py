"""Chain captions: each piece of a clip is described, and the descriptions and what is said are put into one text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import REAL, Captions, read_prompt
from feature_extractors.models import checkpoint_resolution
from feature_extractors.titles import TextEncoded
from feature_extractors.transcripts import Transcripts
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.media.frame_policy import Uniform
    from feature_extractors.models.checkpoints import Checkpoint
    from feature_extractors.pipeline.stage import Inputs
    from protocols.features import Features

# Most characters of a transcript in a prompt, and what a prompt says where nothing is said.
LONGEST_TRANSCRIPT = 5000
NO_SPEECH = "no speech"


@dataclass(frozen=True)
class ChainCaptions(TextEncoded):
    """Captions of a clip's 8-second pieces and its transcript, summarised by the same model; the summary as a vector.

    After SiLVR (arXiv 2505.24869), where a language model reasons over the captions of short pieces and the subtitles:
    here the video language model itself is asked for one description of the whole. The prompts are ours. A chain of
    cached stages: `chain-captions.pieces` holds a line a piece, `8-16 s: CAPTION`; with `transcripts.text` it becomes
    `chain-captions.text`, and that `chain-captions.vector`. Another prompt of the summary does not look again.

    A clip shorter than one and a half pieces is one piece: there the chain adds the transcript and a second pass of the
    model to what `captions` does. A rest shorter than half a piece belongs to the piece before. Words that are thought
    to be invented (`transcripts`) are told as "no speech".

    On simulated data the model is the structured pocket captioner, which was taught to read such chains. Its summaries
    say what most captions do and, where there is a transcript, "Words are heard.": never which words. There the chain
    shows that it runs, not what a transcript is worth.

    Attributes
    ----------
    checkpoint, revision
        Video language model, for both steps: a directory, a hub id (with a revision), `pocket`, `random`; `auto`: the
        pocket one on simulated data, else Qwen2.5-VL-3B.
    piece
        Seconds of a piece.
    frames
        Frames of each piece: `uniform:N`.
    piece_prompt
        Prompt for the caption of a piece: name of a file in `feature_extractors/text/prompts`, or path of a text file.
    prompt
        Asks for the summary; `{captions}` and `{transcript}` in it are replaced by what is known.
    max_new_tokens, summary_tokens
        Longest caption of a piece, longest summary.
    longest
        Most characters of captions in the prompt of the summary, about four thousand tokens of English. Of a clip that
        has more, pieces are left out evenly, and the row says how many.
    max_seconds
        What comes from this time on is neither looked at nor listened to; none: all is.
    whisper, language
        Checkpoint and language of the transcripts, see `transcripts`.
    quantize
        `4bit`: the language model's weights in 4 bits (bitsandbytes, on a GPU).
    batch
        Pieces or prompts per model call; changes speed and memory, not the key.
    """

    name: ClassVar[str] = "chain-captions"
    feature: ClassVar[str] = "text, vector"
    paper: ClassVar[str] = "SiLVR (arXiv 2505.24869)"
    licence: ClassVar[str] = "Qwen2.5-VL-3B: Qwen Research License; Whisper: MIT; bge-large-en-v1.5: MIT"
    checkpoints: ClassVar[str] = f"{REAL}, Whisper base, BAAI/bge-large-en-v1.5"

    checkpoint: str = "auto"
    piece: float = 8.0
    frames: str = "uniform:8"
    piece_prompt: str = "describe"
    prompt: str = "summarise-chain"
    max_new_tokens: int = 48
    summary_tokens: int = 96
    longest: int = 16_000
    max_seconds: float | None = None
    whisper: str = "auto"
    language: str = "en"
    batch: int = 16
    revision: str | None = None
    quantize: Literal["none", "4bit"] = "none"

    def __post_init__(self) -> None:
        if min(self.batch, self.max_new_tokens, self.summary_tokens, self.longest) < 1 or not self.piece > 0:
            least = "batch, max_new_tokens, summary_tokens and longest must be at least 1, piece above 0"
            raise UserError(f"{self.name}: {least}")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoints on simulated data, by the real ones elsewhere."""
        return replace(
            super().resolved(simulated),
            checkpoint=Captions(checkpoint=self.checkpoint).resolved(simulated).checkpoint,
            whisper=Transcripts(checkpoint=self.whisper).resolved(simulated).checkpoint,
        )

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Describe all clips piece by piece, summarise, then encode the summaries."""
        from feature_extractors.pipeline.text_embedding import vectors_of

        return vectors_of(self.name, self.texts(source, context), context, self, title="summary vectors")

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the summaries, a feature space of kind `text`.

        Raises
        ------
        UserError
            If the prompt has no place for the captions, or the frame policy is not `uniform:N`.
        """
        from feature_extractors.models import quantization, text_generation
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, chained
        from protocols.features import FeatureSpace

        prompt, found = read_prompt(self.prompt), self._found(context)
        if "{captions}" not in prompt:
            raise UserError(f"{self.name}.prompt={self.prompt} has no {{captions}}", remedy="put it where they go")
        pieces = self.pieces(source, context)
        said = Transcripts(
            checkpoint=self.whisper, language=self.language, max_seconds=self.max_seconds, dtype=self.dtype
        ).texts(source, context)
        config: dict[str, Any] = {
            "parents": [pieces.space.id, said.space.id],
            "checkpoint": found.fingerprint,
            "loader": text_generation.VERSION,
            "prompt": prompt,
            "longest": [self.longest, LONGEST_TRANSCRIPT],
            "max_new_tokens": self.summary_tokens,
            "dtype": self.dtype,
            **quantization.key(self.quantize),
        }
        provenance = chained([pieces.space, said.space], found.provenance)
        space = FeatureSpace(f"{self.name}.text", self.code_version, "text", config, provenance)
        model = partial(
            text_generation.TextAnswers,
            found,
            self.dtype,
            context.device,
            prompt,
            self.summary_tokens,
            max(self.longest, LONGEST_TRANSCRIPT),
            context.threads,
            self.quantize,
        )
        stage = Stage(space, f"summaries ({found.name})", self.batch, model)
        texts = run_stage(stage, asked(pieces, said, self.longest), context)
        return replace(texts, seconds=texts.seconds + pieces.seconds + said.seconds)

    def pieces(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the captions of the pieces, a line each, a feature space of kind `text`."""
        from feature_extractors.media import segments, video
        from feature_extractors.models import quantization, qwen_vl, segment_captions
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, video_inputs
        from protocols.features import FeatureSpace

        policy, prompt, found = self._policy(), read_prompt(self.piece_prompt), self._found(context)
        config: dict[str, Any] = {
            "parents": [],
            "checkpoint": found.fingerprint,
            "loader": [qwen_vl.VERSION, segment_captions.VERSION, segments.VERSION],
            "prompt": prompt,
            "piece": self.piece,
            "frames": policy.key,
            "decoder": video.decoder_key(),
            "max_new_tokens": self.max_new_tokens,
            "dtype": self.dtype,
            **quantization.key(self.quantize),
        }
        space = FeatureSpace(f"{self.name}.pieces", self.code_version, "text", config, found.provenance)

        def model() -> segment_captions.PieceCaptioner:
            captioner = qwen_vl.Captioner(
                found, self.dtype, context.device, prompt, self.max_new_tokens, context.threads, self.quantize
            )
            return segment_captions.PieceCaptioner(captioner, self.batch)

        stage = Stage(
            space,
            f"captions of pieces ({found.name})",
            self.batch,
            model,
            reader=lambda workers: segments.cutting(workers, self.piece, policy),
        )
        return run_stage(stage, video_inputs(source, context), context)

    def _policy(self) -> Uniform:
        from feature_extractors.media.frame_policy import Uniform, parse

        policy = parse(self.frames, self.max_seconds)
        if not isinstance(policy, Uniform):
            raise UserError(f"{self.name}.frames={self.frames}: of each piece, expected uniform:N")
        return policy

    def _found(self, context: ExtractContext) -> Checkpoint:
        from feature_extractors.pocket import STRUCTURED

        return checkpoint_resolution.found(self.checkpoint, REAL, STRUCTURED, context, self.revision, self.quantize)


def asked(pieces: Features, said: Features, longest: int) -> Inputs:
    """What the prompt of each summary is filled with: the captions of the pieces, and the transcript if there is one.

    Parameters
    ----------
    pieces, said
        Of kind `text`, of the same items. What has no captions has no summary, for the same reason.
    longest
        Most characters of captions.
    """
    from feature_extractors.models.text_generation import Asked
    from feature_extractors.pipeline.side_texts import texts_of
    from feature_extractors.pipeline.stage import Inputs, stage_inputs
    from protocols.hashing import digest

    inputs = stage_inputs(pieces)
    payloads, content = [], []
    for text, words, failure in zip(inputs.payloads, texts_of(said, pieces.item_ids), inputs.failures, strict=True):
        lines = text.split("\n")
        kept = thinned(lines, longest)
        left_out = len(lines) - len(kept)
        note = f"{left_out} of {len(lines)} pieces are not in the prompt: it has room for {longest} characters of them"
        fields = {"captions": kept, "transcript": [(words or NO_SPEECH)[:LONGEST_TRANSCRIPT]]}
        payloads.append(Asked(fields, note if left_out else ""))
        content.append("" if failure else digest([kept, words or ""], 64))
    return Inputs(inputs.item_ids, payloads, content, inputs.failures)


def thinned(lines: Sequence[str], longest: int) -> list[str]:
    """Leave lines out evenly until the rest has at most `longest` characters, line breaks included; one always stays.

    Examples
    --------
    >>> thinned(["0-8 s: a", "8-16 s: b", "16-24 s: c", "24-32 s: d"], 25)
    ['8-16 s: b', '24-32 s: d']
    """
    import numpy as np

    from feature_extractors.media.frame_policy import Uniform

    sizes = np.array([len(line) + 1 for line in lines])
    for count in range(len(lines), 0, -1):
        kept = Uniform(count).indices(sizes)
        if sizes[kept].sum() <= longest or count == 1:
            return [lines[at] for at in kept]
    return []
