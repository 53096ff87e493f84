"""Argo's own memoization of scenes, for small studies whose cache evicts nothing.

The scene cache is the truth: preprocess leaves out what it has. What this adds is that scenes which
another workflow has finished *since* cost no pod. Argo keeps an entry for each scene in ConfigMaps
of at most 1 MiB and makes an error of a finished step when one is full; so the scenes are dealt out
to several by the first digit of their key, and the number of scenes is bounded.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from mdpipe.failures import UsageError
from mdpipe.steps.pending import MOST_KEYS
from mdpipe.study import Study

KEYS: Final = "keys"
"""Output of preprocess: the keys of the missing scenes of each pending group."""

CONFIG_MAPS: Final = 16
ENTRY_BYTES: Final = 250
"""What an entry takes: 180 bytes as measured, with a short name of the workflow; no data."""

CONFIG_MAP_BYTES: Final = 1 << 20

MAX_AGE_H: Final = 24 * 30


def memoize(study: Study, keys: str) -> dict[str, Any]:
    """Return the memoization of the scene template.

    Parameters
    ----------
    study : Study
        Its scenes; other scenes get other ConfigMaps, so that old ones do not fill them.
    keys : str
        The variable with the keys.

    Returns
    -------
    dict
        `memoize` of a template.
    """
    name = hashlib.sha256("".join(repr(scene) for scene in study.scenes).encode()).hexdigest()[:10]
    key = f"fromJSON({keys})[asInt(inputs.parameters.row)][asInt(inputs.parameters.nth)]"
    return {
        "key": f"{{{{={key}}}}}",
        "maxAge": f"{MAX_AGE_H}h",
        "cache": {"configMap": {"name": f"mdpipe-memo-{name}-{{{{={key}[0:1]}}}}"}},
    }


def check_memo(scenes: int | None) -> None:
    """See that no ConfigMap can fill, and that all keys fit into the workflow.

    Parameters
    ----------
    scenes : int or None
        The most scenes that the study can have; None if nothing is known.

    Raises
    ------
    UsageError
        If they might not; with the remedy.
    """
    # scenes fall on ConfigMaps by their digests: four standard deviations over the mean
    mean = MOST_KEYS / CONFIG_MAPS
    assert (mean + 4.0 * mean**0.5) * ENTRY_BYTES < CONFIG_MAP_BYTES
    if scenes is None or scenes > MOST_KEYS:
        raise UsageError(
            f"cluster.memoize is for at most {MOST_KEYS} scenes, got "
            f"{scenes or 'a study of unknown size'}: a full ConfigMap makes errors of finished "
            "steps; leave it out (the scene cache does without), or set groups.max_groups"
        )
