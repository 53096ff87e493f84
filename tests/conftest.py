"""Fixtures of all tests: a scene cache of their own, and the reference data."""

from pathlib import Path

import pytest

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
