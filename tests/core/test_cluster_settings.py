import pytest

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import StudyError, UsageError
from mdpipe.study import load_study
from mdpipe.user_settings import cluster_settings


def study(folder, cluster=""):
    path = folder / "study.toml"
    path.write_text(f'name = "a"\n[[inputs]]\npath = "a.gro"\n{cluster}')
    return load_study(path)


def test_the_study_goes_over_the_variable_and_that_over_the_file_and_that_over_the_default(
    tmp_path,
):
    file = tmp_path / "settings.toml"
    file.write_text(
        '[cluster]\nnamespace = "file"\nimage = "file"\nstore = "s3://file/x"\nchunk = 7\n'
    )
    environment = {
        "MDPIPE_SETTINGS": str(file),
        "MDPIPE_CLUSTER_IMAGE": "variable",
        "MDPIPE_CLUSTER_STORE": "s3://variable/x",
        "MDPIPE_CLUSTER_PARALLELISM": "",
        "MDPIPE_CLUSTER_TOLERATIONS": '[{"key": "spot", "operator": "Exists"}]',
    }
    found = cluster_settings(study(tmp_path, '[cluster]\nstore = "s3://study/x"\n'), environment)
    assert (found.namespace, found.image, found.store) == ("file", "variable", "s3://study/x")
    assert found.chunk == 7
    assert found.parallelism is None
    assert found.tolerations[0].key == "spot"
    assert found.shared_claim == ClusterSettings().shared_claim


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("MDPIPE_CLUSTER_CHUNK", "0", ["[cluster] chunk", "greater than or equal to 1"]),
        ("MDPIPE_CLUSTER_STORAGE", "floppy", ["[cluster] storage", "floppy"]),
        ("MDPIPE_CLUSTER_STORE_ENDPOINT", "minio:9000", ["[cluster] store_endpoint", "http"]),
        ("MDPIPE_CLUSTER_INPUTS_KEY", "/inputs", ["[cluster] inputs_key", "such as inputs"]),
        ("MDPIPE_CLUSTER_INPUTS_KEY", "../inputs", ["[cluster] inputs_key", "`..`"]),
        ("MDPIPE_CLUSTER_TOLERATIONS", "spot", ["MDPIPE_CLUSTER_TOLERATIONS", "JSON"]),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_the_key(tmp_path, variable, value, words):
    environment = {"MDPIPE_SETTINGS": str(tmp_path / "none.toml"), variable: value}
    with pytest.raises(UsageError) as caught:
        cluster_settings(study(tmp_path), environment)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_wrong_key_of_the_study_is_a_study_error(tmp_path):
    with pytest.raises(StudyError, match=r"cluster\.stroage"):
        study(tmp_path, '[cluster]\nstroage = "split"\n')
