"""What lies in a bundle goes into the firmware: every bit of it is one that was compiled."""

import os
from pathlib import Path

import pytest

from firmware_sim.bundle import MANIFEST, check_manifest
from realm_edge.errors import UserError
from realm_edge.files import sha256_file


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    for name in ("src/a.c", "lib/a.o", "include/tvm/a.h"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    (path / MANIFEST).write_text("".join(f"{sha256_file(path / name)}  {name}\n" for name in names))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b.h").write_text("b")
    return path


STRANGE = {
    "link to what has no end": lambda at: at.symlink_to("/dev/zero"),
    "FIFO": os.mkfifo,
    "link that leads nowhere": lambda at: at.symlink_to("nowhere"),
    "link to a directory": lambda at: at.symlink_to("../../outside"),
    "link to a file": lambda at: at.symlink_to("a.c"),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", ["src/more.h", "include/more"])
def test_what_is_no_file_is_refused(bundle: Path, kind: str, name: str) -> None:
    check_manifest(bundle)
    STRANGE[kind](bundle / name)
    with pytest.raises(UserError, match=rf"{name}: neither a regular file nor a directory: remove it, or rerun 'realm-edge compile'"):
        check_manifest(bundle)


def test_files_must_be_there_listed_and_as_they_were(bundle: Path) -> None:
    (bundle / "include" / "tvm" / "b.h").write_text("b")
    with pytest.raises(UserError, match=r"b\.h: SHA256SUMS does not list it: remove it, or rerun"):
        check_manifest(bundle)
    (bundle / "include" / "tvm" / "b.h").unlink()
    (bundle / "src" / "a.c").write_text("other")
    with pytest.raises(UserError, match=r"a\.c: changed since it was compiled"):
        check_manifest(bundle)
    (bundle / "src" / "a.c").unlink()
    with pytest.raises(UserError, match=r"a\.c: missing, but SHA256SUMS lists it"):
        check_manifest(bundle)
    (bundle / MANIFEST).unlink()
    with pytest.raises(UserError, match=r"SHA256SUMS: no such file"):
        check_manifest(bundle)
