"""Which explicit vectors this machine has: lanes of float32, fused multiply-add, instructions.

`MDPIPE_SIMD` asks for a narrower width (8, 4) or for none (0: the plain Numba kernels run).
"""

from __future__ import annotations

import os
import platform
from typing import Final

import llvmlite.binding
import numba

__all__ = ["FEATURES", "LANES", "NAME", "choose_lanes"]

_NAMES: Final = {16: "AVX-512", 8: "AVX2 + FMA", 0: "none"}


def _features() -> frozenset[str]:
    """Return the features that Numba compiles for: the host's unless it was told otherwise."""
    told: str | None = numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    if told is not None:
        return frozenset(f[1:] for f in told.split(",") if f.startswith("+"))
    try:
        host = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:
        return frozenset()
    return frozenset(name for name, present in host.items() if present)


def choose_lanes(features: frozenset[str], machine: str, asked: str) -> int:
    """Choose the lanes of float32 vectors.

    Parameters
    ----------
    features : frozenset of str
        As LLVM names them.
    machine : str
        As `platform.machine` names it.
    asked : str
        The most lanes wanted; empty for as many as there are.

    Returns
    -------
    int
        16, 8 or 4; 0 where no vector unit is known.

    Raises
    ------
    ValueError
        If `asked` is neither empty nor 0, 4, 8 or 16.
    """
    if asked not in {"", "0", "4", "8", "16"}:
        raise ValueError(f"MDPIPE_SIMD must be 0, 4, 8 or 16, got {asked!r}; unset it")
    if machine in {"x86_64", "AMD64"}:
        fused = {"avx2", "fma"} <= features
        most = 16 if fused and {"avx512f", "avx512vl", "avx512dq"} <= features else 8 * fused or 4
    else:
        most = 4 if machine in {"aarch64", "arm64"} else 0
    return min(most, int(asked)) if asked else most


FEATURES: Final = _features()
"""Names of the instruction sets, as LLVM spells them."""

MACHINE: Final = platform.machine()

X86: Final = MACHINE in {"x86_64", "AMD64"}

FUSED: Final = "fma" in FEATURES or not X86
"""Whether a multiply-add is one instruction; else it rounds twice."""

LANES: Final = choose_lanes(FEATURES, MACHINE, os.environ.get("MDPIPE_SIMD", ""))
"""float32 lanes of the vectors of this process; 0: plain kernels."""

NAME: Final = _NAMES.get(LANES, "SSE" if X86 else "NEON")
"""What to call it."""
