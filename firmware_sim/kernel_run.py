"""Runs single kernels in the emulator: what they write, and the cycles of each call by a core's table and a part's flash."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_sim.attribution import count_cycles
from firmware_sim.build import compile_sources, copy_firmware, link
from firmware_sim.compiler.driver import literal
from firmware_sim.compiler.kernels.interface import Kernel
from firmware_sim.compiler.lower import Machine, build_object, machine_of
from firmware_sim.cores import CoreTable
from firmware_sim.elf import SymbolMap, read_symbols
from firmware_sim.memory import Memory, no_stalls
from firmware_sim.profile import read_profile
from firmware_sim.qemu import run_firmware
from firmware_sim.targets import Target

_C_TYPE = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t"}
_ALIGN = 8  # of every buffer, as the driver's blocks are

_MAIN = """/* Reads records (the kernel's number, then its buffers) until they end; after each call it writes the buffers back. */
#include "board.h"
#include "regions.h"
#include "semihosting.h"

static uint8_t arena[{arena}] __attribute__((aligned(8)));
static int32_t records, dump;

static void __attribute__((noreturn)) leave(uint32_t status) {{
    const uint32_t arguments[2] = {{APPLICATION_EXIT, status}};
    semihosting(SYS_EXIT_EXTENDED, arguments);
    for (;;) {{
    }}
}}

static int32_t open_file(const char *name, uint32_t length, uint32_t mode) {{
    const uint32_t arguments[3] = {{(uint32_t)(uintptr_t)name, mode, length}};
    return semihosting(SYS_OPEN, arguments);
}}

static uint32_t transfer(uint32_t call, int32_t file, void *block, uint32_t bytes) {{
    const uint32_t arguments[3] = {{(uint32_t)file, (uint32_t)(uintptr_t)block, bytes}};
    return (uint32_t)semihosting(call, arguments);
}}

void board_fault(void) {{ leave(3); }}

{declarations}

int main(void) {{
    realm_region_outside();
    records = open_file("samples.bin", 11, OPEN_READ_BINARY);
    dump = open_file("dump.bin", 8, OPEN_WRITE_BINARY);
    for (;;) {{
        uint32_t which, bytes = 0;
        if (transfer(SYS_READ, records, &which, sizeof which) != 0) break;
        switch (which) {{
{sizes}
        default: leave(4);
        }}
        if (transfer(SYS_READ, records, arena, bytes) != 0) leave(4);
        realm_region_decoder();
        switch (which) {{
{calls}
        }}
        realm_region_outside();
        if (transfer(SYS_WRITE, dump, arena, bytes) != 0) leave(5);
    }}
    transfer(SYS_WRITE, dump, arena, 4); /* where the firmware tells its stack */
    leave(0);
}}
"""


@dataclass(frozen=True)
class KernelRun:
    """What one kernel did.

    Attributes:
        outputs: by tensor, what its buffers held after each call, (calls, *shape).
        cycles: of one call, by the core's table.
        instructions: of one call.
        code_bytes: of the function.
    """

    outputs: dict[str, NDArray]
    cycles: float
    instructions: float
    code_bytes: int


def run_kernels(
    kernels: Mapping[str, Kernel],
    inputs: Mapping[str, Sequence[Mapping[str, NDArray]]],
    target: Target,
    core: CoreTable,
    folder: Path,
    memory: Memory = no_stalls,
    build: Callable[[Kernel, str, Machine, Path], object] = build_object,
) -> dict[str, KernelRun]:
    """Build one program of all kernels for the target's build and run it.

    Args:
        kernels: by symbol.
        inputs: by symbol, for each call the tensors that the kernel's pointers name; those that it only writes may be left out.
        core: prices the calls.
        folder: receives sources, objects and the run.
        memory: what makes the core wait besides.
        build: writes a kernel's object; its function must have the pointers of the kernel as parameters.

    Raises:
        UserError: QEMU is missing, or the program failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for symbol, kernel in kernels.items():
        objects.append(folder / f"{symbol}.tvm.o")
        build(kernel, symbol, machine_of(target.build), objects[-1])
    layouts = {symbol: _layout(kernel, inputs[symbol]) for symbol, kernel in kernels.items()}
    (folder / "run.c").write_text(_main(kernels, layouts), encoding="ascii")
    names = [*copy_firmware(("regions.c", target.compiler.startup), folder), "run.c"]
    elf = link(compile_sources(names, target, folder), objects, target, folder)
    run = run_firmware(elf, target, np.frombuffer(_records(kernels, layouts, inputs), np.int16)[:, None], folder / "run")
    symbols = read_symbols(elf)
    costs = count_cycles(read_profile(run.profile), core, SymbolMap(symbols), memory)["decoder"].functions
    outputs = _outputs(kernels, layouts, inputs, run.dump.tobytes())
    return {
        symbol: KernelRun(
            outputs[symbol],
            costs[symbol].cycles.cycles / len(inputs[symbol]),
            costs[symbol].instructions / len(inputs[symbol]),
            symbols[symbol].size,
        )
        for symbol in kernels
    }


@dataclass(frozen=True)
class _Layout:
    """Where a kernel's tensors lie in a record: offset, dtype, shape."""

    tensors: dict[str, tuple[int, str, tuple[int, ...]]]
    nbytes: int


def _layout(kernel: Kernel, calls: Sequence[Mapping[str, NDArray]]) -> _Layout:
    own = [value for value in kernel.outputs if value.name not in kernel.in_place]
    known = {value.name: (value.dtype, value.shape) for value in (*own, *kernel.scratch)}
    known |= {name: (array.dtype.name, array.shape) for name, array in calls[0].items()}
    tensors, offset = {}, 0
    for name in (pointer for pointer in kernel.pointers if isinstance(pointer, str)):
        dtype, shape = known[name]
        tensors[name] = (offset, dtype, shape)
        offset += -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // _ALIGN) * _ALIGN
    return _Layout(tensors, offset)


def _records(
    kernels: Mapping[str, Kernel], layouts: Mapping[str, _Layout], inputs: Mapping[str, Sequence[Mapping[str, NDArray]]]
) -> bytearray:
    content = bytearray()
    for number, symbol in enumerate(kernels):
        layout = layouts[symbol]
        for call in inputs[symbol]:
            record = bytearray(b"\x55" * layout.nbytes)
            for name, array in call.items():
                offset, dtype, _ = layout.tensors[name]
                data = np.ascontiguousarray(array, dtype).tobytes()
                record[offset : offset + len(data)] = data
            content += number.to_bytes(4, "little") + record
    return content


def _outputs(
    kernels: Mapping[str, Kernel], layouts: Mapping[str, _Layout], inputs: Mapping[str, Sequence[Mapping[str, NDArray]]], dump: bytes
) -> dict[str, dict[str, NDArray]]:
    found, at = {}, 0
    for symbol in kernels:
        layout, calls = layouts[symbol], len(inputs[symbol])
        records = np.frombuffer(dump, np.uint8, calls * layout.nbytes, at).reshape(calls, layout.nbytes)
        at += calls * layout.nbytes
        found[symbol] = {
            name: np.ascontiguousarray(records[:, offset : offset + int(np.prod(shape)) * np.dtype(dtype).itemsize])
            .view(dtype)
            .reshape(calls, *shape)
            for name, (offset, dtype, shape) in layout.tensors.items()
        }
    return found


def _main(kernels: Mapping[str, Kernel], layouts: Mapping[str, _Layout]) -> str:
    arena = max((layout.nbytes for layout in layouts.values()), default=0) + _ALIGN
    sizes = (f"        case {i}: bytes = {layouts[symbol].nbytes}; break;" for i, symbol in enumerate(kernels))
    declarations: list[str] = []
    calls = []
    for i, (symbol, kernel) in enumerate(kernels.items()):
        types, arguments = zip(*_arguments(symbol, kernel, layouts[symbol], declarations), strict=True)
        declarations.append(f"void {symbol}({', '.join(types)});")
        calls.append(f"        case {i}: {symbol}({', '.join(arguments)}); break;")
    return _MAIN.format(arena=arena, declarations="\n".join(declarations), sizes="\n".join(sizes), calls="\n".join(calls))


def _arguments(symbol: str, kernel: Kernel, layout: _Layout, declarations: list[str]) -> Iterator[tuple[str, str]]:
    """C type and expression of each argument; constants are declared as arrays in flash, as a bundle's weights are."""
    for number, pointer in enumerate(kernel.pointers):
        if isinstance(pointer, str):
            offset, dtype, _ = layout.tensors[pointer]
            yield f"{_C_TYPE[dtype]} *", f"({_C_TYPE[dtype]} *)(void *)(arena + {offset})"
            continue
        name = f"{re.sub(r'[^a-zA-Z0-9_]', '_', symbol)}_c{number}"
        dtype, values = pointer.dtype.name, ", ".join(literal(int(v), pointer.dtype.name) for v in pointer.ravel())
        declarations.append(f"static const {_C_TYPE[dtype]} {name}[{pointer.size}] __attribute__((aligned(8))) = {{{values}}};")
        yield f"const {_C_TYPE[dtype]} *", name
