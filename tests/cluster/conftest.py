"""Whether there is a cluster is asked before anything is made for its tests."""

import os

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.get_closest_marker("cluster") and not os.environ.get("MDPIPE_TEST_KUBECONFIG"):
        pytest.skip("no cluster: MDPIPE_TEST_KUBECONFIG names no kubeconfig")
