"""A folder seen through a file system that counts what is read and written.

As a network volume does, it asks at each opening whether the file has changed, and lets the node
keep the pages of one that has not. A program of its own, for it goes on while its users wait:

    python counted_folder.py SOURCE MOUNT COUNTS

mounts SOURCE at MOUNT and writes `{name: [opened, read, written]}` to COUNTS twice a second.
It needs FUSE and the package `mfusepy`.
"""

# calls of the kernel are handed on as they are
# ruff: noqa: ARG002, PTH101, PTH102, PTH104, PTH106, PTH108, PTH115, PTH208, PTH211

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

PERIOD_S = 0.5


@contextlib.contextmanager
def counted(source, mount, counts):
    """Mount a folder for the time of a block; yield a function that tells the counts."""
    if importlib.util.find_spec("mfusepy") is None or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("counting what volumes read needs /dev/fuse and `pip install mfusepy`")
    mount.mkdir(parents=True)
    program = subprocess.Popen([sys.executable, __file__, source, mount, counts])
    deadline = time.monotonic() + 20
    while not mount.is_mount():
        assert program.poll() is None, "the counting file system did not start"
        assert time.monotonic() < deadline, "the counting file system did not start in 20 s"
        time.sleep(0.1)

    def told():
        time.sleep(3 * PERIOD_S)
        return json.loads(counts.read_text())

    try:
        yield told
    finally:
        # namespaces that were made meanwhile may hold the mount, so its end is not waited for
        subprocess.run([shutil.which("fusermount3") or "fusermount", "-uz", mount], check=False)
        program.kill()
        program.wait()


def _operations():
    import mfusepy

    class Counting(mfusepy.Operations):
        use_ns = True

        def __init__(self, source, counts):
            self.source, self.counts, self.seen = source, counts, {}

        def _at(self, path):
            return self.source + path

        def _count(self, path, opened=0, read=0, written=0):
            row = self.seen.setdefault(path.lstrip("/"), [0, 0, 0])
            for index, more in enumerate((opened, read, written)):
                row[index] += more

        def init(self, path):
            threading.Thread(target=self._tell, daemon=True).start()

        def _tell(self):
            new = Path(f"{self.counts}.new")
            while True:
                new.write_text(json.dumps(dict(self.seen)))
                new.replace(self.counts)
                time.sleep(PERIOD_S)

        def getattr(self, path, fh=None):
            found = os.lstat(self._at(path)) if fh is None else os.fstat(fh)
            names = ("mode", "nlink", "uid", "gid", "size", "ino")
            times = {f"st_{t}time": getattr(found, f"st_{t}time_ns") for t in "amc"}
            return {f"st_{name}": getattr(found, f"st_{name}") for name in names} | times

        def _own(self, path):
            user, group, _ = mfusepy.fuse_get_context()
            os.lchown(self._at(path), user, group)

        def create(self, path, mode, fi=None):
            handle = os.open(self._at(path), os.O_RDWR | os.O_CREAT, mode)
            self._own(path)
            self._count(path, opened=1)
            return handle

        def open(self, path, flags):
            self._count(path, opened=1)
            return os.open(self._at(path), flags & ~os.O_APPEND)

        def read(self, path, size, offset, fh):
            piece = os.pread(fh, size, offset)
            self._count(path, read=len(piece))
            return piece

        def write(self, path, data, offset, fh):
            size = os.pwrite(fh, data, offset)
            self._count(path, written=size)
            return size

        def release(self, path, fh):
            os.close(fh)
            return 0

        def flush(self, path, fh):
            return 0

        def fsync(self, path, datasync, fh):
            os.fsync(fh)
            return 0

        def truncate(self, path, length, fh=None):
            os.truncate(self._at(path) if fh is None else fh, length)
            return 0

        def mkdir(self, path, mode):
            os.mkdir(self._at(path), mode)
            self._own(path)
            return 0

        def readdir(self, path, fh):
            return [".", "..", *os.listdir(self._at(path))]

        def unlink(self, path):
            os.unlink(self._at(path))
            return 0

        def rmdir(self, path):
            os.rmdir(self._at(path))
            return 0

        def rename(self, old, new):
            os.rename(self._at(old), self._at(new))
            return 0

        def link(self, target, source):
            os.link(self._at(source), self._at(target))
            return 0

        def symlink(self, target, source):
            os.symlink(source, self._at(target))
            return 0

        def readlink(self, path):
            return os.readlink(self._at(path))

        def chmod(self, path, mode):
            os.chmod(self._at(path), mode)
            return 0

        def chown(self, path, uid, gid):
            os.lchown(self._at(path), uid, gid)
            return 0

        def utimens(self, path, times=None):
            os.utime(self._at(path), ns=times)
            return 0

        def statfs(self, path):
            found = os.statvfs(self._at(path))
            names = ("bavail", "bfree", "blocks", "bsize", "favail", "ffree", "files", "frsize",
                     "namemax")  # fmt: skip
            return {f"f_{name}": getattr(found, f"f_{name}") for name in names}

    return Counting, mfusepy.FUSE


if __name__ == "__main__":
    Counting, mount = _operations()
    given = [str(Path(word).resolve()) for word in sys.argv[1:]]
    mount(
        Counting(given[0], given[2]), given[1], foreground=True, allow_other=True, auto_cache=True
    )
