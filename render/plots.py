"""Plots of the report as inline SVG: transparent, in the colours of the page around them."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

Curves = Mapping[str, NDArray[np.float64]]
GroupCurves = Mapping[str, Curves]
"""Curves of one group by ensemble: nvt, npt, nve."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#999933")
"""Okabe and Ito's colours and two more: told apart by colour-blind readers, on light and dark."""
MAX_GROUPS = len(PALETTE)
"""More curves than this in one plot cannot be told apart; the rest is left to the tables."""

_INK, _GRID = "#010203", "#040506"
"""Stand-ins that `_to_svg` exchanges for the colours of the page."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mdpipe",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "axes.grid": True,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "lines.solid_joinstyle": "round",
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
}


class Plot(NamedTuple):
    """One plot: a title, what a reader who cannot see it is told, and the SVG element."""

    title: str
    alt: str
    svg: str


class _Panel(NamedTuple):
    """A figure with one pair of axes."""

    figure: Figure
    axes: Axes


def colours(groups: Sequence[str]) -> dict[str, str]:
    """Return the colour of each group, the same in all plots.

    Parameters
    ----------
    groups : sequence of str
        All groups, in the order of the report.

    Returns
    -------
    dict of str to str
        For the first `MAX_GROUPS` groups.
    """
    return dict(zip(groups, PALETTE, strict=False))


def _pick(curves: GroupCurves, ensembles: Sequence[str], *names: str) -> Curves | None:
    """Return the curves of the first ensemble that has all the names."""
    for ensemble in ensembles:
        found = curves.get(ensemble, {})
        if all(name in found and len(found[name]) for name in names):
            return found
    return None


def _panel(title: str, x: str, y: str) -> _Panel:
    figure = Figure(figsize=(3.9, 2.8), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return _Panel(figure, axes)


def _to_svg(panel: _Panel, title: str, alt: str) -> str:
    """Return the SVG element, the same bytes for the same plot, fit to stand within a page."""
    stream = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    panel.figure.savefig(stream, format="svg", metadata=nothing, transparent=True)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    # Metadata say nothing here, and a style element would reach beyond its plot.
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    # Sizes in points would keep the plot from shrinking with a narrow page.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    # Hundredths of a point are fine enough; labels stand between the tags and stay whole.
    svg = re.sub(r'="[^"]*"', lambda m: re.sub(r"(\d\.\d\d)\d+", r"\1", m[0]), svg)
    svg = _with_own_ids(svg, re.sub(r"[^a-z0-9]+", "-", title.lower()))
    label = html.escape(alt, quote=True)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return svg.replace(_INK, "currentColor").replace(_GRID, "var(--grid)").strip()


def _with_own_ids(svg: str, prefix: str) -> str:
    """Drop the ids that nothing refers to and prefix the others: ids must be unique in a page."""
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', svg))

    def renamed(match: re.Match[str]) -> str:
        return f' id="{prefix}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([^"]*)"', renamed, svg)
    return re.sub(r'(url\(|href=")#', rf"\1#{prefix}-", svg)


def _drawn(title: str, alt: str, panel: _Panel) -> Plot:
    return Plot(title, alt, _to_svg(panel, title, alt))


def _smoothed(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a running mean over a twentieth of the series; the ends use what there is."""
    width = max(1, len(y) // 20)
    ones = np.ones(width)
    total: NDArray[np.float64] = np.convolve(y, ones, "same")
    return total / np.convolve(np.ones(len(y)), ones, "same")


def plot_rdf(groups: Mapping[str, GroupCurves]) -> list[Plot]:
    """Draw g_OO, g_OH and g_HH of all groups.

    Parameters
    ----------
    groups : mapping of str to GroupCurves
        By label of the group; `r_nm, g_oo, g_oh, g_hh` and, if known, `g_oo_error`.

    Returns
    -------
    list of Plot
        Three plots; g_OO has a band of ± 2 standard errors.
    """
    plots = []
    with mpl.rc_context(_STYLE):
        for name, pair in (("g_oo", "O–O"), ("g_oh", "O–H"), ("g_hh", "H–H")):
            panel = _panel(f"g(r), {pair}", "r (nm)", "g(r)")
            shown = []
            top = 1.0
            for group, colour in colours(list(groups)).items():
                found = _pick(groups[group], ("nvt", "npt", "nve"), "r_nm", name)
                if found is None:
                    continue
                r, g = found["r_nm"], found[name]
                panel.axes.plot(r, g, color=colour)
                error = found.get("g_oo_error") if name == "g_oo" else None
                if error is not None and np.isfinite(error).any():
                    panel.axes.fill_between(
                        r, g - 2 * error, g + 2 * error, color=colour, alpha=0.25, linewidth=0
                    )
                shown.append(group)
                top = max(top, float(np.nanmax(g)))
            panel.axes.axhline(1.0, color=_INK, linewidth=0.7, linestyle=(0, (2, 3)))
            panel.axes.set_xlim(left=0.1 if name != "g_oo" else 0.2)
            panel.axes.set_ylim(0.0, 1.08 * top)
            alt = f"Radial distribution function {pair} against distance for {_listed(shown)}"
            if shown:
                plots.append(_drawn(f"g(r), {pair}", alt, panel))
    return plots


def plot_msd(groups: Mapping[str, GroupCurves]) -> list[Plot]:
    """Draw the mean squared displacements and the lines fitted to them.

    Parameters
    ----------
    groups : mapping of str to GroupCurves
        With `lag_ps, msd_nm2, msd_fit`.

    Returns
    -------
    list of Plot
        One plot, or none.
    """
    with mpl.rc_context(_STYLE):
        panel = _panel("Mean squared displacement", "lag (ps)", "MSD (nm²)")
        shown = []
        for group, colour in colours(list(groups)).items():
            found = _pick(groups[group], ("nve", "nvt", "npt"), "lag_ps", "msd_nm2")
            if found is None:
                continue
            panel.axes.plot(found["lag_ps"], found["msd_nm2"], color=colour)
            if "msd_fit" in found:
                first, last, slope, intercept = found["msd_fit"]
                ends = np.array([first, last])
                panel.axes.plot(
                    ends, slope * ends + intercept, color=_INK, linewidth=1.2, linestyle="--"
                )
            shown.append(group)
        panel.axes.set_xlim(left=0.0)
        panel.axes.set_ylim(bottom=0.0)
        alt = f"Mean squared displacement against lag, dashed: fitted line, for {_listed(shown)}"
        return [_drawn("Mean squared displacement", alt, panel)] if shown else []


def plot_distributions(groups: Mapping[str, GroupCurves]) -> list[Plot]:
    """Draw the distributions of q and of averaged q6.

    Parameters
    ----------
    groups : mapping of str to GroupCurves
        With `q, q_density, q6, q6_density`.

    Returns
    -------
    list of Plot
        Two plots, or none.
    """
    plots = []
    with mpl.rc_context(_STYLE):
        for name, title in (("q", "Tetrahedral order q"), ("q6", "Averaged q6")):
            panel = _panel(title, name, "probability density")
            shown = []
            start = np.inf
            for group, colour in colours(list(groups)).items():
                found = _pick(groups[group], ("nvt", "npt", "nve"), name, f"{name}_density")
                if found is None:
                    continue
                x, y = found[name], found[f"{name}_density"]
                panel.axes.plot(x, y, color=colour)
                panel.axes.fill_between(x, 0.0, y, color=colour, alpha=0.15, linewidth=0)
                start = min(start, float(x[np.argmax(y > 0.005 * y.max())]))
                shown.append(group)
            panel.axes.set_ylim(bottom=0.0)
            panel.axes.set_xlim(left=start if shown else None)
            alt = f"Distribution of {title[0].lower() + title[1:]} for {_listed(shown)}"
            if shown:
                plots.append(_drawn(title, alt, panel))
    return plots


_SERIES = (
    ("Temperature", ("nvt", "npt", "nve"), "energy_time_ps", "energy_temperature_K", "T (K)"),
    ("Density", ("npt",), "energy_time_ps", "energy_density_g_cm3", "density (g/cm³)"),
    (
        "Potential energy",
        ("npt", "nvt", "nve"),
        "energy_time_ps",
        "energy_potential_kj_mol",
        "U (kJ/mol per molecule)",
    ),
    (
        "Conserved energy",
        ("nve",),
        "energy_time_ps",
        "energy_conserved_kj_mol",
        "change (kJ/mol per molecule)",
    ),
    ("Hydrogen bonds", ("nvt", "npt", "nve"), "time_ps", "hbonds_per_molecule", "per molecule"),
    ("Ice by CHILL+", ("nvt", "npt", "nve"), "time_ps", "ice_fraction", "fraction of molecules"),
)


def plot_series(groups: Mapping[str, GroupCurves]) -> list[Plot]:
    """Draw temperature, density, energies, hydrogen bonds and ice over time.

    Parameters
    ----------
    groups : mapping of str to GroupCurves
        With `energy_time_ps`, `energy_…`, `time_ps`, `hbonds_per_molecule`, `ice_fraction`.

    Returns
    -------
    list of Plot
        One for each quantity that any group has: samples faint, a running mean over them.
    """
    plots = []
    with mpl.rc_context(_STYLE):
        for title, ensembles, x_name, y_name, label in _SERIES:
            panel = _panel(title, "time (ps)", label)
            shown, used = [], set()
            for group, colour in colours(list(groups)).items():
                found = _pick(groups[group], ensembles, x_name, y_name)
                if found is None:
                    continue
                x, y = found[x_name] - found[x_name][0], found[y_name]
                if title == "Conserved energy":
                    y = y - y[0]
                panel.axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
                panel.axes.plot(x, _smoothed(y), color=colour)
                used |= {e for e in ensembles if groups[group].get(e) is found}
                shown.append(group)
            if shown:
                panel.axes.set_title(f"{title} ({', '.join(sorted(used))})")
                alt = f"{title} against time for {_listed(shown)}"
                plots.append(_drawn(title, alt, panel))
    return plots


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more groups" if len(names) > 4 else "")
