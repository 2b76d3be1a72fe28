"""What cannot be profiled is refused by one line with a remedy, before anything runs."""

import re

import pytest

from firmware_sim.cycles.machines import boards
from firmware_sim.cycles.program import read_program
from firmware_sim.targets import get_target, targets
from firmware_sim.toolchain import zig_cc
from realm_edge.errors import UserError
from tests.firmware_sim.cycles.programs import CALLS, link

ARM, RISCV = get_target("cortex-m4"), get_target("rv32imc")
FLASH_AT = "MEMORY {{ flash (rx) : ORIGIN = {:#x}, LENGTH = 64K  ram (rwx) : ORIGIN = {:#x}, LENGTH = 64K }}"


@pytest.fixture(scope="module")
def elf(tmp_path_factory):
    return link(tmp_path_factory.mktemp("calls"), ARM, CALLS["cortex-m4"])


def refused(path, target=ARM) -> str:
    with pytest.raises(UserError) as caught:
        read_program(path, target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_target_has_a_machine():
    assert all(boards(target.build) for target in targets().values())
    for target in targets().values():
        first = boards(target.build)[0]
        assert first.arguments == target.machine.arguments
        assert first.holds(target.machine.flash_origin, target.machine.flash_length)
        assert first.holds(target.machine.ram_origin, target.machine.ram_length)


def test_functions_labels_and_flash_are_found(elf):
    program = read_program(elf, ARM)
    assert {"reset", "main", "inner", "outer", "tail", "again"} <= program.labels.keys()
    assert program.start == program.labels["reset"]
    assert program.functions.function_at(program.labels["again"] + 6) == "again"
    assert program.board.name == "mps2-an386" and not program.functions.in_ram
    [flash] = program.flash
    assert flash.start == 0 and program.labels["main"] in flash


def test_a_program_for_an_stm32_runs_on_one(tmp_path):
    elf = link(tmp_path, ARM, CALLS["cortex-m4"], script=FLASH_AT.format(0x08000000, 0x20000000))
    assert read_program(elf, ARM).board.name == "netduinoplus2"


def test_code_that_is_copied_to_ram_is_not_in_flash(tmp_path):
    source = '__attribute__((section(".data.fast"), noinline)) int fast(int x) { return x + 1; }\nint main(void) { return fast(-1); }'
    program = read_program(link(tmp_path, ARM, source), ARM)
    assert program.functions.in_ram == {"fast"}


@pytest.mark.parametrize(
    ("flash", "ram", "words"),
    [
        (0x00900000, 0x20000000, r"section \.text lies at 0x900000 to .*, where the simulated machine has no memory \(mps2-an386: 0x0 to"),
        (0x00000000, 0x30000000, r"section \.bss lies at 0x30000000"),
        (0x00001000, 0x20000000, r"no vector table at 0x0, where the simulated core \(mps2-an386\) looks for it"),
    ],
)  # fmt: skip
def test_addresses_without_memory_are_named(flash, ram, words, tmp_path):
    source = "int zero[4];\nint main(void) { return ((volatile int *)zero)[1]; }"
    assert re.search(words, refused(link(tmp_path, ARM, source, script=FLASH_AT.format(flash, ram))))


def test_other_architectures_and_kinds_are_refused(elf, tmp_path):
    assert "it is for EM_ARM, 32 bits, little-endian; rv32imc is RISC-V" in refused(elf, RISCV)
    source = tmp_path / "a.c"
    source.write_text("int f(void) { return 1; }\n")
    place = ["-target", ARM.compiler.triple, f"-mcpu={ARM.compiler.cpu}"]
    zig_cc([*place, "-c", "a.c", "-o", "a.o"], cwd=tmp_path)
    assert "an object file: link it" in refused(tmp_path / "a.o")
    zig_cc(["-target", "arm-linux-gnueabihf", "-shared", "-nostdlib", "a.c", "-o", "a.so"], cwd=tmp_path)
    assert "not a static program (ET_DYN)" in refused(tmp_path / "a.so")
    assert "not a whole ELF file" in refused(source)
    assert "no such file" in refused(tmp_path / "absent.elf")
    assert "no regular file" in refused(tmp_path)
    with (tmp_path / "huge.elf").open("wb") as file:
        file.truncate(1 << 30)
    assert "1024 MiB: no program of a microcontroller" in refused(tmp_path / "huge.elf")
    stripped = link(tmp_path / "stripped", ARM, CALLS["cortex-m4"], flags=["-s"])
    assert "no symbols of functions: link it without -s" in refused(stripped)
    assert "is no ARMv6-M instruction" in refused(elf, get_target("stm32g0b1"))


def test_cut_files_are_refused(elf, tmp_path):
    whole = elf.read_bytes()
    for size in (0, 4, 40, 100, len(whole) // 2, len(whole) - 1000):
        (tmp_path / "cut.elf").write_bytes(whole[:size])
        assert str(tmp_path / "cut.elf") in refused(tmp_path / "cut.elf")


def test_a_name_that_is_not_there_has_similar_ones(elf):
    with pytest.raises(UserError, match=r"--until outr: .* has no function or label of this name: did you mean outer\b"):
        read_program(elf, ARM).address_of("outr", "--until")


def test_statics_of_one_name_keep_apart(tmp_path):
    local = '__attribute__((noinline)) static int f(int x) { __asm__ volatile("" : "+r"(x));'
    (tmp_path / "other.c").write_text(f"{local} return x * 3; }}\nint g(int x) {{ return f(x); }}\n")
    source = f"int g(int);\n{local} return x - 3; }}\nint main(void) {{ return f(3) + g(0); }}"
    program = read_program(link(tmp_path, ARM, source, flags=["other.c"]), ARM)
    names = {program.functions.function_at(at) for at in range(program.flash[0].start, program.flash[0].stop, 2)}
    assert {"f (program.c)", "f (other.c)"} <= names
