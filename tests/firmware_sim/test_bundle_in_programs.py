"""Bundles in programs of somebody else: two models with two states each in one, every float ABI, strict compilers of C and C++."""

import ctypes
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray

from export.stepgraph import save_model
from firmware_sim.build import compile_sources, copy_firmware, link
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.emulator import find_emulator
from firmware_sim.qemu import execute
from firmware_sim.targets import Target, get_target
from quantization.inputs import stored
from quantization.reference import ReferenceStepper
from realm_edge.errors import UserError
from realm_edge.files import read_json
from tests.firmware_sim.compiled_graphs import CHANNELS, DIMS, FEATURES, TICKS, decoder, gru_decoder, lfp_frontend

BINS, RESET_AT, WARM_UP = 30, 12, 4
STRICT = (
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wcast-align",
    "-Wcast-qual",
    "-Wshadow",
    "-Wundef",
    "-Werror",
)
STRICT_C = (*STRICT, "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wdocumentation")


@dataclass(frozen=True)
class Bundles:
    """Two models for one instruction set, and their graphs; ``spike`` has no front end."""

    lfp: Path
    spike: Path
    graphs: Path


def write_both(folder: Path, build: str) -> Bundles:
    settling = decoder()
    settling.metadata_props.add(key="warm_up_bins", value=str(WARM_UP))
    for name, model in (("frontend", lfp_frontend()), ("decoder", settling), ("gru", gru_decoder())):
        save_model(model, folder / f"{name}.onnx")
    write_bundle(folder / "lfp", "lfp", build, folder / "frontend.onnx", folder / "decoder.onnx")
    write_bundle(folder / "spike", "spike", build, None, folder / "gru.onnx")
    return Bundles(folder / "lfp", folder / "spike", folder)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Bundles:
    return write_both(tmp_path_factory.mktemp("bundles"), "cortex-m4")


def compiled(folder: Path, *arguments: object, tool: str = "cc") -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", tool, *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


MAIN = """
/* Two models, two states of each, one scratch; each is called while the others are within a bin. */
#include "board.h"
#include "realm_lfp.h"
#include "realm_spike.h"
#include "regions.h"
#include "semihosting.h"

extern const int16_t samples[2][BINS * REALM_LFP_BIN_TICKS * REALM_LFP_INPUT_LEN], features[2][BINS * REALM_SPIKE_INPUT_LEN];
extern uint32_t realm_stack_bottom[], realm_stack_top[];

static realm_lfp_state lfp[2];
static realm_spike_state spike[2];
static union { realm_lfp_scratch lfp; realm_spike_scratch spike; } scratch;
static struct {
    int16_t lfp[2][BINS][REALM_LFP_OUTPUT_LEN], spike[2][BINS][REALM_SPIKE_OUTPUT_LEN];
    int32_t validity[2][BINS];
    uint32_t crc[2], wrong, stack;
} result;

void board_fault(void) {
    const uint32_t arguments[2] = {APPLICATION_EXIT, 3};
    semihosting(SYS_EXIT_EXTENDED, arguments);
    for (;;) {
    }
}

static void write_result(void) {
    const uint32_t name[3] = {(uint32_t)(uintptr_t)"result.bin", OPEN_WRITE_BINARY, 10};
    const uint32_t file = (uint32_t)semihosting(SYS_OPEN, name);
    const uint32_t content[3] = {file, (uint32_t)(uintptr_t)&result, sizeof result};
    const uint32_t done[2] = {APPLICATION_EXIT, 0};
    semihosting(SYS_WRITE, content);
    semihosting(SYS_CLOSE, &file);
    semihosting(SYS_EXIT_EXTENDED, done);
}

/* The first in blocks of a tick, the second in one that ends within a bin and one that ends with it. */
static void bin(int b) {
    const int16_t *x = samples[0] + b * REALM_LFP_BIN_TICKS * REALM_LFP_INPUT_LEN;
    const int16_t *y = samples[1] + b * REALM_LFP_BIN_TICKS * REALM_LFP_INPUT_LEN;
    int32_t found = REALM_LFP_NO_OUTPUT;
    result.wrong += realm_lfp_step_block(&lfp[1], &scratch.lfp, y, 2, result.lfp[1][b]) != REALM_LFP_NO_OUTPUT;
    for (int t = 0; t < REALM_LFP_BIN_TICKS; t++) {
        result.wrong += found != REALM_LFP_NO_OUTPUT;
        found = realm_lfp_step(&lfp[0], &scratch.lfp, x + t * REALM_LFP_INPUT_LEN, result.lfp[0][b]);
        if (t < 2) realm_spike_step(&spike[t], &scratch.spike, features[t] + b * REALM_SPIKE_INPUT_LEN, result.spike[t][b]);
    }
    result.validity[0][b] = found;
    y += 2 * REALM_LFP_INPUT_LEN;
    result.validity[1][b] = realm_lfp_step_block(&lfp[1], &scratch.lfp, y, REALM_LFP_BIN_TICKS - 2, result.lfp[1][b]);
}

int main(void) {
    uintptr_t here;
    int16_t last[REALM_LFP_OUTPUT_LEN];
    realm_region_outside();
    for (int i = 0; i < 2; i++) {
        realm_lfp_init(&lfp[i]);
        realm_spike_init(&spike[i]);
    }
    for (int b = 0; b < BINS; b++) {
        if (b == RESET_AT) { /* within a bin, which is dropped */
            realm_lfp_step_block(&lfp[0], &scratch.lfp, samples[1], 3, result.lfp[0][b]);
            realm_lfp_reset(&lfp[0]);
            realm_spike_reset(&spike[1]);
        }
        bin(b);
    }
    result.crc[0] = realm_lfp_weights_crc32();
    result.crc[1] = realm_spike_weights_crc32();
    result.wrong += sizeof lfp[0] != REALM_LFP_STATE_BYTES || sizeof scratch.lfp != REALM_LFP_SCRATCH_BYTES;
    result.wrong += sizeof spike[0] != REALM_SPIKE_STATE_BYTES || sizeof scratch.spike != REALM_SPIKE_SCRATCH_BYTES;
#if defined(__arm__)
    __asm__ volatile("mov %0, sp" : "=r"(here));
#else
    __asm__ volatile("mv %0, sp" : "=r"(here));
#endif
    for (volatile uint32_t *word = realm_stack_bottom; word < (uint32_t *)here; word++) *word = 0xA5A5A5A5u;
    realm_lfp_step_block(&lfp[1], &scratch.lfp, samples[0], REALM_LFP_BIN_TICKS, last);
    const volatile uint32_t *used = realm_stack_bottom;
    while (*used == 0xA5A5A5A5u) used++;
    result.stack = (uint32_t)(here - (uintptr_t)used);
    write_result();
}
"""


def inputs() -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Samples (2, ticks, channels) and features (2, bins, features) that reach far."""
    random = np.random.default_rng(3)
    return (
        random.integers(-32768, 32768, (2, BINS * TICKS, CHANNELS)).astype(np.int16),
        random.integers(-32768, 32768, (2, BINS, FEATURES)).astype(np.int16),
    )


def in_c(name: str, values: NDArray[np.int16]) -> str:
    return (
        f"extern const int16_t {name}[2][{values[0].size}];\nconst int16_t {name}[2][{values[0].size}] = {{"
        + ",".join("{" + ",".join(map(str, half.ravel())) + "}" for half in values)
        + "};\n"
    )


def decoded(graphs: Path, samples: NDArray[np.int16], features: NDArray[np.int16], resets: tuple[int, ...]) -> NDArray[np.int16]:
    """What the reference decodes of samples, or where there are none of features, (bins, DIMS); at ``resets`` it starts anew."""
    rows: list[NDArray[np.int16]] = []
    for b in range(BINS):
        if b in (0, *resets):
            front = ReferenceStepper(onnx.load(graphs / "frontend.onnx"))
            back = ReferenceStepper(onnx.load(graphs / ("decoder.onnx" if samples.size else "gru.onnx")))
        row = features[b] if features.size else None
        for x in samples[b * TICKS : (b + 1) * TICKS]:
            row = front.step({"sample": x})["features"]
        rows.append(back.step({"features": row})["decoded"])
    return np.array(rows)


def run_program(bundles: Bundles, target: Target, folder: Path) -> bytes:
    """Builds the program of both bundles, runs it, and returns what it wrote."""
    folder.mkdir()
    samples, features = inputs()
    (folder / "program.c").write_text(
        MAIN.replace("BINS *", f"{BINS} *").replace("[BINS]", f"[{BINS}]").replace("< BINS", f"< {BINS}").replace("RESET_AT", str(RESET_AT))
    )
    (folder / "inputs.c").write_text("#include <stdint.h>\n" + in_c("samples", samples) + in_c("features", features))
    names = [*copy_firmware(("regions.c", target.compiler.startup), folder), "program.c", "inputs.c"]
    for bundle in (bundles.lfp, bundles.spike):
        for path in [*(bundle / "src").iterdir(), *(bundle / "include").iterdir()]:
            (folder / path.name).write_bytes(path.read_bytes())
            names += [path.name] if path.suffix == ".c" else []
    kernels = sorted(path for bundle in (bundles.lfp, bundles.spike) for path in (bundle / "lib").glob("*.o"))
    elf = link(compile_sources(names, target, folder), kernels, target, folder)
    execute(elf, target, folder, 120.0)
    return (folder / "result.bin").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cortex-m4", "rv32imc", "stm32g0b1", "cortex-m55"])
def test_two_models_with_two_states_each_in_one_program_give_the_references_bits(name, tmp_path):
    target = get_target(name)
    try:
        find_emulator(target)
    except UserError as error:
        pytest.skip(str(error))
    both = write_both(tmp_path, target.build)
    result = run_program(both, target, tmp_path / "program")
    samples, features = inputs()
    none = np.zeros((0,), np.int16)
    outputs = np.frombuffer(result, "<i2", 4 * BINS * DIMS).reshape(4, BINS, DIMS)
    expected = [
        decoded(both.graphs, samples[0], none, (RESET_AT,)),
        decoded(both.graphs, samples[1], none, ()),
        decoded(both.graphs, none, features[0], ()),
        decoded(both.graphs, none, features[1], (RESET_AT,)),
    ]
    np.testing.assert_array_equal(outputs, expected)
    assert len({row.tobytes() for row in outputs.reshape(-1, DIMS)}) > 2 * BINS  # alive
    validity, rest = result[outputs.nbytes : outputs.nbytes + 8 * BINS], result[outputs.nbytes + 8 * BINS :]
    settled = np.frombuffer(validity, "<i4").reshape(2, BINS)
    since = np.array([[b if b < RESET_AT else b - RESET_AT for b in range(BINS)], range(BINS)])
    np.testing.assert_array_equal(settled, np.where(since < WARM_UP, 1, 2))
    *checksums, wrong, stack = np.frombuffer(rest, "<u4").tolist()
    about = [read_json(bundle / "metadata.json") for bundle in (both.lfp, both.spike)]
    assert [f"0x{value:08x}" for value in checksums] == [each["weights"]["value"] for each in about]
    assert wrong == 0
    bound = about[0]["memory"]["stack"]
    assert bound["bytes"] - bound["library_bytes"] - 32 <= stack <= bound["bytes"]


CALLER = """
#include "realm_lfp.h"
#include "realm_spike.h"
static realm_lfp_state lfp;
static realm_spike_state spike;
static union { realm_lfp_scratch lfp; realm_spike_scratch spike; } scratch;
static int16_t input[REALM_LFP_INPUT_LEN + REALM_SPIKE_INPUT_LEN], output[REALM_LFP_OUTPUT_LEN + REALM_SPIKE_OUTPUT_LEN];
#ifdef __cplusplus
extern "C"
#endif
int _start(void);
int _start(void) {
    realm_lfp_init(&lfp);
    realm_spike_init(&spike);
    realm_lfp_step(&lfp, &scratch.lfp, input, output);
    realm_spike_step(&spike, &scratch.spike, input, output);
    return (int)(realm_lfp_weights_crc32() ^ realm_spike_weights_crc32()) + (int)realm_lfp_decoder_output_to_units(output[0], 1);
}
"""


def sources(*paths: Path) -> list[Path]:
    return [each for path in paths for each in sorted((path / "src").glob("*.c"))]


def includes(*paths: Path) -> list[str]:
    return [f"-I{path / 'include'}" for path in paths]


PROGRAM = re.search(r"^```c\n(.*?)^```", (Path(__file__).parents[2] / "docs/bundle.md").read_text(), flags=re.S | re.M)[1]
M4 = ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4", "-O2", "-ffunction-sections")


@pytest.mark.parametrize("standard", ["c99", "c11", "c++17"])
def test_compilers_have_nothing_to_say(standard, bundles, tmp_path):
    (tmp_path / "caller.c").write_text(CALLER)
    as_cpp = standard.startswith("c++")
    flags = (*STRICT, "-x", "c++") if as_cpp else STRICT_C
    (tmp_path / "program.c").write_text(
        PROGRAM.replace("int decoder_", "int decoder_start(void);\nint decoder_take(const int16_t *, int32_t, float *);\nint decoder_", 1)
    )
    for path in (*sources(bundles.lfp, bundles.spike), tmp_path / "caller.c", tmp_path / "program.c"):
        given = (*M4, f"-std={standard}", *flags, *includes(bundles.lfp, bundles.spike), "-c", path, "-o", "x.o")
        compiled(tmp_path, *given, tool="c++" if as_cpp else "cc")


def attributes(path: Path) -> dict[str, object]:
    with path.open("rb") as stream:
        (part,) = ELFFile(stream).get_section_by_name(".ARM.attributes").iter_subsections()
        (whole,) = part.iter_subsubsections()
        return {attribute.tag: attribute.value for attribute in whole.iter_attributes()}


def test_objects_fit_every_float_abi_and_hold_their_kernel_alone(bundles):
    compatible, floats = 3, ("TAG_FP_ARCH", "TAG_ABI_FP_NUMBER_MODEL", "TAG_ABI_HARDFP_USE", "TAG_ABI_FP_16BIT_FORMAT")
    objects = sorted((bundles.lfp / "lib").glob("*.o"))
    for path in objects:
        found = attributes(path)
        assert (found["TAG_ABI_VFP_ARGS"], found["TAG_CPU_NAME"], found["TAG_CONFORMANCE"]) == (compatible, "cortex-m4", "2.09")
        assert not set(floats) & set(found)
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            names = {symbol.name for symbol in elf.get_section_by_name(".symtab").iter_symbols() if symbol["st_info"]["type"] == "STT_FUNC"}
            assert names == {path.stem}
            assert {section.name for section in elf.iter_sections()} == {
                "",
                ".strtab",
                ".text",
                ".note.GNU-stack",
                ".ARM.attributes",
                ".symtab",
            }
    assert len(objects) == 18


@pytest.mark.parametrize(("abi", "attribute"), [("eabi", 0), ("eabihf", 1)])
def test_programs_of_both_float_abis_link(abi, attribute, bundles, tmp_path):
    """zig's linker takes objects that do not say for compatible; this program says."""
    (tmp_path / "caller.c").write_text(CALLER + f'__asm__(".eabi_attribute 28, {attribute}");\n')
    given = [("thumb-freestanding-" + abi if word == "thumb-freestanding-eabi" else word) for word in M4]
    libraries = (bundles.lfp / "lib/librealm_lfp.a", bundles.spike / "lib/librealm_spike.a")
    folders = includes(bundles.lfp, bundles.spike)
    compiled(tmp_path, *given, *folders, "-nostartfiles", "caller.c", *sources(bundles.lfp, bundles.spike), *libraries, "-o", "a.elf")
    assert attributes(tmp_path / "a.elf")["TAG_ABI_VFP_ARGS"] == attribute


GCC = "arm-none-eabi-gcc"
FPU = "-mfpu=fpv4-sp-d16"


@pytest.mark.skipif(shutil.which(GCC) is None, reason=f"{GCC} is not installed: apt-get install gcc-arm-none-eabi")
@pytest.mark.parametrize("abi", [("-mfloat-abi=soft",), ("-mfloat-abi=softfp", FPU), ("-mfloat-abi=hard", FPU)], ids=lambda abi: abi[0])
def test_programs_of_every_float_abi_link_with_gcc(abi, bundles, tmp_path):
    (tmp_path / "caller.c").write_text(CALLER)
    libraries = (bundles.lfp / "lib/librealm_lfp.a", bundles.spike / "lib/librealm_spike.a")
    flags = ["-mcpu=cortex-m4", "-mthumb", *abi, "-O2", "-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wcast-align=strict", "-Werror"]
    flags += ["-include", "string.h", "-Wredundant-decls", "-nostartfiles", *includes(bundles.lfp, bundles.spike)]
    files = map(str, (*sources(bundles.lfp, bundles.spike), *libraries))
    done = subprocess.run([GCC, *flags, "caller.c", *files, "-o", "a.elf"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_two_students_of_one_stream_link_under_prefixes_of_their_own(bundles, tmp_path):
    folders = []
    for prefix in ("monday", "tuesday_2"):
        folders.append(tmp_path / prefix)
        write_bundle(folders[-1], "spike", "cortex-m4", None, bundles.graphs / "gru.onnx", prefix)
        named = [path.name for path in folders[-1].glob("*/*") if path.parent.name in ("include", "src", "lib", "cmake")]
        assert all(name.startswith((prefix, f"lib{prefix}.")) for name in named)
        defined = "".join(path.read_text() for path in folders[-1].rglob("*.[ch]"))
        assert all(name.startswith(f"{prefix.upper()}_") for name in re.findall(r"#(?:define|ifndef) (\w+)", defined))
        assert "realm_" not in defined.lower()
    other = (
        CALLER.replace("realm_lfp", "monday")
        .replace("REALM_LFP", "MONDAY")
        .replace("realm_spike", "tuesday_2")
        .replace("REALM_SPIKE", "TUESDAY_2")
    )
    (tmp_path / "caller.c").write_text(other)
    libraries = [path / "lib" / f"lib{path.name}.a" for path in folders]
    compiled(tmp_path, *M4, *includes(*folders), "-nostartfiles", "caller.c", *sources(*folders), *libraries, "-o", "a.elf")


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        *(
            (wrong, "is not a lower-case C identifier")
            for wrong in ("", "2lfp", "my-model", "_mine", "Mine", "modèle", "a b", "a\n", "../x", "x" * 41)
        ),
        ("my__model", "two underscores"),
        ("mine_", "two underscores"),
        ("memory", "C's library"),
    ],
)
def test_what_is_no_prefix_is_refused_before_anything_is_compiled(prefix, words, tmp_path):
    with pytest.raises(UserError, match=words) as caught:
        write_bundle(tmp_path / "b", "lfp", "cortex-m4", None, tmp_path / "none.onnx", prefix)
    assert repr(prefix)[1:-1] in str(caught.value) or "\n" in prefix
    assert list(tmp_path.iterdir()) == []


UNITS = """
#include "realm_lfp_decoder.h"
float value(int16_t stored, int32_t element) { return realm_lfp_decoder_output_to_units(stored, element); }
int16_t stored(float value, int32_t element) { return realm_lfp_decoder_features_from_units(value, element); }
static const char *const names[] = REALM_LFP_DECODER_OUTPUT_NAMES;
const char *name(int32_t element) { return names[element]; }
const char *unit(void) { return REALM_LFP_DECODER_OUTPUT_UNIT; }
"""


def test_units_are_those_of_the_graph(tmp_path):
    """Scales and offsets of each element; rounded as quantization.inputs.stored does."""
    graph = gru_decoder()
    scale, offset = [0.125, 3.5e-7], [-1.5, 20.0]
    spread = (2.0 ** -np.arange(FEATURES)).tolist()
    io = {
        "features": {"unit": "front-end features", "scale": spread, "offset": 0.0},
        "decoded": {"unit": 'µm/s "fast"?', "scale": scale, "offset": offset, "names": ["vx", "v\\y"]},
    }
    next(entry for entry in graph.metadata_props if entry.key == "io").value = json.dumps(io)
    save_model(graph, tmp_path / "decoder.onnx")
    made = write_bundle(tmp_path / "lfp", "lfp", "rv32imc", None, tmp_path / "decoder.onnx")
    (output,) = made.decoder.outputs
    assert (output.scale, output.offset, output.names, output.unit) == (tuple(scale), tuple(offset), ("vx", "v\\y"), io["decoded"]["unit"])
    (tmp_path / "units.c").write_text(UNITS)
    compiled(tmp_path, "-shared", "-fPIC", "-O1", *includes(tmp_path / "lfp"), "units.c", "-o", "units.so")
    library = ctypes.CDLL(str(tmp_path / "units.so"))
    library.value.restype, library.value.argtypes = ctypes.c_float, (ctypes.c_int16, ctypes.c_int32)
    library.stored.restype, library.stored.argtypes = ctypes.c_int16, (ctypes.c_float, ctypes.c_int32)
    library.name.restype = library.unit.restype = ctypes.c_char_p
    for element, count in ((0, 32767), (0, -32768), (1, 1), (1, -12345)):
        assert library.value(count, element) == pytest.approx(count * scale[element] + offset[element], rel=1e-6)
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49, -0.51, 7, 32766.5, 32768, 1e9, -32768.5, -1e9, np.inf, -np.inf], np.float32)
    for element in (0, 3):
        given = values * np.float32(spread[element])
        expected = [stored(np.array([value], np.float32), [spread[element]])[0] for value in given[:-2]] + [32767, -32767]
        assert [library.stored(value, element) for value in given] == expected
    assert library.stored(float("nan"), 0) == -32767
    assert (library.name(1).decode(), library.unit().decode()) == ("v\\y", io["decoded"]["unit"])


def test_half_a_character_in_a_unit_is_replaced(tmp_path):
    graph = gru_decoder()
    io = {"features": {}, "decoded": {"unit": "mm\ud83d", "names": ["x", "y"]}}
    next(entry for entry in graph.metadata_props if entry.key == "io").value = json.dumps(io)
    save_model(graph, tmp_path / "decoder.onnx")
    assert write_bundle(tmp_path / "b", "lfp", "cortex-m4", None, tmp_path / "decoder.onnx").decoder.outputs[0].unit == "mm?"


@pytest.mark.parametrize("scale", [0.0, 1e300])
def test_a_scale_that_no_float_holds_is_refused(scale, tmp_path):
    graph = gru_decoder()
    io = {"features": {}, "decoded": {"scale": [1.0, scale]}}
    next(entry for entry in graph.metadata_props if entry.key == "io").value = json.dumps(io)
    save_model(graph, tmp_path / "decoder.onnx")
    with pytest.raises(UserError, match="scale or offset of tensor 'decoded' is 0 or too large for a float"):
        write_bundle(tmp_path / "b", "lfp", "rv32imc", None, tmp_path / "decoder.onnx")


def test_metadata_say_what_the_header_says(bundles):
    about = read_json(bundles.lfp / "metadata.json")
    header = (bundles.lfp / "include" / about["api"]["header"]).read_text()
    memory = about["memory"]
    for name, value in (
        ("STATE_BYTES", memory["state_bytes"]),
        ("SCRATCH_BYTES", memory["scratch_bytes"]),
        ("STACK_BYTES", memory["stack"]["bytes"]),
        ("ALIGNMENT", memory["alignment"]),
        ("BIN_TICKS", about["api"]["ticks_per_bin"]),
        ("RATE_HZ", 250),
        ("BIN_RATE_HZ", 50),
        ("WARM_UP_BINS", WARM_UP),
        ("SCHEMA", f'"{about["format"]}"'),
        ("VERSION", f'"{about["made_by"]["realm-edge"]}"'),
        ("WEIGHT_BYTES", about["weights"]["bytes"]),
        ("WEIGHTS_CRC32", f"UINT32_C({about['weights']['value']})"),
    ):
        assert f"#define REALM_LFP_{name} {value}\n" in header
    for function in ("init", "reset", "step", "step_block"):
        assert f"{about['api'][function]}(" in header
    assert f"{about['weights']['function']}(void)" in header
    assert (bundles.lfp / "lib" / about["api"]["library"]).is_file()
    kernels = about["frontend"]["kernels"] + about["decoder"]["kernels"]
    assert memory["stack"]["bytes"] > max(kernel["stack_bytes"] for kernel in kernels) + memory["stack"]["library_bytes"] > 64
