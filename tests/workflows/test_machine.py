"""What the machine gives, read from its own files."""

import pytest

from mdpipe.workflows import machine


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """A made-up cgroup v2 in which this process lives, whatever the real one is."""
    leaf = tmp_path / "job" / "step"
    leaf.mkdir(parents=True)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    real = machine.Path.read_text

    def read(path, *arguments, **named):
        if str(path) == "/proc/self/cgroup":
            return "0::/job/step\n"
        return real(path, *arguments, **named)

    monkeypatch.setattr(machine.Path, "read_text", read)
    return leaf


def test_the_real_machine_has_a_core_and_memory():
    assert machine.cores() >= 1
    assert machine.memory_mb() >= 256
    assert machine.oom_kill_count() >= 0


def test_a_limit_of_the_parent_group_counts_and_cached_files_do_not(cgroup):
    (cgroup / "memory.max").write_text("max")
    (cgroup / "memory.current").write_text("0")
    (cgroup.parent / "memory.max").write_text("2000000000")
    (cgroup.parent / "memory.current").write_text("1500000000")
    (cgroup.parent / "memory.stat").write_text("anon 5\ninactive_file 500000000\n")
    # 2.0 GB - 1.5 GB + 0.5 GB, of which 80 % are planned with
    assert machine.memory_mb() == 800


def test_a_quota_of_cores_counts(cgroup, monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)))
    (cgroup / "cpu.max").write_text("300000 100000")
    assert machine.cores() == 3


def test_kills_by_the_kernel_are_counted_in_the_own_group(cgroup):
    (cgroup / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert machine.oom_kill_count() == 2
