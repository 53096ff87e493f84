"""The specification of a scene: everything that decides its bits, and nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

PHYSICS_VERSION = 9
"""Raised whenever a change of the code changes the bits of a scene; part of every scene key."""

LONGEST_IMPULSE_PS = 0.008
"""Longest time between impulses on rigid water: a quarter of 33 fs, the period of the fastest
librations; resonances begin at a third. The energy of an nve run of SPC/E drifts by less than 0.1
kT/ns per atom at 8 fs, by 0.9 at 10 fs and by 18 at 12 fs."""

MOST_RARE = 4
"""Steps from one impulse to the next at most: more would save next to nothing."""


class Frozen(BaseModel):
    """A settings table: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nonbonded(Frozen):
    """Cutoffs and electrostatics.

    `pme_tolerance` is the aimed-at relative RMS force error of the Coulomb sum; it chooses
    alpha, grid and order unless `pme_alpha_per_nm` and `pme_grid` are given. With the default the
    forces of the reference configurations are within it; GROMACS's defaults leave 5.6e-4.
    """

    r_cut_nm: float = Field(0.9, gt=0)
    electrostatics: Literal["pme", "rf"] = "pme"
    pme_tolerance: float = Field(1.7e-4, gt=0, lt=1)
    pme_order: Literal[4, 5] | None = None
    pme_alpha_per_nm: float | None = Field(None, gt=0)
    pme_grid: tuple[int, int, int] | None = None
    rf_epsilon: float | None = Field(None, gt=1, description="none means a conductor")
    dispersion_correction: bool = True


class Scene(Frozen):
    """One simulation: model, ensemble, length, seed.

    The pressure of `npt` is regulated on molecular centres. `equilibration_steps` are
    run in the scene's own ensemble (nvt for an nve scene) with the same `dt_ps` before production
    and are not written; `minimise_steps` come before them.

    With `reciprocal_every` = 2, 3 or 4 the reciprocal forces of PME are computed at its multiples
    alone and applied so many times as large: impulse r-RESPA (`mdpipe.simulation.impulses`; in
    GROMACS `mts-level2-factor`, `mts-level2-forces = longrange-nonbonded`). They are little of a
    step: of 24,000 atoms on one thread 2 saves some 10 % of the processor time, 4 some 15 %.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    model: str = "spce"
    ensemble: Literal["nve", "nvt", "npt"]
    steps: int = Field(gt=0)
    dt_ps: float = Field(0.002, gt=0)
    seed: int = Field(1, ge=0)
    temperature_K: float = Field(298.15, gt=0)
    pressure_bar: float = 1.0
    integrator: Literal["leapfrog", "vverlet"] = "vverlet"
    thermostat: Literal["bussi", "langevin"] = "bussi"
    thermostat_tau_ps: float = Field(0.5, gt=0)
    barostat: Literal["stochastic-cell-rescaling", "monte-carlo"] = "stochastic-cell-rescaling"
    barostat_tau_ps: float = Field(2.0, gt=0)
    compressibility_per_bar: float = Field(4.5e-5, gt=0)
    precision: Literal["double", "mixed"] = "mixed"
    reciprocal_every: int = Field(1, ge=1, description="steps between reciprocal forces of PME")
    minimise_steps: int = Field(0, ge=0)
    equilibration_steps: int = Field(0, ge=0)
    remove_com_every: int = Field(100, ge=0)
    frame_every: int = Field(100, gt=0, description="steps between frames of the trajectory")
    energy_every: int = Field(50, gt=0, description="steps between rows of the energy table")
    checkpoint_every: int = Field(5000, gt=0)
    trajectory: Literal["xtc", "dcd"] = "xtc"
    nonbonded: Nonbonded = Nonbonded()

    @model_validator(mode="after")
    def _check(self) -> Scene:
        if (
            self.thermostat == "langevin"
            and self.ensemble != "nve"
            and self.integrator == "leapfrog"
        ):
            raise ValueError(
                'thermostat = "langevin" is the Langevin middle scheme; '
                'it goes with integrator = "vverlet"'
            )
        return self

    @model_validator(mode="after")
    def _check_impulses(self) -> Scene:
        every = self.reciprocal_every
        if every == 1:
            return self
        if self.nonbonded.electrostatics != "pme":
            raise ValueError(
                f'reciprocal_every = {every} goes with nonbonded.electrostatics = "pme", got '
                f'"{self.nonbonded.electrostatics}"; leave it out'
            )
        if every > MOST_RARE or every * self.dt_ps > LONGEST_IMPULSE_PS * (1 + 1e-9):
            raise ValueError(
                f"reciprocal_every must be at most {MOST_RARE}, and times dt_ps at most "
                f"{LONGEST_IMPULSE_PS} ps (longer impulses resonate with the librations of water), "
                f"got {every} x {self.dt_ps:g}; lower one of them"
            )
        if self.steps % every or self.energy_every % every:
            raise ValueError(
                f"steps and energy_every must be multiples of reciprocal_every = {every} (between "
                f"them velocities lack a part of an impulse), got {self.steps} and "
                f"{self.energy_every}; change them"
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_what_is_new(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that came later while they say nothing: scene keys and plans stay."""
        table: dict[str, Any] = dump(self)
        if self.reciprocal_every == 1:
            table.pop("reciprocal_every", None)
        return table


def scene_key(scene: Scene, start_digest: str) -> str:
    """Return the content address of a scene: a digest of all that decides its bits.

    Parameters
    ----------
    scene : Scene
        The specification; its `name` is a label and does not enter.
    start_digest : str
        Hex digest of the start state.

    Returns
    -------
    str
        64 hex digits.
    """
    content = {
        "physics_version": PHYSICS_VERSION,
        "start": start_digest,
        "scene": scene.model_dump(mode="json", exclude={"name"}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
