"""Files of arrays: NumPy reads them, and their bytes depend on the arrays alone."""

import hashlib
import io
import zipfile

import numpy as np
import pytest

from mdpipe.arrays import write_arrays

ARRAYS = {
    "positions": np.arange(18, dtype=np.float64).reshape(2, 3, 3) / 7.0,
    "step": np.int64(12),
    "key": np.array("ab"),
    "none": np.empty((0, 3), np.float32),
}


DIGEST = "393a7387c18f89428890b7f41d21bd30f07216b21144830ef9b9c4214eeee833"


def written(arrays):
    stream = io.BytesIO()
    write_arrays(stream, arrays)
    return stream.getvalue()


def test_numpy_reads_what_was_written():
    with np.load(io.BytesIO(written(ARRAYS))) as data:
        assert data.files == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert data[name].dtype == np.asarray(array).dtype
            assert np.array_equal(data[name], array)


def test_the_bytes_are_the_same_under_every_version_of_python():
    content = written(ARRAYS)
    assert hashlib.sha256(content).hexdigest() == DIGEST
    # numpy.savez: 45 from Python 3.11.4 on, 20 before
    assert {m.extract_version for m in zipfile.ZipFile(io.BytesIO(content)).infolist()} == {20}


def test_objects_are_refused():
    with pytest.raises(ValueError, match="Object arrays"):
        written({"a": np.array([None])})
