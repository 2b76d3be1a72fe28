"""Recordings at an address, from a server on this machine."""

import contextlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

from realm_edge.errors import UserError
from realm_edge.readers.names import name_of
from realm_edge.readers.reading import fingerprint, read_recording
from realm_edge.readers.remote import shown
from tests.nwb_file import recording_file, velocity

pytest.importorskip("remfile", reason="remfile is not installed: pip install 'realm-edge[formats]'")
pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")

COUNTS = np.random.default_rng(0).integers(-500, 500, (400_000, 8), dtype=np.int16)
T = np.arange(0, 400, 0.02)


@pytest.fixture
def served(tmp_path):
    """A recording, its address, and how many bytes each part had that was sent, and what the server does."""
    path = recording_file(tmp_path / "sub-1.nwb", COUNTS, velocity("hand", np.sin(T), timestamps=T))
    sent: list[int] = []
    ranges = {"are sent": True, "version": "the first version"}

    class Ranges(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/assets/sub-1.nwb":
                self.send_error(404)
                return
            content = path.read_bytes()
            wanted = ranges["are sent"] and re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first, last = (int(wanted[1]), int(wanted[2] or len(content) - 1)) if wanted else (0, len(content) - 1)
            part = content[first : last + 1]
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
                sent.append(len(part))
            self.send_header("Content-Length", str(len(part)))
            if ranges["version"]:
                self.send_header("ETag", ranges["version"])
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # who wanted to know the length alone hangs up
                self.wfile.write(part)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Ranges) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path, f"http://127.0.0.1:{server.server_port}/assets/sub-1.nwb", sent, ranges
        server.shutdown()


def test_a_recording_at_an_address(served):
    path, address, sent, _ = served
    at = type(path)(address)  # as the command line gives it: a path knows no double slash
    recording = read_recording(at)
    assert name_of(at) == recording.name == "sub-1"
    assert sum(sent) < path.stat().st_size  # its voltage was not read yet
    np.testing.assert_array_equal(np.asarray(recording.lfp[1000:3000]), COUNTS[1000:3000])
    np.testing.assert_allclose(recording.behavior[:, 0], np.sin(T), rtol=1e-6)
    assert fingerprint(at) == recording.provenance["sha256"] != fingerprint(path)


def test_addresses_that_are_of_no_use(served):
    path, address, _, ranges = served
    for wrong in (address.replace("sub-1", "sub-2"), "http://127.0.0.1:9/a.nwb"):
        with pytest.raises(UserError, match=r"^http://127\.0\.0\.1:\d+/.*\.nwb: cannot be reached .*: check the address and the network"):
            read_recording(type(path)(wrong))
    ranges["are sent"] = False
    with pytest.raises(UserError, match=r"sub-1\.nwb: its server sends whole files only: download it, and name the file"):
        read_recording(type(path)(address))


def test_a_file_of_no_version_is_known_by_parts_of_it(served):
    path, address, _, ranges = served
    ranges["version"] = None
    before = fingerprint(type(path)(address))
    content = bytearray(path.read_bytes())
    content[0x200] ^= 1  # of the first 64 KiB
    path.write_bytes(content)
    assert fingerprint(type(path)(address)) != before


def test_what_is_secret_in_an_address_is_not_kept(served):
    path, address, _, _ = served
    signed = type(path)(address.replace("http://", "http://ann:secret@") + "?X-Amz-Signature=secret")
    assert shown(signed) == address and shown(path) == str(path)
    with pytest.raises(UserError) as caught:
        read_recording(type(path)(str(signed).replace("sub-1", "sub-2")))
    assert "secret" not in str(caught.value)
    recording = read_recording(type(path)(address + "?X-Amz-Signature=secret"))
    assert recording.provenance["file"] == address


def test_other_schemes_are_refused():
    for address in ("s3:/bucket/a.nwb", "ftp:/host/a.nwb", "file:/etc/a.nwb"):
        with pytest.raises(UserError, match=r"addresses are read by https or http: name such a one, or download the file"):
            read_recording(Path(address))


def test_a_recording_at_an_address_leads_to_no_file_here(served, tmp_path):
    path, address, _, _ = served
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(path, "a") as file:
        file.create_dataset("scratch/x", (8,), "f8", external=[(str(tmp_path / "secret"), 0, 64)])
    with pytest.raises(UserError, match=r"sub-1\.nwb: it links to '.*secret', and what lies at an address links to nothing: download both"):
        read_recording(type(path)(address))
