"""`mdpipe validate`: the table of comparisons with reference data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mdpipe.failures import InputError
from mdpipe.validation import Row, format_table, validate

REFERENCE = Path(__file__).parents[2] / "data" / "reference"
COARSE = "pmecoarse_w216a_spce_a3_g20x20x20"


@pytest.fixture
def folder(tmp_path):
    def fill(*names):
        shutil.copy(REFERENCE / "models.json", tmp_path)
        for name in names:
            for suffix in (".json", ".npz"):
                shutil.copy(REFERENCE / f"{name}{suffix}", tmp_path)
        return tmp_path

    return fill


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_reference_is_met_in_both_precisions(folder):
    told = []
    rows = validate(folder("case_w216a_spcfw", COARSE), told.append)
    assert [line.split()[0] for line in told] == ["case_w216a_spcfw", COARSE]
    assert all(row.passed for row in rows), format_table(rows)
    seen = {(row.quantity, row.precision) for row in rows}
    for quantity in (
        "F_pme",
        "F_lj_O",
        "F_rf78",
        "F_rfinf",
        "F_bonded",
        "W_mol_pme",
        "E_total_pme",
    ):
        assert (quantity, "double") in seen
        assert (quantity, "mixed") in seen
    assert ("F_coul_atoms", "double") in seen


def test_the_parameters_are_those_of_the_case_and_a_wrong_one_fails(folder):
    where = folder("case_w216a_spce")
    path = where / "case_w216a_spce.json"
    parameters = json.loads(path.read_text())["params"]
    # A model that is none of ours under a name that is none of ours, 0.1 % off the stored numbers.
    change(path, model="other", params=parameters | {"eps": parameters["eps"] * 1.001})
    rows = {(row.quantity, row.precision): row for row in validate(where)}
    assert not rows["E_lj_trunc", "double"].passed
    assert rows["E_lj_trunc", "mixed"].error == pytest.approx(1e-3, rel=0.01)
    assert rows["E_coul_pme", "double"].passed


def test_a_wrong_reference_number_is_marked_in_the_table(folder):
    where = folder(COARSE)
    change(where / f"{COARSE}.json", E_coul=-1.0)
    rows = validate(where)
    table = format_table(rows)
    assert [row.quantity for row in rows if not row.passed] == ["E_coul"]
    assert table.count("FAILED") == 1
    assert table.endswith("4 comparisons, 1 beyond their limit")


def test_an_error_that_is_not_a_number_fails():
    table = format_table([Row("a", "F", "mixed", float("nan"), 1e-4, passed=False)])
    assert "FAILED" in table


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="no case_"):
        validate(tmp_path)


def test_a_missing_or_odd_file_is_one_clear_line(folder):
    where = folder("case_w216a_spce")
    path = where / "case_w216a_spce.json"
    whole = path.read_text()
    content = json.loads(whole)
    del content["cutoff"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="'cutoff' is missing"):
        validate(where)
    path.write_text(whole)
    change(path, cutoff="far")
    with pytest.raises(InputError, match="not of the form") as caught:
        validate(where)
    assert "\n" not in str(caught.value)
    path.write_text(whole[:100])
    with pytest.raises(InputError, match="not a readable pair"):
        validate(where)
    path.unlink()
    with pytest.raises(InputError, match=r"case_w216a_spce.npz: its .json is missing"):
        validate(where)
    path.write_text(whole)
    np.savez(where / "case_w216a_spce.npz", pos=np.zeros((6, 3)))
    with pytest.raises(InputError, match=r"is missing|not of the form"):
        validate(where)
