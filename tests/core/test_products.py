"""Products: whole or not at all, and remembered by size, time and digest."""

import errno
import os
import time

import pytest

from mdpipe import products
from mdpipe.failures import NoSpaceError


def write_half(path, error):
    with products.write_atomically(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_product_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "film.mp4"
    with products.write_atomically(target, durable=True) as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_text("first")
        assert not target.exists()
    with pytest.raises(ZeroDivisionError):
        write_half(target, ZeroDivisionError())
    assert target.read_text() == "first"
    assert [p.name for p in target.parent.iterdir()] == ["film.mp4"]


def test_a_folder_replaces_a_folder(tmp_path):
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene" / "old").touch()
    with products.write_atomically(tmp_path / "scene") as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert [p.name for p in (tmp_path / "scene").iterdir()] == ["new"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path, number):
    with pytest.raises(NoSpaceError, match=r"x\.npz: the disk is full .*run again"):
        write_half(tmp_path / "x.npz", OSError(number, os.strerror(number)))
    assert list(tmp_path.iterdir()) == []


def make(run):
    (run / "scene" / "work").mkdir(parents=True)
    (run / "scene" / "work" / "checkpoint.npz").write_text("no product")
    (run / "scene" / ".hidden").write_text("no product")
    (run / "scene" / "final.npz").write_text("state")
    (run / "film.mp4").write_text("film")
    return products.record(run, "s", ("film.mp4", "scene/"), "inputs", {"wall_s": 1.0})


def test_a_manifest_lists_files_and_folders_without_checkpoints_and_is_read_back(tmp_path):
    manifest = make(tmp_path)
    assert sorted(manifest.products) == ["film.mp4", "scene/final.npz"]
    again = products.load_manifest(tmp_path, "s")
    assert again == manifest
    assert products.matches(tmp_path, again, "inputs")
    assert not products.matches(tmp_path, again, "other inputs")


def test_a_touched_product_is_read_again_and_a_changed_one_is_noticed(tmp_path):
    manifest = make(tmp_path)
    film = tmp_path / "film.mp4"
    os.utime(film, (1, 1))
    assert products.matches(tmp_path, manifest)
    film.write_text("FILM")
    assert not products.matches(tmp_path, manifest)
    status = film.stat()
    same_time = products.record(tmp_path, "s", ("film.mp4",), "inputs")
    film.write_text("film")
    os.utime(film, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert products.matches(tmp_path, same_time), "size and time are believed"
    assert not products.matches(tmp_path, same_time, full=True)


@pytest.mark.parametrize("missing", ["file", "folder"])
def test_a_missing_product_is_not_recorded(tmp_path, missing):
    (tmp_path / "empty").mkdir()
    assert products.record(tmp_path, "s", ("no" if missing == "file" else "empty/",), "i") is None
    assert products.load_manifest(tmp_path, "s") is None


def test_a_broken_manifest_counts_as_none(tmp_path):
    make(tmp_path)
    path = products.manifest_path(tmp_path, "s")
    path.write_text(path.read_text()[:40])
    assert products.load_manifest(tmp_path, "s") is None


def test_the_digest_of_a_manifest_is_that_of_the_content_and_not_of_its_times(tmp_path):
    before = make(tmp_path).digest
    os.utime(tmp_path / "film.mp4", (1, 1))
    assert products.record(tmp_path, "s", ("film.mp4", "scene/"), "x").digest == before
    (tmp_path / "film.mp4").write_text("other")
    assert products.record(tmp_path, "s", ("film.mp4", "scene/"), "x").digest != before


def test_fifty_products_of_a_step_are_checked_in_a_moment(tmp_path):
    for i in range(50):
        (tmp_path / f"{i}.bin").write_bytes(b"x" * 100_000)
    manifest = products.record(tmp_path, "s", tuple(f"{i}.bin" for i in range(50)), "i")
    before = time.monotonic()
    assert products.matches(tmp_path, manifest)
    assert time.monotonic() - before < 0.2  # fifty looks at a folder; reading would be 5 MB


def test_what_a_killed_step_left_half_written_is_swept_away(tmp_path):
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / ".film.part-77.mp4").touch()
    (tmp_path / "g" / "film.mp4").touch()
    products.sweep(tmp_path)
    assert [p.name for p in (tmp_path / "g").iterdir()] == ["film.mp4"]
