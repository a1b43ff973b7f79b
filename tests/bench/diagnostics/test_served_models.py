"""`bench doctor --endpoint`: the models of a server, the frames that it takes of a video, and one clip."""

import json

import pytest
from click.testing import CliRunner
from stub_server import MODEL, stub_server

from bench.cli import cli
from feature_extractors.models.serving import served_chat


@pytest.fixture
def stub():
    with stub_server() as running:
        yield running


@pytest.fixture
def checks(tmp_path):
    def told(*words, text_encoder="pocket"):
        command = ["doctor", *words, "--text-encoder", text_encoder, "--cache", str(tmp_path), "--json"]
        found = CliRunner().invoke(cli, command, standalone_mode=False, catch_exceptions=False)
        return found.return_value, {check["name"]: check for check in json.loads(found.stdout)["checks"]}

    return told


def test_a_good_server_passes_with_one_clip(stub, checks):
    code, found = checks("--endpoint", stub.url, "--checkpoint", MODEL)
    assert code == 0
    assert MODEL in found["endpoint"]["found"]
    assert found["frames of a video"]["found"] == "all of 48 are taken"
    assert found["one clip"]["found"].startswith("vector "), found
    assert any(part["type"] == "image_url" for part in stub.bodies[-1]["messages"][0]["content"])


def test_a_server_that_samples_videos_is_told_how_to_be_started(stub, checks, monkeypatch):
    stub.most_frames = 32
    monkeypatch.setattr(served_chat, "WHOLE_VIDEO", ({},))
    code, found = checks("--endpoint", stub.url, "--checkpoint", MODEL, "--frames", "uniform:40")
    assert code == 0  # images are sent
    assert found["frames of a video"]["found"] == "32 of 48 are taken"
    assert '--media-io-kwargs \'{"video": {"num_frames": -1}}\'' in found["frames of a video"]["remedy"]
    sent = ("--frames", "uniform:40", "--set", "captions.frames_as=video")
    code, found = checks("--endpoint", stub.url, "--checkpoint", MODEL, *sent)
    assert code == 2
    assert "40 frames were chosen, and the server takes 32" in found["checkpoint"]["found"]


def test_a_wrong_name_is_answered_with_the_right_ones(stub, checks):
    code, found = checks("--endpoint", stub.url)
    assert code == 2
    assert not found["endpoint"]["ok"]
    assert found["endpoint"]["remedy"] == f"--checkpoint {MODEL}"


def test_a_server_that_is_not_there_and_one_of_texts_are_checked_too(stub, checks):
    served = ("--set", "captions.text_engine=openai", "--set", f"captions.text_endpoint={stub.url}")
    code, found = checks("--checkpoint", "pocket", *served, text_encoder=MODEL)
    assert code == 0, found
    assert MODEL in found["text endpoint"]["found"]
    stub.close()
    code, found = checks("--endpoint", stub.url, "--checkpoint", MODEL, "--set", "captions.retries=0")
    assert code == 2
    assert "does not answer" in found["endpoint"]["found"]
