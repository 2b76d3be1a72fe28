"""The process apart: whatever a file does to it costs one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from realm_edge import apart as module
from realm_edge.apart import NOTES, apart
from realm_edge.app import cli
from realm_edge.errors import UserError
from realm_edge.progress import Silent

FILES = [Path("a.nwb")]
HERE = "tests.realm_edge.test_apart"


def doubled(value, progress):
    progress.note("half")
    print("not an answer")
    return 2 * value


def pid():
    return os.getpid()


def refuse():
    raise UserError("a.nwb: no LFP in it")


def stumble():
    return {}["no such key"]


def die():
    os.kill(os.getpid(), signal.SIGSEGV)


def hang():
    time.sleep(600)


def swell():
    return len(bytearray(module.MEMORY_BYTES + (1 << 20)))


def where():
    return os.getcwd()


class Notes(Silent):
    def __init__(self):
        self.noted = []

    def note(self, text):
        self.noted.append(text)


def test_answers_and_notes_come_back():
    notes = Notes()
    assert apart(f"{HERE}:doubled", 21, NOTES, files=FILES, progress=notes) == 42
    assert notes.noted == ["half"]


def test_it_stays_for_the_next_file_and_works_where_this_process_works(tmp_path, monkeypatch):
    first = apart(f"{HERE}:pid", files=FILES)
    assert first == apart(f"{HERE}:pid", files=FILES) != os.getpid()
    with pytest.raises(UserError, match=r"^a\.nwb: no LFP in it$"):
        apart(f"{HERE}:refuse", files=FILES)
    assert first == apart(f"{HERE}:pid", files=FILES)
    monkeypatch.chdir(tmp_path)
    assert apart(f"{HERE}:where", files=FILES) == str(tmp_path)


FAULTS = {
    "stumble": r"a\.nwb: not readable \(KeyError: 'no such key'\): export it again, or report it with the file",
    "die": r"a\.nwb: the process that read it ended by SIGSEGV.*: it is damaged: export it again",
    "swell": r"a\.nwb: reading it takes more than 4 GiB of memory: store it without compression, or in parts",
    "hang": r"a\.nwb: reading it did not end within 1 s: it is damaged, or this machine is busy: try again, or export or download it again",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_line_and_the_next_file_gets_another_process(fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.nwb").touch()
    before = apart(f"{HERE}:pid", files=FILES)
    monkeypatch.setattr(module, "SECONDS", 1.0 if fault == "hang" else 30.0)
    with pytest.raises(UserError, match=f"^{FAULTS[fault]}$"):
        apart(f"{HERE}:{fault}", files=FILES)
    monkeypatch.setattr(module, "SECONDS", 30.0)
    assert apart(f"{HERE}:pid", files=FILES) != before
    assert not Path(f"/proc/{before}").exists()


def test_where_several_files_are_read_all_are_named():
    """A table beside the recording may be what is damaged."""
    with pytest.raises(UserError, match=r"^a\.nwb, b\.csv: the process that read them ended by SIGSEGV.*: one of them is damaged: export"):
        apart(f"{HERE}:die", files=[*FILES, Path("b.csv")])


def test_larger_files_have_more_time(tmp_path):
    (tmp_path / "a").write_bytes(bytes(3_000_000))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b").write_bytes(bytes(1_000_000))
    assert module._seconds([tmp_path / "a", tmp_path / "folder"]) == module.SECONDS + 4.0
    assert module._seconds([Path("https://example.org/a.nwb")]) == module.SECONDS + module.REMOTE_SECONDS


def test_it_ends_with_the_process_that_started_it():
    code = "import time; from pathlib import Path; from realm_edge.apart import apart"
    code += f"; print(apart('{HERE}:pid', files=[Path('a')]), flush=True); time.sleep(600)"
    path = os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}) as process:
        child = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_commands_read_recordings_there(tmp_path, monkeypatch):
    """A reader that dies does not take the command with it."""
    np.savez(tmp_path / "a.npz", lfp=np.ones((100, 2), np.int16), lfp_rate=1000)
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "BYTES_A_SECOND", 1e9)
    result = CliRunner().invoke(cli.main, ["data", "inspect", str(tmp_path / "a.npz")])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "did not end within" in result.stderr
