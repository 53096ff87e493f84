"""A few answers of a Kubernetes API or an Argo Server on loopback, for the real client."""

import contextlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "argo"
WORKFLOWS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/workflows"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


class Cluster:
    """Answers by method and path; everything asked for is in `asked`.

    `answers` maps `METHOD /path` to a body, to (status, body), or to a function of query and
    request body that returns either; a list is used up one by one, its last entry stays.
    """

    def __init__(self):
        self.answers, self.asked = {}, []
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self):
                cluster._answer(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _serve

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def calls(self, method):
        return [path for verb, path, _, _ in self.asked if verb == method]

    def _answer(self, request):
        parts = urlsplit(request.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        raw = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else None
        self.asked.append((request.command, parts.path, query, body))
        found = self.answers.get(f"{request.command} {parts.path}", _absent(parts.path))
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if callable(found):
            found = found(query, body)
        status, said = found if isinstance(found, tuple) else (200, found)
        if status == 0:
            request.close_connection = True
            request.connection.close()
            return
        data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


def _absent(path):
    if "argoproj.io/v1alpha1" not in path and path.startswith("/apis/"):
        return 404, "404 page not found\n"
    name = path.rpartition("/")[2]
    kind = "workflows.argoproj.io" if "argoproj" in path else "pods"
    return 404, problem(f'{kind} "{name}" not found')


def problem(message):
    return {"kind": "Status", "status": "Failure", "message": message}


def listed(*names, following=""):
    items = [{"metadata": {"name": name}} for name in names]
    return {"metadata": {"continue": following}, "items": items or None}


def use(monkeypatch, folder, port):
    """Write a kubeconfig for a port and point the environment at it."""
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "test", "user": {"token": "token-of-the-test"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        })
    )  # fmt: skip
    monkeypatch.setenv("KUBECONFIG", str(path))
    for name in ("ARGO_SERVER", "ARGO_TOKEN", "ARGO_NAMESPACE", "MDPIPE_ARGO_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@contextlib.contextmanager
def serving(monkeypatch, folder):
    cluster = Cluster()
    use(monkeypatch, folder, cluster.port)
    try:
        yield cluster
    finally:
        cluster.close()


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert not re.search(r"token-of-the-test|\bNone\b", text)
    return text
