"""The sample inputs in `data/inputs`: several formats and states, made by our own engine.

``python -m mdpipe.steps.samples data`` makes them again (minutes). The bits of the text
files depend on the instruction set, as all simulations do, so the checksums hold for the files as
they lie there, not for every machine that makes them anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mdpipe.products import file_digest, write_text
from mdpipe.steps.data import DataRequest, Progress, make_data

SAMPLES: dict[str, DataRequest] = {
    "liquid-298K": DataRequest(216, 20, "xtc", equilibration_ps=20.0, seed=11),
    "hot-340K": DataRequest(
        216,
        20,
        "extxyz",
        temperature_K=340.0,
        density_g_cm3=0.979,
        equilibration_ps=15.0,
        interval_ps=2.0,
        seed=12,
    ),
    "supercooled-240K": DataRequest(
        216,
        10,
        "lammpsdump",
        temperature_K=240.0,
        equilibration_ps=40.0,
        interval_ps=2.0,
        seed=13,
    ),
    "expanded-320K": DataRequest(
        343,
        10,
        "npy",
        temperature_K=320.0,
        density_g_cm3=0.90,
        box="orthorhombic",
        equilibration_ps=10.0,
        seed=14,
    ),
    "octahedron-298K": DataRequest(
        360,
        10,
        "trr",
        box="truncated-octahedron",
        equilibration_ps=15.0,
        interval_ps=2.0,
        seed=15,
    ),
    "ice-Ih-250K": DataRequest(
        432, 8, "gro", phase="ice-Ih", temperature_K=250.0, equilibration_ps=5.0, seed=16
    ),
    "ice-Ic-240K": DataRequest(
        216, 8, "pdb", phase="ice-Ic", temperature_K=240.0, equilibration_ps=5.0, seed=17
    ),
    "interface-220K": DataRequest(
        756, 8, "dcd", phase="interface", temperature_K=220.0, equilibration_ps=10.0, seed=18
    ),
}
"""File name and request of each sample."""

CHECKSUMS = "SHA256SUMS"


def make_samples(out: Path, *, threads: int = 1, progress: Progress | None = None) -> None:
    """Make all sample inputs, the flawed ones and the list of checksums.

    Parameters
    ----------
    out : Path
        Folder; ``inputs`` in it gets the sound files, ``flawed`` the others.
    threads : int
        Threads of the simulations.
    progress : callable or None
        Told stage, done and total of each file.
    """
    for name, request in SAMPLES.items():
        make_data(request, out / "inputs", name=name, threads=threads, progress=progress)
    make_flawed(out / "inputs", out / "flawed")
    write_checksums(out / "inputs")
    write_checksums(out / "flawed")


def make_flawed(inputs: Path, flawed: Path) -> None:
    """Write three files with the faults that real data have, from the sound samples.

    Parameters
    ----------
    inputs : Path
        Folder of the samples.
    flawed : Path
        Gets ``truncated.xtc`` with its topology (cut inside its 13th frame), ``no-box.pdb`` (one
        model without CRYST1) and ``nan.extxyz`` (three frames, a coordinate of the second is NaN).
    """
    flawed.mkdir(exist_ok=True)
    whole = (inputs / "liquid-298K.xtc").read_bytes()
    (flawed / "truncated.xtc").write_bytes(whole[: round(len(whole) * 0.63)])
    (flawed / "truncated.gro").write_bytes((inputs / "liquid-298K.gro").read_bytes())
    lines = (inputs / "ice-Ic-240K.pdb").read_text("ascii").splitlines()
    model = lines[: lines.index("ENDMDL") + 1]
    boxless = [line for line in model if not line.startswith("CRYST1")]
    write_text(flawed / "no-box.pdb", "\n".join(boxless) + "\n")
    text = (inputs / "hot-340K.extxyz").read_text("ascii").splitlines()
    size = int(text[0]) + 2
    atom = text[size + 2 + 30].split()
    atom[2] = "nan"
    text[size + 2 + 30] = " ".join(atom)
    write_text(flawed / "nan.extxyz", "\n".join(text[: 3 * size]) + "\n")


def write_checksums(folder: Path) -> None:
    """Write the SHA-256 of every file below a folder, as ``sha256sum --check`` reads it.

    Parameters
    ----------
    folder : Path
        Gets ``SHA256SUMS``, which leaves out itself and the README.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {CHECKSUMS, "README.md"}
    )
    lines = [f"{file_digest(path)}  {path.relative_to(folder).as_posix()}" for path in files]
    write_text(folder / CHECKSUMS, "\n".join(lines) + "\n")


if __name__ == "__main__":
    make_samples(Path(sys.argv[1]))
