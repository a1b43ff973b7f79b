"""Chat models behind an endpoint with OpenAI's interface (vLLM, SGLang, transformers serve, ...): items to texts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from feature_extractors.media.result import Clip, Failure
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.serving.chat_turns import VERSION as TURNS
from feature_extractors.models.serving.chat_turns import Turn, messages, turn_of
from feature_extractors.models.serving.endpoint import Connection, Endpoint
from feature_extractors.models.serving.engines import FramesAs
from feature_extractors.text.limits import CutText
from protocols.errors import UserError

# Behaviour of this module, part of the key of every text made with it.
VERSION = [1, TURNS]
#: Greedy decoding, as far as a server goes; other settings are those of its model.
SAMPLING = {"temperature": 0.0}
# Fields of a request that keep a server from taking some of the frames of a video: of vLLM, of transformers serve, and
# none. Servers refuse fields that they do not know; the first that works is taken.
WHOLE_VIDEO: tuple[dict[str, Any], ...] = (
    {"media_io_kwargs": {"video": {"num_frames": -1}}},
    {"chat_template_kwargs": {"num_frames": None, "do_sample_frames": False}},
    {},
)
# Frames of the videos that show how many a server takes: the first two tell the tokens of a frame.
TRIED_FRAMES = (8, 16, 48)
VLLM_REMEDY = """start vLLM with --media-io-kwargs '{"video": {"num_frames": -1}}', choose fewer frames, or send them as
images (frames_as=jpeg)""".replace("\n", " ")


class ServedChat:
    """Items to text: one chat turn each, answered by a server.

    The requests of the next batch are sent while this one's are answered, at most `in_flight` at the same time. A
    request that fails for good is a failure with its reason.

    Parameters
    ----------
    checkpoint
        As `feature_extractors.models.checkpoint.resolution.served_checkpoint` returns it.
    endpoint, model
        The server, and the name of the model there.
    prompt
        Text of the user's turn, after the media; fields as `chat_turns.turn_of` fills them.
    max_new_tokens
        Longest answer.
    frames_as
        Frames as images, or as one video.
    longest
        Of `chat_turns.turn_of`.

    Raises
    ------
    UserError
        If the server does not answer, refuses the key, or has no such model.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        endpoint: Endpoint,
        model: str,
        prompt: str,
        max_new_tokens: int,
        frames_as: FramesAs = "jpeg",
        longest: int = 0,
        device: str = "",
        threads: int = 1,
    ) -> None:
        self._model, self._prompt, self._longest, self._frames_as = model, prompt, longest, frames_as
        self._most = max_new_tokens
        self._connection = Connection(endpoint)
        check_model(self._connection, model)
        self._video: tuple[dict[str, Any], int | None] | None = None

    def prepare(self, batch: Sequence[Any]) -> list[Future[str | Failure]]:
        """Send the requests of a batch."""
        return [self._send(turn_of(item, self._prompt, self._longest)) for item in batch]

    def run(self, prepared: Sequence[Future[str | Failure]]) -> list[str | Failure]:
        """Wait for the answers, in the order of the batch."""
        return [answer.result() for answer in prepared]

    def __call__(self, batch: Sequence[Any]) -> list[str | Failure]:
        """Answer a batch."""
        return self.run(self.prepare(batch))

    def close(self) -> None:
        """Drop the requests that are on their way."""
        self._connection.close()

    def _send(self, turn: Turn) -> Future[str | Failure]:
        extra: dict[str, Any] = {}
        if turn.clip is not None and self._frames_as == "video":
            extra, most = self._taken_frames
            check_frames(len(turn.clip.frames), most)
        written = messages(turn, self._frames_as)

        async def ask(client: Any) -> str | Failure:
            answer = await client.chat.completions.create(
                model=self._model, messages=written, max_tokens=self._most, extra_body=extra, **SAMPLING
            )
            return self._text(answer)

        return self._connection.submit(ask)

    def _text(self, answer: Any) -> str | Failure:
        """Read an answer; white space is one blank, an answer without an end is a `CutText`."""
        choices = getattr(answer, "choices", None)
        if not choices:
            return Failure("error", "the server's answer is no chat completion", unexpected=True)
        text = " ".join((choices[0].message.content or "").split())
        return CutText(text, self._most) if choices[0].finish_reason == "length" else text

    @property
    def _taken_frames(self) -> tuple[dict[str, Any], int | None]:
        if self._video is None:
            self._video = frames_taken(self._connection, self._model)
        return self._video


def models_of(connection: Connection) -> list[str]:
    """Return the names of the models of a server; none where it has no list.

    Raises
    ------
    UserError
        If the server does not answer, or refuses the key.
    """
    found = connection.submit(lambda client: client.models.list()).result()
    return [] if isinstance(found, Failure) else [str(one.id) for one in getattr(found, "data", None) or []]


def check_model(connection: Connection, model: str) -> None:
    """Refuse a model that a server does not have.

    Raises
    ------
    UserError
        Naming those that it has.
    """
    names = models_of(connection)
    if names and model not in names:
        raise UserError(
            f"the server at {connection.endpoint.url} has no model {model!r}; it has {', '.join(sorted(names)[:5])}",
            remedy=f"--checkpoint {min(names)}",
        )


def check_frames(count: int, most: int | None) -> None:
    """Refuse to send a video of which the server would leave out frames.

    Raises
    ------
    UserError
        Naming both numbers.
    """
    if most is not None and count > most:
        raise UserError(f"{count} frames were chosen, and the server takes {most} of a video", remedy=VLLM_REMEDY)


def frames_taken(connection: Connection, model: str) -> tuple[dict[str, Any], int | None]:
    """Measure how many frames a server takes of a video, by the tokens of its prompts.

    Returns
    -------
    tuple
        Fields of a request with which it takes the most, and that number; None: all.

    Raises
    ------
    UserError
        If it takes no videos, or does not count tokens, so that frames could be left out unnoticed.
    """
    best: tuple[dict[str, Any], int] | None = None
    reason = "it does not count the tokens of prompts"
    for extra in WHOLE_VIDEO:
        tokens = [_prompt_tokens(connection, model, count, extra) for count in TRIED_FRAMES]
        numbers = [one for one in tokens if isinstance(one, int)]
        if len(numbers) < len(TRIED_FRAMES):
            reason = next((one.reason for one in tokens if isinstance(one, Failure)), reason)
            continue
        few, more, many = TRIED_FRAMES
        each = (numbers[1] - numbers[0]) / (more - few)
        taken = round(few + (numbers[2] - numbers[0]) / each) if each > 0 else few
        if taken >= many:
            return extra, None
        if best is None or taken > best[1]:
            best = extra, taken
    if best is None:
        raise UserError(
            f"the server at {connection.endpoint.url} cannot be trusted with videos: {reason}",
            remedy="send frames as images: frames_as=jpeg, or png",
        )
    return best


def _prompt_tokens(connection: Connection, model: str, count: int, extra: dict[str, Any]) -> int | Failure | None:
    """Tokens of a prompt with a small video of so many frames; None: the server does not say."""
    frames = np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), dtype=np.uint8)
    times = [at / 4 for at in range(count)]
    clip = Clip(frames, list(range(count)), times, count, 4.0, "", "pyav")
    written = messages(Turn("Describe the video.", clip), "video")

    async def ask(client: Any) -> int | None:
        answer = await client.chat.completions.create(
            model=model, messages=written, max_tokens=1, extra_body=extra, **SAMPLING
        )
        usage = getattr(answer, "usage", None)
        return usage.prompt_tokens if usage else None

    return connection.submit(ask).result()
