"""The command ``check-onnx``, and what ``compile`` does with ``--onnx``: step graphs of other people."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from realm_edge.app.cli_options import AS_JSON, PATH, options
from realm_edge.errors import UserError
from realm_edge.printable import printable

if TYPE_CHECKING:
    from export.foreign.contract import Names
    from realm_edge.app.graph_forms import CheckedGraph, CompiledGraph, GraphCycles

NAMES = options(
    click.option("--input", "input_name", metavar="NAME", help="With ONNX: the input that is data (default: the one that is no state)."),
    click.option("--output", "output_name", metavar="NAME", help="With ONNX: the result (default: the output that is no state)."),
    click.option("--state", "states", metavar="IN:OUT", multiple=True, help="With ONNX: a state, going in and coming out; repeatable."),
)
GRAPH = options(
    click.option("--onnx", type=PATH, help="Compile this step graph instead of a run's; see docs/graphs.md."),
    click.option("--calibration", type=PATH, help="With --onnx: recorded input (.npz), a row for each step."),
    NAMES,
    click.option("--rate-hz", type=click.FloatRange(1e-3, 1e6), help="With --onnx: steps a second (default: 50)."),
    click.option(
        "--activations", type=click.Choice(["int8", "int16"]), help="With --onnx: what linear layers read behind norms (default: int8)."
    ),
)
RATE_HZ = 50.0


@click.command(name="check-onnx", epilog="Example: realm-edge check-onnx gru.onnx --state h0:hn --json")
@click.argument("file", type=PATH)
@options(NAMES, AS_JSON)
def check_onnx(file: Path, input_name: str | None, output_name: str | None, states: tuple[str, ...], as_json: bool) -> None:
    """Say whether a step graph (ONNX) can become firmware: what it becomes, what blocks and how to mend it (status 1: something blocks)."""
    from realm_edge.app.cli_work import json_text
    from realm_edge.app.graph_forms import CHECKED_GRAPH
    from realm_edge.app.graphs import check
    from realm_edge.documents import header, jsonable

    found = check(file, names_of(input_name, output_name, states))
    if as_json:
        click.echo(json_text(header(CHECKED_GRAPH) | jsonable(found)))
    else:
        click.echo("\n".join(map(printable, checked_lines(found))))
    if not found.ok:
        click.get_current_context().exit(1)


def compile_onnx(onnx: Path, targets: tuple[str, ...], prefix: str | None, out: Path | None, as_json: bool, **given: Any) -> None:
    """What ``compile --onnx`` does."""
    from firmware_sim.targets import get_target
    from realm_edge.app.cli_work import json_text
    from realm_edge.app.graph_forms import COMPILED_GRAPH
    from realm_edge.app.graphs import compile_graph
    from realm_edge.documents import header, jsonable
    from realm_edge.progress import Terminal

    names = names_of(given["input_name"], given["output_name"], given["states"])
    summary = compile_graph(
        onnx,
        names,
        given["calibration"],
        tuple(get_target(name) for name in dict.fromkeys(targets)),
        out or Path("runs") / onnx.stem,
        prefix or prefix_of(onnx),
        given["rate_hz"] or RATE_HZ,
        given["activations"] or "int8",
        Terminal(),
    )
    click.echo(json_text(header(COMPILED_GRAPH) | jsonable(summary)) if as_json else "\n".join(map(printable, compiled_lines(summary))))
    if any(one.bit_exact is False for one in summary.targets.values()):
        click.get_current_context().exit(1)


def see_no_graph_options(**given: Any) -> None:
    """Refuse options that mean nothing without ``--onnx``."""
    spelled = {"input_name": "input", "output_name": "output", "states": "state"}
    for name, value in given.items():
        if value:
            raise UserError(f"--{spelled.get(name, name).replace('_', '-')}: it is of --onnx FILE: give that too")


def names_of(input_name: str | None, output_name: str | None, states: tuple[str, ...]) -> "Names":
    """What the options say of a graph's tensors."""
    from export.foreign.contract import Names

    pairs = [text.partition(":")[::2] for text in states]
    for text, (into, out) in zip(states, pairs, strict=True):
        if not into or not out:
            raise UserError(f"--state {text or repr(text)}: use IN:OUT, the state's names going in and coming out")
    return Names(input_name, output_name, tuple((into, out) for into, out in pairs))


def prefix_of(path: Path) -> str:
    """What C names begin with, from the name of a file."""
    plain = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")[:30].strip("_")
    return f"realm_{plain}" if plain else "realm_graph"


def checked_lines(found: "CheckedGraph") -> Iterator[str]:
    """Of a graph that was looked at."""
    kinds = {"other": "to be lowered", "float": "a float step graph", "integer": "an integer step graph"}
    yield f"{found.file}: {kinds[found.kind]}"
    yield f"input      {found.input.name} {list(found.input.shape)}"
    yield f"output     {found.output.name}" + ("" if found.output.elements is None else f" ({found.output.elements} elements)")
    for state in found.states:
        yield f"state      {state.into} -> {state.out} {list(state.shape)}"
    yield f"operators  {_counted(found.operators)}"
    if found.becomes and found.kind == "other":
        yield f"becomes    {_counted(found.becomes)}"
    for note in found.notes:
        yield f"note       {note}"
    for each in found.blockers:
        yield (
            f"blocks     '{each.node}' ({each.op}): {each.why}: {each.remedy}"
            if each.op
            else f"blocks     '{each.node}': {each.why}: {each.remedy}"
        )
    if found.error is not None:
        yield f"differs    by {found.error:.1g} of the largest output from the file's own graph, in float"
    if found.ok:
        remedy = "" if found.kind == "integer" else " --calibration FILE.npz"
        yield f"ok: realm-edge compile --onnx {found.file}{remedy} --target cortex-m4"


def compiled_lines(summary: "CompiledGraph") -> Iterator[str]:
    """Of a graph that was compiled."""
    for note in summary.notes:
        yield f"note: {note}"
    if summary.int8_against_float is not None:
        error = summary.int8_against_float
        yield (
            f"int8 against float on {summary.steps} rows that were not calibrated on: NRMSE {100 * error.nrmse:.2g} %, "
            f"at most {error.largest_error:.3g} of outputs up to {error.largest_output:.3g}"
        )
    for name, one in summary.targets.items():
        yield f"{name:<12} {_figures(one, summary)}"
        yield f"{'':<12} {one.bundle}"


def _figures(one: "GraphCycles", summary: "CompiledGraph") -> str:
    sizes = f"{one.weight_bytes:,} bytes of weights, {one.state_bytes:,} of state, {one.scratch_bytes:,} of scratch"
    if one.not_run is not None or one.cycles is None or one.cycles_range is None:
        return f"{sizes}; not run: {one.not_run}"
    low, high = one.cycles_range
    same = "equals onnxruntime in every bit" if one.bit_exact else f"DIFFERS from onnxruntime: {one.differs}"
    return f"{one.cycles:,.0f} cycles per step ({one.cycles_basis}, {low:,.0f} to {high:,.0f}), {sizes}; {same}, {summary.steps} steps"


def _counted(operators: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" if count > 1 else name for name, count in operators.items())
