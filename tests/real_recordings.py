"""Real recordings that some tests use where they are: beside the checkout, in ../shared/data. They are not part of this repository."""

import hashlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "data"
RECORDINGS = {  # name: SHA-256, and where it was made from
    "rodent_running_a.nwb": (
        "4f6daf657a8163add09a15b878d501d7cf5467716ae70b475f5a62eaa3da0bd9",
        "an NWB 2 file of ephysiopy's test data: LFP, units, position and speed of 600 s",
    ),
    "human_grip_force_features.nwb": (
        "59461fb34ab5329c34a0c6b43b583d86eb67b29dc9c03b8e2afa499ea5af5f47",
        "an NWB 2 file of py_neuromodulation's example: 63 band powers and grip force of 281 s",
    ),
}


def recording(name: str) -> Path:
    """The file; the test that asks for it is skipped where it is absent, and fails where it is another one."""
    path, (sha256, source) = FOLDER / name, RECORDINGS[name]
    if not path.is_file():
        pytest.skip(f"{name} is not in ../shared/data: it is {source}, SHA-256 {sha256}")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256, f"{path} is another file than the one this test was written for"
    return path
