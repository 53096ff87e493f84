"""A store is tried as the pods will use it: keys, bucket, conditional writes."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from faulty_store import ACCESS, BUCKET, SECRET, free_port, serve

from mdpipe.failures import BusyError
from mdpipe.workflows.cluster.doctor_store import try_store


def variables(port: int, secret: str = SECRET) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "us-east-1",
    }


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to this machine go nowhere else."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.usefixtures("no_proxy")
def test_a_store_is_tried_with_the_keys_of_the_pods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the user's own")
    with serve(tmp_path) as port:
        assert try_store(f"s3://{BUCKET}/x", variables(port)) is None
        assert not list((tmp_path / BUCKET / "x").rglob("doctor/*"))
        bucket = try_store("s3://no-such-bucket/x", variables(port))
        denied = try_store(f"s3://{BUCKET}/x", variables(port, "wrong"))
    silent = try_store(f"s3://{BUCKET}/x", variables(free_port()))
    assert bucket is not None
    assert "bucket" in bucket.got
    assert denied is not None
    assert "let the pods write" in denied.rule
    assert silent is not None
    assert "answer" in silent.rule


@pytest.mark.usefixtures("no_proxy")
def test_a_store_that_overwrites_what_must_be_new_is_found() -> None:
    pytest.importorskip("obstore")

    class Careless(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_DELETE(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        problem = try_store(f"s3://{BUCKET}/x", variables(server.server_port))
        server.shutdown()
    assert problem is not None
    assert "conditional writes" in problem.rule


def test_a_store_inside_the_cluster_is_not_judged_from_outside() -> None:
    inside = variables(9000) | {"AWS_ENDPOINT_URL": "http://mdpipe-store:9000"}
    with pytest.raises(BusyError, match="inside the cluster"):
        try_store("s3://mdpipe/x", inside)
