"""The table of observables of all groups, beside experiment and published values."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mdpipe.observables.definitions import OBSERVABLES
from mdpipe.observables.published import (
    DENSITY_RANGE_G_CM3,
    PRESSURE_RANGE_BAR,
    Published,
    comparable_temperature,
    published,
)
from mdpipe.observables.results import Measurements, Scalar

NEVER_COMPARED = ("temperature", "pressure", "energy_drift")
MAX_ICE_FRACTION = 0.2
"""Published values are of the liquid: a group with more ice than this is not set beside them."""


class Row(NamedTuple):
    """One observable of one group; what is not known is None or empty."""

    group: str
    observable: str
    title: str
    value: float | None
    error: float | None
    unit: str
    n_blocks: int
    scene: str
    model: str
    experiment: float | None
    experiment_uncertainty: float | None
    experiment_source: str
    published: float | None
    published_uncertainty: float | None
    published_source: str
    deviation_percent: float | None
    deviation_sigma: float | None
    note: str


def summarise(group: str, scenes: Mapping[str, Measurements]) -> list[Row]:
    """Return the rows of one group, each from the scene that speaks for its observable.

    Parameters
    ----------
    group : str
        Label of the group.
    scenes : mapping of str to Measurements
        The measured scenes of the group by name; may be some of them only.

    Returns
    -------
    list of Row
        In the order of `OBSERVABLES`; an observable that no scene measured has no row.
    """
    rows = []
    for name, observable in OBSERVABLES.items():
        found = _authority(name, observable.scenes, scenes)
        if found is None:
            continue
        scene, measured = found
        scalar = measured.scalars[name]
        near = name not in NEVER_COMPARED and _comparable(name, measured)
        experiment = published("experiment", name) if near else None
        model = published(str(measured.info["model"]), name) if near else None
        percent, sigma = _deviation(scalar, model)
        rows.append(
            Row(
                group=group,
                observable=name,
                title=observable.title,
                value=scalar.value,
                error=scalar.error,
                unit=observable.unit,
                n_blocks=scalar.n_blocks,
                scene=scene,
                model=str(measured.info["model"]),
                experiment=experiment.value if experiment else None,
                experiment_uncertainty=experiment.uncertainty if experiment else None,
                experiment_source=_cite(experiment),
                published=model.value if model else None,
                published_uncertainty=model.uncertainty if model else None,
                published_source=_cite(model),
                deviation_percent=percent,
                deviation_sigma=sigma,
                note=scalar.note,
            )
        )
    return rows


def _authority(
    name: str, ensembles: tuple[str, ...], scenes: Mapping[str, Measurements]
) -> tuple[str, Measurements] | None:
    """Return the first scene in order of authority that has a value, else one that says why not."""
    having = [
        (scene, measured)
        for ensemble in ensembles
        for scene, measured in scenes.items()
        if measured.info["ensemble"] == ensemble and name in measured.scalars
    ]
    with_value = [entry for entry in having if entry[1].scalars[name].value is not None]
    return next(iter(with_value or having), None)


def _comparable(name: str, measured: Measurements) -> bool:
    """Return whether a scene is near enough to liquid water at 298.15 K and 1 bar."""
    info, scalars = measured.info, measured.scalars
    if not comparable_temperature(float(info["temperature_K"])):
        return False
    ice = scalars.get("ice_fraction")
    if ice is not None and ice.value is not None and ice.value > MAX_ICE_FRACTION:
        return False
    if info["ensemble"] == "npt":
        return abs(float(info["pressure_bar"]) - 1.0) <= PRESSURE_RANGE_BAR
    density = scalars.get("density")
    if name == "density" or density is None or density.value is None:
        return False  # a fixed density says nothing about the model
    ambient = published("experiment", "density")
    return ambient is not None and abs(density.value - ambient.value) <= DENSITY_RANGE_G_CM3


def _deviation(scalar: Scalar, model: Published | None) -> tuple[float | None, float | None]:
    """Return the deviation from the published value in percent and in joint standard errors."""
    if model is None or scalar.value is None:
        return None, None
    difference = scalar.value - model.value
    percent = 100.0 * difference / abs(model.value) if model.value else None
    if scalar.error is None or model.uncertainty is None:
        return percent, None
    joint = math.hypot(scalar.error, model.uncertainty)
    return percent, difference / joint if joint > 0.0 else None


def _cite(entry: Published | None) -> str:
    if entry is None:
        return ""
    parts = [entry.source, f"DOI {entry.doi}" if entry.doi else "", entry.status, entry.note]
    return "; ".join(part for part in parts if part)


def write_summary(folder: Path, rows: Sequence[Row], facts: Mapping[str, Any]) -> None:
    """Write `summary.json` and `summary.csv`, each under a temporary name first.

    Parameters
    ----------
    folder : Path
        An existing folder.
    rows : sequence of Row
        Of all groups.
    facts : mapping
        Plain data put beside the rows in the JSON: study, versions, groups.
    """
    table = {**facts, "rows": [row._asdict() for row in rows]}
    text = json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    part = folder / ".summary.json.part"
    part.write_text(text, "utf-8")
    part.replace(folder / "summary.json")
    part = folder / ".summary.csv.part"
    with part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    part.replace(folder / "summary.csv")
