"""Chain captions: captions of the pieces of a clip and its transcript, summarised by a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import ChatOptions, DurationOption, PixelOptions, TextExtractor
from feature_extractors.real_defaults import Auto, option
from feature_extractors.text.prompt_files import read_prompt
from feature_extractors.transcripts import SpeechOptions
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.media.frame_policy import Uniform
    from feature_extractors.models import segment_captions
    from feature_extractors.pipeline.stage import Inputs
    from protocols.features import Features

# Most characters of a transcript in a prompt, and the words that stand for none.
LONGEST_TRANSCRIPT = 5000
NO_SPEECH = "no speech"


@dataclass(frozen=True)
class ChainCaptions(DurationOption, PixelOptions, ChatOptions, SpeechOptions, TextExtractor):
    """Captions of a clip's 8-second pieces and its transcript, summarised by the same model; the summary as a vector.

    After SiLVR (arXiv 2505.24869), where a language model reasons over the captions of short pieces and the subtitles:
    here the video language model itself is asked for one description of the whole. The prompts are ours. A chain of
    cached stages: `chain-captions.pieces` holds a line a piece, `8-16 s: CAPTION`; with `transcripts.text` it becomes
    `chain-captions.text`, and that `chain-captions.vector`. Another prompt of the summary does not caption again.

    A clip shorter than one and a half pieces is one piece: there the chain adds the transcript and a second pass of the
    model to what `captions` does. A rest shorter than half a piece belongs to the piece before. Words that are thought
    to be invented (`transcripts`) are given as "no speech".

    On simulated data the model is the structured pocket captioner, which is trained to read such chains. Its summaries
    say what most captions do and, where there is a transcript, "Words are heard.": never which words. There the chain
    shows that it runs, not the worth of a transcript.

    The checkpoint serves both steps; `batch` is pieces or prompts per model call. Options: `DurationOption`,
    `PixelOptions`, `ChatOptions`, `GenerationOptions`, `SpeechOptions`, `QuantizedModelOptions`, `TextEncoderOptions`.

    Attributes
    ----------
    piece
        Seconds of a piece.
    frames
        Frames of each piece: `uniform:N`.
    piece_prompt
        Prompt for the caption of a piece, like `prompt`.
    prompt
        Asks for the summary; `{captions}` and `{transcript}` in it are replaced by captions and transcript.
    max_new_tokens, summary_tokens
        Longest caption of a piece, longest summary.
    longest
        Most characters of captions in the prompt of the summary, about four thousand tokens of English. Of a clip that
        has more, pieces are left out evenly, and the row says how many.
    """

    name: ClassVar[str] = "chain-captions"
    paper: ClassVar[str] = "SiLVR (arXiv 2505.24869)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.CAPTIONER, defaults.WHISPER, defaults.TEXT_ENCODER)
    default_checkpoint: ClassVar[str] = defaults.CAPTIONER
    pocket: ClassVar[str] = "STRUCTURED"
    noun: ClassVar[str] = "summary"

    autos: ClassVar[Mapping[str, Auto]] = {
        "piece_prompt": Auto("describe", "describe-whole"),
        "summary_tokens": Auto(96, 256, unset=None),
    }

    piece: float = 8.0
    frames: str = "uniform:8"
    piece_prompt: str = "auto"
    prompt: str = "summarise-chain"
    summary_tokens: int | None = None
    longest: int = 16_000
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(1, "longest", *(["summary_tokens"] if self.summary_tokens is not None else []))
        if not self.piece > 0:
            raise UserError(f"{self.name}.piece={self.piece}: expected a number of seconds above 0")

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the summaries, a feature space of kind `text`.

        Raises
        ------
        UserError
            If the prompt has no place for the captions, or the frame policy is not `uniform:N`.
        """
        from feature_extractors.models import text_generation

        if "{captions}" not in self.key_entries()["prompt"]:
            raise UserError(f"{self.name}.prompt={self.prompt} has no {{captions}}", remedy="put it where they go")
        checkpoint = self.locate(context)
        pieces = self.pieces(source, context)
        speech = self.transcripts(source, context, max_seconds=self.max_seconds, dtype=option(self, "dtype"))
        tokens = option(self, "summary_tokens")
        return self.run_model(
            "text",
            *self.on_engine(text_generation.TextAnswers, lambda: text_generation.VERSION),
            checkpoint,
            prompt_fields(pieces, speech, self.longest),
            context,
            {"longest": [self.longest, LONGEST_TRANSCRIPT], "max_new_tokens": tokens},
            "summaries",
            max_new_tokens=tokens,
            longest=max(self.longest, LONGEST_TRANSCRIPT),
        )

    def pieces(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the captions of the pieces, a line each, a feature space of kind `text`."""
        from feature_extractors.media import segments, video
        from feature_extractors.models import segment_captions, video_captioner
        from feature_extractors.pipeline.stage import video_inputs

        policy, prompt = self._policy(), read_prompt(option(self, "piece_prompt"))
        checkpoint = self.locate(context)
        captioner, version = self.on_engine(video_captioner.Captioner, lambda: video_captioner.version(checkpoint))

        def load(*given: Any, **options: Any) -> segment_captions.PieceCaptioner:
            return segment_captions.PieceCaptioner(captioner(*given, **options), self.call_size)

        files = video_inputs(source, context)
        clips = replace(
            files,
            reader=lambda workers: segments.cutting(workers, self.piece, policy, files.files),
            config={"piece": self.piece, "frames": policy.key, "decoder": video.decoder_key()},
        )
        versions = [version, segment_captions.VERSION, segments.VERSION]
        title = "captions of pieces"
        return self.run_model(
            "pieces", load, versions, checkpoint, clips, context, {"prompt": prompt}, title, prompt=prompt
        )

    def _policy(self) -> Uniform:
        from feature_extractors.media.frame_policy import Uniform, parse

        policy = parse(self.frames, self.max_seconds)
        if not isinstance(policy, Uniform):
            raise UserError(f"{self.name}.frames={self.frames}: of each piece, expected uniform:N")
        return policy


def prompt_fields(pieces: Features, speech: Features, longest: int) -> Inputs:
    """Fill the fields of each summary's prompt: the captions of the pieces, and the transcript if there is one.

    Parameters
    ----------
    pieces, speech
        Of kind `text`, of the same items. A clip without captions has no summary, for the same reason.
    longest
        Most characters of captions.
    """
    from feature_extractors.models.text_generation import PromptFields
    from feature_extractors.pipeline.side_texts import texts_of
    from feature_extractors.pipeline.stage import stage_inputs
    from feature_extractors.text.plain import cut_note
    from protocols.features import join_notes
    from protocols.hashing import digest

    inputs = stage_inputs(pieces)
    payloads, content = [], []
    for text, words, failure in zip(inputs.payloads, texts_of(speech, pieces.item_ids), inputs.failures, strict=True):
        lines = text.split("\n")
        kept = thinned(lines, longest)
        left_out = len(lines) - len(kept)
        rest = f"{left_out} of {len(lines)} pieces are not in the prompt: it has room for {longest} characters of them"
        note = join_notes(rest * bool(left_out), cut_note("transcript", words, LONGEST_TRANSCRIPT))
        fields = {"captions": kept, "transcript": [(words or NO_SPEECH)[:LONGEST_TRANSCRIPT]]}
        payloads.append(PromptFields(fields, note))
        content.append("" if failure else digest([kept, words or ""], 64))
    return replace(inputs, payloads=payloads, content=content, parents=[pieces, speech])


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
