"""`mdpipe data make`, `info` and `digest`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mdpipe.cli.options import threads_option
from mdpipe.cli.output import json_option, print_json, say
from mdpipe.failures import InputError

_FORMATS = ["xtc", "trr", "dcd", "gro", "pdb", "extxyz", "lammpsdump", "npy"]
_PHASES = ["liquid", "ice", "ice-Ih", "ice-Ic", "interface"]


@click.group()
def data() -> None:
    """Make sample data sets."""


@data.command()
@click.option("--molecules", type=click.IntRange(1), required=True)
@click.option("--frames", type=click.IntRange(1), default=20, show_default=True)
@click.option("--format", "format", type=click.Choice(_FORMATS), default="xtc", show_default=True)
@click.option("--model", default="spce", show_default=True)
@click.option("--temperature", "temperature_K", type=float, default=298.15, show_default=True)
@click.option("--density", "density_g_cm3", type=float, help="g/cm³; by default the phase's own.")
@click.option("--phase", type=click.Choice(_PHASES), default="liquid", show_default=True)
@click.option(
    "--box",
    type=click.Choice(["cubic", "orthorhombic", "truncated-octahedron"]),
    default="cubic",
    show_default=True,
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--name", help="File name without suffix.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@threads_option
@json_option
def make(out: Path, name: str | None, threads: int, *, as_json: bool, **request: Any) -> None:
    """Write a sample trajectory of any size, in any format that is read, from our own engine."""
    from mdpipe.cli.terminal import TerminalProgress
    from mdpipe.steps.data import DataRequest, make_data

    made = make_data(
        DataRequest(**request), out, name=name, threads=threads, progress=TerminalProgress().report
    )
    if as_json:
        print_json(made)
    else:
        for key, value in made.items():
            say(f"{key}: {value}")


@click.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--topology", type=click.Path(path_type=Path), help="Names the atoms.")
@json_option
def info(path: Path | None, topology: Path | None, *, as_json: bool) -> None:
    """Say what a trajectory, a structure, a scene's folder or a run folder holds.

    Without PATH: what scenes run with here, such as cores, vectors, threads and kernels.
    """
    if path is None:
        found = _info_of_installation()
    elif not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    else:
        found = _info_of_folder(path) if path.is_dir() else _info_of_file(path, topology)
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        click.echo(f"{key}: {value}")


def _info_of_installation() -> dict[str, Any]:
    from mdpipe.steps.installation import describe_installation
    from mdpipe.workflows import machine

    return describe_installation(machine.cores(), machine.memory_mb())


def _info_of_folder(path: Path) -> dict[str, Any]:
    from mdpipe.run_folder import RunFolder

    for name in (path / "scene.json", RunFolder(path).story):
        if name.is_file():
            found: dict[str, Any] = json.loads(name.read_text("utf-8"))
            return found
    raise InputError(f"{path}: neither a scene's folder nor a run folder; name a file in it")


def _info_of_file(path: Path, topology: Path | None) -> dict[str, Any]:
    from mdpipe.io.inputs import Problem, read_frames
    from mdpipe.preprocessing.checks import check_frame
    from mdpipe.preprocessing.classify import classify_frame
    from mdpipe.study import Groups

    found: dict[str, Any] = {"file": str(path)}
    frames = 0
    problems: list[str] = []
    for item in read_frames(path, topology):
        if isinstance(item, Problem):
            problems.append(str(item))
            continue
        problems += [str(problem) for problem in check_frame(item, Groups())]
        frames += 1
        if frames == 1:
            found |= {"first_frame": classify_frame(item)._asdict(), "box_nm": item.box.tolist()}
            found["velocities"] = item.velocities is not None
    return found | {"frames": frames, "problems": problems}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def digest(folder: Path) -> None:
    """Print the digest of a scene's content: trajectory, energies and final state."""
    from mdpipe.simulation.products import scene_digest

    if not (folder / "scene.json").is_file():
        raise InputError(f"{folder}: no finished scene there; run `mdpipe simulate` first")
    click.echo(scene_digest(folder))
