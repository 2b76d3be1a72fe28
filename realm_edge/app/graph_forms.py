"""What ``check-onnx`` and ``compile --onnx`` say of a step graph. Light to import."""

from typing import Literal

from realm_edge.documents import Form, Number
from realm_edge.settings import Activations

CHECKED_GRAPH = "realm-edge checked graph/1"  # of 'check-onnx --json'
COMPILED_GRAPH = "realm-edge compiled graph/1"  # compiled.json of 'compile --onnx'
Kind = Literal["other", "float", "integer"]  # somebody else's, or a step graph of this project's form


class GraphInput(Form):
    """The data tensor that goes in."""

    name: str
    shape: tuple[int, ...]


class GraphOutput(Form):
    """The data tensor that comes out; ``elements`` is None where it could not be followed."""

    name: str
    elements: int | None


class GraphState(Form):
    """Names of a state going in and coming out."""

    into: str
    out: str
    shape: tuple[int, ...]


class Blocked(Form):
    """A node that the implant cannot have: why, and what to do."""

    node: str
    op: str
    why: str
    remedy: str


class CheckedGraph(Form):
    """``ok`` where nothing blocks. ``error`` is the largest difference of the step graph that was made from the file's own in onnxruntime,
    over the largest output; None where they were not compared."""

    file: str
    kind: Kind
    ok: bool
    input: GraphInput
    output: GraphOutput
    states: tuple[GraphState, ...]
    operators: dict[str, int]  # of the file, with how often each comes up
    becomes: dict[str, int]  # operators of the step graph
    blockers: tuple[Blocked, ...]
    notes: tuple[str, ...]
    error: Number | None


class GraphErrors(Form):
    """Int8 against float on rows that were not calibrated on, both from the zero state."""

    nrmse: Number  # root mean square of the error over the output's standard deviation
    largest_error: Number
    largest_output: Number


class GraphCycles(Form):
    """One target: its bundle, and what the firmware did in the simulator on the golden rows; ``not_run`` says why it was not run."""

    part: str
    bundle: str
    not_run: str | None = None
    bit_exact: bool | None = None
    differs: str | None = None  # the first difference
    cycles: Number | None = None  # a step, with wait states
    cycles_range: tuple[Number, Number] | None = None
    cycles_basis: str | None = None
    flash_bytes: int | None = None  # of the whole firmware
    ram_bytes: int | None = None
    stack_bytes: int | None = None  # that was used
    weight_bytes: int
    state_bytes: int
    scratch_bytes: int
    macs: int


class CompiledGraph(Form):
    """What ``compile --onnx`` made."""

    file: str
    kind: Kind
    activations: Activations | None  # None: the graph came in integers
    prefix: str
    steps: int  # that the firmware ran
    recorded: bool  # whether on recorded rows, or on random ones
    lowering_error: Number | None
    int8_against_float: GraphErrors | None
    notes: tuple[str, ...]
    targets: dict[str, GraphCycles]
