"""Bundles for Linux: shared libraries that run elsewhere, and a Python wheel, all with the reference's bits."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from firmware_sim.builds import get_build, linux_builds
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.ecosystems.decoder import Decoder
from realm_edge.files import read_json
from tests.firmware_sim.compiled_graphs import CHANNELS, TICKS
from tests.firmware_sim.ecosystems.conftest import WARM_UP
from tests.firmware_sim.ecosystems.projects import BINS, ran, samples

FUNCTIONS = {
    *("realm_lfp_init", "realm_lfp_step_block", "realm_lfp_weights_crc32"),
    *("realm_lfp_frontend_init", "realm_lfp_frontend_block", "realm_lfp_decoder_init", "realm_lfp_decoder_step"),
}


@pytest.mark.parametrize("build", ["x86_64-linux", *(pytest.param(name, marks=pytest.mark.slow) for name in linux_builds()[1:])])
def test_the_library_shows_its_functions_and_needs_an_old_c_library_alone(build, bundle):
    with (bundle(build) / "lib/librealm_lfp.so").open("rb") as stream:
        elf = ELFFile(stream)
        symbols = list(elf.get_section_by_name(".dynsym").iter_symbols())
        assert {symbol.name for symbol in symbols if symbol.name and symbol["st_shndx"] != "SHN_UNDEF"} == FUNCTIONS
        assert {symbol.name for symbol in symbols if symbol.name and symbol["st_shndx"] == "SHN_UNDEF"} <= {"memcpy", "memset"}
        tags = list(elf.get_section_by_name(".dynamic").iter_tags())
        assert [tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"] == ["libc.so.6"]
        assert [tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"] == ["librealm_lfp.so"]
        versions = [each.name for _, parts in elf.get_section_by_name(".gnu.version_r").iter_versions() for each in parts]
    oldest = tuple(map(int, get_build(build).compiler.triple.rpartition("gnu.")[2].split(".")))
    assert versions and all(tuple(map(int, version.removeprefix("GLIBC_").split("."))) <= oldest for version in versions)


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["aarch64", "riscv64"])
def test_a_program_with_the_shared_library_prints_the_references_bits_in_qemu(machine, project, printed):
    system, debian = Path(f"/usr/{machine}-linux-gnu"), {"aarch64": "arm64", "riscv64": "riscv64"}[machine]
    if shutil.which(f"qemu-{machine}") is None or not system.is_dir():
        pytest.skip(f"qemu-{machine} or its C library is not installed: apt-get install qemu-user libc6-{debian}-cross")
    folder = project(f"{machine}-linux", "cmake")
    cc = (sys.executable, "-m", "ziglang", "cc", "-target", get_build(f"{machine}-linux").compiler.triple, "-O2")
    ran(*cc, "-Irealm_lfp/include", "main.c", "-Lrealm_lfp/lib", "-lrealm_lfp", "-o", "decode", cwd=folder)
    shown = ran(f"qemu-{machine}", "-L", system, "-E", "LD_LIBRARY_PATH=realm_lfp/lib", "./decode", cwd=folder)
    assert shown.splitlines() == printed


def unpacked(bundle: Path, folder: Path) -> Path:
    """What pip makes of a bundle's wheel: it is told of no index, so that nothing but the wheel is looked at."""
    (wheel,) = (bundle / "python").glob("*.whl")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(folder), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_installed_wheel_decodes_the_references_bits(bundle, decoded, tmp_path):
    place = unpacked(bundle("x86_64-linux"), tmp_path / "site")
    np.save(tmp_path / "samples.npy", samples())
    program = (
        "import sys, numpy, realm_lfp\n"
        "outputs, settled = realm_lfp.Decoder().decode(numpy.load('samples.npy'))\n"
        "numpy.savez('decoded.npz', outputs=outputs, settled=settled)\n"
        "assert not {name.split('.')[0] for name in sys.modules} & {'realm_edge', 'firmware_sim', 'tvm', 'torch'}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(place)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, env=environment, timeout=60)
    with np.load(tmp_path / "decoded.npz") as found:
        np.testing.assert_array_equal(found["outputs"], decoded)
        assert found["settled"].tolist() == [b >= WARM_UP for b in range(BINS)]


@pytest.fixture(scope="module")
def package(bundle, tmp_path_factory) -> Path:
    """What the wheel installs."""
    (wheel,) = (bundle("x86_64-linux") / "python").glob("*.whl")
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder / "realm_lfp"


@pytest.fixture
def decoder(package) -> Decoder:
    return Decoder(package)


def test_blocks_of_any_length_and_other_instances_change_nothing(decoder, package, decoded):
    other = Decoder(package)
    random, rows, at = np.random.default_rng(1), [], 0
    while at < BINS * TICKS:
        length = int(random.integers(0, 3 * TICKS))
        rows += list(decoder.decode(samples()[at : at + length])[0])
        other.decode(samples()[at : at + 1])
        at += length
    np.testing.assert_array_equal(rows, decoded)
    decoder.decode(samples()[:3])
    decoder.reset()
    assert len(decoder.decode(samples()[:2])[0]) == 0
    np.testing.assert_array_equal(decoder.decode(samples()[2:])[0], decoded)


def test_units_are_those_of_the_bundle(decoder):
    assert (decoder.channels, decoder.ticks_per_bin, decoder.unit) == (CHANNELS, TICKS, "mm/s")
    np.testing.assert_allclose(decoder.to_units([[10, -32768]]), [[1.0, -3276.8]], rtol=1e-6)


@pytest.mark.parametrize("wrong", [np.zeros((4, CHANNELS)), np.zeros((4, CHANNELS + 1), np.int16), np.zeros(CHANNELS, np.int16)])
def test_samples_of_another_kind_are_refused(decoder, wrong):
    with pytest.raises(ValueError, match=rf"this decoder takes int16 \(ticks, {CHANNELS}\)"):
        decoder.decode(wrong)


def test_a_library_of_other_weights_is_refused(decoder, package, tmp_path):
    about = Path(shutil.copytree(package, tmp_path / "realm_lfp")) / "metadata.json"
    about.write_text(about.read_text().replace(decoder.about["weights"]["value"], "0x00000000"))
    with pytest.raises(RuntimeError, match="its weights differ"):
        Decoder(about.parent)


def test_the_wheels_version_names_the_weights_and_its_times_are_none(bundle):
    (path,) = (bundle("x86_64-linux") / "python").glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        assert {entry.date_time for entry in wheel.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
        assert "Tag: py3-none-manylinux_2_17_x86_64\n" in wheel.read(f"{info}/WHEEL").decode()
    crc = read_json(bundle("x86_64-linux") / "metadata.json")["weights"]["value"].removeprefix("0x")
    assert path.name.endswith(f"+w{crc}-py3-none-manylinux_2_17_x86_64.whl")


def test_library_and_wheel_have_the_same_bytes_each_time(bundle, graphs, tmp_path):
    write_bundle(tmp_path / "elsewhere", "lfp", "x86_64-linux", graphs / "frontend.onnx", graphs / "decoder.onnx")
    first, second = ((folder / "SHA256SUMS").read_text() for folder in (bundle("x86_64-linux"), tmp_path / "elsewhere"))
    assert first == second and "lib/librealm_lfp.so" in first and ".whl" in first
