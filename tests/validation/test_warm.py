"""`mdpipe warm` leaves nothing to compile: it drives the pipeline; this looks what it missed."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.validation

MISSED = """
import importlib, json, pkgutil
from numba.core.registry import CPUDispatcher
import mdpipe.kernels, mdpipe.render
from mdpipe.steps.warm import PARTS
for part in PARTS.values():
    part()
missed = []
for package in (mdpipe.kernels, mdpipe.render):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            own = isinstance(value, CPUDispatcher) and value.py_func.__module__ == found.name
            inlined = own and value.targetoptions.get("inline") == "always"
            if own and not inlined and "naive" not in found.name and not value.signatures:
                missed.append(f"{found.name}.{name}")
print(json.dumps(missed))
"""


def test_every_kernel_is_compiled(tmp_path):
    # In an empty cache, for where an outer kernel is loaded its inner ones are not.
    environment = os.environ | {"MDPIPE_CACHE_DIR": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    answer = subprocess.run(
        [sys.executable, "-c", MISSED],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(answer.stdout.splitlines()[-1]) == []
