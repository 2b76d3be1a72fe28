"""The bundle as a package of CMake: programs of others find it, link it and decode the reference's bits."""

import shutil

import pytest

from tests.firmware_sim.ecosystems.projects import ZIG, built, configured, host_compiler, ran, shown_by_ctest


def test_a_program_of_this_machine_finds_the_package_and_decodes_the_references_bits(project, printed):
    folder = built(project("x86_64-linux", "cmake"), *host_compiler())
    assert ran(folder / "decode").splitlines() == printed


@pytest.mark.slow
def test_zig_is_a_compiler_too(project, printed):
    assert ran(built(project("x86_64-linux", "cmake"), *ZIG) / "decode").splitlines() == printed


CONSUMER = """
cmake_minimum_required(VERSION 3.16)
project(consumer {languages})
{find}
add_executable(consumer ../project/main.{suffix})
target_link_libraries(consumer PRIVATE {target})
"""


@pytest.mark.parametrize(
    ("find", "target"),
    [
        ("add_subdirectory({bundle} realm)\nadd_subdirectory({bundle} again)", "realm_lfp::realm_lfp"),
        ("find_package(realm_lfp 0.0 REQUIRED PATHS {bundle})\nfind_package(realm_lfp REQUIRED)", "realm_lfp::shared"),
    ],
    ids=["as a folder, twice", "the shared library, by a prefix"],
)
def test_other_ways_to_it(find, target, bundle, project, printed, tmp_path):
    project("x86_64-linux", "cmake")
    (tmp_path / "consumer").mkdir()
    found = find.format(bundle=bundle("x86_64-linux"))
    (tmp_path / "consumer/CMakeLists.txt").write_text(CONSUMER.format(languages="C", find=found, target=target, suffix="c"))
    assert ran(built(tmp_path / "consumer", *host_compiler()) / "consumer").splitlines() == printed


@pytest.mark.parametrize(
    ("build", "languages", "version", "words"),
    [
        ("cortex-m4", "C", "", "(for cortex-m4, 32 bits)"),
        ("x86_64-linux", "NONE", "", "its drivers are C: add C to the languages of project()"),
        ("x86_64-linux", "C", "99.0", "99.0"),
    ],
    ids=["another machine", "no C", "an older version"],
)
def test_what_does_not_fit_is_refused_when_it_is_found(build, languages, version, words, small, tmp_path):
    find = f"find_package(realm_lfp {version} REQUIRED PATHS {small(build)})"
    text = f"cmake_minimum_required(VERSION 3.16)\nproject(consumer {languages})\n{find}\n"
    (tmp_path / "CMakeLists.txt").write_text(text)
    done = configured(tmp_path, *(host_compiler() if languages == "C" else ()))
    assert done.returncode and words in " ".join(done.stderr.split())


TOOLCHAINS = {
    "cortex-m4": ("arm-none-eabi", "gcc-arm-none-eabi libnewlib-arm-none-eabi", "qemu-system-arm"),
    "cortex-m55": ("arm-none-eabi", "gcc-arm-none-eabi libnewlib-arm-none-eabi", "qemu-system-arm"),
    "cortex-m0plus": ("arm-none-eabi", "gcc-arm-none-eabi libnewlib-arm-none-eabi", "qemu-system-arm"),
    "rv32imc": ("riscv64-unknown-elf", "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf", "qemu-system-riscv32"),
}


@pytest.mark.slow
@pytest.mark.parametrize("build", TOOLCHAINS)
def test_a_program_by_debians_gcc_prints_the_references_bits_in_qemu(build, project, printed):
    gcc, packages, emulator = TOOLCHAINS[build]
    for program in (f"{gcc}-gcc", emulator):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {packages} {emulator}")
    assert shown_by_ctest(project(build, "cmake"), f"{gcc}.cmake") == printed


@pytest.mark.slow
@pytest.mark.parametrize("build", ["cortex-m4", "rv32imc"])
def test_clang_compiles_the_drivers(build, bundle, tmp_path):
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed: apt-get install clang")
    machine = {"cortex-m4": ("--target=thumbv7em-none-eabi",), "rv32imc": ("--target=riscv32", "-march=rv32imc")}[build]
    for source in sorted((bundle(build) / "src").glob("*.c")):
        strict = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-ffreestanding")
        ran("clang", *machine, "-O2", *strict, f"-I{bundle(build) / 'include'}", "-c", source, "-o", tmp_path / "x.o")
