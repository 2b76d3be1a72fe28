"""What is told where zig fails: errors of the machine as such, with the place; all others with what zig complained about."""

import errno
import subprocess
from types import SimpleNamespace

import pytest

from firmware_sim import toolchain
from realm_edge.errors import UserError

SAID = [  # as zig 0.16 and LLVM say it
    ('error: unable to open global cache directory "/c/zig": ReadOnlyFileSystem', 1, errno.EROFS, "/c/zig"),
    (
        "warning(zcu): unable to write cached ZIR code for /lib/std/errors.zig to /c/zig/z/0e2d: NoSpaceLeft",
        1,
        errno.ENOSPC,
        "/c/zig/z/0e2d",
    ),
    ("note: first\nzig: error: unable to make temporary file: Read-only file system", 1, errno.EROFS, None),
    ("LLVM ERROR: IO failure on output stream: No space left on device", 0, errno.ENOSPC, None),  # what it wrote is cut short
    ('error: unable to create directory "/c/zig": AccessDenied', 1, errno.EACCES, "/c/zig"),
]


def saying(monkeypatch, text: str, status: int) -> list:
    called: list = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **named: called.append(command) or SimpleNamespace(stderr=text, returncode=status)
    )
    return called


@pytest.mark.parametrize(("text", "status", "number", "place"), SAID)
def test_errors_of_the_machine_are_raised_as_such_and_name_the_place(monkeypatch, tmp_path, text, status, number, place):
    called = saying(monkeypatch, text, status)
    with pytest.raises(OSError) as caught:
        toolchain.zig(["ar", "x.a"], tmp_path)
    assert (caught.value.errno, caught.value.filename) == (number, place)
    assert called[0][1:] == ["-m", "ziglang", "ar", "x.a"]


def test_what_is_no_error_of_the_machine_is_told_with_the_first_complaint(monkeypatch, tmp_path):
    saying(monkeypatch, "a.c: note\na.c:3: error: no such thing\na.c:4: error: another", 1)
    with pytest.raises(UserError, match=r"'python -m ziglang cc' failed: a\.c:3: error: no such thing; rerun 'realm-edge compile'"):
        toolchain.zig_cc(["a.c"], tmp_path)


def test_a_warning_that_nothing_was_kept_is_no_error(monkeypatch, tmp_path):
    saying(monkeypatch, 'warning: "/c/zig": ReadOnlyFileSystem', 0)
    toolchain.zig_cc(["a.c"], tmp_path)
