"""Products that are given to the scene cache: one file with two names, and no harm to either."""

import errno
import hashlib
import os
import random
import shutil

import pytest

from mdpipe.products import write_atomically
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.policy import Policy
from mdpipe.steps import group_fetch, packing

KEY = hashlib.sha256(b"a scene").hexdigest()
OTHER = hashlib.sha256(b"another scene").hexdigest()


@pytest.fixture
def cache(tmp_path):
    found = SceneCache(tmp_path / "cache")
    found.store.share = True
    return found


@pytest.fixture
def products(tmp_path):
    folder = tmp_path / "products"
    (folder / "plots").mkdir(parents=True)
    (folder / "trajectory.xtc").write_bytes(random.Random(1).randbytes(4000))
    (folder / "plots" / "curve.txt").write_text("1 2 3\n")
    return folder


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def names_of(path):
    return path.stat().st_nlink


def test_products_that_are_given_are_not_copied_and_outlive_their_folder(cache, products, tmp_path):
    wanted = contents(products)
    node = (products / "trajectory.xtc").stat().st_ino
    assert cache.publish(KEY, products)
    entry = cache.lookup(KEY)
    assert (entry.folder / "trajectory.xtc").stat().st_ino == node
    entry.check()
    shutil.rmtree(products)
    assert cache.fetch(KEY, tmp_path / "b") is not None
    assert contents(tmp_path / "b") == wanted
    assert (tmp_path / "b" / "trajectory.xtc").stat().st_ino != node
    assert (tmp_path / "b" / "trajectory.xtc").stat().st_mode & 0o200  # what is fetched is its own


def test_products_of_another_file_system_are_copied(cache, products, monkeypatch):
    def no_second_names(*_, **__):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", no_second_names)
    assert cache.publish(KEY, products)
    (products / "trajectory.xtc").write_bytes(b"changed")
    cache.lookup(KEY).check()


def test_a_product_that_is_a_link_is_not_the_folders_to_give(cache, products, tmp_path):
    (products / "trajectory.xtc").rename(tmp_path / "elsewhere")
    (products / "trajectory.xtc").symlink_to(tmp_path / "elsewhere")
    assert cache.publish(KEY, products)
    (tmp_path / "elsewhere").write_bytes(b"changed")
    cache.lookup(KEY).check()


def test_a_name_that_was_made_in_spite_of_an_error_does_not_cost_the_product(
    cache, products, monkeypatch
):
    link = os.link

    def linked_but_told_otherwise(source, target):
        link(source, target)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    wanted = contents(products)
    monkeypatch.setattr(os, "link", linked_but_told_otherwise)  # as a network volume, asked twice
    assert cache.publish(KEY, products)
    assert contents(products) == wanted
    entry = cache.lookup(KEY)
    entry.check()
    assert {names_of(entry.folder / name) for name in entry.files} == {1}


def test_a_product_of_another_owner_is_copied(cache, products, monkeypatch):
    chmod = type(products).chmod
    owned = []

    def not_mine(path, mode):
        if names_of(path) > 1:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        owned.append(path.name)
        chmod(path, mode)

    monkeypatch.setattr(type(products), "chmod", not_mine)
    assert cache.publish(KEY, products)
    assert owned == ["curve.txt", "trajectory.xtc"]
    assert names_of(products / "trajectory.xtc") == 1


def test_what_is_given_half_way_is_no_entry_and_is_given_again(cache, products):
    wanted = contents(products)
    staged, _ = cache.store.stage(KEY, products)  # and killed
    assert names_of(products / "trajectory.xtc") == 2
    assert cache.lookup(KEY) is None
    # as the next attempt writes them: under a new name, so that the old file is not touched
    (products / "new").write_bytes(b"other bytes")
    (products / "new").replace(products / "trajectory.xtc")
    assert (staged / "trajectory.xtc").read_bytes() == wanted["trajectory.xtc"]
    assert cache.publish(KEY, products)
    assert not staged.exists()
    assert names_of(products / "trajectory.xtc") == 2
    assert (cache.lookup(KEY).folder / "trajectory.xtc").read_bytes() == b"other bytes"


def test_products_that_were_not_removed_in_time_are_replaced_and_not_written_to(cache, products):
    assert cache.publish(KEY, products)
    assert cache.compute_once(KEY, None, products) == "hit"
    assert names_of(products / "trajectory.xtc") == 1
    (products / "trajectory.xtc").write_bytes(b"changed")
    cache.lookup(KEY).check()


def test_products_that_the_policy_refuses_stay_whole(tmp_path, products):
    cache = SceneCache(tmp_path / "small", policy=Policy("guaranteed", max_bytes=100))
    cache.store.share = True
    wanted = contents(products)
    assert not cache.publish(KEY, products)
    assert contents(products) == wanted
    assert names_of(products / "trajectory.xtc") == 1


def test_an_entry_that_was_given_can_be_evicted_while_its_products_stay(cache, products):
    wanted = contents(products)
    assert cache.publish(KEY, products)
    assert cache.store.evict(KEY, keep_metadata=True)
    assert contents(products) == wanted
    assert cache.publish(OTHER, products)


def test_a_scene_that_was_fetched_in_part_does_not_say_that_it_is_whole(tmp_path, monkeypatch):
    def bring(_cache, _key, entry):
        entry.mkdir()
        (tmp_path / "a").write_text("a")
        names = ("film.mp4", *(f"nvt/{name}" for name in group_fetch.MEASURED))
        packing.pack(entry / group_fetch.PACKED, dict.fromkeys(names, tmp_path / "a"))
        return True

    def full(path):
        if path.name == "observables.npz":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_atomically(path)

    monkeypatch.setattr(group_fetch, "bring", bring)
    monkeypatch.setattr(packing, "write_atomically", full)
    group = tmp_path / "group"
    with pytest.raises(OSError, match="No space"):
        group_fetch.fetch_group(None, "key", group)
    assert not (group / "nvt" / "scene.json").exists()
    monkeypatch.setattr(packing, "write_atomically", write_atomically)
    assert group_fetch.fetch_group(None, "key", group)
    assert sorted(path.name for path in (group / "nvt").iterdir()) == sorted(group_fetch.MEASURED)
    assert (group / "film.mp4").read_text() == "a"
