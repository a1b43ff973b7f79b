"""Check of the servers of an extractor: the models that they have, and the frames that they take of a video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from bench.diagnostics.check import Check
from feature_extractors.av_captions import AvCaptions
from feature_extractors.base import Extractor
from feature_extractors.models.serving import served_chat
from feature_extractors.models.serving.endpoint import KEY_VARIABLE, Connection, Endpoint
from feature_extractors.options import ChatOptions, TextEncoderOptions
from protocols.errors import BenchError
from protocols.wording import counted


def endpoints(extractor: Extractor) -> list[Check]:
    """Ask every server of an extractor; none: its models run in this process."""
    parts = [extractor, *([extractor.audio] if isinstance(extractor, AvCaptions) else [])]
    return [check for part in parts for check in _chat(part)] + list(_text(extractor))


def _chat(extractor: Any) -> Iterator[Check]:
    if not isinstance(extractor, ChatOptions) or extractor.engine != "openai":
        return
    server = Endpoint(extractor.endpoint, extractor.in_flight, extractor.timeout, retries=0)
    try:
        with closing(Connection(server)) as connection:
            yield _models("endpoint", connection, extractor.served_name)
            yield _frames(connection, extractor.served_name, extractor.frames_as == "video")
    except BenchError as error:
        yield Check("endpoint", False, str(error), error.remedy, error.exit_code)


def _text(extractor: Any) -> Iterator[Check]:
    if not isinstance(extractor, TextEncoderOptions) or extractor.text_engine != "openai":
        return
    try:
        with closing(Connection(Endpoint(extractor.text_endpoint, retries=0))) as connection:
            yield _models("text endpoint", connection, extractor.text_encoder)
    except BenchError as error:
        yield Check("text endpoint", False, str(error), error.remedy, error.exit_code)


def _models(name: str, connection: Connection, model: str) -> Check:
    served_chat.check_model(connection, model)
    names = served_chat.models_of(connection)
    keyed = f"{KEY_VARIABLE} is {'set' if connection.keyed else 'not set'}"
    return Check(name, True, f"{connection.endpoint.url} has {model} among {counted(len(names), 'model')}; {keyed}")


def _frames(connection: Connection, model: str, sends_video: bool) -> Check:
    """Send videos of different length and see how many frames count."""
    name, tried = "frames of a video", served_chat.TRIED_FRAMES[-1]
    try:
        _, most = served_chat.frames_taken(connection, model)
    except BenchError as error:
        return Check(name, not sends_video, str(error), error.remedy)
    if most is None:
        return Check(name, True, f"all of {tried} are taken")
    return Check(name, True, f"{most} of {tried} are taken", served_chat.VLLM_REMEDY)
