"""A real S3 server on loopback, and a proxy before it that answers badly now and then."""

import contextlib
import http.client
import importlib.util
import random
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mdpipe.scenes.objects import Patience

BUCKET = "scenes-test"
URL = f"s3://{BUCKET}/here"
QUICK = Patience(attempts=6, first_delay_s=0.01, silence_s=0.6, rest_s=0.2)
ACCESS, SECRET = "access-of-the-test", "secret-of-the-test"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def need_server():
    """Skip where there is no server or no library for it; return the server's program."""
    program = shutil.which("versitygw")
    if program is None:
        pytest.skip("versitygw, the S3 server of these tests, is not on PATH")
    if importlib.util.find_spec("obstore") is None:
        pytest.skip("obstore is not installed (pip install 'mdpipe[s3]')")
    return program


@contextlib.contextmanager
def serve(folder):
    """Serve a folder over S3; yield the server's port."""
    program, port = need_server(), free_port()
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [program, "--port", f"127.0.0.1:{port}", "--access", ACCESS, "--secret", SECRET,
         "posix", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def address(monkeypatch, port):
    """Point the environment at a port."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "MDPIPE_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def objects_of(served, key):
    """Return the sizes of the objects of a scene's mirror below `URL`, by name."""
    folder = served[0] / "here" / "checkpoints" / key
    return {path.name: path.stat().st_size for path in folder.glob("*")} if folder.is_dir() else {}


class Proxy:
    """Hands requests on, and with given probabilities answers badly; counts what it did.

    `error` answers 500; `short` ends the connection in the middle of a body; `cut` sends a shorter
    body as if it were whole; `flip` changes a bit of it; `slow` waits before it answers; `stall`
    stops in the middle for longer than anybody waits. `target` is a port of this machine, or a host
    and a port; `traffic` has requests and bytes of bodies by method and path.
    """

    def __init__(self, target, seed=0, host="127.0.0.1", **probabilities):
        self.target = ("127.0.0.1", target) if isinstance(target, int) else target
        self.random = random.Random(seed)
        self.probabilities = probabilities
        self.counts, self.traffic = Counter(), {}
        self.stall_s, self.slow_s = 1.5, 0.2
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self):
                proxy.answer(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # clients that give up are what this is for

        self.server = Server((host, 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def choose(self):
        drawn = self.random.random()
        for fault, probability in self.probabilities.items():
            drawn -= probability
            if drawn < 0:
                return fault
        return "good"

    def answer(self, request):
        fault = self.choose()
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.counts["requests"] += 1
        self.counts[f"{request.command} {fault}"] += 1
        if fault == "error":
            request.send_response(500)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if fault == "slow":
            time.sleep(self.slow_s)
        onward = http.client.HTTPConnection(*self.target, timeout=30)
        onward.request(request.command, request.path, body, dict(request.headers))
        answer = onward.getresponse()
        raw = answer.read()
        onward.close()
        key = (request.command, request.path)
        number, there, back = self.traffic.get(key, (0, 0, 0))
        here = len(raw) if request.command == "GET" else 0
        self.traffic[key] = number + 1, there + len(body), back + here
        bad = request.command == "GET" and answer.status == 200 and len(raw) > 1
        if bad and fault == "cut":
            raw = raw[: self.random.randrange(len(raw))]
        if bad and fault == "flip":
            at = self.random.randrange(len(raw))
            raw = raw[:at] + bytes([raw[at] ^ (1 << self.random.randrange(8))]) + raw[at + 1 :]
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                request.send_header(name, value)
        length = answer.getheader("Content-Length") if request.command == "HEAD" else len(raw)
        if answer.status not in {204, 304}:
            request.send_header("Content-Length", str(length or 0))
        request.end_headers()
        if bad and fault in {"short", "stall"}:
            request.wfile.write(raw[: len(raw) // 2])
            request.wfile.flush()
            time.sleep(self.stall_s if fault == "stall" else 0.0)
            request.close_connection = True
            return
        if request.command != "HEAD":
            request.wfile.write(raw)
