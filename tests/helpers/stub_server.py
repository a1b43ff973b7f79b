"""A small server with OpenAI's interface on loopback, for faults: it says what it was sent."""

import base64
import hashlib
import json
import random
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "org/model"


class Stub:
    """Server with faults that are set from outside.

    Attributes
    ----------
    fault
        Called with the number of the request and its body; returns None (answer), a status, (status, headers), or
        `hang` and `drop`.
    seconds
        Time that an answer takes.
    most_frames
        Frames that count of a video, as for vLLM's server unless it is told otherwise; None: all.
    """

    def __init__(self, port=0):
        self.fault = lambda number, body: None
        self.seconds, self.most_frames, self.usage = 0.0, None, True
        self.names, self.key = [MODEL], ""
        self.bodies, self.answered, self.headers = [], [], []
        self.busy = self.most_busy = 0
        self.lock, self.ended = threading.Lock(), threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                self.close_connection = stub.ended.is_set()
                if not self.close_connection:
                    self.say(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in stub.names]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with stub.lock:
                    stub.bodies.append(body)
                    stub.headers.append({name.lower(): value for name, value in self.headers.items()})
                    number = len(stub.bodies)
                    stub.busy += 1
                    stub.most_busy = max(stub.most_busy, stub.busy)
                try:
                    self.answer(number, body)
                finally:
                    with stub.lock:
                        stub.busy -= 1

            def answer(self, number, body):
                fault = "drop" if stub.ended.is_set() else stub.fault(number, body)
                if fault == "hang":
                    stub.ended.wait(30)
                    fault = "drop"
                if fault == "drop":
                    self.close_connection = True
                    return
                if fault is not None:
                    status, headers = fault if isinstance(fault, tuple) else (fault, {})
                    self.say(status, {"error": {"message": f"sent {self.headers['authorization']}"}}, headers)
                    return
                time.sleep(stub.seconds)
                found = stub.embeddings(body) if self.path.endswith("embeddings") else stub.chat(body)
                with stub.lock:
                    stub.answered.append(body)
                self.say(200, found)

            def say(self, status, content, headers=()):
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        class Server(ThreadingHTTPServer):
            daemon_threads = allow_reuse_address = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                """The client may be gone."""

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    finish_reason = "stop"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @staticmethod
    def text(body):
        """The prompt and a hash of the media, so that another clip is another answer."""
        content = body["messages"][0]["content"]
        media = [part for part in content if part["type"] != "text"]
        seen = hashlib.sha256(json.dumps(media).encode()).hexdigest()[:8]
        return f"{' '.join(content[-1]['text'].split())} {len(media)} {seen}"

    def chat(self, body):
        """A chat completion."""
        message = {"role": "assistant", "content": f"  {self.text(body)}\n"}
        media = [part for part in body["messages"][0]["content"] if part["type"] != "text"]
        usage = {"prompt_tokens": self.tokens(media, body), "completion_tokens": 1, "total_tokens": 1}
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": self.finish_reason, "message": message}],
            **({"usage": usage} if self.usage else {}),
        }

    def tokens(self, media, body):
        whole = body.get("media_io_kwargs") == {"video": {"num_frames": -1}}
        frames = [len(pictures(part)) for part in media if part["type"] == "video_url"]
        most = 10**6 if whole or self.most_frames is None else self.most_frames
        return 7 + 4 * sum(min(count, most) for count in frames)

    def embeddings(self, body):
        rows = [
            {"object": "embedding", "index": at, "embedding": [float(len(text)), float(sum(map(ord, text)) % 97), 1.0]}
            for at, text in enumerate(body["input"])
        ]
        return {
            "object": "list",
            "model": body["model"],
            "data": rows[::-1],
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        }

    def close(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


def media_bytes(part):
    """The bytes of a part of a message."""
    if part["type"] == "input_audio":
        return base64.b64decode(part["input_audio"]["data"])
    return base64.b64decode(part[part["type"]]["url"].partition("base64,")[2])


def pictures(part):
    """Frames and times (seconds) of a video part."""
    import io

    import av

    with av.open(io.BytesIO(media_bytes(part))) as container:
        return [(frame.to_ndarray(format="rgb24"), float(frame.time)) for frame in container.decode(video=0)]


@contextmanager
def stub_server(port=0):
    """Run a stub."""
    stub = Stub(port)
    try:
        yield stub
    finally:
        stub.close()


def now_and_then(share, fault=500, seed=0):
    """A fault for this share of the requests."""
    rng = random.Random(seed)
    return lambda number, body: fault if rng.random() < share else None


def clip_of(count=5, size=(33, 50), times=None):
    """A clip of noise, lossy in every codec that is."""
    import numpy as np

    from feature_extractors.media.result import Clip

    frames = np.random.default_rng(1).integers(0, 256, (count, *size, 3), dtype=np.uint8)
    times = times or [1.5 + 0.75 * at for at in range(count)]
    return Clip(frames, list(range(count)), times, 100, 30.0, "", "pyav")
