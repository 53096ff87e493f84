"""What the report says of where its numbers come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mdpipe.models import WaterModel
from mdpipe.scenes.statistics import Statistics
from mdpipe.study import Study

_WORDS = {
    "vverlet": "velocity Verlet",
    "leapfrog": "leapfrog",
    "bussi": "stochastic velocity rescaling (Bussi)",
    "langevin": "Langevin middle",
    "stochastic-cell-rescaling": "stochastic cell rescaling",
    "monte-carlo": "Monte-Carlo barostat",
}


def scene_table(
    groups: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Mapping[str, Any]]]],
    story: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return a row for each scene: what happened to it and what it took.

    Parameters
    ----------
    groups : sequence of (title, line, facts)
        Line of the plan, and `scene.json` of each scene that is there.
    story : mapping
        What `story.json` holds; empty where the steps were run by hand.

    Returns
    -------
    list of dict
        Rows for `ReportContext.scenes`.
    """
    told = {
        (step["group"], step["scene"]): step
        for step in story.get("steps", [])
        if step["kind"] == "simulate"
    }
    rows = []
    for title, line, facts in groups:
        for scene in line["scenes"]:
            step = told.get((line["id"], scene["name"]), {})
            spec = scene["spec"]
            wall = float(step.get("wall_s") or 0.0)
            status = step.get("status", "computed" if scene["name"] in facts else "missing")
            row = {
                "group": title,
                "scene": scene["name"],
                "outcome": status,
                "attempts": len(step.get("attempts", [])),
                "length_ps": spec["steps"] * spec["dt_ps"],
                "wall_s": wall or None,
                "ns_per_day": _speed(spec, wall) if status == "computed" else None,
                "peak_mb": step.get("peak_memory_mb") or None,
            }
            if step.get("failure"):
                last = (step.get("attempts") or [{}])[-1]
                row |= {
                    "failure": step["failure"],
                    "cause": last.get("cause", "") or step.get("reason", ""),
                    "remedy": step.get("remedy", ""),
                }
            rows.append(row)
    return rows


def attempt_table(story: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each attempt of each step that had more than one, or failed.

    Parameters
    ----------
    story : mapping
        What `story.json` holds.

    Returns
    -------
    list of dict
        Rows for `ReportContext.attempts`.
    """
    rows = []
    for step in story.get("steps", []):
        attempts = step.get("attempts", [])
        if not any(attempt.get("failure") for attempt in attempts):
            continue
        for number, attempt in enumerate(attempts, start=1):
            rows.append(
                {
                    "step": " ".join(x for x in (step["kind"], step["group"], step["scene"]) if x),
                    "attempt": number,
                    "outcome": attempt.get("failure") or "well",
                    "cause": attempt.get("cause", ""),
                    "injected": attempt.get("injected", ""),
                    "ended_by": _ending(attempt),
                    "memory_mb": attempt.get("memory_mb"),
                    "peak_mb": attempt.get("peak_memory_mb"),
                    "wall_s": attempt.get("wall_s"),
                }
            )
    return rows


def _ending(attempt: Mapping[str, Any]) -> str:
    if attempt.get("signal"):
        return f"signal {attempt['signal']}"
    code = attempt.get("exit_code")
    return "" if code is None else f"exit code {code}"


def cache_lines(statistics: Statistics) -> dict[str, str]:
    """Return what the scene cache did for a run, in words.

    Parameters
    ----------
    statistics : Statistics
        Counts of the run.

    Returns
    -------
    dict
        Label → text.
    """
    if statistics.hits + statistics.misses == 0:
        return {}
    lines = {
        "Scene cache": f"{statistics.hits} hits, {statistics.misses} computed "
        f"({statistics.hit_rate:.0%} hit rate), {statistics.bytes_saved / 1e6:.1f} MB not computed"
    }
    seldom = {
        "evictions": statistics.evictions,
        "fetched again from the store": statistics.refetches,
        "computed again": statistics.recomputations,
        "damaged and set aside": statistics.quarantined,
        "refused for want of room": statistics.refused,
        "without the store": statistics.store_failures,
    }
    told = ", ".join(f"{number} {what}" for what, number in seldom.items() if number)
    return lines | ({"Scene cache, besides": told} if told else {})


def injected_lines(story: Mapping[str, Any]) -> dict[str, str]:
    """Return which faults were injected on purpose, in words; nothing for an honest run.

    Parameters
    ----------
    story : mapping
        What `story.json` holds.

    Returns
    -------
    dict
        Label → text.
    """
    injected = story.get("injected") or {}
    if not injected.get("asked"):
        return {}
    struck = ", ".join(f"{hit['fault']} at {hit['step']}" for hit in injected.get("struck", []))
    return {"Faults injected on purpose": f"{injected['asked']}; struck: {struck or 'none'}"}


def _speed(spec: Mapping[str, Any], wall_s: float) -> float | None:
    """Return ns/day of a step as a whole: start-up, equilibration and measuring included."""
    if wall_s <= 0.0:
        return None
    steps = spec["steps"] + spec["equilibration_steps"]
    return float(steps * spec["dt_ps"] * 1e-3 * 86400.0 / wall_s)


def provenance(
    study: Study, models: Sequence[WaterModel], facts: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    """Return versions, models, settings and digests.

    Parameters
    ----------
    study : Study
        The study.
    models : sequence of WaterModel
        The models of its scenes.
    facts : sequence of mapping
        `scene.json` of each scene.

    Returns
    -------
    dict
        Heading → (label → text).
    """
    found: dict[str, dict[str, str]] = {}
    if facts:
        found["Versions"] = {name: str(v) for name, v in facts[0]["versions"].items()}
    found["Models"] = {model.name: f"{model.source}; DOI {model.doi}" for model in models}
    for scene in study.scenes:
        common = scene.model_dump(mode="json", exclude={"name", "nonbonded"}, exclude_none=True)
        nonbonded = scene.nonbonded.model_dump(mode="json", exclude_none=True)
        found[f"Scene {scene.name}"] = {k: str(v) for k, v in (common | nonbonded).items()}
    digests = {f"{fact['scene']['name']} {fact['key'][:12]}": fact["digest"] for fact in facts}
    if digests:
        found["Content digests (scene and key)"] = digests
    return found


def methods_of_engine(study: Study) -> list[str]:
    """Return how the scenes were simulated, in words.

    Parameters
    ----------
    study : Study
        The study.

    Returns
    -------
    list of str
        One paragraph for each scene.
    """
    paragraphs = []
    for scene in study.scenes:
        nonbonded = scene.nonbonded
        coulomb = (
            f"smooth PME to a relative force error of {nonbonded.pme_tolerance:g}"
            if nonbonded.electrostatics == "pme"
            else "reaction field"
        )
        if scene.reciprocal_every > 1:
            coulomb += f", reciprocal forces as impulses every {scene.reciprocal_every} steps"
        bath = "" if scene.ensemble == "nve" else f", {_WORDS[scene.thermostat]}"
        if scene.ensemble == "npt":
            bath += f", {_WORDS[scene.barostat]} at {scene.pressure_bar:g} bar"
        paragraphs.append(
            f"Scene {scene.name}: {scene.ensemble.upper()}{bath}, {_WORDS[scene.integrator]}, "
            f"{1000 * scene.dt_ps:g} fs, {scene.steps * scene.dt_ps:g} ps after "
            f"{scene.equilibration_steps * scene.dt_ps:g} ps of equilibration; cutoff "
            f"{nonbonded.r_cut_nm:g} nm, {coulomb}, {scene.precision} precision, seed {scene.seed}."
        )
    return paragraphs
