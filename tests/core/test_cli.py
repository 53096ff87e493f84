"""The command line as a user meets it: quick help, one clear line and the right exit code."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mdpipe.cli.cache import parse_size
from mdpipe.cli.data import _FORMATS
from mdpipe.failures import UsageError


def mdpipe(*arguments, **options):
    command = [sys.executable, "-m", "mdpipe.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, **options
    )


def test_importing_the_package_and_the_command_line_pulls_nothing_heavy():
    code = (
        "import sys, mdpipe, mdpipe.cli; "
        "heavy = {'numpy', 'numba', 'scipy', 'MDAnalysis', 'ase', 'matplotlib', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_lists_every_command_and_each_has_help():
    from mdpipe.cli import COMMANDS, cli

    text = mdpipe("--help").stdout
    for name in COMMANDS:
        assert name in text
        command = cli.get_command(None, name)
        assert command is not None
        assert command.help


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nonsense",), 2, "No such command"),
        (("run", "absent.toml"), 78, "cannot read the study file"),
        (("simulate",), 2, "needs a STUDY"),
        (("simulate", "--start", "absent.gro", "--out", "x"), 66, "no such file"),
        (("simulate", "--start", "a", "--out", "x", "--set", "steps"), 2, "KEY=VALUE"),
        (("simulate", "--start", "a", "--out", "x", "--set", "stepz=1"), 2, "stepz: no such key"),
        (("info", "absent.xtc"), 66, "no such file"),
        (("digest", "."), 66, "no finished scene"),
        (("validate", "absent"), 66, "absent"),
        (("bench", "md", "--vs", "amber"), 2, "no such program"),
        (("cache", "gc", "--max-size", "many"), 2, "must be a size"),
    ],
)
def test_every_wrong_call_is_one_line_and_the_code_of_the_table(tmp_path, arguments, code, words):
    done = mdpipe(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    complaint = [line for line in done.stderr.splitlines() if line.startswith("mdpipe: ")]
    assert len(complaint) == 1
    assert words in complaint[0]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_failure_table_is_printed_for_programs():
    rows = json.loads(mdpipe("failures", "--json").stdout)["rows"]
    assert {"out-of-memory", "bad-input", "bad-study", "interrupted"} <= {r["name"] for r in rows}


def test_info_describes_a_structure(reference):
    done = mdpipe("info", reference / "conf_ice432.gro", "--json")
    found = json.loads(done.stdout)
    assert found["frames"] == 1
    assert found["first_frame"]["structure"] == "ice-Ih"
    assert found["problems"] == []


def test_completion_scripts_are_printed():
    for shell in ("bash", "zsh", "fish"):
        assert "_MDPIPE_COMPLETE" in mdpipe("completion", shell).stdout


def test_sizes_are_powers_of_a_thousand():
    assert [parse_size(text) for text in ("7", "2k", "1.5M", "20GB")] == [
        7, 2000, 1_500_000, 20_000_000_000,
    ]  # fmt: skip
    with pytest.raises(UsageError):
        parse_size("5 parsecs")


def test_every_format_that_is_written_can_be_asked_for():
    from mdpipe.io.formats import SUFFIXES

    assert set(_FORMATS) <= set(SUFFIXES)


def test_simulating_alone_is_the_same_for_any_number_of_threads_and_resumes(tmp_path, reference):
    common = (
        *("--start", reference / "conf_w216a.gro", "--model", "spce", "--ensemble", "nvt"),
        *("--steps", 60, "--seed", 3, "--set", "frame_every=20", "--set", "energy_every=20"),
        *("--set", "nonbonded.electrostatics=rf"),
    )
    found = []
    for threads in (1, 2):
        out = tmp_path / f"t{threads}"
        done = mdpipe("simulate", *common, "--threads", threads, "--out", out)
        assert done.returncode == 0, done.stderr
        found.append(mdpipe("digest", out).stdout)
    assert found[0] == found[1]
    with np.load(tmp_path / "t1" / "energies.npz") as data:
        assert data["step"].tolist() == [0.0, 20.0, 40.0, 60.0]
