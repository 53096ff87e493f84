"""Numba options of every kernel, in one place.

``cache=True`` stamps a function with its own file alone: after an edit to a callee in another file
the stale machine code would be used (numba#1833). The cache folder is therefore named after a
digest of all kernel sources (the rasteriser in ``render/`` among them), and after the width of the
vectors, which a setting may narrow. ``MDPIPE_CACHE_DIR`` moves it; ``NUMBA_CACHE_DIR``, where set,
wins.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from mdpipe.kernels._footprint import keep_small
from mdpipe.kernels.simd_target import LANES

__all__ = ["jit", "parallel_jit", "set_threads", "sources_digest"]


def sources_digest() -> str:
    """Return the hex digest of all kernel sources (12 characters).

    Returns
    -------
    str
        Changes whenever a file of this package or one of the renderer with kernels changes.
    """
    digest = hashlib.sha256()
    kernels = Path(__file__).resolve().parent
    drawing = (p for p in (kernels.parent / "render").glob("*.py") if b"_jit" in p.read_bytes())
    for path in sorted([*kernels.glob("*.py"), *drawing]):
        if path.name.startswith("naive"):
            continue
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _cache_folder() -> Path:
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given) / f"lanes{LANES}" if os.environ.get("MDPIPE_SIMD") else Path(given)
    root = os.environ.get("MDPIPE_CACHE_DIR")
    base = Path(root) if root else Path.home() / ".cache" / "mdpipe"
    return base / "numba" / f"{sources_digest()}-{LANES}"


numba.config.CACHE_DIR = str(_cache_folder())  # type: ignore[attr-defined]

# OpenMP first: entering a parallel loop takes 1 µs on one thread and 1 to 4 on two that are awake;
# Numba's own layer takes 50 to 100 whatever the number, and TBB's may be of any version.
if not os.environ.get("NUMBA_THREADING_LAYER_PRIORITY"):
    numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]  # type: ignore[attr-defined]

# Waiting threads must sleep: two simulations sharing two cores would spin against each other. But
# to wake one costs 50 µs, as long as some of the loops run; so they sleep after turning about for
# as long as that, which holds over the gap from one loop of a step to the next.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

keep_small()


def jit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a serial kernel: cached, without the GIL, IEEE unless ``fastmath`` is named.

    Parameters
    ----------
    **options : Any
        Passed on to ``numba.njit`` (``fastmath``, ``inline``, …).

    Returns
    -------
    Callable
        The decorator.
    """
    settings: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"} | options
    if settings.get("fastmath") is True:
        # LLVM may round such code otherwise each time it optimises it. A process that compiles
        # calls the function's own copy, one that loads from the cache its caller's copy, and their
        # bits would differ; what is always inlined has no copy of its own to be called.
        settings.setdefault("forceinline", True)
    decorate: Callable[[Callable[..., Any]], Any] = numba.njit(**settings)
    return decorate


def parallel_jit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a kernel with ``prange`` loops; keep its body thin, it compiles slowly.

    Parameters
    ----------
    **options : Any
        Passed on to ``numba.njit``.

    Returns
    -------
    Callable
        The decorator.
    """
    return jit(parallel=True, **options)


def set_threads(threads: int) -> None:
    """Set how many threads the parallel kernels use.

    Parameters
    ----------
    threads : int
        At least 1; more than the machine has are cut to what it has.
    """
    available: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(threads, available)))
