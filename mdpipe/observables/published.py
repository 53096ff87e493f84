"""Published values of water, from `data/published/water_298K.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

TEMPERATURE_RANGE_K = 5.0
"""Values for 298.15 K are set beside a scene only if it is nearer than this."""
PRESSURE_RANGE_BAR = 100.0
DENSITY_RANGE_G_CM3 = 0.02
"""… and, at constant volume, only if the density is this near the ambient one."""


class Published(NamedTuple):
    """One published value with its source; `status` is "verified" or "from memory"."""

    value: float
    uncertainty: float | None
    unit: str
    source: str
    doi: str
    status: str
    note: str


@cache
def _table() -> dict[str, Any]:
    path = resources.files("mdpipe") / "data" / "published" / "water_298K.toml"
    return tomllib.loads(path.read_text("utf-8"))


def published(subject: str, observable: str) -> Published | None:
    """Return the published value of an observable at 298.15 K and 1 bar.

    Parameters
    ----------
    subject : str
        Key of a water model, or ``"experiment"``.
    observable : str
        Key such as ``"density"``.

    Returns
    -------
    Published or None
        None where the table has no value.
    """
    entry = _table()["values"].get(subject, {}).get(observable)
    if entry is None:
        return None
    source = _table()["sources"].get(entry["source"], {"text": "source not known"})
    return Published(
        float(entry["value"]),
        entry.get("uncertainty"),
        entry["unit"],
        source["text"],
        source.get("doi", ""),
        entry["status"],
        entry.get("note", ""),
    )


def comparable_temperature(temperature_K: float) -> bool:
    """Return whether a temperature is near enough to that of the published values.

    Parameters
    ----------
    temperature_K : float
        Set or measured temperature.

    Returns
    -------
    bool
        Within 5 K.
    """
    return abs(temperature_K - float(_table()["temperature_K"])) <= TEMPERATURE_RANGE_K
