"""The progress file: few lines, and always the last word."""

import json

from mdpipe.progress import ProgressWriter, Report, read_progress


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
