"""Plots: fit to stand within a page, the same bytes each time, one colour to a group."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mdpipe.render.plots import (
    MAX_GROUPS,
    PALETTE,
    colours,
    plot_distributions,
    plot_msd,
    plot_rdf,
    plot_series,
)


def curves(seed=0):
    rng = np.random.default_rng(seed)
    r = np.arange(1, 200) * 0.005
    t = np.arange(100) * 0.1
    peak = 1 + 2 * np.exp(-(((r - 0.28) / 0.02) ** 2))
    peak[r < 0.24] = 0.0
    structure = {
        "r_nm": r,
        "g_oo": peak,
        "g_oh": peak,
        "g_hh": peak,
        "g_oo_error": 0.01 * peak,
        "q": np.linspace(-0.5, 1, 30),
        "q_density": rng.random(30),
        "q6": np.linspace(0, 0.7, 30),
        "q6_density": rng.random(30),
        "time_ps": t,
        "hbonds_per_molecule": 3.6 + 0.1 * rng.normal(size=100),
        "ice_fraction": np.zeros(100),
        "energy_time_ps": t,
        "energy_temperature_K": 300 + rng.normal(size=100),
        "energy_potential_kj_mol": -46 + 0.1 * rng.normal(size=100),
    }
    motion = {
        "lag_ps": t,
        "msd_nm2": 0.014 * t,
        "msd_fit": np.array([2.0, 9.0, 0.014, 0.0]),
        "energy_time_ps": t,
        "energy_conserved_kj_mol": 0.001 * rng.normal(size=100),
    }
    density = {"energy_time_ps": t, "energy_density_g_cm3": 1 + 0.01 * rng.normal(size=100)}
    return {"nvt": structure, "npt": density, "nve": motion}


def every_plot(groups):
    return [
        *plot_rdf(groups),
        *plot_msd(groups),
        *plot_distributions(groups),
        *plot_series(groups),
    ]


@pytest.fixture(scope="module")
def plots():
    return every_plot({"liquid <1>": curves(), "ice": curves(1)})


def test_all_quantities_are_drawn(plots):
    assert [plot.title for plot in plots] == [
        "g(r), O–O",
        "g(r), O–H",
        "g(r), H–H",
        "Mean squared displacement",
        "Tetrahedral order q",
        "Averaged q6",
        "Temperature",
        "Density",
        "Potential energy",
        "Conserved energy",
        "Hydrogen bonds",
        "Ice by CHILL+",
    ]


def test_each_plot_is_well_formed_scales_with_the_page_and_is_described(plots):
    for plot in plots:
        root = ET.fromstring(plot.svg)
        assert "width" not in root.attrib
        assert "viewBox" in root.attrib
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"] == plot.alt
        assert "liquid <1>" in plot.alt


def test_ids_are_unique_over_all_plots_of_a_page(plots):
    ids = [e.attrib["id"] for p in plots for e in ET.fromstring(p.svg).iter() if "id" in e.attrib]
    assert len(ids) == len(set(ids)) > 0


def test_axes_carry_their_units_and_labels_stay_whole(plots):
    texts = ["".join(ET.fromstring(plot.svg).itertext()) for plot in plots]
    assert "r (nm)" in texts[0]
    assert "MSD (nm²)" in texts[3]
    assert "density (g/cm³)" in texts[7]
    assert "\N{MINUS SIGN}0.002" in texts[9]  # three decimals


def test_ink_is_the_page_s_and_groups_have_their_colours(plots):
    for plot in plots:
        assert "currentColor" in plot.svg
        assert "#010203" not in plot.svg
    for colour in PALETTE[:2]:
        assert colour.lower() in plots[0].svg


def test_the_same_data_give_the_same_bytes(plots):
    again = every_plot({"liquid <1>": curves(), "ice": curves(1)})
    assert [plot.svg for plot in again] == [plot.svg for plot in plots]


def test_a_group_without_curves_keeps_its_colour_and_breaks_nothing():
    shown = plot_rdf({"failed": {}, "ice": curves()})
    assert PALETTE[1].lower() in shown[0].svg
    assert PALETTE[0].lower() not in shown[0].svg
    assert every_plot({"failed": {}}) == []


def test_no_more_groups_are_drawn_than_can_be_told_apart():
    assert len(colours([str(k) for k in range(40)])) == MAX_GROUPS
