"""Water models carry the parameters of the reference data, to the last digit."""

import json

import pytest

from mdpipe.failures import UsageError
from mdpipe.models import load_model, model_keys
from mdpipe.units import COULOMB


def test_there_are_the_six_models():
    assert model_keys() == ["opc", "spce", "spcfw", "tip3p", "tip4p2005", "tip4pew"]


@pytest.mark.parametrize("key", model_keys())
def test_parameters_are_those_of_the_reference(reference, key):
    table = json.loads((reference / "models.json").read_text())
    model, given = load_model(key), table[key]
    assert table["coulomb_constant"] == COULOMB
    assert (model.mass_o_amu, model.mass_h_amu) == (table["mass_O"], table["mass_H"])
    assert (model.r_oh_nm, model.angle_hoh_deg) == (given["rOH"], given["theta"])
    assert (model.r_om_nm, model.charge_h_e) == (given["dOM"], given["qH"])
    assert (model.sigma_nm, model.epsilon_kj_mol) == (given["sigma"], given["eps"])
    assert model.n_sites == given["nsite"]
    # derived numbers: a few rounding errors of double precision apart
    assert model.c6 == pytest.approx(given["C6"], rel=1e-14)
    assert model.c12 == pytest.approx(given["C12"], rel=1e-14)
    assert model.r_hh_nm == pytest.approx(given["dHH"], rel=1e-14)
    if given["w_M"]:
        assert model.virtual_site_weight_h == pytest.approx(given["w_M"][1], rel=1e-14)
    assert model.rigid == ("kb" not in given)
    if not model.rigid:
        assert model.k_bond_kj_mol_nm2 == given["kb"]
        assert model.k_angle_kj_mol_rad2 == given["ka"]


def test_an_unknown_model_is_named_with_those_there_are():
    with pytest.raises(UsageError, match=r"'spc'.*spce"):
        load_model("spc")
