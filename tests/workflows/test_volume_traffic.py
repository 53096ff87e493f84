"""What the steps write to a shared volume: nothing twice, through a file system that counts."""

import re
from collections import Counter

import pytest
from click.testing import CliRunner
from counted_folder import counted
from small_study import SMALL

from mdpipe.cli import cli
from mdpipe.run_folder import WORK

STUDY = f"""
name = "small"
[[inputs]]
path = "inputs/water.gro"
temperature_K = 298
{SMALL}"""
PRODUCTS = ("trajectory.xtc", "topology.gro", "energies.npz", "final.npz", "observables.npz")


def step(*words):
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result


@pytest.fixture
def written(reference, tmp_path):
    """Bytes written by file name, after all steps of a study of one group with two scenes."""
    (tmp_path / "study" / "inputs").mkdir(parents=True)
    text = (reference / "conf_w216a.gro").read_text()
    (tmp_path / "study" / "inputs" / "water.gro").write_text(text)
    study = tmp_path / "study" / "study.toml"
    study.write_text(STUDY)
    (tmp_path / "shared").mkdir()
    with counted(tmp_path / "shared", tmp_path / "volume", tmp_path / "counts.json") as seen:
        run, cache = tmp_path / "volume" / "run", ("--cache", tmp_path / "volume" / "scenes")
        step("preprocess", study, "--run", run, *cache, "--pending")
        part = run / "pending" / "00000"
        for scene in ("#0", "#1"):
            chosen = ("--group", "0", "--scene", scene)
            step("simulate", part / "plan.jsonl", "--run", part, *cache, *chosen)
        step("render", part / "plan.jsonl", "--run", part, *cache, "--group", "0")
        step("combine", study, "--run", run, *cache, "--require-all")
        return Counter({name: row[2] for name, row in seen().items()})


def test_a_volume_gets_each_product_once(written, tmp_path):
    kept = {
        path.relative_to(tmp_path / "shared"): path.stat().st_size
        for path in (tmp_path / "shared").rglob("*")
        if path.is_file()
    }
    in_cache = {path: size for path, size in kept.items() if path.parts[0] == "scenes"}

    def sizes(name):
        return sum(size for path, size in in_cache.items() if path.name == name)

    def traffic(pattern):
        return sum(size for name, size in written.items() if re.search(pattern, name))

    for name in PRODUCTS:
        # those of the last step are for who reads the volume; the others are given to the cache
        made = traffic(rf"pending/.*/\.{name.partition('.')[0]}[^/]*\.part")
        assert sizes(name) <= made < 1.5 * sizes(name), name  # heads of a zip file are written anew
        assert traffic(rf"^scenes/.*/{name}$") == 0, name
    assert traffic(r"group.*\.zip") == sizes("group.zip")
    assert traffic(r"starts.*\.zip") == sizes("starts.zip")
    film = tmp_path / "shared" / "run" / "film.mp4"
    still = film.with_suffix(".png")
    assert traffic(r"^run/\.film\.") == film.stat().st_size + still.stat().st_size
    assert traffic(r"groups/.*\.mp4$") == sum(
        s for p, s in kept.items() if p.match("run/groups/*/*.mp4")
    )
    # what is not kept is what a scene could go on from
    assert written.total() - traffic(f"/{WORK}/") <= 1.02 * sum(kept.values())
