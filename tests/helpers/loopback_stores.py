"""Servers on loopback: an S3 store (moto), a proxy before it that is busy for a while, and a server of files."""

import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def served(handler):
    """Address of a server of requests; it ends with the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def s3_server():
    """Address of a store without buckets."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def environment(url):
    """Variables of somebody who may use a store."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "s3cret-key-of-somebody",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_bucket(url, name):
    urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="PUT")).close()


def check_signatures(url, after):
    """Let a store refuse credentials that it did not give out, after so many requests; `inf`: never."""
    header = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset-auth", after.encode(), header)).close()


@contextmanager
def s3_proxy(url):
    """A store's address behind which `fault(method, path)` may return a status and a code instead of its answer.

    Headers that are `dropped` do not reach the store.
    """

    class Proxy(Quiet):
        fault = staticmethod(lambda method, path: None)
        seen, dropped = (), ()

        def relay(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            type(self).seen += ((self.command, self.path),)
            wrong = type(self).fault(self.command, self.path)
            if wrong:
                status, code = wrong
                xml = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
                self.answer(status, xml.encode(), Content_Type="application/xml")
                return
            passed = {"content-type": "application/octet-stream", **dict(self.headers)}  # urllib says it is a form
            passed = {name: value for name, value in passed.items() if name.lower() not in self.dropped}
            request = urllib.request.Request(f"{url}{self.path}", body or None, passed, method=self.command)
            try:
                answer = urllib.request.urlopen(request)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                content = answer.read()
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in ("content-length", "connection")}
                size = answer.headers.get("Content-Length")
                self.send_response(answer.status)
                for name, value in kept.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", size if self.command == "HEAD" and size else str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

    for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
        setattr(Proxy, f"do_{method}", Proxy.relay)

    with served(Proxy) as host:
        yield f"http://{host}", Proxy


def busy_for(seconds):
    """A fault: 503 for a while."""
    until = time.monotonic() + seconds
    return lambda method, path: (503, "SlowDown") if time.monotonic() < until else None


@contextmanager
def file_server():
    """A server of files with ranges and ETags: (host, class with `files`, `asked`, `fault`)."""

    class Files(Quiet):
        files, asked = {}, ()
        fault = staticmethod(lambda handler: False)

        def do_GET(self):
            type(self).asked += ((self.path, self.headers.get("Range", "")),)
            if type(self).fault(self):
                return
            found = self.files.get(self.path.partition("?")[0])
            if found is None:
                self.answer(404)
                return
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            part = found[int(first) : int(last) + 1]
            told = f"bytes {first}-{int(first) + len(part) - 1}/{len(found)}"
            self.answer(206, part, Content_Range=told, ETag=f'"{hash(found)}"')

    with served(Files) as host:
        yield host, Files
