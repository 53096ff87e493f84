"""The report: one HTML file that needs nothing beside it and no network."""

from __future__ import annotations

import base64
import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from mdpipe.render import numbers
from mdpipe.render.plots import (
    MAX_GROUPS,
    GroupCurves,
    Plot,
    colours,
    plot_distributions,
    plot_msd,
    plot_rdf,
    plot_series,
)

EMBED_LIMIT_BYTES = 50_000_000
"""A larger film is linked, not embedded: browsers choke on it."""

Table = Mapping[str, Any]


@dataclass
class ReportContext:
    """All that the report says, as plain data; what is not known is left out.

    Attributes
    ----------
    title : str
        Name of the study.
    subtitle : str
        One line: when, with what.
    film, poster : Path or None
        MP4 film and a PNG or JPEG still of it. The film is embedded up to 50 MB.
    film_alt : str
        What the film shows.
    cards : list of dict
        `label, value, detail` and, if wanted, `unit`: headline figures, put before those taken
        from the rows.
    rows : list of dict
        The observables: the fields of `mdpipe.observables.Row`.
    groups : list of dict
        `name, structure, state_point, n_molecules, frames, start_frame, start_rule, problems`
        (a number); the order gives the colours.
    curves : dict
        Group name → ensemble ("nvt", "npt", "nve") → name → array, as measured.
    problems : list of dict
        `file, frame, what, remedy` of each fault found in the inputs.
    scenes : list of dict
        `group, scene, outcome` ("computed", "cached", "failed", "resumed", …), `attempts,
        length_ps, wall_s, ns_per_day, peak_mb`, and for failures `failure, cause, remedy`.
    attempts : list of dict
        Of the steps that failed at least once: `step, attempt, outcome` (failure class or "well"),
        `cause, injected, ended_by, memory_mb` (the tier), `peak_mb, wall_s`.
    timing : dict
        Label → text, such as wall time of the whole run.
    provenance : dict
        Heading → (label → text): versions, models, settings, digests, seeds.
    methods : sequence of str
        Paragraphs of definitions, `mdpipe.observables.METHODS`.
    references : sequence of (text, DOI)
        `mdpipe.observables.REFERENCES`, and those of the models.
    """

    title: str
    subtitle: str = ""
    film: Path | None = None
    poster: Path | None = None
    film_alt: str = "Film of the simulated scenes"
    cards: list[Table] = field(default_factory=list)
    rows: list[Table] = field(default_factory=list)
    groups: list[Table] = field(default_factory=list)
    curves: Mapping[str, GroupCurves] = field(default_factory=dict)
    problems: list[Table] = field(default_factory=list)
    scenes: list[Table] = field(default_factory=list)
    attempts: list[Table] = field(default_factory=list)
    timing: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    methods: Sequence[str] = ()
    references: Sequence[tuple[str, str]] = ()


class _Film(NamedTuple):
    """Where the film is: a data URI or a relative path, and how large."""

    source: str
    poster: str
    embedded: bool
    megabytes: str


def write_report(context: ReportContext, out: Path) -> None:
    """Write `report.html`, under a temporary name first.

    Parameters
    ----------
    context : ReportContext
        What to say.
    out : Path
        The file.
    """
    page = _environment().get_template("report.html.j2").render(
        context=context,
        style=Markup(_template_text("report.css")),
        film=_film(context, out),
        cards=[*context.cards, *_headlines(context.rows)],
        tables=_tables(context),
        sections=_sections(context),
        swatches=colours(_group_names(context)),
        hidden_groups=max(0, len(_group_names(context)) - MAX_GROUPS),
        sources=_sources(context.rows),
    )  # fmt: skip
    temporary = out.with_name(f".{out.name}.part")
    temporary.write_text(page, "utf-8")
    temporary.replace(out)


def _group_names(context: ReportContext) -> list[str]:
    names = [str(group["name"]) for group in context.groups]
    return names + [name for name in context.curves if name not in names]


def _template_text(name: str) -> str:
    return (resources.files("mdpipe.render") / "templates" / name).read_text("utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": numbers.number,
        "duration": numbers.duration,
        "slug": lambda text: "".join(c if c.isalnum() else "-" for c in str(text).lower()),
    }
    environment.filters["doi_links"] = _doi_links
    environment.globals["known"] = _known
    return environment


def _doi_links(text: str) -> Markup:
    """Return escaped text in which ``DOI 10.…`` is a link."""
    escaped = str(escape(text))
    link = r'<a href="https://doi.org/\1">\1</a>'
    return Markup(re.sub(r"DOI (10\.[^\s;<]+)", link, escaped))


def _known(table: Table, key: str) -> Any:
    """Return a value of a table, or a dash where it is missing or empty."""
    value = table.get(key)
    return numbers.NOTHING if value is None or value == "" else value


def _data_uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _film(context: ReportContext, out: Path) -> _Film | None:
    """Return how the page shows the film, or None without one."""
    if context.film is None or not context.film.is_file():
        return None
    size = context.film.stat().st_size
    embedded = size <= EMBED_LIMIT_BYTES
    source = (
        _data_uri(context.film, "video/mp4")
        if embedded
        else Path(os.path.relpath(context.film.resolve(), out.resolve().parent)).as_posix()
    )
    poster = ""
    if context.poster is not None and context.poster.is_file():
        kind = "image/png" if context.poster.suffix.lower() == ".png" else "image/jpeg"
        poster = _data_uri(context.poster, kind)
    return _Film(source, poster, embedded, f"{size / 1e6:.1f}")


_HEADLINES = ("density", "potential_energy", "goo_peak_position", "diffusion_corrected")


def _headlines(rows: Sequence[Table]) -> list[Table]:
    """Return cards for the group that has most published values beside it, else the first."""
    by_group: dict[str, int] = {}
    for row in rows:
        known = row.get("published") is not None
        by_group[row["group"]] = by_group.get(row["group"], 0) + int(known)
    if not by_group:
        return []
    best = max(by_group, key=lambda group: by_group[group])
    cards: list[Table] = []
    for name in _HEADLINES:
        found = [r for r in rows if r["group"] == best and r["observable"] == name]
        row = found[0] if found else {}
        if row.get("value") is None:
            continue
        # Fixed charges miss the polarisation energy: experiment is no measure of U as it stands.
        beside = "published" if name == "potential_energy" else "experiment"
        detail = best
        if row.get(beside) is not None:
            detail += f"; {beside} {numbers.as_published(row[beside], None)}"
        value = numbers.with_error(row["value"], row["error"])
        unit = numbers.unit_text(row["unit"])
        cards.append({"label": row["title"], "value": value, "unit": unit, "detail": detail})
    return cards


def _sources(rows: Sequence[Table]) -> list[str]:
    """Return the sources of all published values, in the order in which they are met."""
    found: dict[str, None] = {}
    for row in rows:
        for key in ("experiment_source", "published_source"):
            if row.get(key):
                found.setdefault(row[key])
    return list(found)


def _tables(context: ReportContext) -> list[Table]:
    """Return one table of observables for each group, cells already written out."""
    sources = _sources(context.rows)
    tables: dict[str, list[Table]] = {}
    for row in context.rows:
        tables.setdefault(row["group"], []).append(_cells(row, sources))
    return [{"group": group, "rows": rows} for group, rows in tables.items()]


def _cells(row: Table, sources: Sequence[str]) -> Table:
    sigma = row.get("deviation_sigma")
    grade = ""
    if sigma is not None:
        grade = "near" if abs(sigma) <= 2.0 else "off" if abs(sigma) <= 4.0 else "far"
    error_known = row["error"] is not None and row["value"] is not None
    return {
        "title": row["title"],
        "unit": numbers.unit_text(row["unit"]),
        "value": numbers.with_error(row["value"], row["error"]),
        "no_error": row["value"] is not None and not error_known,
        "experiment": numbers.as_published(
            row.get("experiment"), row.get("experiment_uncertainty")
        ),
        "experiment_source": _index(sources, row.get("experiment_source")),
        "published": numbers.as_published(row.get("published"), row.get("published_uncertainty")),
        "published_source": _index(sources, row.get("published_source")),
        "deviation": numbers.deviation(row.get("deviation_percent"), sigma),
        "grade": grade,
        "scene": row["scene"],
        "blocks": row.get("n_blocks") or 0 if error_known else 0,
        "note": row.get("note", ""),
    }


def _index(sources: Sequence[str], source: str | None) -> int:
    """Return the number of a source in the list below the tables, 0 for none."""
    return sources.index(source) + 1 if source else 0


def _sections(context: ReportContext) -> list[Table]:
    """Return the plots by section; a section without plots is left out."""
    curves = {
        name: context.curves[name] for name in _group_names(context) if name in context.curves
    }
    # Colours go by place: a group without curves must keep its own.
    ordered = {name: curves.get(name, {}) for name in _group_names(context)}
    sections: list[tuple[str, str, list[Plot]]] = [
        (
            "Structure",
            "Pairs of different molecules. The band around g(r) of oxygens is ± 2 standard errors.",
            plot_rdf(ordered),
        ),
        (
            "Order and motion",
            (
                "Order over all molecules and frames: q is near 1 in ice and 0 on average in a "
                "gas. Motion of centres of mass over all time origins; dashed: the line that gives "
                "D."
            ),
            [*plot_distributions(ordered), *plot_msd(ordered)],
        ),
        (
            "Over time",
            "Faint: samples. Strong: running mean over a twentieth of the run.",
            plot_series(ordered),
        ),
    ]
    return [
        {
            "title": title,
            "text": text,
            "plots": [plot._replace(svg=Markup(plot.svg)) for plot in plots],
        }
        for title, text, plots in sections
        if plots
    ]
