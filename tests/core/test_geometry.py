"""Molecules put into a model's geometry."""

import numpy as np
import pytest

from mdpipe.models import load_model, model_keys
from mdpipe.preprocessing.geometry import impose_geometry


def angles(molecules):
    u, v = molecules[:, 1] - molecules[:, 0], molecules[:, 2] - molecules[:, 0]
    cosine = (u * v).sum(axis=1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    return np.degrees(np.arccos(cosine))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("key", model_keys())
def test_lengths_and_angle_are_the_models_and_the_rest_stays(reference, key):
    model = load_model(key)
    with np.load(reference / "conf_w216a.npz") as data:
        old = data["pos"] + np.random.default_rng(1).normal(0, 0.004, (216, 3, 3))
    new = impose_geometry(old, model)
    np.testing.assert_array_equal(new[:, 0], old[:, 0])
    lengths = np.linalg.norm(new[:, 1:] - new[:, :1], axis=2)
    np.testing.assert_allclose(lengths, model.r_oh_nm, rtol=1e-13)
    np.testing.assert_allclose(angles(new), model.angle_hoh_deg, rtol=1e-12)
    before, after = old[:, 1:] - old[:, :1], new[:, 1:] - new[:, :1]
    bisectors = [unit(unit(arms).sum(axis=1)) for arms in (before, after)]
    normals = [unit(np.cross(arms[:, 0], arms[:, 1])) for arms in (before, after)]
    np.testing.assert_allclose(*bisectors, atol=1e-12)
    np.testing.assert_allclose(*normals, atol=1e-12)


def test_the_reference_geometries_are_reproduced_from_spce(reference):
    with np.load(reference / "conf_w216a.npz") as conf:
        positions = conf["pos"].astype(np.float64)
    with np.load(reference / "case_w216a_tip4p2005.npz") as case:
        expected = case["pos"].reshape(-1, 3, 3)
    got = impose_geometry(positions, load_model("tip4p2005"))
    # The stored positions began as float32 with unequal bonds.
    np.testing.assert_allclose(got, expected, atol=2e-7)


@pytest.mark.parametrize("second", [[-0.1, 0.0, 0.0], [0.1, 0.0, 0.0]])
def test_a_straight_or_folded_molecule_opens(second):
    model = load_model("spce")
    old = np.array([[[1.0, 2.0, 3.0], [1.1, 2.0, 3.0], np.array([1.0, 2.0, 3.0]) + second]])
    new = impose_geometry(old, model)
    np.testing.assert_allclose(np.linalg.norm(new[:, 1:] - new[:, :1], axis=2), 0.1, rtol=1e-12)
    np.testing.assert_allclose(angles(new), model.angle_hoh_deg, rtol=1e-9)
