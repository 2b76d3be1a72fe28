"""Bundles: headers, readable driver, const weights, TVM objects and metadata of one stream for one build."""

import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from firmware_sim import bundle_metadata
from firmware_sim.build import FLAGS
from firmware_sim.builds import get_build, linux_builds
from firmware_sim.bundle import MANIFEST, check_manifest, load_bundle
from firmware_sim.bundle_metadata import (
    FORMAT,
    Api,
    BundleMetadata,
    DataTensor,
    Kernel,
    Memory,
    Reset,
    Scratch,
    Stack,
    Stage,
    StateTensor,
    Weights,
)
from firmware_sim.compiler.conversions import quantity
from firmware_sim.compiler.driver import check_abi, header, source, weights, weights_header
from firmware_sim.compiler.graph import StepGraph, read_graph
from firmware_sim.compiler.kernels.interface import Value
from firmware_sim.compiler.lower import Machine, build_object, machine_of
from firmware_sim.compiler.memory import ALIGNMENT
from firmware_sim.compiler.model import CHECKSUM, LIBRARY_STACK, Model, model_header, model_source
from firmware_sim.compiler.names import DEFAULT_NAME, check_prefix, model_prefix
from firmware_sim.compiler.objects import frame_bytes, symbol_bytes
from firmware_sim.compiler.plan import DECODER, FRONTEND, Constant, Plan, make_plan
from firmware_sim.ecosystems.linux import write_shared_library, write_wheel
from firmware_sim.ecosystems.riding import write_riding_files
from firmware_sim.ecosystems.sbom import SBOM, sbom
from firmware_sim.toolchain import zig, zig_cc
from realm_edge import documents
from realm_edge.errors import UserError
from realm_edge.files import replacing_directory, sha256_file, write_json, write_text

PACKAGES = ("onnx", "apache-tvm", "ziglang")  # that decide what is in a bundle


@dataclass(frozen=True)
class CompiledModel:
    """One step graph, compiled: its plan; by file name, one object per function; and by symbol, the stack that it takes (bytes)."""

    plan: Plan
    objects: dict[str, bytes]
    stack: dict[str, int]


def compile_model(onnx_path: Path, stage: str, machine: Machine, model: str = DEFAULT_NAME) -> CompiledModel:
    """Compile a step graph.

    Args:
        onnx_path: int8 step graph.
        stage: :data:`firmware_sim.compiler.plan.FRONTEND` or ``DECODER``.
        machine: what the objects are for.
        model: begins every C symbol, before the stage.

    Raises:
        UserError: a graph that is damaged or holds what cannot be compiled.
    """
    return _compiled(_file(onnx_path), stage, machine, model)


@dataclass(frozen=True)
class _File:
    """A file; two of the same content are equal, wherever they lie."""

    path: Path = field(compare=False)
    sha256: str


def _file(path: Path) -> _File:
    """Of a file that is missing, the one that reads it says so."""
    return _File(path, sha256_file(path) if path.is_file() else "")


@lru_cache(maxsize=8)  # parts of one family, or of one build, have these in common
def _plan(file: _File, stage: str, family: str, model: str) -> Plan:
    graph = read_graph(file.path)
    check_abi(graph, stage)
    return make_plan(graph, stage, family, model)


@lru_cache(maxsize=8)
def _compiled(file: _File, stage: str, machine: Machine, model: str) -> CompiledModel:
    plan, objects, stack = _plan(file, stage, machine.kernels, model), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for symbol, kernel in {call.symbol: call.kernel for call in plan.calls}.items():
            path = Path(folder, f"{symbol}.o")
            stack[symbol] = build_object(kernel, symbol, machine, path)
            objects[path.name] = path.read_bytes()
    return CompiledModel(plan, objects, stack)


def write_bundle(
    directory: Path, stream: str, build: str, frontend_onnx: Path | None, decoder_onnx: Path, prefix: str | None = None
) -> BundleMetadata:
    """Write the bundle ``directory``, replacing what was there; it appears whole or not at all, and the same bytes each time.

    Returns what its ``metadata.json`` says.

    Args:
        stream: "lfp" or "spike".
        build: an entry of :func:`firmware_sim.builds.builds`.
        frontend_onnx: None where spike counts or features come from elsewhere.
        decoder_onnx: int8 decoder step graph.
        prefix: begins every symbol, macro, include guard and file; None for that of the stream, ``realm_<stream>``.

    Raises:
        UserError: see :func:`compile_model`; also an unknown build, a prefix that is none, and a decoder that does not take the front end's
            features.
    """
    prefix = model_prefix(DEFAULT_NAME, stream) if prefix is None else prefix
    check_prefix(prefix)
    machine = machine_of(build)
    graphs = {stage: _file(path) for stage, path in ((FRONTEND, frontend_onnx), (DECODER, decoder_onnx)) if path}
    plans = {stage: _plan(file, stage, machine.kernels, prefix) for stage, file in graphs.items()}
    (taken,) = plans[DECODER].graph.inputs[0].shape
    if frontend_onnx and (made := plans[FRONTEND].graph.outputs[0].shape[0]) != taken:
        raise UserError(f"{decoder_onnx}: takes {taken} features, {frontend_onnx} makes {made}; quantise both from one run")
    stages = {stage: _compiled(file, stage, machine, prefix) for stage, file in graphs.items()}
    model = Model(prefix, build, plans.get(FRONTEND), plans[DECODER])
    with replacing_directory(directory) as partial:
        (partial / "lib").mkdir()
        for stage in stages.values():
            write_sources(partial, stage.plan)
            for name, content in stage.objects.items():
                (partial / "lib" / name).write_bytes(content)
        stack_bytes = _write_model(partial, model, max(frame for stage in stages.values() for frame in stage.stack.values()))
        _archive(partial / "lib", f"lib{prefix}.a")
        metadata = BundleMetadata(
            **documents.header(FORMAT, PACKAGES),
            prefix=prefix,
            stream=stream,
            target=build,
            api=_describe_api(model),
            memory=Memory(
                alignment=ALIGNMENT,
                state_bytes=model.state_bytes,
                scratch_bytes=model.scratch_bytes,
                stack=Stack(bytes=stack_bytes, library_bytes=LIBRARY_STACK, compiler="zig cc -O2"),
            ),
            weights=Weights(
                bytes=model.weight_bytes,
                checksum=CHECKSUM,
                value=f"0x{model.weights_crc32:08x}",
                function=f"{prefix}_weights_crc32",
            ),
            frontend=_describe(stages[FRONTEND]) if frontend_onnx else None,
            decoder=_describe(stages[DECODER]),
            reset=_describe_reset(plans),
            made_from={stage: plan.graph.sha256 for stage, plan in plans.items()},
        )
        write_json(partial / "metadata.json", metadata.model_dump(mode="json"))
        write_riding_files(partial, metadata)
        if build in linux_builds():
            write_shared_library(partial, metadata)
            write_wheel(partial, metadata)
        digests = {path.relative_to(partial).as_posix(): sha256_file(path) for path in sorted(partial.rglob("*")) if path.is_file()}
        write_json(partial / SBOM, sbom(metadata, digests))
        digests[SBOM] = sha256_file(partial / SBOM)
        write_text(partial / MANIFEST, "".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    return metadata


def _write_model(directory: Path, model: Model, kernel_stack: int) -> int:
    """Header and source of the whole model; returns the bytes of stack that a call takes at most, which the header says.

    Args:
        directory: with the sources of the stages.
        kernel_stack: of the kernel that takes most.
    """
    header = directory / "include" / f"{model.prefix}.h"
    source = directory / "src" / f"{model.prefix}.c"
    write_text(header, model_header(model, 0))
    write_text(source, model_source(model))
    compiler, drivers = get_build(model.build).compiler, (model.prefix, *(plan.prefix for plan in model.plans))
    machine = ("-target", compiler.triple, f"-mcpu={compiler.cpu}")
    flags = [flag for flag in FLAGS if flag != "-g0"]  # after which zig leaves out what frames are read from
    zig_cc([*machine, *flags, "-g", "-Iinclude", "-c", *(f"src/{name}.c" for name in drivers), "-o", "drivers.o"], cwd=directory)
    compiled = (directory / "drivers.o").read_bytes()
    (directory / "drivers.o").unlink()
    whole, *stages = (frame_bytes(compiled, symbol) for symbol in (f"{model.prefix}_step_block", *(plan.entry for plan in model.plans)))
    stack_bytes = whole + max(stages) + kernel_stack + LIBRARY_STACK
    write_text(header, model_header(model, stack_bytes))
    return stack_bytes


def check_compiled(directory: Path, stream: str, build: str, frontend_onnx: Path | None, decoder_onnx: Path) -> None:
    """See that a bundle is what its graphs compile to, under the prefix that it has; arguments as of :func:`write_bundle`.

    Its C and its objects become a program that QEMU runs with semihosting, by which firmware opens files and starts commands of the user.
    Whoever hands on a run can give it digests that fit, but no program of their own.

    Raises:
        UserError: it is not; or as :func:`firmware_sim.bundle.check_manifest` and :func:`write_bundle`.
    """
    check_manifest(directory)
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as folder:
        write_bundle(Path(folder, "bundle"), stream, build, frontend_onnx, decoder_onnx, load_bundle(directory).prefix)
        made, found = (set((path / MANIFEST).read_text(encoding="utf-8").splitlines()) for path in (Path(folder, "bundle"), directory))
    if made != found:
        name = sorted(made ^ found, key=lambda line: line.partition("  ")[2])[0].partition("  ")[2]
        raise UserError(f"{directory / name}: not what {decoder_onnx.name} and its front end compile to: rerun 'realm-edge compile'")


def write_sources(directory: Path, plan: Plan) -> None:
    """Write header, driver and weights of one model to ``include`` and ``src`` below ``directory``."""
    write_text(directory / "include" / f"{plan.prefix}.h", header(plan))
    write_text(directory / "src" / f"{plan.prefix}.c", source(plan))
    write_text(directory / "src" / f"{plan.prefix}_weights.h", weights_header(plan))
    write_text(directory / "src" / f"{plan.prefix}_weights.c", weights(plan))


def describe_states(plan: Plan) -> tuple[StateTensor, ...]:
    """Name, byte offset in the state block, dtype and shape of every state."""
    return tuple(StateTensor(**_tensor(s), offset=plan.state_offsets[s.name]) for s in plan.graph.states)


def _tensor(value: Value) -> dict[str, Any]:
    return {"name": value.name, "dtype": value.dtype, "shape": value.shape}


def _data(graph: StepGraph, value: Value) -> DataTensor:
    found = quantity(graph, value)
    return DataTensor(**_tensor(value), unit=found.unit, scale=found.scale, offset=found.offset, names=found.names)


def _describe_api(model: Model) -> Api:
    functions = {name: f"{model.prefix}_{name}" for name in ("init", "reset", "step", "step_block")}
    return Api(header=f"{model.prefix}.h", library=f"lib{model.prefix}.a", **functions, ticks_per_bin=model.bin_ticks)


def _describe_reset(plans: dict[str, Plan]) -> Reset:
    decoder = plans[DECODER].graph
    ms = None if decoder.warm_up_bins is None else 1000 * decoder.warm_up_bins / decoder.rate_hz
    return Reset(calls=tuple(f"{plan.prefix}_init" for plan in plans.values()), warm_up_bins=decoder.warm_up_bins, warm_up_ms=ms)


def _describe(model: CompiledModel) -> Stage:
    plan = model.plan
    kernels = tuple(
        Kernel(
            symbol=call.symbol,
            node=call.node,
            op=call.op,
            macs=call.kernel.macs,
            code_bytes=symbol_bytes(model.objects[f"{call.symbol}.o"], call.symbol),
            constant_bytes=sum({a.place.symbol: a.place.array.nbytes for a in call.arguments if isinstance(a.place, Constant)}.values()),
            stack_bytes=model.stack[call.symbol],
        )
        for call in plan.calls
    )
    return Stage(
        prefix=plan.prefix,
        rate_hz=plan.graph.rate_hz,
        state_bytes=plan.state_bytes,
        scratch_bytes=plan.scratch_bytes,
        weight_bytes=plan.weight_bytes,
        inputs=tuple(_data(plan.graph, value) for value in plan.graph.inputs),
        outputs=tuple(_data(plan.graph, value) for value in plan.graph.outputs),
        states=describe_states(plan),
        scratch=tuple(Scratch(name=name, offset=offset, bytes=nbytes) for name, (offset, nbytes) in plan.scratch.items()),
        constants=tuple(bundle_metadata.Constant(symbol=c.symbol, dtype=c.array.dtype.name, bytes=c.array.nbytes) for c in plan.constants),
        kernels=kernels,
    )


def _archive(lib: Path, name: str) -> None:
    """All objects in one file; D leaves out times and owners, so that equal objects give equal bytes."""
    zig(["ar", "rcsD", name, *sorted(p.name for p in lib.glob("*.o"))], cwd=lib)
