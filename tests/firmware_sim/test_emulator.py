"""Each plugin interface compiles, the one that fits the installed QEMU counts right, and a QEMU with which it cannot is refused."""

import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from firmware_sim import emulator, plugin
from firmware_sim.emulator import EmulatorError, emulator_items, find_emulator
from firmware_sim.plugin import INTERFACES, plugin_library
from firmware_sim.targets import get_target

ARM = get_target("cortex-m4")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes a shell script the first qemu-system-arm on the PATH; ``{qemu}`` in it is the installed one."""

    def make(script: str) -> Path:
        installed = shutil.which(ARM.machine.emulator)
        if "{qemu}" in script and installed is None:
            pytest.skip(f"{ARM.machine.emulator} is not installed: apt-get install qemu-system-arm")
        path = tmp_path / "bin" / ARM.machine.emulator
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{script.replace('{qemu}', str(installed))}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
        return path

    return make


@pytest.mark.parametrize("interface", INTERFACES)
def test_each_interface_compiles_and_declares_itself(interface, tmp_path):
    with plugin_library(interface, tmp_path).open("rb") as stream:
        elf = ELFFile(stream)
        [symbol] = elf.get_section_by_name(".dynsym").get_symbol_by_name("qemu_plugin_version")
        section = elf.get_section(symbol["st_shndx"])
        at = symbol["st_value"] - section["sh_addr"]
        assert int.from_bytes(section.data()[at : at + 4], "little") == interface


def test_an_interface_is_compiled_once(tmp_path):
    first = plugin_library(1, tmp_path)
    stamp = first.stat().st_mtime_ns
    assert plugin_library(1, tmp_path) == first
    assert first.stat().st_mtime_ns == stamp
    assert plugin_library(3, tmp_path) != first
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("interface", INTERFACES)
def test_an_interface_is_refused_or_counts_right(interface, target, tmp_path):
    """The newest that QEMU knows counts to the instruction, across accesses to a device too; newer ones QEMU refuses by itself."""
    found = find_emulator(target)
    if interface < found.interface:
        pytest.skip(f"QEMU {found.version} is used with interface {found.interface}, not with {interface}")
    elf = emulator._trial_program(target, tmp_path)
    fault, refused = emulator._trial(emulator.Emulator(found.path, found.version, interface), elf, target, tmp_path)
    assert refused == (interface > found.interface)
    assert bool(fault) == refused


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("c->now++;", "c->now += 2;", "found 6002 instructions where 3001 were executed"),
        ("    memcpy(b->code, code, bytes);\n", "", "read other instructions than the program has"),
        ("    fprintf(profile, \"end\\n\");\n", "    exit(7);\n", "cannot run the counting plugin"),
    ],
)  # fmt: skip
def test_a_plugin_that_does_not_work_is_found_out(right, wrong, fault, program, tmp_path, monkeypatch):
    program('exec {qemu} "$@"')  # another path: what was found out of the installed one is remembered
    folder = tmp_path / "package" / "plugin"
    folder.mkdir(parents=True)
    source = files("firmware_sim").joinpath("plugin/realm_count.c").read_text()
    assert source.count(right) == 1
    (folder / "realm_count.c").write_text(source.replace(right, wrong))
    monkeypatch.setattr(plugin, "files", lambda package: tmp_path / "package")
    monkeypatch.setattr(plugin, "cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(EmulatorError, match=fault):
        find_emulator(ARM)


def test_a_qemu_that_was_never_tested_is_tried_and_told(program):
    path = program('[ "$1" = --version ] && echo "QEMU emulator version 99.1.2" || exec {qemu} "$@"')
    found = find_emulator(ARM)
    assert (found.path, found.version) == (str(path), "99.1.2")
    assert found.remark == "QEMU 99.1.2 was never tested with this; a trial of the counting plugin went well"
    [item] = emulator_items([ARM])
    assert item.found and item.version == "99.1.2" and item.purpose.endswith(found.remark)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('[ "$1" = --version ] && echo "QEMU emulator version 4.0.1" || { echo "-plugin: invalid option" >&2; exit 1; }',
         "QEMU 4.0.1 cannot run the counting plugin (-plugin: invalid option)"),
        ('[ "$1" = --version ] && echo "QEMU emulator version 20.0" || { echo "plugin requires API version 3" >&2; exit 1; }',
         "QEMU 20.0 cannot run the counting plugin (plugin requires API version 3)"),
        ("exit 1", "QEMU of unknown version cannot run the counting plugin (no message)"),
    ],
)  # fmt: skip
def test_a_qemu_that_cannot_run_the_plugin_is_refused_with_a_remedy(script, reason, program):
    path = program(script)
    with pytest.raises(EmulatorError) as caught:
        find_emulator(ARM)
    assert str(caught.value).startswith(f"{path}: {reason}; put QEMU 7.2 to ")
    [item] = emulator_items([ARM])
    assert (item.found, item.required) == (False, True)
    assert reason in item.line() and "apt-get install qemu-system-arm qemu-system-misc" in item.line()


def test_a_missing_qemu_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EmulatorError, match=r"qemu-system-arm is not installed; put QEMU 7\.2 to .*apt-get install qemu-system-arm"):
        find_emulator(ARM)
