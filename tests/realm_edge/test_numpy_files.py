"""NumPy's files are believed as far as they fit: shapes take the bytes that are there, members lie where they should, types are plain."""

import io
import struct
import zipfile

import numpy as np
import pytest

from realm_edge.numpy_files import Npz, rows_of_npy

X = np.arange(12, dtype=np.int16).reshape(4, 3)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(text):
    """A file whose header says this, and nothing after it."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


MEMBERS = {
    "7 TiB": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}\n"), r"takes \d+ bytes, and there are"),
    "a negative length": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4)}\n"), r"an array of shape \(-1, 4\)"),
    "many dimensions": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "0, " * 40 + ")}\n"), r"an array of shape"),
    "code": (header("__import__('os').system('true')\n"), r"no array of numpy's"),
    "nesting": (header("[" * 5000), r"no array of numpy's"),
    "objects": (npy(np.array([1, None], dtype=object)), r"an array of objects"),
    "a record": (npy(np.zeros(3, dtype=[("a", "f4"), ("b", "i4")])), r"an array of \[\('a'"),
    "cut short": (npy(X)[:-1], r"an array of shape \(4, 3\) takes 152 bytes, and there are 151"),
    "too long": (npy(X) + b"x", r"takes 152 bytes, and there are 153"),
    "no array": (b"text", r"no array of numpy's"),
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_members_that_do_not_fit(tmp_path, kind):
    content, message = MEMBERS[kind]
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(ValueError, match=message):
        Npz(tmp_path / "a.npz")
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        rows_of_npy(tmp_path / "x.npy")


def test_archives_that_do_not_fit(tmp_path):
    path = tmp_path / "a.npz"
    for entries, method, message in (
        (["x.npy", "x.npy"], zipfile.ZIP_STORED, "two arrays of one name"),
        (["x.txt"], zipfile.ZIP_STORED, "'x.txt' is no array"),
        (["x.npy"], zipfile.ZIP_LZMA, "compressed in a way that numpy does not write"),
    ):
        with zipfile.ZipFile(path, "w", method) as archive, pytest.warns(UserWarning) if len(entries) > 1 else io.BytesIO():
            for entry in entries:
                archive.writestr(entry, npy(X))
        with pytest.raises(ValueError, match=message):
            Npz(path)
    np.savez(path, x=X)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of encryption, in the archive's directory
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"'x\.npy' is encrypted"):
        Npz(path)


def test_a_directory_that_leads_elsewhere(tmp_path):
    """The archive's directory sends its reader to another member."""
    path = tmp_path / "a.npz"
    np.savez(path, x=X, y=np.zeros(7))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 42 : entry + 46] = struct.pack("<I", content.index(b"PK\x03\x04", 10))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"directory 'x\.npy' and header b'y\.npy' differ"):
        Npz(path)


def test_damaged_values_and_text(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=X, text=np.array("abc"))
    archive = Npz(path)
    assert np.array_equal(archive["x"], X) and str(archive["text"]) == "abc" and sorted(archive) == ["text", "x"]
    content = bytearray(path.read_bytes())
    at = content.index(X.tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="Bad CRC-32"):
        Npz(path)["x"]
    with zipfile.ZipFile(path, "w") as changed:
        changed.writestr("text.npy", npy(np.array("abc"))[:-4] + b"\xff\xff\xff\x7f")
    with pytest.raises(ValueError, match="text that is no Unicode"):
        Npz(path)["text"]
