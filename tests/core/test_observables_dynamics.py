"""Diffusion of a known walk, dielectric constant of known dipoles, drift of a known slope."""

from __future__ import annotations

import numpy as np
import pytest

from mdpipe.models import load_model
from mdpipe.observables.dielectric import Dipoles, dielectric_constant
from mdpipe.observables.dynamics import Displacements, Viscosity, fit_window
from mdpipe.observables.measure import model_viscosity
from mdpipe.observables.results import Measurements
from mdpipe.observables.thermodynamics import energy_drift, thin
from mdpipe.state import Frame
from mdpipe.units import BOLTZMANN, COULOMB

WATER = load_model("spce")
SHAPE = np.array([[0.0, 0.0, 0.0], [0.08, 0.06, 0.0], [-0.08, 0.06, 0.0]])


def walk(n, steps, dt, diffusion, seed, drift=0.0):
    """Frames of rigid molecules in Brownian motion, D in nm²/ps."""
    rng = np.random.default_rng(seed)
    jumps = rng.normal(size=(steps, n, 3)) * np.sqrt(2 * diffusion * dt)
    centres = (
        rng.uniform(0, 3, (1, n, 3))
        + jumps.cumsum(axis=0)
        + drift * np.arange(steps)[:, None, None]
    )
    for k in range(steps):
        yield Frame(centres[k][:, None] + SHAPE, np.diag([3.0, 3.0, 3.0]), k * dt)


def diffuse(frames, viscosity="not wanted", box=None, memory=2**28):
    part = Displacements(WATER, memory)
    for frame in frames:
        part.add(frame)
    into = Measurements()
    part.finish(
        into, box=np.eye(3) * 3.0 if box is None else box, temperature_K=300.0, viscosity=viscosity
    )
    return into, part


@pytest.mark.parametrize("steps", [200, 2400])
def test_a_brownian_walk_gives_its_diffusion_coefficient_within_its_error(steps):
    into, _ = diffuse(walk(400, steps, 0.1, 2.3e-3, seed=8))
    scalar = into.scalars["diffusion"]
    # One draw: three standard errors. Removing the drift of the box takes 1/400 from D.
    assert scalar.value == pytest.approx(2.3, abs=3.0 * scalar.error + 0.01)
    assert 0.0 < scalar.error < 0.15
    blocks = "blocks of time" if steps > 2000 else "groups of molecules in one short run"
    assert blocks in scalar.note


def test_the_error_of_d_is_the_spread_over_many_walks():
    scalars = [
        diffuse(walk(64, 200, 0.1, 2e-3, seed))[0].scalars["diffusion"] for seed in range(40)
    ]
    spread = np.std([s.value for s in scalars], ddof=1)
    # The spread of 40 values is known to 11 %, an error from 16 groups to 18 %, over 40 to 3 %.
    assert np.mean([s.error for s in scalars]) == pytest.approx(spread, rel=0.35)


def test_the_drift_of_the_whole_box_is_no_diffusion():
    still, _ = diffuse(walk(100, 200, 0.1, 2e-3, seed=9))
    moving, _ = diffuse(walk(100, 200, 0.1, 2e-3, seed=9, drift=0.05))
    # Centres are kept in float32: 1e-7 of 10 nm against displacements of 0.1 nm.
    expected = still.scalars["diffusion"].value
    assert moving.scalars["diffusion"].value == pytest.approx(expected, rel=1e-4)


def test_long_runs_are_thinned_and_the_stride_is_stated():
    into, part = diffuse(walk(50, 800, 0.05, 2e-3, seed=10), memory=50 * 3 * 4 * 100)
    assert part.stride == 8
    assert into.info["msd_stride"] == 8
    scalar = into.scalars["diffusion"]
    assert scalar.value == pytest.approx(2.0, abs=4.0 * scalar.error)


def test_a_run_too_short_gets_no_d_but_a_reason():
    into, _ = diffuse(walk(10, 20, 0.1, 2e-3, seed=1))
    assert into.scalars["diffusion"].value is None
    assert into.scalars["diffusion"].note.startswith("run too short: 1.9 ps")


def test_water_that_does_not_move_is_said_to_be_still():
    into, _ = diffuse(walk(50, 200, 0.1, 1e-6, seed=2))
    assert "no diffusion to speak of" in into.scalars["diffusion"].note


def test_yeh_hummer_adds_what_the_reference_adds():
    # equilibrium.json: D 2.366 in a box of 2.48339 nm, 2.708 corrected, η 0.729 mPa s, 298 K.
    box = np.eye(3) * 2.4833929538726807
    viscosity = Viscosity(0.729, "a source")
    into, _ = diffuse(walk(50, 200, 0.1, 2e-3, seed=3), viscosity, box)
    shift = into.scalars["diffusion_corrected"].value - into.scalars["diffusion"].value
    expected = (2.708224231371188 - 2.3659700211722448) * 300.0 / 298.15
    assert shift == pytest.approx(expected, rel=1e-3)  # they may have used 298 K
    assert "η = 0.729" in into.scalars["diffusion_corrected"].note


def test_the_correction_is_left_out_where_it_does_not_hold():
    flat = np.diag([3.0, 3.0, 4.0])
    into, _ = diffuse(walk(20, 100, 0.1, 2e-3, seed=4), Viscosity(0.7, ""), flat)
    corrected = into.scalars["diffusion_corrected"]
    assert (corrected.value, corrected.note) == (
        None,
        "correction not applied: the box is not cubic",
    )
    assert "only at 298 K" in model_viscosity(WATER, 250.0)
    assert model_viscosity(WATER, 299.0).mpa_s == 0.729


def test_the_window_of_the_fit_is_within_the_run():
    assert fit_window(200.0) == (2.0, 20.0)
    assert fit_window(10.0) == (1.0, 5.0)


def test_dielectric_constant_of_gaussian_dipoles_is_that_of_their_variance():
    variance, volume = 2.0, 30.0
    moments = np.random.default_rng(12).normal(size=(40_000, 3)) * np.sqrt(variance) + [3, 0, -2]
    expected = 1 + 4 * np.pi * COULOMB * 3 * variance / (3 * volume * BOLTZMANN * 300.0)
    scalar = dielectric_constant(moments, volume, 300.0)
    # Relative error √(2/3n) = 0.4 %; the constant mean moment must not enter.
    assert scalar.value == pytest.approx(expected, abs=4.0 * scalar.error)
    assert scalar.error == pytest.approx((expected - 1) * np.sqrt(2 / 120_000), rel=0.2)


def dipole_of_one(model):
    part = Dipoles(load_model(model))
    geometry = load_model(model)
    half = np.radians(geometry.angle_hoh_deg) / 2
    x, y = geometry.r_oh_nm * np.sin(half), geometry.r_oh_nm * np.cos(half)
    part.add(Frame(np.array([[[0, 0, 0], [x, y, 0], [-x, y, 0]]]), np.eye(3)))
    into = Measurements()
    part.finish(into, temperature_K=300.0)
    return np.linalg.norm(into.curves["dipole_e_nm"][0]) / 0.0208194  # e nm per debye


@pytest.mark.parametrize(("model", "debye"), [("spce", 2.35), ("tip4p2005", 2.305), ("opc", 2.48)])
def test_dipoles_are_those_of_the_models(model, debye):
    assert dipole_of_one(model) == pytest.approx(debye, abs=0.005)


def test_a_short_run_says_that_it_has_no_dielectric_constant():
    part = Dipoles(WATER)
    for k in range(5):
        part.add(Frame(SHAPE[None], np.eye(3), 10.0 * k))
    into = Measurements()
    part.finish(into, temperature_K=300.0)
    scalar = into.scalars["dielectric_constant"]
    assert scalar.value is None
    assert scalar.note == "run too short: 40 ps, needs at least 1000 ps"


def test_drift_is_the_slope_in_kt_per_nanosecond_and_atom():
    t = np.linspace(0.0, 100.0, 1001)
    kt = BOLTZMANN * 300.0
    noise = np.random.default_rng(13).normal(size=1001) * 0.5
    scalar = energy_drift(t, 5.0 + 0.05 * 30 * kt * t / 1000.0 + noise, 30, 300.0)
    assert scalar.value == pytest.approx(0.05, abs=4.0 * scalar.error)
    # White noise: σ √12 / (√n length).
    expected = 0.5 * np.sqrt(12 / 1001) / 0.1 / (30 * kt)
    assert scalar.error == pytest.approx(expected, rel=0.2)


def test_thinned_series_keep_their_mean():
    series = np.arange(2500.0)
    short = thin(series, 1000)
    assert len(short) <= 1000
    assert short.mean() == pytest.approx(series[: 3 * len(short)].mean())
