"""Requests to a server: bounded, repeated where that helps, and failures with their reason."""

import time

import pytest
from stub_server import MODEL, clip_of, now_and_then, stub_server

from feature_extractors.media.result import Failure
from feature_extractors.models.checkpoint.resolution import served_checkpoint
from feature_extractors.models.serving import endpoint as endpoints
from feature_extractors.models.serving import served_chat
from feature_extractors.models.serving.endpoint import Endpoint
from feature_extractors.models.serving.served_chat import ServedChat
from feature_extractors.models.serving.served_text_encoder import ServedTextEncoder
from feature_extractors.models.text_generation import PromptFields
from feature_extractors.text.limits import AT_LIMIT
from protocols.errors import UserError


@pytest.fixture
def stub():
    with stub_server() as running:
        yield running


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(endpoints, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(endpoints, "LONGEST_WAIT", 0.1)


@pytest.fixture
def chat(stub):
    """A function that makes a client, closed at the end."""
    made = []

    def make(model=MODEL, url=None, frames_as="jpeg", **options):
        server = Endpoint(url or stub.url, **{"timeout": 5.0, **options})
        made.append(ServedChat(served_checkpoint(model, "")[0], server, model, "{n}", 9, frames_as, longest=9))
        return made[-1]

    yield make
    for one in made:
        one.close()


def items(count):
    return [PromptFields({"n": [str(at)]}) for at in range(count)]


def numbers(answers):
    return [answer.split()[0] for answer in answers]


def test_answers_come_in_the_order_of_the_batch_with_greedy_decoding(stub, chat):
    model = chat()
    assert numbers(model(items(20))) == [str(at) for at in range(20)]
    sent = stub.bodies[-1]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == (MODEL, 0.0, 9)


def test_an_answer_that_ends_at_the_limit_has_a_note(stub, chat):
    assert not hasattr(chat()(items(1))[0], "note")
    stub.finish_reason = "length"
    assert chat()(items(1))[0].note == f"{AT_LIMIT} 9 tokens"


@pytest.mark.parametrize("most", [1, 4])
def test_no_more_requests_are_on_their_way_than_asked_for(stub, chat, most):
    stub.seconds = 0.1
    model = chat(in_flight=most)
    first, second = model.prepare(items(8)), model.prepare(items(8))
    assert numbers(model.run(first)) == numbers(model.run(second))
    assert stub.most_busy == most


def test_faults_that_pass_lose_and_double_nothing(stub, chat):
    stub.fault = now_and_then(0.2)
    assert numbers(chat()(items(100))) == [str(at) for at in range(100)]
    assert len(stub.answered) == 100 < len(stub.bodies)


def test_a_server_says_how_long_to_wait(stub, chat):
    stub.fault = lambda number, body: (429, {"Retry-After": "0.4"}) if number == 1 else None
    clock = time.perf_counter()
    assert numbers(chat()(items(1))) == ["0"]
    assert 0.4 <= time.perf_counter() - clock < 3


@pytest.mark.parametrize(
    ("fault", "tries", "reason"),
    [(503, 4, "503"), (400, 1, "400"), ("drop", 4, "onnection"), ("hang", 3, "no answer in 0.2 s, 3 times")],
)
def test_a_request_that_fails_for_good_is_a_failure_and_the_others_are_not(stub, chat, fault, tries, reason):
    stub.fault = lambda number, body: fault if body["messages"][0]["content"][-1]["text"] == "1" else None
    found = chat(retries=3, timeout=0.2 if fault == "hang" else 5.0)(items(3))
    assert numbers([found[0], found[2]]) == ["0", "2"]
    assert isinstance(found[1], Failure)
    assert found[1].status == "error"
    assert reason in found[1].reason
    assert len(stub.bodies) == tries + 2


def test_a_server_that_is_gone_ends_the_run(stub, chat):
    model = chat(retries=2)
    stub.close()
    with pytest.raises(UserError, match="does not answer") as error:
        model(items(2))
    assert "go on" in error.value.remedy


def test_a_server_that_comes_back_is_waited_for(stub, chat):
    import threading

    model, back = chat(retries=30), []
    stub.close()

    def start():
        back.append(stub_server(stub.port))
        back[0].__enter__()

    timer = threading.Timer(0.5, start)
    timer.start()
    try:
        assert numbers(model(items(5))) == [str(at) for at in range(5)]
    finally:
        timer.join()
        back[0].__exit__(None, None, None)


def test_a_key_is_sent_and_never_said(stub, chat, monkeypatch):
    monkeypatch.setenv("BENCH_API_KEY", "secret-of-mine")
    monkeypatch.setenv("OPENAI_API_KEY", "of somebody else")
    stub.fault = lambda number, body: 401
    with pytest.raises(UserError) as error:
        chat()(items(1))
    assert stub.headers[-1]["authorization"] == "Bearer secret-of-mine"
    assert "***" in str(error.value)
    assert "secret" not in f"{error.value} {error.value.remedy}"
    assert "BENCH_API_KEY" in error.value.remedy
    stub.fault = lambda number, body: 400
    (found,) = chat()(items(1))
    assert "***" in found.reason
    assert "secret" not in found.reason


def test_an_unknown_model_is_refused_with_those_that_there_are(chat):
    with pytest.raises(UserError, match=f"no model 'other'; it has {MODEL}") as error:
        chat("other")
    assert error.value.remedy == f"--checkpoint {MODEL}"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a/v1", "http://", "http://[::1", ""])
def test_an_address_that_is_none_is_refused(chat, url):
    with pytest.raises(UserError, match="no address of a server"):
        Endpoint(url).check()


def test_an_address_with_a_password_is_refused_and_not_repeated():
    with pytest.raises(UserError, match="password") as error:
        Endpoint("http://me:hush@host/v1").check()
    assert "hush" not in f"{error.value} {error.value.remedy}"


def test_a_video_of_which_frames_would_be_left_out_is_refused(stub, chat, monkeypatch):
    stub.most_frames = 32
    model = chat(frames_as="video")
    assert isinstance(model([clip_of(40)])[0], str)  # the request itself asks for all frames
    assert stub.bodies[-1]["media_io_kwargs"] == {"video": {"num_frames": -1}}
    monkeypatch.setattr(served_chat, "WHOLE_VIDEO", ({},))
    model = chat(frames_as="video")
    assert isinstance(model([clip_of(32)])[0], str)
    with pytest.raises(UserError, match="33 frames were chosen, and the server takes 32") as error:
        model([clip_of(33)])
    assert "--media-io-kwargs" in error.value.remedy


def test_fields_that_a_server_refuses_are_left_out(stub, chat):
    stub.fault = lambda number, body: 422 if "media_io_kwargs" in body else None
    assert isinstance(chat(frames_as="video")([clip_of(3)])[0], str)
    assert "media_io_kwargs" not in stub.bodies[-1]


def test_a_server_that_counts_no_tokens_gets_no_video(stub, chat):
    stub.usage = False
    with pytest.raises(UserError, match="does not count the tokens"):
        chat(frames_as="video")([clip_of(3)])


def test_vectors_come_in_order_and_a_refused_text_fails_alone(stub):
    texts = ["a" * (at + 1) for at in range(20)]
    stub.fault = lambda number, body: 400 if "aaa" in body["input"] else None
    encoder = ServedTextEncoder(Endpoint(stub.url), MODEL)
    try:
        found = encoder(texts)
    finally:
        encoder.close()
    assert isinstance(found[2], Failure)
    assert [vector[0] for at, vector in enumerate(found) if at != 2] == [at + 1 for at in range(20) if at != 2]
    assert found[0].dtype == "float32"
