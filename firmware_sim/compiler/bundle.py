"""Bundles: headers, readable driver, const weights, TVM objects and metadata of one stream for one build."""

import io
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from firmware_sim import bundle_metadata
from firmware_sim.bundle import MANIFEST, check_manifest
from firmware_sim.bundle_metadata import FORMAT, BundleMetadata, Kernel, Reset, Scratch, Stage, StateTensor, Tensor
from firmware_sim.compiler.driver import check_abi, header, source, weights, weights_header
from firmware_sim.compiler.graph import read_graph
from firmware_sim.compiler.kernels.interface import Value
from firmware_sim.compiler.lower import Machine, build_object, machine_of
from firmware_sim.compiler.plan import DECODER, FRONTEND, Constant, Plan, make_plan
from firmware_sim.toolchain import zig
from realm_edge import documents
from realm_edge.errors import UserError
from realm_edge.files import replacing_directory, sha256_file, write_json, write_text

PACKAGES = ("onnx", "apache-tvm", "ziglang")  # that decide what is in a bundle


@dataclass(frozen=True)
class CompiledModel:
    """One step graph, compiled: its plan and, by file name, one object per function."""

    plan: Plan
    objects: dict[str, bytes]


def compile_model(onnx_path: Path, prefix: str, machine: Machine) -> CompiledModel:
    """Compile a step graph.

    Args:
        onnx_path: int8 step graph.
        prefix: "realm_frontend" or "realm_decoder"; begins every C symbol.
        machine: what the objects are for.

    Raises:
        UserError: a graph that is damaged or holds what cannot be compiled.
    """
    return _compiled(_file(onnx_path), prefix, machine)


@dataclass(frozen=True)
class _File:
    """A file; two of the same content are equal, wherever they lie."""

    path: Path = field(compare=False)
    sha256: str


def _file(path: Path) -> _File:
    """Of a file that is missing, the one that reads it says so."""
    return _File(path, sha256_file(path) if path.is_file() else "")


@lru_cache(maxsize=8)  # parts of one family, or of one build, have these in common
def _plan(file: _File, prefix: str, family: str) -> Plan:
    graph = read_graph(file.path)
    check_abi(graph, prefix)
    return make_plan(graph, prefix, family)


@lru_cache(maxsize=8)
def _compiled(file: _File, prefix: str, machine: Machine) -> CompiledModel:
    plan, objects = _plan(file, prefix, machine.kernels), {}
    with tempfile.TemporaryDirectory() as folder:
        for symbol, kernel in {call.symbol: call.kernel for call in plan.calls}.items():
            path = Path(folder, f"{symbol}.o")
            build_object(kernel, symbol, machine, path)
            objects[path.name] = path.read_bytes()
    return CompiledModel(plan, objects)


def write_bundle(directory: Path, stream: str, build: str, frontend_onnx: Path | None, decoder_onnx: Path) -> BundleMetadata:
    """Write the bundle ``directory``, replacing what was there; it appears whole or not at all, and the same bytes each time.

    Returns what its ``metadata.json`` says.

    Args:
        stream: "lfp" or "spike".
        build: an entry of :func:`firmware_sim.builds.builds`.
        frontend_onnx: None where spike counts or features come from elsewhere.
        decoder_onnx: int8 decoder step graph.

    Raises:
        UserError: see :func:`compile_model`; also an unknown build, and a decoder that does not take the front end's features.
    """
    machine = machine_of(build)
    graphs = {prefix: _file(path) for prefix, path in ((FRONTEND, frontend_onnx), (DECODER, decoder_onnx)) if path}
    plans = {prefix: _plan(file, prefix, machine.kernels) for prefix, file in graphs.items()}
    (taken,) = plans[DECODER].graph.inputs[0].shape
    if frontend_onnx and (made := plans[FRONTEND].graph.outputs[0].shape[0]) != taken:
        raise UserError(f"{decoder_onnx}: takes {taken} features, {frontend_onnx} makes {made}; quantise both from one run")
    models = {prefix: _compiled(file, prefix, machine) for prefix, file in graphs.items()}
    with replacing_directory(directory) as partial:
        (partial / "lib").mkdir()
        for model in models.values():
            write_sources(partial, model.plan)
            for name, content in model.objects.items():
                (partial / "lib" / name).write_bytes(content)
        _archive(partial / "lib")
        metadata = BundleMetadata(
            **documents.header(FORMAT, PACKAGES),
            stream=stream,
            target=build,
            frontend=_describe(models[FRONTEND]) if frontend_onnx else None,
            decoder=_describe(models[DECODER]),
            reset=_describe_reset(plans),
            made_from={prefix.removeprefix("realm_"): plan.graph.sha256 for prefix, plan in plans.items()},
        )
        write_json(partial / "metadata.json", metadata.model_dump(mode="json"))
        files = sorted(p for p in partial.rglob("*") if p.is_file())
        write_text(partial / MANIFEST, "".join(f"{sha256_file(p)}  {p.relative_to(partial).as_posix()}\n" for p in files))
    return metadata


def check_compiled(directory: Path, stream: str, build: str, frontend_onnx: Path | None, decoder_onnx: Path) -> None:
    """See that a bundle is what its graphs compile to; arguments as of :func:`write_bundle`.

    Its C and its objects become a program that QEMU runs with semihosting, by which firmware opens files and starts commands of the user.
    Whoever hands on a run can give it digests that fit, but no program of their own.

    Raises:
        UserError: it is not; or as :func:`firmware_sim.bundle.check_manifest` and :func:`write_bundle`.
    """
    check_manifest(directory)
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as folder:
        write_bundle(Path(folder, "bundle"), stream, build, frontend_onnx, decoder_onnx)
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


def _describe_reset(plans: dict[str, Plan]) -> Reset:
    decoder = plans[DECODER].graph
    ms = None if decoder.warm_up_bins is None else 1000 * decoder.warm_up_bins / decoder.rate_hz
    return Reset(calls=tuple(f"{prefix}_init" for prefix in plans), warm_up_bins=decoder.warm_up_bins, warm_up_ms=ms)


def _describe(model: CompiledModel) -> Stage:
    plan = model.plan
    kernels = tuple(
        Kernel(
            symbol=call.symbol,
            node=call.node,
            op=call.op,
            macs=call.kernel.macs,
            code_bytes=_function_bytes(model.objects, call.symbol),
            constant_bytes=sum({a.place.symbol: a.place.array.nbytes for a in call.arguments if isinstance(a.place, Constant)}.values()),
        )
        for call in plan.calls
    )
    return Stage(
        prefix=plan.prefix,
        rate_hz=plan.graph.rate_hz,
        state_bytes=plan.state_bytes,
        scratch_bytes=plan.scratch_bytes,
        weight_bytes=plan.weight_bytes,
        inputs=tuple(Tensor(**_tensor(value)) for value in plan.graph.inputs),
        outputs=tuple(Tensor(**_tensor(value)) for value in plan.graph.outputs),
        states=describe_states(plan),
        scratch=tuple(Scratch(name=name, offset=offset, bytes=nbytes) for name, (offset, nbytes) in plan.scratch.items()),
        constants=tuple(bundle_metadata.Constant(symbol=c.symbol, dtype=c.array.dtype.name, bytes=c.array.nbytes) for c in plan.constants),
        kernels=kernels,
    )


def _function_bytes(objects: dict[str, bytes], symbol: str) -> int:
    sections = ELFFile(io.BytesIO(objects[f"{symbol}.o"])).iter_sections()
    tables = (section for section in sections if isinstance(section, SymbolTableSection))
    return next(s["st_size"] for table in tables for s in table.iter_symbols() if s.name == symbol)


def _archive(lib: Path) -> None:
    """``librealm.a`` of all objects; D leaves out times and owners, so that equal objects give equal bytes."""
    names = sorted(p.name for p in lib.glob("*.o"))
    zig(["ar", "rcsD", "librealm.a", *names], cwd=lib)
