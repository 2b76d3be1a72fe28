"""Faults of the machine: one line that names the place and the remedy, status 2, nothing lost, and a rerun goes on."""

import errno
import json
import os
import resource
import shlex
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner

from realm_edge import faults, files
from realm_edge.app import cli
from realm_edge.app.rundir import RunDir, command
from realm_edge.app.workflow import Workflow, open_for_data
from realm_edge.errors import UserError
from realm_edge.faults import fault, told
from realm_edge.files import PARTIAL, cache_folder, replacing, replacing_directory, write_bytes, write_json, write_text
from realm_edge.progress import Silent
from realm_edge.settings import Settings
from realm_edge.sources import Recordings
from tests.nwb_file import recording_file, velocity

ROOT = Path(__file__).parents[2]
SHORT = "[synthetic]\nsessions = 2\nseconds = 22\nheldout_seconds = 22\nchannels = 4\nunits = 2\n[split]\ntrain = 0.6\nvalidation = 0.2\n"


def realm_edge(
    folder: Path, *arguments: str, stdout: str | None = None, limit: Callable[[], None] | None = None, **environment: str | None
) -> tuple[int, str]:
    """Status and standard error of a command; ``None`` takes a variable out of the environment."""
    own = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with open(stdout or os.devnull, "w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "realm_edge", *arguments],
            cwd=folder, env={name: value for name, value in own.items() if value is not None}, stdout=out, stderr=subprocess.PIPE,
            text=True, check=False, preexec_fn=limit, timeout=120,
        )  # fmt: skip
    return done.returncode, done.stderr


def one_line(said: tuple[int, str]) -> str:
    status, stderr = said
    assert status == 2, stderr
    *_, line = stderr.splitlines()
    assert line.startswith("realm-edge: error: ") and "Traceback" not in stderr, stderr
    return line.removeprefix("realm-edge: error: ")


@pytest.mark.parametrize("arguments", [("targets", "--json"), ("--help",), ("train", "--help"), ("targets",)], ids=" ".join)
def test_a_full_standard_output_is_told(tmp_path, arguments):
    line = one_line(realm_edge(tmp_path, *arguments, stdout="/dev/full"))
    assert line.startswith("standard output: no space is left there: free some, or name another place")


def test_a_reader_that_had_enough_is_no_fault(tmp_path):
    piped = f"{shlex.quote(sys.executable)} -m realm_edge targets --json | head -c 1"
    done = subprocess.run(["bash", "-c", piped], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[" and "Traceback" not in done.stderr


def test_a_file_that_cannot_be_written_is_named_and_the_rerun_goes_on(tmp_path):
    (tmp_path / "short.toml").write_text("window_bins = 50\n" + SHORT)
    asked = ("data", "--config", "short.toml", "--out", "run")
    small = one_line(realm_edge(tmp_path, *asked, limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))))
    assert "the file would be larger than this system allows: raise the limit (ulimit -f)" in small
    assert RunDir.open(tmp_path / "run").performed() == () and not list((tmp_path / "run").rglob("*.partial-*"))
    assert realm_edge(tmp_path, *asked)[0] == 0
    assert RunDir.open(tmp_path / "run").is_complete("data")


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own in memory, where this process may mount one."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_what_is_finished_and_the_rerun_goes_on(tmp_path):
    (tmp_path / "short.toml").write_text("window_bins = 50\n" + SHORT)
    with disk(tmp_path / "disk", "size=8m") as place:
        asked = ("data", "--config", str(tmp_path / "short.toml"), "--out", str(place / "run"))
        assert realm_edge(tmp_path, *asked)[0] == 0
        whole = {path: path.read_bytes() for path in (place / "run").rglob("*") if path.is_file()}
        with pytest.raises(OSError, match="No space left"):
            (place / "fill").write_bytes(bytes(8 << 20))
        line = one_line(realm_edge(tmp_path, *asked))
        assert line.startswith(f"{place}/run/") and "no space is left there: free some, or name another place" in line
        assert {path: path.read_bytes() for path in (place / "run").rglob("*") if path.is_file()} == whole
        assert RunDir.open(place / "run").is_complete("data")
        (place / "fill").unlink()
        assert realm_edge(tmp_path, *asked)[0] == 0


def test_a_place_that_is_read_only_is_named(tmp_path):
    with disk(tmp_path / "disk", "ro") as place:
        line = one_line(realm_edge(tmp_path, "data", "--out", str(place / "run")))
        assert line == f"{place}/run: the place is read-only: name another place with --out, TMPDIR or XDG_CACHE_HOME"
        line = one_line(realm_edge(tmp_path, "data", "--data", str(recording(tmp_path / "a.npz")), XDG_CACHE_HOME=str(place)))
        assert line.startswith(f"{place}/") and "the place is read-only" in line


def test_without_a_home_directory_the_remedy_is_told(tmp_path, monkeypatch):
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    result = CliRunner().invoke(cli.main, ["presets"])
    assert result.exit_code == 2
    assert result.stderr == (
        "realm-edge: error: HOME: there is no home directory to keep a cache in: set HOME, or XDG_CACHE_HOME to a directory\n"
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "realm-edge"
    assert CliRunner().invoke(cli.main, ["presets"]).exit_code == 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two\nlines"))
    with pytest.raises(UserError, match=r"^'.*/two\\nlines': its name has a line break"):
        cache_folder()


@pytest.mark.parametrize(("place", "what"), [("/dev/null/home", "no directory"), ("/proc", "")])
def test_a_cache_that_cannot_be_written_is_named(tmp_path, place, what):
    times = np.arange(1000) / 50
    np.savez(tmp_path / "a.npz", lfp=np.ones((20_000, 2), np.int16), lfp_rate=1000, behavior=np.sin(times), behavior_times=times)
    said = realm_edge(tmp_path, "data", "--data", "a.npz", "--out", "run", XDG_CACHE_HOME=place)
    line = said[1].splitlines()[-1].removeprefix("realm-edge: error: ")
    assert said[0] == 2 and line.startswith(place) and what in line


@pytest.mark.parametrize("place", ["/proc", "/dev/null/home", "cache"])
def test_reading_a_recording_keeps_nothing_in_the_cache_and_needs_none(tmp_path, place):
    """pynwb would unpickle its schema from there, and blame the recording where it is half written."""
    recording_file(tmp_path / "a.nwb", np.ones((3000, 2), np.int16), velocity(seconds=3.0))
    (tmp_path / "cache").mkdir()
    assert realm_edge(tmp_path, "data", "inspect", "a.nwb", XDG_CACHE_HOME=str(tmp_path / place))[0] == 0
    assert list((tmp_path / "cache").iterdir()) == []


def test_recordings_of_other_formats_load_no_pynwb():
    code = "import sys, realm_edge.readers.reading, realm_edge.inspection, realm_edge.sources; sys.exit('pynwb' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_locale_without_signs_does_not_stop_a_command(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert realm_edge(tmp_path, "study", "--help", **plain)[0] == 0
    assert realm_edge(tmp_path, "targets", "--json", **plain)[0] == 0


@pytest.mark.parametrize("length", [251, 255])
def test_names_may_be_as_long_as_the_file_system_allows(tmp_path, length):
    name = "n" * (length - 4) + ".bin"
    with replacing(tmp_path / name) as partial:
        partial.write_bytes(b"x")
        assert PARTIAL.match(partial.name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(OSError) as caught:
        write_bytes(tmp_path / ("n" + "n" * 255), b"x")
    assert told(caught.value) == f"{tmp_path}/{'n' * 256}: the name is longer than the file system allows: use a shorter one"


def test_a_write_that_fails_names_the_file_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "kept.json"
    write_json(path, 1)
    for raised in (OSError(errno.ENOSPC, "No space left on device"), OSError("short write")):
        with pytest.raises(OSError) as caught, replacing(path) as partial:
            partial.write_text("half")
            raise raised
        assert caught.value.filename == str(path)
    assert path.read_text() == "1\n" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError) as missing, replacing(path):
        Path("/nowhere").read_text()
    assert missing.value.filename == "/nowhere"


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        done.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(files.os, "fsync", noted_fsync)
    monkeypatch.setattr(files.os, "replace", noted_replace)
    write_bytes(tmp_path / "a", b"x")
    assert done == [f"fsync .a.partial-{os.getpid()}", "rename", f"fsync {tmp_path.name}"]


def test_of_a_copy_that_finds_no_room_the_place_is_named_that_it_goes_to():
    """shutil's error names the source first, where all is well."""
    error = OSError(errno.ENOSPC, "full", "source", None, "/runs/a/copy")
    assert told(error).startswith("/runs/a/copy: no space is left there")


def test_what_lies_behind_an_exception_is_told_and_bugs_are_not_hidden():
    full = OSError(errno.ENOSPC, "No space left on device", "/x")
    try:
        try:
            raise full
        finally:
            raise ValueError("Can't close the ZIP file while there is an open writing handle on it")
    except ValueError as error:
        assert fault(error) is full
    try:
        try:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/x")
        except FileNotFoundError:
            raise KeyError("a bug") from None
    except KeyError as error:
        assert fault(error) is None
    assert told(full).startswith("/x: no space is left there: free some")
    assert told(OSError(errno.EDQUOT, "Disk quota exceeded", "/x")).startswith("/x: your quota is used up there: free some")
    assert told(OSError(errno.ENOSPC, "No space left on device")).startswith("a temporary file in /")
    assert isinstance(fault(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")), MemoryError)


def test_the_place_that_is_named_first_is_the_one_that_failed(tmp_path):
    for name, first in ((str(Path(tempfile.gettempdir()) / "realm-edge-x" / "a.o"), "TMPDIR, --out"), ("/runs/a", "--out, TMPDIR")):
        assert f"name another place with {first} or XDG_CACHE_HOME" in told(OSError(errno.ENOSPC, "No space left on device", name))
    assert "name another place with TMPDIR, --out or XDG_CACHE_HOME" in told(OSError(errno.ENOSPC, "No space left on device"))


def test_a_cache_without_space_or_rights_is_told_apart_from_files_that_are_temporary(tmp_path, monkeypatch):
    """Also where the cache is not made yet: what has no room is the place that it would be in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    remedy = "name another place with XDG_CACHE_HOME, --out or TMPDIR"
    named = told(OSError(errno.EROFS, "Read-only file system", str(tmp_path / "cache" / "zig")))
    assert named == f"{tmp_path}/cache/zig: the place is read-only: {remedy}"
    free = {tmp_path / "cache": 100}
    monkeypatch.setattr(faults.shutil, "disk_usage", lambda place: SimpleNamespace(free=free.get(place, 1 << 30)))
    full = told(OSError(errno.ENOSPC, "No space left on device"))
    assert full.startswith(f"a temporary file in {tmp_path}/cache: no space is left there: free some, or {remedy};")
    monkeypatch.setattr(faults.os, "access", lambda place, mode: place != tmp_path / "cache")
    assert told(OSError(errno.EACCES, "Permission denied")).startswith(f"a temporary file in {tmp_path}/cache: permission denied")


def test_a_current_directory_that_is_gone_is_told(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="the current directory is gone: change to another one"):
        files.working_directory()
    assert told(FileNotFoundError(errno.ENOENT, "No such file or directory")).startswith("the current directory is gone")
    assert told(FileNotFoundError(errno.ENOENT, "No such file or directory", "/x")).startswith("/x: no such file")


def test_a_directory_for_temporary_files_that_python_passes_over_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(faults.os, "access", lambda place, mode: place != tmp_path)
    named = told(OSError(errno.EROFS, "Read-only file system"))
    assert named == f"a temporary file in {tmp_path}: the place is read-only: name another place with TMPDIR, --out or XDG_CACHE_HOME"


IN_THE_WAY = {  # what lies where, and what is told of it
    "file": (lambda at: at.write_text(""), "a file lies where a directory is needed: move it away, or name another place with --out"),
    "directory": (Path.mkdir, "a directory lies where a file is needed: move it away, or name another place with --out"),
}


@pytest.mark.parametrize("name", ["data", "train.partial", "simulation", "golden", "firmware", "baselines"])
def test_a_file_in_the_place_of_a_directory_is_told(tmp_path, name):
    put, what = IN_THE_WAY["file"]
    put(tmp_path / name)
    for write in (lambda: write_json(tmp_path / name / "a.json", 1), lambda: replacing_directory(tmp_path / name / "rv32imc").__enter__()):
        with pytest.raises(OSError) as caught:
            write()
        assert told(caught.value).startswith(f"{tmp_path / name}: {what}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could put a file in the place of a device")
def test_a_device_stays_where_it_is(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this system lets nobody make devices")
    with pytest.raises(UserError, match="null: a device: name a file to write"):
        write_text(device, "content")
    assert stat.S_ISCHR(device.lstat().st_mode)


def test_a_directory_in_the_place_of_a_file_is_told(tmp_path):
    put, what = IN_THE_WAY["directory"]
    put(tmp_path / "student.safetensors")
    with pytest.raises(OSError) as caught:
        write_bytes(tmp_path / "student.safetensors", b"x")
    assert told(caught.value).startswith(f"{tmp_path}/student.safetensors: {what}")
    result = CliRunner().invoke(cli.main, ["data", "inspect", str(recording(tmp_path / "a.npz")), "--png", str(tmp_path)])
    assert result.exit_code == 2 and result.stderr.startswith(f"realm-edge: error: {tmp_path}: {what}")
    asked = ["data", "inspect", str(tmp_path / "a.npz"), "--png", "/proc/nosuch/a.png"]
    assert (
        "/proc/nosuch: no such file or directory: name one that is there, or name another place"
        in CliRunner().invoke(cli.main, asked).stderr
    )


@pytest.mark.parametrize("named", ["/", "", "..", "."])
def test_what_is_no_name_of_a_recording_is_refused_at_once(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    for asked in (["data", "--data", named], ["data", "inspect", named], ["run", "--data", named]):
        result = CliRunner().invoke(cli.main, asked)
        assert result.exit_code == 2 and "not the name of a recording: name its file or its folder" in result.stderr, result.stderr


@pytest.mark.parametrize("raised", [MemoryError(), OSError(errno.EIO, "Input/output error"), OSError("gone")])
def test_no_fault_of_the_machine_is_a_traceback(monkeypatch, raised):
    @click.command(name="broken")
    def broken() -> None:
        raise raised

    monkeypatch.setitem(cli.main.commands, "broken", broken)
    result = CliRunner().invoke(cli.main, ["broken"])
    assert result.exit_code == 2 and result.stderr.startswith("realm-edge: error: ") and result.stderr.count("\n") == 1


def test_memory_that_is_used_up_is_told(tmp_path):
    code = "from realm_edge.app import cli, preset_sizes as sizes\nsizes.preset_size = lambda settings: bytearray(1 << 62)\n"
    code += "cli.main(['presets'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("realm-edge: error: memory is used up: end other programs, or lower the sizes")


def recording(path: Path) -> Path:
    times = np.arange(60_000) / 1000
    lfp = np.random.default_rng(0).normal(0, 100, (60_000, 3)).astype(np.int16)
    np.savez(path, lfp=lfp, lfp_rate=1000.0, lfp_scale=1e-7, behavior=np.sin(times[::20, None]), behavior_times=times[::20])
    return path


def test_a_stale_run_names_a_command_that_works_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "labs own").mkdir()
    monkeypatch.chdir(tmp_path / "labs own")
    recording(Path("mon day.npz"))
    Path("short.toml").write_text("window_bins = 50\n")
    choices = ["--data", "mon day.npz", "--behavior", "behavior", "--channels", "0-1"]
    asked = ["data", *choices, "--config", "short.toml", "--out", "../its run"]
    assert CliRunner().invoke(cli.main, asked).exit_code == 0
    out = tmp_path / "its run"
    next((out / "data").glob("*.npz")).write_bytes(b"changed")
    monkeypatch.chdir("/")
    refused = CliRunner().invoke(cli.main, ["train", "--out", str(out)])
    said = refused.stderr.splitlines()[-1]
    named = said.partition("was changed since): run '")[2].removesuffix("'")
    words = shlex.split(named)
    assert words == [
        *["realm-edge", "data", "--data", f"{tmp_path}/labs own/mon day.npz", "--behavior", "behavior", "--channels", "0-1"],
        *["--out", str(out)],
    ]
    without = CliRunner().invoke(cli.main, ["data", "--out", str(out)])
    assert without.exit_code == 2 and named in without.stderr  # it asks for the recording, and names the command as well
    assert CliRunner().invoke(cli.main, words[1:]).exit_code == 0
    assert RunDir.open(out).is_complete("data")


def test_the_command_survives_what_was_kept_being_broken(tmp_path):
    run = RunDir.create(tmp_path / "run", Settings())
    run.remember("simulate.rv32imc", ["--budget", "/my limits.toml"])
    assert command("simulate.rv32imc", run.path) == f"realm-edge simulate --target rv32imc --budget '/my limits.toml' --out {run.path}"
    for broken in ("{", "3", '{"a": 1}'):
        run.file("stages", "data.options").write_text(broken)
        assert command("data", run.path).startswith("realm-edge data ")
    assert run.performed() == ()


def test_a_command_that_fails_leaves_a_finished_run_finished(tmp_path):
    def made(run, progress, fails=False):
        if fails:
            raise OSError(28, "No space left on device")
        run.file("made").write_text("x")
        run.complete("data", [run.file("made")], {})
        return {}

    run = RunDir.create(tmp_path / "run", Settings())
    work = Workflow(run, Silent(), lambda verb: made)
    work.perform("data", request={"budget": "first"}, options=["--budget", "first"])
    with pytest.raises(OSError, match="No space left"):
        work.perform("data", True, request={"budget": "second"}, options=["--budget", "second"])
    assert run.is_complete("data") and run.requested("data") == {"budget": "first"} and run.remembered("data") == ["--budget", "first"]


@pytest.mark.parametrize("text", ["[power_uw]\nlimit = 1e400\nsource = 'x'", "a = " + "[" * 10_000, "x = 1", None])
def test_a_bad_budget_is_refused_before_anything_is_asked_for(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    run = RunDir.create(tmp_path / "run", Settings())
    (tmp_path / "bad.toml").write_text(text) if text is not None else os.mkfifo("bad.toml")
    for verb in ("simulate", "run"):
        result = CliRunner().invoke(cli.main, [verb, "--budget", "bad.toml", "--out", "run"])
        assert result.exit_code == 2 and result.stderr.startswith("realm-edge: error: bad.toml: ") and result.stderr.count("\n") == 1
    assert [path.name for path in run.file("stages").iterdir()] == []


def test_fresh_with_a_recording_that_cannot_be_used_removes_nothing(tmp_path):
    run = RunDir.create(tmp_path / "run", Settings())
    run.complete("data", [], {})
    (tmp_path / "bad.npz").write_text("no recording")
    with pytest.raises(UserError), open_for_data(run.path, None, Recordings((tmp_path / "bad.npz",)), fresh=True, may_skip=True):
        pass
    assert run.is_complete("data")
    assert json.loads(run.file("stages", "data.json").read_text())["outputs"] == {}
