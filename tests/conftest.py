"""Fixtures of all tests: a scene cache of their own, the reference data, an S3 server."""

from pathlib import Path

import pytest
from faulty_store import BUCKET, address, serve

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_scene_cache(tmp_path_factory, monkeypatch):
    """Keep the user's scene cache out of the tests; compiled kernels stay shared."""
    monkeypatch.setenv("MDPIPE_SCENE_CACHE", str(tmp_path_factory.mktemp("scenes")))


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the reference data that travels with the project."""
    return ROOT / "data" / "reference"


@pytest.fixture(scope="session")
def nist() -> Path:
    """Folder of NIST's configurations, which lie beside the project and not in it."""
    folder = ROOT.parent / "shared" / "reference" / "nist"
    if not folder.is_dir():
        pytest.skip(f"NIST's configurations are not beside the project ({folder} is absent)")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Folder of the bucket and port of an S3 server of the module's own."""
    folder = tmp_path_factory.mktemp("bucket")
    with serve(folder) as port:
        yield folder / BUCKET, port


@pytest.fixture
def server(served, monkeypatch):
    """The same, with the environment pointing at it."""
    address(monkeypatch, served[1])
    return served
