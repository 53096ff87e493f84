"""The doors to MDAnalysis and ASE: imported late, with their warnings kept out.

MDAnalysis takes most of a second to import, and both warn about files that are fine for us
(a PDB without element column, a GRO without velocities), so text formats never come here.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of third parties inside the block.

    Yields
    ------
    None
        Nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def third_party(module: str) -> Any:
    """Import a module of MDAnalysis or ASE without its warnings.

    Parameters
    ----------
    module : str
        Full name, such as ``"MDAnalysis.lib.formats.libdcd"``.

    Returns
    -------
    module
        The module.
    """
    with quiet():
        return importlib.import_module(module)
