"""The Cortex-M7's issue model beside llvm-mca's: python tests/benchmarks/bench_issue_model.py

The hottest block of every kernel of an untrained 96-channel LFP implant, preset implant-m, compiled for a Cortex-M7 and run in QEMU for a
second: most are inner loops. Cycles of one round by this project's model as it prices blocks (every register ready at the begin), the
same where the block repeats, by the model with LLVM's rules alone, and by llvm-mca (Debian's llvm; it has to be on the PATH). The last two
rest on the same scheduling model of LLVM: they check this project's code, not the model. Beside them the Cortex-M4's table on the same
instructions and llvm-mca's Cortex-M4.

For the comparison IT and the conditions that it sets are left out, which llvm-mca does not know. LLVM's rules are here those of llvm-mca:
results are written in order, the flags of narrow instructions at once.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import capstone6pwndbg as capstone
import numpy as np
from bench_simulator import CHANNELS, write_graphs
from capstone6pwndbg import arm

from firmware_sim.build import build_firmware
from firmware_sim.bundle import Bundle, load_bundle
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.cores import CoreTable, load_core
from firmware_sim.decode import Instruction, decode_thumb
from firmware_sim.elf import SymbolMap, read_symbols
from firmware_sim.profile import Block, Profile, read_profile
from firmware_sim.qemu import run_firmware
from firmware_sim.targets import get_target
from firmware_sim.timing import block_cycles

TARGET, BINS = "stm32h7a3", 50  # of 20 ms
ROUNDS = (20, 60)  # a long run is the difference between these


def hottest_blocks(profile: Profile, symbols: SymbolMap, bundle: Bundle) -> dict[str, Block]:
    """By operator, the block that ran most instructions."""
    operators = {kernel.symbol: kernel.op for stage in bundle.stages for kernel in stage.kernels}
    found: dict[str, Block] = {}
    for block in profile.blocks:
        operator = operators.get(symbols.function_at(block.address))
        if operator:
            found[operator] = max(found.get(operator, block), block, key=lambda b: sum(b.counts) * b.instructions)
    return found


def without_conditions(block: Block) -> tuple[list[Instruction], str]:
    """A block's instructions and their assembly, without IT and what it guards by."""
    engine = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    engine.detail = True
    instructions, lines = [], [".syntax unified", ".thumb"]
    decoded = decode_thumb(block.code, block.address, block.instructions)
    for instruction, text in zip(decoded, engine.disasm(block.code, block.address), strict=False):
        if instruction.kind == "it":
            continue
        mnemonic, arguments = text.mnemonic, "loop" if instruction.transfer else text.op_str
        guarded = not instruction.transfer and text.cc not in (arm.ARM_CC_AL, arm.ARM_CC_INVALID)
        if guarded:
            mnemonic = re.sub(r"[a-z]{2}(?=$|\.)", "", mnemonic, count=1)
            instruction = replace(instruction, reads=instruction.reads - {arm.ARM_REG_CPSR})
        instructions.append(instruction)
        lines.append(f"{mnemonic} {arguments}")
    return instructions, "\n".join(lines)


def long_run(table: CoreTable, instructions: Sequence[Instruction]) -> float:
    few, many = (block_cycles(table, list(instructions) * rounds).cycles for rounds in ROUNDS)
    return (many - few) / (ROUNDS[1] - ROUNDS[0])


def llvm_rules(table: CoreTable) -> CoreTable:
    """The table without what was measured beside LLVM's model, and with llvm-mca's order of results."""
    model = table.issue
    assert model is not None
    operands = model.operands | {role: replace(model.operands[role], after={}) for role in ("factor", "address")}
    stores = {form: replace(model.classes[form], pipes=("store",)) for form in ("store", "store_register_offset")}
    return replace(table, issue=replace(model, operands=operands, classes=model.classes | stores, banks=None, write_back_in_order=True))


def flags_at_once(instruction: Instruction) -> Instruction:
    """llvm-mca has the flags of a narrow instruction, other than a comparison, written in its first cycle, before what it computes."""
    flags = instruction.size == 2 and instruction.writes > {arm.ARM_REG_CPSR}
    return replace(instruction, updates=instruction.updates | {arm.ARM_REG_CPSR}) if flags else instruction


def mca(core: str, assembly: str) -> float:
    totals = []
    for rounds in ROUNDS:
        command = ["llvm-mca", "-mtriple=thumbv7em-none-eabi", f"-mcpu={core}", f"-iterations={rounds}"]
        run = subprocess.run(command, input=assembly, text=True, capture_output=True)
        total = re.search(r"^Total Cycles:\s+(\d+)", run.stdout, re.M)
        if total is None:
            sys.exit(f"llvm-mca: {run.stderr.strip()}")
        totals.append(int(total.group(1)))
    return (totals[1] - totals[0]) / (ROUNDS[1] - ROUNDS[0])


def main() -> None:
    if shutil.which("llvm-mca") is None:
        sys.exit("llvm-mca is not on the PATH: apt-get install llvm")
    rng, target = np.random.default_rng(2), get_target(TARGET)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        ticks = write_graphs(folder, rng)
        write_bundle(folder / "bundle", "lfp", target.build, folder / "frontend.onnx", folder / "decoder.onnx")
        bundle = load_bundle(folder / "bundle")
        elf = build_firmware(bundle, target, folder / "build")
        samples = rng.normal(0, 300, (BINS * ticks, CHANNELS)).astype(np.int16)
        profile = read_profile(run_firmware(elf, target, samples, folder / "run", timeout_s=600).profile)
        blocks = hottest_blocks(profile, SymbolMap(read_symbols(elf)), bundle)
    table, m4 = load_core("cortex-m7"), load_core("cortex-m4")
    print("| kernel | instructions | M7: a block | M7: long run | LLVM's rules | llvm-mca | M4: long run | llvm-mca |")
    print("|---|---|---|---|---|---|---|---|")
    for operator, block in sorted(blocks.items()):
        instructions, assembly = without_conditions(block)
        alike = [flags_at_once(instruction) for instruction in instructions]
        ours = [block_cycles(table, instructions).cycles, long_run(table, instructions), long_run(llvm_rules(table), alike)]
        cells = [*ours, mca("cortex-m7", assembly), long_run(m4, instructions), mca("cortex-m4", assembly)]
        print(f"| {operator} | {len(instructions)} | {' | '.join(f'{cell:.2f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
