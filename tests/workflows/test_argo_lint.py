import json
import os
import shutil
import subprocess

import pytest
from argo_cases import OPTIONS, PROFILES, TARGETS, documents_of

ARGO = os.environ.get("MDPIPE_ARGO") or shutil.which("argo")

pytestmark = pytest.mark.skipif(
    ARGO is None, reason="no `argo` program on the PATH or in $MDPIPE_ARGO: nothing is linted"
)


def lint(folder, documents):
    files = []
    for number, document in enumerate(documents):
        files.append(folder / f"{number}.json")
        files[-1].write_text(json.dumps(document))
    return subprocess.run(
        [ARGO, "lint", "--offline", "--no-color", *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("profile", PROFILES)
def test_argo_itself_finds_nothing_wrong(profile, option, tmp_path):
    # what older targets get is the same object, where they get one (test_argo.py)
    target = TARGETS[-1]
    ended = lint(tmp_path, documents_of(tmp_path, profile, option, target))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_argo_finds_a_planted_fault(tmp_path):
    (document,) = documents_of(tmp_path, "split", "plain")
    document["spec"]["templates"][0]["steps"][2][0]["template"] = "combnie"
    ended = lint(tmp_path, [document])
    assert ended.returncode != 0
    assert "combnie" in ended.stdout + ended.stderr
