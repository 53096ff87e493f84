"""The report: valid, self-contained, and saying what its context says."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from mdpipe.render import numbers
from mdpipe.render.report import EMBED_LIMIT_BYTES, ReportContext, write_report

VOID = {"meta", "link", "br", "img", "hr", "input", "source", "wbr", "col"}


class Page(HTMLParser):
    """Collects what the tests ask about, and fails on a tag that is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.text, self.tables = [], [], [], [], []
        self.tags = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        self.links += [attrs[k] for k in ("src", "href", "poster", "xlink:href") if k in attrs]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


def row(**changes):
    return {
        "group": "liquid, 298 K",
        "observable": "density",
        "title": "Density",
        "value": 1.00312,
        "error": 0.00214,
        "unit": "g/cm³",
        "n_blocks": 17,
        "scene": "npt",
        "model": "spce",
        "experiment": 0.99705,
        "experiment_uncertainty": None,
        "experiment_source": "A source; DOI 10.1000/abc; from memory",
        "published": 0.999,
        "published_uncertainty": 0.003,
        "published_source": "Another source <2>; verified",
        "deviation_percent": 0.41,
        "deviation_sigma": 1.12,
        "note": "",
    } | changes


@pytest.fixture
def context(tmp_path):
    film, poster = tmp_path / "film.mp4", tmp_path / "poster.png"
    film.write_bytes(b"film")
    poster.write_bytes(b"poster")
    lag = [0.0, 1.0, 2.0]
    curves = {"nve": {"lag_ps": lag, "msd_nm2": lag, "msd_fit": [0.0, 2.0, 1.0, 0.0]}}
    return ReportContext(
        title="Water & <ice>",
        subtitle="SPC/E",
        film=film,
        poster=poster,
        rows=[row(), row(group="ice", value=0.93, error=None, deviation_sigma=None)],
        groups=[
            {"name": "liquid, 298 K", "frames": 731, "start_frame": "a.xtc, frame 12"},
            {"name": "ice", "frames": 44, "start_rule": "nearest the mean"},
        ],
        curves={"liquid, 298 K": curves},
        problems=[{"file": "bad.xtc", "frame": 7, "what": "NaN", "remedy": "write it again"}],
        scenes=[
            {
                "group": "ice",
                "scene": "nve",
                "outcome": "computed",
                "wall_s": 125.0,
                "peak_mb": 310,
            },
            {
                "group": "ice",
                "scene": "npt",
                "outcome": "failed",
                "failure": "out of memory",
                "cause": "killed at 2,048 MB",
                "remedy": "Give it more",
            },
        ],
        timing={"Wall time": "3 min"},
        provenance={"Software": {"mdpipe": "0.1.0"}, "Model": {"SPC/E": "DOI 10.1021/j100308a038"}},
        methods=["How it was done."],
        references=[("Luzar & Chandler", "10.1038/379055a0")],
    )


@pytest.fixture
def page(context, tmp_path):
    write_report(context, tmp_path / "report.html")
    return Page((tmp_path / "report.html").read_text("utf-8"))


def test_tags_are_closed_in_order_and_ids_are_unique(page):
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids


def test_nothing_is_loaded_from_elsewhere(page):
    outside = [link for link in page.links if re.match(r"(?i)(https?:)?//", link)]
    assert outside
    assert all(link.startswith("https://doi.org/10.") for link in outside)
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "iframe"}]


def test_the_film_and_its_poster_are_in_the_page(page):
    (video,) = [attrs for tag, attrs in page.tags if tag == "video"]
    assert video["src"] == "data:video/mp4;base64,ZmlsbQ=="
    assert video["poster"] == "data:image/png;base64,cG9zdGVy"
    assert video["aria-label"]


def test_a_large_film_is_linked_beside_the_page(context, tmp_path):
    (tmp_path / "out").mkdir()
    with context.film.open("ab") as stream:
        stream.truncate(EMBED_LIMIT_BYTES + 1)  # a hole: takes no space
    write_report(context, tmp_path / "out" / "report.html")
    page = Page((tmp_path / "out" / "report.html").read_text("utf-8"))
    assert "../film.mp4" in page.links
    assert "50.0 MB, too large to embed" in page.words


def test_numbers_are_those_of_the_context(page):
    for text in ("1.0031 ± 0.0021", "0.99705", "0.999 ± 0.003", "+1.1 σ", "17 blocks", "731"):
        assert text in page.words
    for text in ("0.9300 no error", "bad.xtc", "NaN", "write it again", "2 min 05 s", "310"):
        assert text in page.words
    for text in ("out of memory", "killed at 2,048 MB", "Give it more", "a.xtc, frame 12"):
        assert text in page.words


def test_text_is_escaped(page):
    assert "Water & <ice>" in page.words
    assert "ice>" not in [tag for tag, _ in page.tags]
    assert "Another source <2>; verified" in page.words


def test_tables_have_headers_with_a_scope_and_plots_have_a_description(page):
    headers = [attrs for tag, attrs in page.tags if tag == "th"]
    assert headers
    assert {attrs.get("scope") for attrs in headers} == {"col", "row"}
    svgs = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert svgs
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in svgs)
    (html,) = [attrs for tag, attrs in page.tags if tag == "html"]
    assert html["lang"] == "en"


def test_an_empty_study_still_gives_a_page(tmp_path):
    write_report(ReportContext(title="Nothing"), tmp_path / "report.html")
    assert "Nothing" in Page((tmp_path / "report.html").read_text("utf-8")).words


def test_the_same_context_gives_the_same_bytes(context, tmp_path):
    write_report(context, tmp_path / "one.html")
    write_report(context, tmp_path / "two.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert not list(tmp_path.glob(".*part"))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.99712, 0.00131, "0.9971 ± 0.0013"),
        (2.8506, 0.0926, "2.85 ± 0.09"),
        (-54.81, 78.9, "\N{MINUS SIGN}55 ± 79"),
        (0.2752698, 6.0e-5, "0.27527 ± 0.00006"),
        (3.14159, None, "3.142"),
        (3.14159, 0.0, "3.142"),
        (1.0, 0.0996, "1.00 ± 0.10"),
        (None, None, "–"),
        (float("nan"), 1.0, "–"),
    ],
)
def test_values_have_the_digits_that_their_error_allows(value, error, text):
    assert numbers.with_error(value, error) == text


def test_published_values_keep_their_digits():
    assert numbers.as_published(0.99705, None) == "0.99705"
    assert numbers.as_published(3.0, 0.1) == "3.0 ± 0.1"
    assert numbers.as_published(None, None) == "–"


def test_deviations_prefer_standard_errors():
    assert numbers.deviation(1.0, -2.34) == "\N{MINUS SIGN}2.3 σ"
    assert numbers.deviation(1.0, None) == "+1.0 %"
    assert numbers.deviation(None, None) == "–"


def test_attempts_of_a_failed_step_are_told_with_their_memory_tiers(tmp_path):
    attempts = [
        {"step": "render g000", "attempt": 1, "outcome": "out-of-memory", "cause": "killed by X",
         "injected": "oom", "ended_by": "exit code 137", "memory_mb": 211, "peak_mb": 210.5,
         "wall_s": 3.0},
        {"step": "render g000", "attempt": 2, "outcome": "well", "cause": "", "injected": "",
         "ended_by": "exit code 0", "memory_mb": 422, "peak_mb": 268.0, "wall_s": 17.0},
    ]  # fmt: skip
    scene = {"group": "g000", "scene": "nvt", "outcome": "kept"}
    write_report(
        ReportContext(title="x", attempts=attempts, scenes=[scene]), tmp_path / "report.html"
    )
    page = (tmp_path / "report.html").read_text("utf-8")
    for word in ("render g000", "out-of-memory", "killed by X", "injected: oom", "211", "422"):
        assert word in page
