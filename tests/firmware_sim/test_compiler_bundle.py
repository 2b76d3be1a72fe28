"""Bundles: host library = numpy step by step, objects that need nothing, the same bytes each time."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import capstone6pwndbg as capstone
import numpy as np
import onnx
import pytest
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray

from export.stepgraph import GraphBuilder, save_model
from firmware_sim.compiler import bundle
from firmware_sim.compiler.bundle import check_compiled, write_bundle
from firmware_sim.compiler.graph import read_graph
from firmware_sim.compiler.kernels import SCALAR, builder
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value
from firmware_sim.compiler.lower import build_object
from firmware_sim.compiler.plan import DECODER, FRONTEND, Place, make_plan
from quantization.functions import functions
from quantization.reference import ReferenceStepper
from realm_edge.errors import UserError
from realm_edge.files import read_json, sha256_file
from tests.firmware_sim.compiled_graphs import (
    CHANNELS,
    CONV,
    D_INNER,
    D_MODEL,
    D_STATE,
    DIMS,
    FEATURES,
    HEADDIM,
    HEADS,
    TAPS,
    TICKS,
    decoder,
    gru_decoder,
    lfp_frontend,
    spike_frontend,
)
from tests.firmware_sim.host import build_host_model

TARGETS = ("cortex-m4", "cortex-m55", "rv32imc")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> Path:
    """All graphs as files."""
    folder = tmp_path_factory.mktemp("graphs")
    for name, model in (("decoder", decoder()), ("gru", gru_decoder()), ("lfp", lfp_frontend()), ("spike", spike_frontend())):
        save_model(model, folder / f"{name}.onnx")
    return folder


@pytest.fixture(scope="module")
def bundles(graphs, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    for target in TARGETS:
        write_bundle(folder / target, "lfp", target, graphs / "lfp.onnx", graphs / "decoder.onnx")
    return {target: folder / target for target in TARGETS}


def samples(steps: int, n: int) -> NDArray[np.int16]:
    """Full-range noise, a quiet stretch, silence, and rails."""
    rng = np.random.default_rng(5)
    x = rng.integers(-32768, 32768, (steps, n))
    x[steps // 4 : steps // 2] = rng.integers(-40, 41, (steps // 2 - steps // 4, n))
    x[steps // 2 : steps // 2 + 20] = 0
    x[-60:] = np.where(np.arange(60)[:, None] // 3 % 2, 32767, -32768)
    return x.astype(np.int16)


@pytest.mark.parametrize("name, state", [("decoder", "state.blocks.1.h"), ("gru", "state.gru.h")])
def test_decoder_equals_reference(name, state, graphs, tmp_path):
    host = build_host_model(graphs / f"{name}.onnx", DECODER, tmp_path)
    expected = ReferenceStepper(onnx.load(graphs / f"{name}.onnx"))
    outputs = set()
    for x in samples(400, FEATURES):
        want = expected.step({"features": x})["decoded"]
        got = host.step({"features": x})["decoded"]
        np.testing.assert_array_equal(got, want)
        for each, value in expected.state.items():
            np.testing.assert_array_equal(host.state(each), value, err_msg=each)
        outputs.add(got.tobytes())
    assert len(outputs) > 200  # alive, not stuck at a rail
    assert np.mean(np.abs(expected.state[state].astype(int)) == 32767) < 0.5
    host.reset()
    assert not any(host.state(each).any() for each in expected.state)


def test_parts_of_the_callers_buffers(tmp_path):
    """Split of an input and Identity to an output: no kernel of their own, the right elements."""
    graph = GraphBuilder("decoder", functions())
    graph.input("features", np.int16, (5,))
    sizes = graph.constant("sizes", [2, 2, 1], np.int64)
    graph.node("Split", ["features", sizes], ["a", "b", "c"], "parts", domain="", axis=0)
    graph.node("QAdd", ["a", "b"], ["sum"], "sum")
    graph.node("Identity", ["sum"], ["decoded"], "decoded", domain="")
    graph.output("decoded", np.int16, (2,))
    save_model(graph.build(rate_hz=50.0), tmp_path / "d.onnx")
    host = build_host_model(tmp_path / "d.onnx", DECODER, tmp_path)
    assert host.step({"features": np.array([1, 2, 30, 40, 500])})["decoded"].tolist() == [31, 42]


@pytest.mark.parametrize("name, n", [("lfp", FEATURES), ("spike", CHANNELS)])
def test_frontend_equals_reference(name, n, graphs, tmp_path):
    host = build_host_model(graphs / f"{name}.onnx", FRONTEND, tmp_path)
    expected = ReferenceStepper(onnx.load(graphs / f"{name}.onnx"))
    block = samples(600, CHANNELS)
    rows = []
    for x in block:
        want, got = expected.step({"sample": x}), host.run_blocks(x[None])
        np.testing.assert_array_equal(got, want["features"][None] if want["valid"][0] else np.zeros((0, n)))
        for state, value in expected.state.items():
            np.testing.assert_array_equal(host.state(state), value, err_msg=state)
        rows += [want["features"]] if want["valid"][0] else []
    assert len(rows) == 600 // TICKS and len(np.unique(rows, axis=0)) > 50
    host.reset()
    np.testing.assert_array_equal(np.concatenate([host.run_blocks(block[:207], (3,)), host.run_blocks(block[207:], (2, 5))]), rows)


def undefined(path: Path) -> set[str]:
    with path.open("rb") as stream:
        return {s.name for s in ELFFile(stream).get_section_by_name(".symtab").iter_symbols() if s["st_shndx"] == "SHN_UNDEF" and s.name}


@pytest.mark.parametrize("target", TARGETS)
def test_objects_need_nothing_and_never_divide(target, bundles):
    machine = {
        "cortex-m4": (capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS),
        "cortex-m55": (capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8),
        "rv32imc": (capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC),
    }[target]
    disassembler = capstone.Cs(*machine)
    disassembler.skipdata = True
    objects = sorted((bundles[target] / "lib").glob("*.o"))
    assert len(objects) == 18  # of 34 nodes: the two layers share most of their functions
    seen = set()
    for path in objects:
        assert undefined(path) == set(), path.name  # no division helper, no 64-bit helper, no libc
        with path.open("rb") as stream:
            code = ELFFile(stream).get_section_by_name(".text").data()
        found = {i.mnemonic for i in disassembler.disasm(code, 0)}
        assert not any(".f" in mnemonic for mnemonic in found), path.name  # no floating point
        seen |= {mnemonic.split(".")[0] for mnemonic in found}
    assert seen & {"smull", "mulh", "vmulh"}  # it was disassembled: requantisation takes the high word
    assert bool(seen & {"vmlava", "le"}) == (target == "cortex-m55")
    assert not seen & {"sdiv", "udiv", "div", "divu", "rem", "remu"}


def test_driver_needs_kernels_and_copies_only(bundles, tmp_path):
    bundle = bundles["cortex-m4"]
    metadata = read_json(bundle / "metadata.json")
    flags = [
        "-target",
        "thumb-freestanding-eabihf",
        "-mcpu=cortex_m4",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-std=c11",
        "-ffreestanding",
        "-fno-unwind-tables",
    ]
    for stage in ("frontend", "decoder"):
        objects = []
        for source in (f"realm_lfp_{stage}.c", f"realm_lfp_{stage}_weights.c"):
            objects.append(tmp_path / f"{source}.o")
            command = ["cc", *flags, f"-I{bundle / 'include'}", "-c", str(bundle / "src" / source), "-o", str(objects[-1])]
            subprocess.run([sys.executable, "-m", "ziglang", *command], check=True)
        kernels = {kernel["symbol"] for kernel in metadata[stage]["kernels"]}
        constants = {name for name in undefined(objects[0]) if name.startswith(f"realm_lfp_{stage}_c")}
        helpers = {"memset", "memcpy", "__aeabi_memcpy", "__aeabi_memclr", "__aeabi_memclr4", "__aeabi_memset"}
        assert kernels <= undefined(objects[0]) <= kernels | constants | helpers
        assert undefined(objects[1]) == set()


def test_metadata(bundles, graphs):
    metadata = read_json(bundles["rv32imc"] / "metadata.json")
    assert (metadata["stream"], metadata["target"]) == ("lfp", "rv32imc")
    digest = {
        name: hashlib.sha256((graphs / f"{file}.onnx").read_bytes()).hexdigest()
        for name, file in (("frontend", "lfp"), ("decoder", "decoder"))
    }
    assert metadata["made_from"] == digest
    stage = metadata["decoder"]
    macs = {kernel["node"]: kernel["macs"] for kernel in stage["kernels"] if kernel["macs"]}
    in_proj = D_MODEL * (2 * D_INNER + 2 * D_STATE + HEADS)
    for i in range(2):
        assert macs[f"blocks.{i}.in_proj"] == in_proj and macs[f"blocks.{i}.out_proj"] == D_INNER * D_MODEL
        assert macs[f"blocks.{i}.conv1d"] == TAPS * CONV and macs[f"blocks.{i}.ssm"] == 3 * HEADS * HEADDIM * D_STATE
    assert sum(macs.values()) == FEATURES * D_MODEL + D_MODEL * DIMS + 2 * (
        in_proj + D_INNER * D_MODEL + TAPS * CONV + 3 * D_INNER * D_STATE
    )
    assert all(kernel["code_bytes"] > 10 for kernel in stage["kernels"])
    symbols = {kernel["node"]: kernel["symbol"] for kernel in stage["kernels"]}
    assert symbols["blocks.0.in_proj"] == symbols["blocks.1.in_proj"] != symbols["blocks.0.out_proj"]  # equal shapes are one function
    assert symbols["tokenizer"] != symbols["head"]
    end = 0
    for state in stage["states"]:
        assert state["offset"] == end and end % 8 == 0
        end += -(-np.prod(state["shape"]) * np.dtype(state["dtype"]).itemsize // 8) * 8
    assert end == stage["state_bytes"]
    assert sum(constant["bytes"] for constant in stage["constants"]) == stage["weight_bytes"]
    assert max(-(-(tensor["offset"] + tensor["bytes"]) // 8) * 8 for tensor in stage["scratch"]) == stage["scratch_bytes"]
    assert {tensor["name"]: tensor["bytes"] for tensor in stage["scratch"]}["last8"] == D_MODEL
    about = {"unit": "front-end features", "scale": [0.5] * FEATURES, "offset": [0.0] * FEATURES, "names": None}
    assert stage["inputs"] == [{"name": "features", "dtype": "int16", "shape": [FEATURES], **about}]
    header = (bundles["rv32imc"] / "include" / "realm_lfp_decoder.h").read_text()
    for line in (f"FEATURES_LEN {FEATURES}", f"OUTPUT_LEN {DIMS}", f"STATE_BYTES {end}", f"SCRATCH_BYTES {stage['scratch_bytes']}"):
        assert f"#define REALM_LFP_DECODER_{line}\n" in header


def test_the_header_says_what_helium_needs(bundles):
    headers = {target: (bundles[target] / "include" / "realm_lfp_decoder.h").read_text() for target in TARGETS}
    assert [target for target, text in headers.items() if "bits 20 to 23 of CPACR" in text] == ["cortex-m55"]


def with_warm_up(model: onnx.ModelProto, bins: object) -> onnx.ModelProto:
    model.metadata_props.add(key="warm_up_bins", value=json.dumps(bins))
    return model


def test_the_reset_and_its_warm_up_are_stated(graphs, tmp_path):
    save_model(with_warm_up(decoder(), 150), tmp_path / "decoder.onnx")
    write_bundle(tmp_path / "b", "lfp", "rv32imc", graphs / "lfp.onnx", tmp_path / "decoder.onnx")
    reset = {"calls": ["realm_lfp_frontend_init", "realm_lfp_decoder_init"], "warm_up_bins": 150, "warm_up_ms": 3000.0}
    assert read_json(tmp_path / "b" / "metadata.json")["reset"] == reset
    headers = {name: (tmp_path / "b" / "include" / f"realm_lfp_{name}.h").read_text() for name in ("frontend", "decoder")}
    assert "#define REALM_LFP_DECODER_WARM_UP_BINS 150\n" in headers["decoder"]
    assert "settle in the first 150 bins (3000 ms) after it;" in headers["decoder"]
    for name, other in (("frontend", "decoder"), ("decoder", "frontend")):
        comment = headers[name].split(f"\nvoid realm_lfp_{name}_init(void *state);")[0].rsplit("/*", 1)[1]
        assert "after each pause" in comment and f"realm_lfp_{other}_init" in comment and comment.endswith("*/")
    assert "WARM_UP" not in headers["frontend"] and "A bin that is not complete is dropped" in headers["frontend"]

    write_bundle(tmp_path / "b", "spike", "rv32imc", None, graphs / "decoder.onnx")  # a graph that does not say
    assert read_json(tmp_path / "b" / "metadata.json")["reset"] == {
        "calls": ["realm_spike_decoder_init"],
        "warm_up_bins": None,
        "warm_up_ms": None,
    }
    assert "WARM_UP" not in (tmp_path / "b" / "include" / "realm_spike_decoder.h").read_text()

    for wrong in (-1, 2.5, "150", True):
        save_model(with_warm_up(decoder(), wrong), tmp_path / "wrong.onnx")
        with pytest.raises(UserError, match=r"'warm_up_bins' is .*: Input should be"):
            read_graph(tmp_path / "wrong.onnx")


def test_weights_are_stored_once_and_narrow(graphs):
    plan = make_plan(read_graph(graphs / "decoder.onnx"), DECODER, SCALAR)
    matrices = FEATURES * D_MODEL + D_MODEL * DIMS + 2 * D_MODEL * (2 * D_INNER + 2 * D_STATE + HEADS + D_INNER)
    convolution = 2 * TAPS * CONV
    assert sum(c.array.nbytes for c in plan.constants if c.array.dtype == np.int8) == matrices + convolution
    contents = [(c.array.dtype.name, c.array.tobytes()) for c in plan.constants]
    assert len(set(contents)) == len(contents)  # the table of inverse roots is read by six kernels


def product_of_a_part() -> onnx.ModelProto:
    """Two products: of a vector's part that begins at its second element, and of the caller's buffer."""
    graph = GraphBuilder("decoder", functions())
    graph.input("features", np.int16, (6,))
    sizes = graph.constant("sizes", [1, 4, 1], np.int64)
    graph.node("QAdd", ["features", "features"], ["double"], "double")
    graph.node("Split", ["double", sizes], ["a", "part", "c"], "parts", domain="", axis=0)
    for name, x, n in (("one", "part", 4), ("two", "features", 6)):
        weight = graph.constant(f"{name}.weight", np.ones((n, 2)), np.int8)
        bias, mult = (graph.constant(f"{name}.{what}", [1, 2], np.int32) for what in ("bias", "mult"))
        two_k = graph.constant(f"{name}.two_k", 2, np.int64)
        graph.node("QLinear16", [x, weight, bias, mult, two_k], [name], name)
    graph.node("QAdd", ["one", "two"], ["decoded"], "sum")
    graph.output("decoded", np.int16, (2,))
    return graph.build(rate_hz=50.0)


@pytest.mark.parametrize("model, alignments", [(decoder, {1, 8}), (product_of_a_part, {1, 2, 8})])
def test_addresses_are_as_aligned_as_kernels_were_told(model, alignments, tmp_path, monkeypatch):
    told: dict[str, int] = {}

    def recording(op: str, family: str) -> Callable[[Node], Kernel]:
        def build(node: Node) -> Kernel:
            told.update({value.name: value.alignment for value in node.inputs if isinstance(value, Value)})
            return builder(op, family)(node)

        return build

    forget()
    monkeypatch.setattr("firmware_sim.compiler.plan.builder", recording)
    save_model(model(), tmp_path / "decoder.onnx")
    plan = make_plan(read_graph(tmp_path / "decoder.onnx"), DECODER, "dsp")
    for call in plan.calls:
        for argument, pointer in zip(call.arguments, call.kernel.pointers, strict=True):
            if isinstance(argument.place, Place) and pointer in told:
                assert argument.place.offset % told[pointer] == 0
                assert argument.place.block in ("state", "scratch") or told[pointer] == 1  # the caller's buffer may lie anywhere
    assert set(told.values()) == alignments
    own = [value for call in plan.calls for value in call.kernel.scratch]
    assert own and all(plan.scratch[value.name][1] == value.nbytes for value in own)


def forget() -> None:
    """What this process has compiled."""
    bundle._plan.cache_clear()
    bundle._compiled.cache_clear()


def test_a_second_part_of_a_build_compiles_nothing_again(graphs, bundles, tmp_path, monkeypatch):
    forget()
    write_bundle(tmp_path / "first", "lfp", "cortex-m4", graphs / "lfp.onnx", graphs / "decoder.onnx")
    (tmp_path / "moved.onnx").write_bytes((graphs / "decoder.onnx").read_bytes())
    built = []
    monkeypatch.setattr(bundle, "build_object", lambda *args: built.append(args) or build_object(*args))
    write_bundle(tmp_path / "second", "lfp", "cortex-m4", graphs / "lfp.onnx", tmp_path / "moved.onnx")
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name / "lib").iterdir()} for name in ("first", "second"))
    assert first == second and built == []
    write_bundle(tmp_path / "third", "lfp", "cortex-m4", graphs / "lfp.onnx", graphs / "gru.onnx")
    assert {args[1].partition("_k")[0] for args in built} == {"realm_lfp_decoder"}


def test_same_bytes_each_time(bundles, graphs, tmp_path):
    again = tmp_path / "elsewhere" / "bundle"
    again.mkdir(parents=True)
    (again / "left-over").write_text("from an earlier version")
    forget()
    write_bundle(again, "lfp", "rv32imc", graphs / "lfp.onnx", graphs / "decoder.onnx")
    first, second = (
        {p.relative_to(b).as_posix(): p.read_bytes() for p in b.rglob("*") if p.is_file()} for b in (bundles["rv32imc"], again)
    )
    assert first == second
    assert list(again.parent.iterdir()) == [again]
    for line in first["SHA256SUMS"].decode().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256(first[name]).hexdigest() == digest
    assert len(first["SHA256SUMS"].splitlines()) == len(first) - 1


@pytest.mark.parametrize("name", ["src/realm_lfp_decoder.c", "include/realm_lfp_decoder.h", "lib/librealm_lfp.a"])
def test_a_program_of_somebody_else_is_refused_though_its_digests_fit(bundles, graphs, tmp_path, name):
    """Built and run, it could start commands by semihosting."""
    of = ("lfp", "rv32imc", graphs / "lfp.onnx", graphs / "decoder.onnx")
    check_compiled(bundles["rv32imc"], *of)
    path = Path(shutil.copytree(bundles["rv32imc"], tmp_path / "b"))
    (path / name).write_bytes((path / name).read_bytes() + b" ")
    with pytest.raises(UserError, match=rf"{name}: changed since it was compiled"):
        check_compiled(path, *of)
    lines = [line.partition("  ")[2] for line in (path / "SHA256SUMS").read_text().splitlines()]
    (path / "SHA256SUMS").write_text("".join(f"{sha256_file(path / line)}  {line}\n" for line in lines))
    with pytest.raises(UserError, match=rf"{name}: not what decoder.onnx and its front end compile to: rerun 'realm-edge compile'"):
        check_compiled(path, *of)


def test_bundle_without_frontend(graphs, tmp_path):
    write_bundle(tmp_path / "b", "spike", "cortex-m4", None, graphs / "decoder.onnx")
    assert read_json(tmp_path / "b" / "metadata.json")["frontend"] is None
    assert sorted(p.name for p in (tmp_path / "b" / "include").iterdir()) == ["realm_spike.h", "realm_spike_decoder.h"]
