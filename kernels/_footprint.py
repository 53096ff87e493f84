"""What Numba and LLVM need not hold in memory while kernels run.

LLVM's library has 150 MB, of which to load one compiled kernel reads 2. But Linux maps pages of a
file 16 at a time, and 512 where its cache holds the file in large pages: 50 to 95 MB then count as
resident that nothing reads again. They are clean and lie in the cache of files anyway, so they are
given back whenever Numba has loaded or compiled something.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from numba.core import event
from numba.core.compiler_lock import global_compiler_lock

__all__ = ["LibraryPages", "keep_small"]

MADV_DONTNEED: Final = 4
MADV_NOHUGEPAGE: Final = 15

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ +(\S.*)")


def keep_small() -> None:
    """Give LLVM's pages back now and each time that something was loaded, and load no BLAS."""
    pages = LibraryPages("libllvmlite")
    pages.give_back()
    event.register("numba:compiler_lock", _Watch(pages))  # type: ignore[no-untyped-call]


class LibraryPages:
    """The pages of a loaded library that hold what its file holds: its code and its constants.

    Parameters
    ----------
    name : str
        How the name of its file begins.

    Attributes
    ----------
    ranges : list of tuple of 2 int
        First address and length; none where the system does not tell.
    """

    def __init__(self, name: str) -> None:
        self.ranges = list(_clean_ranges(name))
        for first, length in self.ranges:
            _advise(first, length, MADV_NOHUGEPAGE)

    def give_back(self) -> None:
        """Take them out of this process; the next access maps them again, from the same file."""
        for first, length in self.ranges:
            _advise(first, length, MADV_DONTNEED)


class _Watch(event.Listener):
    """Told when a thread begins and ends to use the compiler, also to load from the cache."""

    def __init__(self, pages: LibraryPages) -> None:
        self._pages = pages

    def on_start(self, _event: Any) -> None:
        """See to it that what Numba imports at first does not import SciPy's BLAS."""
        if "numba.np.arraymath" not in sys.modules:
            _import_without_blas()

    def on_end(self, _event: Any) -> None:
        """Give pages back if this was the outermost use."""
        if not global_compiler_lock.is_locked():  # type: ignore[no-untyped-call]
            self._pages.give_back()


def _import_without_blas() -> None:
    """Import Numba's functions of arrays so that they do not look for SciPy's BLAS.

    It takes 16 MB, and no kernel uses it. They look for it once, to know whether `np.cov` and
    `np.corrcoef` can be compiled; `np.dot` and `np.linalg` look again wherever they are.
    """
    from numba.np import linalg

    look = getattr(linalg, "ensure_blas", None)
    if look is None or look is _no_blas:
        return
    linalg.ensure_blas = _no_blas
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        linalg.ensure_blas = look


def _no_blas() -> None:
    raise ImportError("SciPy's BLAS is not loaded for kernels")


def _clean_ranges(name: str) -> Iterator[tuple[int, int]]:
    """Yield the mappings of a file that cannot be written to and have no page that ever was."""
    try:
        lines = Path("/proc/self/smaps").read_text().splitlines()
    except OSError:
        return
    found: tuple[int, int] | None = None
    for line in lines:
        mapping = _MAPPING.match(line)
        if mapping:
            first, end = int(mapping[1], 16), int(mapping[2], 16)
            ours = Path(mapping[4]).name.startswith(name) and "w" not in mapping[3]
            found = (first, end - first) if ours else None
        elif found and line.startswith("Anonymous:") and line.split()[1] == "0":
            yield found


def _advise(first: int, length: int, advice: int) -> None:
    """Tell the kernel; what it does not know or refuses costs memory alone."""
    ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), ctypes.c_int(advice))
