"""The progress file: few lines, and always the last word."""

import json

import pytest

from mdpipe.progress import SHARES, PartsWriter, ProgressWriter, Report, read_progress


def test_progress_is_throttled_but_first_and_last_reports_come_through(tmp_path):
    now = [0.0]
    writer = ProgressWriter(tmp_path / "p", lambda: now[0])
    for done in range(101):
        writer.report("produce", done, 100, "5 ns/day")
        now[0] += 0.01
    writer.report("measure", 1, 2)
    lines = (tmp_path / "p").read_text().splitlines()
    assert 4 <= len(lines) <= 8
    assert json.loads(lines[0])["done"] == 0
    assert json.loads(lines[-2])["done"] == 100
    assert read_progress(tmp_path / "p") == Report("measure", 1, 2, "")
    with (tmp_path / "p").open("a") as stream:
        stream.write('{"stage": "half a li')
    assert read_progress(tmp_path / "p") == Report("measure", 1, 2, "")


def test_without_a_file_progress_does_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("MDPIPE_PROGRESS", raising=False)
    ProgressWriter.from_environment().report("x", 1, 2)
    assert read_progress(tmp_path / "none") is None


def told_to_the_engine(tmp_path, step, reports):
    path = tmp_path / f"{step}.parts"
    writer = ProgressWriter(None, parts=PartsWriter(path, SHARES.get(step)))
    for report in reports:
        writer.report(*report)
    return [tuple(map(int, line.split("/"))) for line in path.read_text().splitlines()]


STAGES = {
    "simulate": [
        ("minimise", 0, 150), ("equilibrate", 20, 150), ("produce", 50, 150), ("produce", 150, 150),
        ("measure", 0, 11), ("measure", 5, 11), ("measure", 11, 11),
    ],
    "render": [("nvt", 0, 9), ("nvt", 3, 9), ("measure", 3, 9), ("measure", 9, 9)],
    "combine": [
        ("fetch", 0, 2), ("fetch", 2, 2), ("film", 0, 3), ("film", 3, 3),
        ("report", 0, 1), ("report", 1, 1),
    ],
    "preprocess": [("read", 0, 7), ("read", 7, 7), ("slices", 0, 1), ("slices", 1, 1)],
}  # fmt: skip


@pytest.mark.parametrize("step", STAGES)
def test_what_the_engine_is_told_never_falls_keeps_its_total_and_ends_whole(tmp_path, step):
    rows = told_to_the_engine(tmp_path, step, STAGES[step])
    done = [n for n, _ in rows]
    assert done == sorted(set(done))
    assert {m for _, m in rows} == {100}
    assert done[0] == 0
    assert done[-1] == 100
    assert len(done) > 2, "no stage but the last one may end the step"


def test_measuring_comes_after_the_simulation_and_the_stages_of_a_scene_count_on(tmp_path):
    rows = told_to_the_engine(tmp_path, "simulate", STAGES["simulate"])
    assert rows == [(n, 100) for n in (0, 12, 30, 90, 94, 100)]


def test_a_thousand_reports_are_at_most_a_hundred_and_one_lines(tmp_path):
    reports = [("produce", done, 1000) for done in range(1001)]
    assert len(told_to_the_engine(tmp_path, "render", reports)) == 101


def test_a_file_of_the_engine_that_cannot_be_written_ends_the_reports_not_the_step(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("ARGO_PROGRESS_FILE", str(tmp_path / "absent" / "file"))
    monkeypatch.setenv("MDPIPE_PROGRESS", str(tmp_path / "p"))
    writer = ProgressWriter.from_environment("simulate")
    writer.report("produce", 1, 2)
    writer.report("produce", 2, 2)
    assert read_progress(tmp_path / "p") == Report("produce", 2, 2, "")
