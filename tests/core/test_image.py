"""The image: settings, the build's command line, and what a check calls good."""

import importlib.metadata
import subprocess
from pathlib import Path

import pytest

import mdpipe
from mdpipe.failures import MdpipeError, UsageError
from mdpipe.image.build import build_command, pins, source_folder
from mdpipe.image.check import check_image, judge
from mdpipe.image.settings import ContainerSettings, load_settings
from mdpipe.user_settings import settings_file

HEALTHY = {
    "molecules": 900, "loaded": 40, "compiled": 0, "uid": 10001, "gid": 10001, "writable": [],
    "tmp": True, "interfaces": [], "capabilities": 0, "no_new_privileges": True, "ffmpeg": True,
    "plots": True, "readers": True, "threads": True,
}  # fmt: skip


def test_settings_come_from_the_file_and_the_environment_wins(tmp_path):
    file = tmp_path / "mdpipe" / "settings.toml"
    file.parent.mkdir()
    file.write_text('[container]\ntool = "docker"\nrun_flags = ["--ulimit", "nofile=1:1"]\n')
    environment = {
        "XDG_CONFIG_HOME": str(tmp_path),
        "MDPIPE_CONTAINER_TOOL": "podman",
        "MDPIPE_CONTAINER_GLOBAL_FLAGS": "--runtime '/a b/runc'",
    }
    settings = load_settings(environment)
    assert settings.tool == "podman"
    assert settings.run_flags == ("--ulimit", "nofile=1:1")
    assert settings.global_flags == ("--runtime", "/a b/runc")
    assert settings.image == f"localhost/mdpipe:{mdpipe.__version__}"


def test_settings_of_nowhere_are_the_defaults():
    assert load_settings({"MDPIPE_SETTINGS": "/nowhere/settings.toml"}) == ContainerSettings()
    assert settings_file({"XDG_CONFIG_HOME": "/c"}) == Path("/c/mdpipe/settings.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [("[container]\nrunflags = []\n", "runflags: no such key"), ("[container\n", "cannot read")],
)
def test_a_wrong_setting_is_one_line_that_names_file_and_key(tmp_path, text, said):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        load_settings({"MDPIPE_SETTINGS": str(file)})
    assert str(file) in str(caught.value)


def test_a_tool_that_is_not_there_is_one_line_with_the_remedy():
    with pytest.raises(UsageError, match="--engine process"):
        ContainerSettings(tool="no-such-tool").command()


def test_the_image_gets_the_libraries_of_this_installation():
    found = dict(line.split("==") for line in pins())
    for name in ("numpy", "numba", "llvmlite", "imageio-ffmpeg", "pydantic"):
        assert found[name] == importlib.metadata.version(name)
    assert "mdpipe" not in found
    assert "pytest" not in found


def test_the_build_command_carries_base_versions_and_flags(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("time.strftime", lambda *_: "2025-01-01T00:00:00Z")
    settings = ContainerSettings(
        global_flags=("--runtime", "runc"), build_flags=("--network=host",)
    )
    command = build_command(
        settings, Path("/source"), base="b:1", tag="t:2", libraries=["numpy==2.0"]
    )
    assert command == [
        "podman", "--runtime", "runc", "build", "--network=host",
        "--build-arg", "BASE=b:1", "--build-arg", "PINS=numpy==2.0",
        "--build-arg", f"VERSION={mdpipe.__version__}", "--build-arg", "REVISION=",
        "--build-arg", "CREATED=2025-01-01T00:00:00Z",
        "--tag", "t:2", "--file", "/source/Containerfile", "/source",
    ]  # fmt: skip


def test_everything_that_the_containerfile_copies_is_let_through():
    folder = source_folder()
    ignored = (folder / ".containerignore").read_text()
    assert ignored == (folder / ".dockerignore").read_text()
    for name in ("pyproject.toml", "mdpipe", "kernels", "render", "workflows", "data"):
        assert f"!{name}\n" in ignored
        assert (folder / name).exists()


def test_a_healthy_image_is_called_healthy():
    assert all(finding.good for finding in judge("own user", 2.0, HEALTHY))


@pytest.mark.parametrize(
    ("seconds", "change", "what"),
    [
        (3.1, {}, "first step"),
        (1.0, {"compiled": 1}, "kernels"),
        (1.0, {"loaded": 0}, "kernels"),
        (1.0, {"writable": ["/opt/mdpipe"]}, "writable"),
        (1.0, {"tmp": False}, "writable"),
        (1.0, {"uid": 0}, "privileges"),
        (1.0, {"capabilities": 1}, "privileges"),
        (1.0, {"no_new_privileges": False}, "privileges"),
        (1.0, {"interfaces": ["eth0"]}, "network"),
        (1.0, {"ffmpeg": False}, "libraries"),
        (1.0, {"plots": False}, "libraries"),
        (1.0, {"readers": False}, "libraries"),
        (1.0, {"threads": False}, "libraries"),
    ],
)
def test_each_broken_rule_is_found(seconds, change, what):
    bad = [f.what for f in judge("own user", seconds, HEALTHY | change) if not f.good]
    assert bad == [f"{what} as own user"]


def test_the_image_here_keeps_all_rules_as_its_own_and_as_a_random_user():
    settings = load_settings()
    try:
        probe = [*settings.command(), "run", "--rm", *settings.run_flags, settings.image, "true"]
    except MdpipeError as error:
        pytest.skip(f"needs a container tool: {error}")
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no container of the image can be run: {tried.stderr.strip()[-200:]}")
    found = check_image(settings, settings.image, lambda _: None)
    # the time is a promise of a machine that has nothing else to do
    bad = [f for f in found["findings"] if not f.good and not f.what.startswith("first step")]
    assert bad == []
    assert found["first_step_s"] < 10
