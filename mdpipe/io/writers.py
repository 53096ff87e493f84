"""Text of single frames: GRO, PDB, extxyz and LAMMPS dump."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mdpipe.io.boxes import cell_from_box
from mdpipe.state import Frame

ANGSTROM_PER_NM = 10.0
_NAMES = ("OW", "HW1", "HW2")
_ELEMENTS = ("O", "H", "H")


def gro_text(frame: Frame) -> str:
    """Return one frame as GRO: SOL molecules of OW, HW1, HW2, with velocities if there are any.

    Parameters
    ----------
    frame : Frame
        Positions in nm, kept to 3 decimals; velocities in nm/ps, to 4.

    Returns
    -------
    str
        Title, count, atoms and box, each line ended.
    """
    return "".join(gro_lines(frame))


def gro_lines(frame: Frame) -> Iterator[str]:
    """Yield the lines of `gro_text` one by one: all together are 50 times the file.

    Parameters
    ----------
    frame : Frame
        As for `gro_text`.

    Yields
    ------
    str
        A line and its end.
    """
    n = 3 * frame.positions.shape[0]
    x = frame.positions.reshape(-1, 3)
    v = None if frame.velocities is None else frame.velocities.reshape(-1, 3)
    yield f"water t= {frame.time_ps:.5f}\n{n:5d}\n"
    for i in range(n):
        head = f"{(i // 3 + 1) % 100000:5d}SOL  {_NAMES[i % 3]:>5s}{(i + 1) % 100000:5d}"
        x0, x1, x2 = x[i].tolist()
        line = f"{head}{x0:8.3f}{x1:8.3f}{x2:8.3f}"
        if v is not None:
            v0, v1, v2 = v[i].tolist()
            line += f"{v0:8.4f}{v1:8.4f}{v2:8.4f}"
        yield line + "\n"
    b = frame.box
    box = [b[0, 0], b[1, 1], b[2, 2]]
    if b[1, 0] or b[2, 0] or b[2, 1]:
        box += [b[0, 1], b[0, 2], b[1, 0], b[1, 2], b[2, 0], b[2, 1]]
    yield "".join(f"{value:10.5f}" for value in box) + "\n"


def pdb_text(frame: Frame, model: int) -> str:
    """Return one frame as a PDB model with its own CRYST1 record.

    Parameters
    ----------
    frame : Frame
        Positions in nm, kept to 3 decimals of Å.
    model : int
        Number of the model, from 1.

    Returns
    -------
    str
        CRYST1, MODEL, atoms, ENDMDL.
    """
    a, b, c, alpha, beta, gamma = cell_from_box(frame.box)
    a, b, c = (ANGSTROM_PER_NM * length for length in (a, b, c))
    cell = f"{a:9.3f}{b:9.3f}{c:9.3f}{alpha:7.2f}{beta:7.2f}{gamma:7.2f}"
    lines = [f"CRYST1{cell} P 1           1", f"MODEL     {model % 10000:4d}"]
    x = (ANGSTROM_PER_NM * frame.positions.reshape(-1, 3)).tolist()
    for i, (px, py, pz) in enumerate(x):
        serial, residue = (i + 1) % 100000, (i // 3 + 1) % 10000
        name, element = f" {_NAMES[i % 3]:<3s}", _ELEMENTS[i % 3]
        lines.append(
            f"HETATM{serial:5d} {name} HOH A{residue:4d}    {px:8.3f}{py:8.3f}{pz:8.3f}"
            f"  1.00  0.00          {element:>2s}  "
        )
    lines.append("ENDMDL")
    return "\n".join(lines) + "\n"


def extxyz_text(frame: Frame) -> str:
    """Return one frame as extended XYZ in Å, with velocities in Å/fs where there are any.

    Parameters
    ----------
    frame : Frame
        Positions in nm, kept to 8 decimals of Å.

    Returns
    -------
    str
        Count, comment (Lattice, Properties, Time in ps, pbc) and atoms.
    """
    x = ANGSTROM_PER_NM * frame.positions.reshape(-1, 3)
    columns, properties = [x], "species:S:1:pos:R:3"
    if frame.velocities is not None:
        columns.append(0.01 * frame.velocities.reshape(-1, 3))
        properties += ":velo:R:3"
    lattice = " ".join(f"{value:.8f}" for value in (ANGSTROM_PER_NM * frame.box).ravel())
    lines = [
        str(len(x)),
        f'Lattice="{lattice}" Properties={properties} Time={frame.time_ps:.6f} pbc="T T T"',
    ]
    rows = np.hstack(columns).tolist()
    lines += [
        f"{_ELEMENTS[i % 3]} " + " ".join(f"{value:.8f}" for value in row)
        for i, row in enumerate(rows)
    ]
    return "\n".join(lines) + "\n"


def dump_text(frame: Frame, step: int) -> str:
    """Return one frame as a LAMMPS text dump in Å, sorted by id, with elements.

    Parameters
    ----------
    frame : Frame
        Positions in nm, kept to 6 decimals of Å; velocities are written in Å/fs (units real).
    step : int
        The time step number of the frame.

    Returns
    -------
    str
        UNITS, TIME (fs), TIMESTEP, NUMBER OF ATOMS, BOX BOUNDS, ATOMS.
    """
    box = ANGSTROM_PER_NM * frame.box
    xy, xz, yz = (float(value) for value in (box[1, 0], box[2, 0], box[2, 1]))
    lx, ly, lz = (float(value) for value in np.diag(box))
    bounds = [
        (min(0.0, xy, xz, xy + xz), lx + max(0.0, xy, xz, xy + xz), xy),
        (min(0.0, yz), ly + max(0.0, yz), xz),
        (0.0, lz, yz),
    ]
    tilted = bool(xy or xz or yz)
    x = ANGSTROM_PER_NM * frame.positions.reshape(-1, 3)
    columns, names = [x], "id type element xu yu zu"
    if frame.velocities is not None:
        columns.append(0.01 * frame.velocities.reshape(-1, 3))
        names += " vx vy vz"
    lines = ["ITEM: UNITS", "real", "ITEM: TIME", f"{1000.0 * frame.time_ps:.6f}"]
    lines += ["ITEM: TIMESTEP", str(step), "ITEM: NUMBER OF ATOMS", str(len(x))]
    lines.append("ITEM: BOX BOUNDS " + ("xy xz yz " if tilted else "") + "pp pp pp")
    lines += [" ".join(f"{value:.10e}" for value in (row if tilted else row[:2])) for row in bounds]
    lines.append("ITEM: ATOMS " + names)
    rows = np.hstack(columns).tolist()
    lines += [
        f"{i + 1} {1 if i % 3 == 0 else 2} {_ELEMENTS[i % 3]} "
        + " ".join(f"{value:.6f}" for value in row)
        for i, row in enumerate(rows)
    ]
    return "\n".join(lines) + "\n"
