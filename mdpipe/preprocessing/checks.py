"""Is a frame physical? Each fault is named with file, frame and remedy."""

from __future__ import annotations

import math

import numpy as np

from mdpipe.io.boxes import is_degenerate, perpendicular_widths
from mdpipe.io.problems import NO_BOX, Problem
from mdpipe.kernels.contacts import close_contacts, misshapen
from mdpipe.kernels.matrix import determinant3
from mdpipe.state import Frame
from mdpipe.study import Groups
from mdpipe.units import density_g_cm3

R_OO_MIN = 0.2
"""Oxygens closer than this overlap, nm: g_OO is zero up to 0.23 nm even at 10 kbar."""

R_ANY_MIN = 0.1
"""Atoms of different molecules closer than this overlap, nm: H-bonds are 0.15 nm or longer."""

R_OH_RANGE = (0.07, 0.13)
ANGLE_RANGE_DEG = (70.0, 150.0)
"""Flexible and ab initio water stays well inside both ranges at any liquid temperature."""

_COSINES = (
    math.cos(math.radians(ANGLE_RANGE_DEG[1])),
    math.cos(math.radians(ANGLE_RANGE_DEG[0])),
)


def check_frame(frame: Frame, settings: Groups, r_cut_nm: float = 0.0) -> list[Problem]:
    """Look for what makes a frame useless as a start of a simulation.

    Parameters
    ----------
    frame : Frame
        Whole molecules.
    settings : Groups
        Its `density_range_g_cm3` is the allowed range.
    r_cut_nm : float
        Largest cutoff of the scenes, nm; 0 skips the check of the box against it.

    Returns
    -------
    list of Problem
        Empty for a sound frame. Positions that are not finite, or no box, end the list: nothing
        else can be said then.
    """
    faults: list[tuple[str, str]] = []
    fatal = _fatal(frame)
    if fatal is not None:
        faults.append(fatal)
    else:
        faults += _molecules(frame) + _box(frame, settings, r_cut_nm)
    return [Problem(frame.source, frame.number, what, remedy) for what, remedy in faults]


def _fatal(frame: Frame) -> tuple[str, str] | None:
    if not np.isfinite(frame.positions).all():
        molecule = int(np.argmin(np.isfinite(frame.positions).all(axis=(1, 2))))
        return (
            f"positions are not finite (first: molecule {molecule})",
            "remove the frame; the simulation that made it blew up",
        )
    if frame.velocities is not None and not np.isfinite(frame.velocities).all():
        molecule = int(np.argmin(np.isfinite(frame.velocities).all(axis=(1, 2))))
        return (
            f"velocities are not finite (first: molecule {molecule})",
            "remove the frame; the simulation that made it blew up",
        )
    if is_degenerate(frame.box):
        return "no periodic box", NO_BOX
    return None


def _molecules(frame: Frame) -> list[tuple[str, str]]:
    faults = []
    positions = np.ascontiguousarray(frame.positions)
    bad, first = misshapen(positions, *R_OH_RANGE, *_COSINES)
    if bad:
        what = (
            f"{bad} molecules are broken (first: molecule {first}): O-H outside "
            f"{R_OH_RANGE[0]}-{R_OH_RANGE[1]} nm or HOH outside "
            f"{ANGLE_RANGE_DEG[0]:.0f}-{ANGLE_RANGE_DEG[1]:.0f} degrees"
        )
        faults.append((what, "check topology and length_unit"))
    if min(np.diag(frame.box)) <= 2.0 * R_OO_MIN:
        return faults
    oxygens = np.ascontiguousarray(positions[:, 0])
    for sites, size, r_min, kind in (
        (oxygens, 1, R_OO_MIN, "O-O"),
        (positions.reshape(-1, 3), 3, R_ANY_MIN, "atoms of different molecules"),
    ):
        count, shortest, i, j = close_contacts(sites, size, frame.box, r_min)
        if count:
            what = (
                f"{count} overlaps: {kind} closer than {r_min} nm "
                f"(shortest {shortest:.3f} nm, molecules {i} and {j})"
            )
            faults.append((what, "check box and length_unit, or minimise the structure first"))
    return faults


def _box(frame: Frame, settings: Groups, r_cut_nm: float) -> list[tuple[str, str]]:
    faults = []
    density = density_g_cm3(len(frame.positions), abs(determinant3(frame.box)))
    low, high = settings.density_range_g_cm3
    if not low <= density <= high:
        faults.append(
            (
                f"density {density:.3f} g/cm3 is outside {low}-{high}",
                "check box and length_unit, or widen groups.density_range_g_cm3",
            )
        )
    narrowest = float(perpendicular_widths(frame.box).min())
    if narrowest < 2.0 * r_cut_nm:
        faults.append(
            (
                f"the box is {narrowest:.3f} nm wide, less than 2 r_cut = {2 * r_cut_nm:.3f} nm",
                "lower r_cut_nm or use a larger box",
            )
        )
    return faults
