"""GROMACS, any build found as `gmx` on PATH, with its default PME settings."""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdpipe.benchmarks.case import Case, Timing, run_length
from mdpipe.benchmarks.child import run_child
from mdpipe.benchmarks.parts import REST
from mdpipe.failures import MdpipeError
from mdpipe.models import WaterModel
from mdpipe.state import State, load_state

ATOM_STEPS: Final = 24e6
MOST_STEPS: Final = 5000
WARMUP_PART: Final = 0.2
"""GROMACS tunes its pair list in the first steps."""

_PARTS: Final = {
    "Domain decomp.": "list",
    "Neighbor search": "list",
    "Force": "pair",
    "PME spread": "PME spread",
    "PME 3D-FFT": "PME FFT",
    "PME solve Elec": "PME solve",
    "PME gather": "PME gather",
    "NB X/F buffer ops.": "collect",
    "Update": "motion",
    "Constraints": "motion",
    "Write traj.": "output",
}
"""Rows of the time accounting in md.log by part of a step; "PME mesh" is the sum of its own."""

_MDP = """integrator = md
dt = {dt}
nsteps = {steps}
cutoff-scheme = Verlet
rcoulomb = {r_cut}
rvdw = {r_cut}
coulombtype = PME
pme-order = 4
fourierspacing = 0.12
ewald-rtol = 1e-5
DispCorr = EnerPres
tcoupl = v-rescale
tc-grps = System
tau-t = 1.0
ref-t = {temperature}
nstenergy = 1000
nstlog = 1000
nstfout = {force_interval}
nstxout-compressed = 1000
constraints = none
continuation = yes
"""


@cache
def _version_text(program: str) -> str:
    import subprocess

    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout


def _field(pattern: str) -> str:
    found = re.search(pattern, _version_text("gmx"))
    return found.group(1).strip() if found else "unknown"


class Gromacs:
    """GROMACS on the CPU: one rank, as many OpenMP threads as asked."""

    name = "gromacs"

    def missing(self, case: Case) -> str | None:
        """Say why GROMACS cannot run this case here, or None."""
        if shutil.which("gmx") is None:
            return "no `gmx` on PATH; install GROMACS"
        return None if case.model.rigid else "flexible models are not compared"

    def version(self) -> str:
        """Return GROMACS's version."""
        return _field(r"GROMACS version:\s*(\S+)")

    def simd(self) -> str:
        """Return the instruction set that GROMACS was built for."""
        return _field(r"SIMD instructions:\s*(.+)")

    def time(self, case: Case, folder: Path) -> Timing:
        """Run the case once; the timers start after the warm-up."""
        steps = run_length(case.atoms, ATOM_STEPS, MOST_STEPS)
        log, peak = _timed_run(case, folder, steps)
        found = re.search(r"^\s*Time:\s+\S+\s+(\S+)", log, re.MULTILINE)
        if found is None:
            raise MdpipeError(f"{folder / 'md.log'}: no timing line; run `gmx mdrun` there by hand")
        return Timing(float(found.group(1)) / steps * 1e3, peak)

    def parts(self, case: Case, folder: Path) -> dict[str, float]:
        """Return where the time of a step goes by GROMACS's own accounting, ms."""
        steps = run_length(case.atoms, ATOM_STEPS, MOST_STEPS)
        return parts_of_log(_timed_run(case, folder, steps)[0], steps)

    def forces(self, case: Case, folder: Path) -> NDArray[np.float64]:
        """Return the forces at the start."""
        _prepare(case, folder, 0, force_interval=1)
        _mdrun(case, folder, [])
        dump, _ = run_child(["gmx", "-quiet", "dump", "-f", "md.trr"], folder, {})
        rows = re.findall(r"f\[\s*\d+\]=\{\s*(\S+),\s*(\S+),\s*(\S+)\}", dump)
        forces = np.array(rows, dtype=np.float64)
        return forces.reshape(case.n_molecules, case.model.n_sites, 3)[:, :3].copy()


def parts_of_log(log: str, steps: int) -> dict[str, float]:
    """Return the time accounting of a GROMACS log by part of a step.

    Parameters
    ----------
    log : str
        Content of md.log.
    steps : int
        Steps that were timed.

    Returns
    -------
    dict of str to float
        ms a step; the parts' sum is the whole.
    """
    row = re.compile(r"^ (\S.*?)\s{2,}(?:\d+\s+\d+\s+\d+\s+)?(\d+\.\d+)\s+\d+\.\d+\s+\d+\.\d+$")
    parts: dict[str, float] = {}
    total = 0.0
    for line in log[log.find("A C C O U N T I N G") :].splitlines():
        found = row.match(line)
        if found is None:
            continue
        name, milliseconds = found[1], float(found[2]) * 1e3 / steps
        if name == "Total":
            total = milliseconds
        elif name in _PARTS:
            parts[_PARTS[name]] = parts.get(_PARTS[name], 0.0) + milliseconds
    return parts | {REST: total - sum(parts.values())}


def _timed_run(case: Case, folder: Path, steps: int) -> tuple[str, float]:
    warmup = max(20, round(WARMUP_PART * steps))
    _prepare(case, folder, warmup + steps, force_interval=0)
    # The timers count from the step after the one named.
    _, peak = _mdrun(case, folder, ["-resetstep", str(warmup), "-noconfout"])
    return (folder / "md.log").read_text(errors="replace"), peak


def _mdrun(case: Case, folder: Path, extra: list[str]) -> tuple[str, float]:
    threads = ["-ntomp", str(case.threads), "-notunepme", "-nb", "cpu", "-pme", "cpu"]
    if "thread_mpi" in _version_text("gmx"):
        threads += ["-ntmpi", "1"]
    return run_child(
        ["gmx", "-quiet", "mdrun", "-deffnm", "md", *threads, *extra],
        folder,
        {"OMP_NUM_THREADS": str(case.threads)},
    )


def _prepare(case: Case, folder: Path, steps: int, *, force_interval: int) -> None:
    state = load_state(case.start)
    for old in folder.glob("md.*"):
        old.unlink()
    (folder / "conf.gro").write_text(_gro(case.model, state))
    (folder / "topol.top").write_text(_topology(case.model, state.n_molecules))
    (folder / "run.mdp").write_text(
        _MDP.format(
            dt=case.dt_ps,
            steps=steps,
            r_cut=case.r_cut_nm,
            temperature=case.temperature_K,
            force_interval=force_interval,
        )
    )
    files = ["-f", "run.mdp", "-c", "conf.gro", "-p", "topol.top", "-o", "md.tpr"]
    run_child(["gmx", "-quiet", "grompp", *files, "-maxwarn", "5"], folder, {})


def _gro(model: WaterModel, state: State) -> str:
    """Write positions with nine decimals: GROMACS takes the width from the decimal points."""
    names = ["OW", "HW1", "HW2", "MW"][: model.n_sites]
    weight = model.virtual_site_weight_h
    lines = ["benchmark", str(state.n_molecules * model.n_sites)]
    atom = 0
    for molecule, (atoms, velocities) in enumerate(
        zip(state.positions, state.velocities, strict=True), start=1
    ):
        sites, motion = list(atoms), list(velocities)
        if model.has_virtual_site:
            sites.append((1.0 - 2.0 * weight) * atoms[0] + weight * (atoms[1] + atoms[2]))
            motion.append(np.zeros(3))
        for name, r, v in zip(names, sites, motion, strict=True):
            atom += 1
            head = f"{molecule % 100000:5d}{'SOL':<5}{name:>5}{atom % 100000:5d}"
            place = "".join(f"{x:14.9f}" for x in r)
            lines.append(head + place + "".join(f"{x:14.10f}" for x in v))
    a, b, c = state.box
    vectors = [a[0], b[1], c[2], a[1], a[2], b[0], b[2], c[0], c[1]]
    lines.append(" ".join(f"{x:.9f}" for x in vectors))
    return "\n".join(lines) + "\n"


def _topology(model: WaterModel, n_molecules: int) -> str:
    q_h, q_o = model.charge_h_e, -2.0 * model.charge_h_e
    atoms = [("OW", q_o, model.mass_o_amu), *[("HW", q_h, model.mass_h_amu)] * 2]
    if model.has_virtual_site:
        atoms = [("OW", 0.0, model.mass_o_amu), *[("HW", q_h, model.mass_h_amu)] * 2]
        atoms.append(("MW", q_o, 0.0))
    rows = [
        f"{i} {name} 1 SOL {name}{i} 1 {charge:.8f} {mass}"
        for i, (name, charge, mass) in enumerate(atoms, start=1)
    ]
    lines = [
        "[ defaults ]",
        "1 2 no 1.0 1.0",
        "[ atomtypes ]",
        f"OW 8 {model.mass_o_amu} 0.0 A {model.sigma_nm} {model.epsilon_kj_mol}",
        f"HW 1 {model.mass_h_amu} 0.0 A 0.0 0.0",
        "MW 0 0.0 0.0 V 0.0 0.0",
        "[ moleculetype ]",
        "SOL 2",
        "[ atoms ]",
        *rows,
        "[ settles ]",
        f"1 1 {model.r_oh_nm} {model.r_hh_nm:.12f}",
    ]
    if model.has_virtual_site:
        weight = model.virtual_site_weight_h
        lines += ["[ virtual_sites3 ]", f"4 1 2 3 1 {weight:.12f} {weight:.12f}"]
    lines.append("[ exclusions ]")
    for i in range(1, model.n_sites + 1):
        others = [j for j in range(1, model.n_sites + 1) if j != i]
        lines.append(" ".join(str(j) for j in [i, *others]))
    lines += ["[ system ]", "water", "[ molecules ]", f"SOL {n_molecules}"]
    return "\n".join(lines) + "\n"
