"""The command line as a user meets it: quick help, one clear line and the right exit code."""

import json
import os
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


def test_info_without_a_path_says_what_scenes_run_with():
    done = mdpipe("info", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["threading_layer"] in {"omp", "tbb", "workqueue"}
    assert told["simd_float32_lanes"] in {0, 4, 8, 16}
    assert told["cores"] >= 1
    # A loop over nothing on one thread takes microseconds; a layer of threads that is not
    # meant for this takes fifty and more, each time.
    assert 0.0 < told["parallel_loop_us"]["1"] < 1000.0
    assert told["kernels"]["double"]["pair_kernel"] == "pair_double"
    assert f"numba: {told['numba']}" in mdpipe("info").stdout


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


def test_an_argument_with_an_at_sign_is_the_whole_content_of_that_file(tmp_path):
    from mdpipe.cli.arguments import expand

    (tmp_path / "study").write_bytes("name = 'ü'\n@second line\n".encode())
    named = f"@{tmp_path / 'study'}"
    assert expand(["run", named, "--x", named, f"@{named}", "@@", "a@b", "@", "@absent"]) == [
        "run", *("name = 'ü'\n@second line\n", "--x") , "name = 'ü'\n@second line\n",
        named, "@", "a@b", "@", "@absent",
    ]  # fmt: skip
    assert expand([f"@{tmp_path}"]) == [f"@{tmp_path}"], "a folder is no argument"


def test_every_command_takes_its_arguments_from_files(tmp_path):
    (tmp_path / "command").write_text("failures")
    (tmp_path / "option").write_text("--json")
    done = mdpipe("@command", "@option", cwd=tmp_path)
    assert json.loads(done.stdout)["rows"]
    literal = mdpipe("run", "@@option", cwd=tmp_path)
    assert "@option: cannot read the study file" in literal.stderr


def test_an_argument_longer_than_the_system_allows_is_taken_from_a_file(tmp_path):
    (tmp_path / "argument").write_text("a=" + "x" * 200_000)
    done = mdpipe("simulate", "--start", "a", "--out", "x", "--set", "@argument", cwd=tmp_path)
    assert done.returncode == 2
    assert "a: no such key" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "begin", "remedy"),
    [
        (("nonsense",), 2, "usage: No such command", "correct the command"),
        (("run", "absent.toml"), 78, "bad-study: absent.toml", "correct the key"),
        (("info", "absent.xtc"), 66, "bad-input: absent.xtc", "correct or remove the input"),
    ],
)
def test_the_last_words_go_where_the_kubelet_looks(tmp_path, arguments, code, begin, remedy):
    log = tmp_path / "log"
    log.write_text("of an earlier attempt\n" * 100)
    environment = os.environ | {"MDPIPE_TERMINATION_LOG": str(log)}
    assert mdpipe(*arguments, cwd=tmp_path, env=environment).returncode == code
    (line,) = log.read_text().splitlines()
    assert line.startswith(begin)
    assert f"; remedy: {remedy}" in line


def test_a_program_that_ends_well_leaves_no_last_words(tmp_path):
    environment = os.environ | {"MDPIPE_TERMINATION_LOG": str(tmp_path / "log")}
    assert mdpipe("failures", env=environment).returncode == 0
    assert not (tmp_path / "log").exists()
