"""The hub of checkpoints without network, busy and slow."""

import http.server
import socket
import threading
import time

import pytest

from feature_extractors.models.checkpoint import checkpoints, hub
from protocols.errors import UserError

WORD, COMMIT = "BAAI/bge-large-en-v1.5", "c" * 40


@pytest.fixture
def at(monkeypatch, tmp_path):
    """A function that has the hub at a port of this machine."""
    from huggingface_hub import constants

    def at(port):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)

    return at


@pytest.fixture
def closed():
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def answering():
    """A function that starts a hub on a port that answers everything with a status after some seconds."""
    servers = []

    def start(status, seconds=0.0):
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                time.sleep(seconds)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_checkpoint_of_a_known_revision_is_given_up_in_seconds_without_network(at, closed, tmp_path, caplog):
    at(closed)
    began = time.monotonic()
    with pytest.raises(UserError, match="is not in the local hub cache and cannot be fetched") as caught:
        checkpoints.resolve(WORD, tmp_path, COMMIT)
    assert time.monotonic() - began < 10
    assert "local directory" in caught.value.remedy and "Retrying" not in caplog.text


def test_a_hub_that_answers_slowly_or_with_an_error_of_its_own_is_there(at, answering, monkeypatch):
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    at(answering(200, seconds=1.0))
    assert hub.connection_failure(WORD, COMMIT) is None
    at(answering(503))
    assert hub.connection_failure(WORD, COMMIT) is None


def test_a_connection_that_is_made_at_the_second_try_is_one(at, closed, answering, monkeypatch):
    at(closed)
    monkeypatch.setattr(time, "sleep", lambda seconds: at(answering(404)) if seconds else None)
    assert hub.connection_failure(WORD, COMMIT) is None
