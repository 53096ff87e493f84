import pytest
import yaml
from argo_walk import SHARED, _walk_crd

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import UsageError
from mdpipe.workflows.fluid import fluid_objects

SETTINGS = ClusterSettings(store="s3://bucket/md", store_endpoint="http://store:9000")


@pytest.mark.skipif(
    not (SHARED / "fluid").is_dir(), reason="Fluid's CRDs are not beside the project"
)
@pytest.mark.parametrize("number", range(3))
def test_fluid_objects_follow_its_crds(number):
    document = fluid_objects(SETTINGS)[number]
    path = SHARED / "fluid" / f"data.fluid.io_{document['kind'].lower()}s.yaml"
    crd = yaml.safe_load(path.read_text())
    schema = next(v for v in crd["spec"]["versions"] if v["name"] == "v1alpha1")
    schema = schema["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert list(_walk_crd(document["spec"], schema, "spec")) == []
    assert list(_walk_crd(document["spec"] | {"mount": 1}, schema, "spec")) != []
    assert document["apiVersion"] == f"{crd['spec']['group']}/v1alpha1"


def test_data_set_cache_and_claim_have_one_name_and_keys_come_from_the_secret():
    dataset, runtime, load = fluid_objects(SETTINGS)
    assert dataset["metadata"]["name"] == runtime["metadata"]["name"] == SETTINGS.inputs_claim
    assert load["spec"]["dataset"]["name"] == SETTINGS.inputs_claim
    (mount,) = dataset["spec"]["mounts"]
    assert mount["mountPoint"] == "s3://bucket/md/inputs"
    assert all(
        option["valueFrom"]["secretKeyRef"]["name"] == SETTINGS.store_secret
        for option in mount["encryptOptions"]
    )


@pytest.mark.parametrize("change", [{"store": ""}, {"storage": "sdk"}, {"storage": "artifacts"}])
def test_a_profile_that_mounts_no_inputs_is_refused(change):
    with pytest.raises(UsageError, match=r"--fluid: .*; set cluster\.store"):
        fluid_objects(SETTINGS.model_copy(update=change))
