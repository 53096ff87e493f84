"""What compiled kernels keep in memory, each time in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numba
import pytest

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="needs compiled code")

LOAD = """
import sys
import numpy as np
from mdpipe.kernels import _footprint, rng
rng.fill_normals(np.zeros(5), np.uint64(1), np.uint64(2), np.uint64(3))
"""

RESIDENT = """
total = 0
for line in open("/proc/self/smaps"):
    if "-" in line.split()[0]:
        ours = "libllvmlite" in line
    elif ours and line.startswith("Rss:"):
        total += int(line.split()[1])
print(total / 1024)
"""

MULTIPLY = """
import numba
multiply = numba.njit(lambda a, b: np.dot(a, b))
print(multiply(np.eye(2), np.full((2, 2), 3.0)).sum())
"""

AFRESH = """
import numba
pages = _footprint.LibraryPages("libllvmlite")
assert pages.ranges
pages.give_back()
print(numba.njit(lambda x: x + 1)(1))
"""


def output_of(code):
    done = subprocess.run(
        [sys.executable, "-c", LOAD + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_loading_a_kernel_imports_no_linear_algebra():
    assert output_of("print('scipy.linalg' in sys.modules)") == "False"


def test_numba_still_finds_the_linear_algebra_that_a_product_of_matrices_needs():
    assert output_of(MULTIPLY) == "12.0"


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_of_llvm_only_what_was_written_to_stays():
    # 2 MB of relocations; with its code it would be 50 MB at least.
    assert float(output_of(RESIDENT)) < 5.0


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_the_compiler_works_after_its_pages_were_given_back():
    assert output_of(AFRESH) == "2"
