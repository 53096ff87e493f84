"""Threads of a running step, told through a file."""

from mdpipe.allowance import VARIABLE, Allowance, write_allowance


def test_a_change_is_seen_within_a_second(tmp_path):
    now = 0.0
    path = tmp_path / "a.threads"
    allowance = Allowance(path, 2, clock=lambda: now)
    assert allowance.threads() == 2
    write_allowance(path, 5)
    now = 0.5
    assert allowance.threads() == 2
    now = 1.1
    assert allowance.threads() == 5
    assert [p.name for p in tmp_path.iterdir()] == ["a.threads"]


def test_what_is_no_number_changes_nothing(tmp_path):
    path = tmp_path / "a.threads"
    for content in (b"", b"many", b"\xff\xfe"):
        path.write_bytes(content)
        assert Allowance(path, 3).threads() == 3
    path.write_text("-4")
    assert Allowance(path, 3).threads() == 1


def test_a_file_that_cannot_be_written_ends_nothing(tmp_path):
    write_allowance(tmp_path / "none" / "a.threads", 2)
    assert list(tmp_path.iterdir()) == []


def test_without_a_file_the_first_word_counts(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert Allowance.from_environment(4).threads() == 4
    write_allowance(tmp_path / "t", 6)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "t"))
    assert Allowance.from_environment(4).threads() == 6
