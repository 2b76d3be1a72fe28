"""From a step graph to what the driver does: kernel calls in order, and where every tensor lies."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from tvm_ffi import structural_equal

from export.stepgraph import DOMAIN
from firmware_sim.compiler.frontend import CHUNK, BlockKernel, Chain, block_kernels, check_behind, read_chain
from firmware_sim.compiler.graph import GraphNode, StepGraph, next_name
from firmware_sim.compiler.kernels import build, builder
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value
from firmware_sim.compiler.memory import ALIGNMENT, Lifetime, sequential, share_arena
from firmware_sim.compiler.names import DEFAULT_NAME
from quantization.operators import MODULES
from realm_edge.errors import UserError

FRONTEND, DECODER = "frontend", "decoder"  # stages


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: ``offset`` bytes into "state", "scratch", or the caller's buffer for a data tensor (its name).

    The block of :data:`firmware_sim.compiler.frontend.COUNT` is a variable of the driver.
    """

    block: str
    offset: int


@dataclass(frozen=True)
class Constant:
    """A const array in flash; ``symbol`` is its C name."""

    symbol: str
    array: NDArray


@dataclass(frozen=True)
class Argument:
    """One pointer of a call; ``name`` is that of the kernel's parameter."""

    name: str
    place: Place | Constant
    dtype: str
    written: bool


@dataclass(frozen=True)
class Call:
    """One kernel call; of a front end, for each chunk of a block or at a bin's edge. Calls of equal functions have one symbol."""

    symbol: str
    node: str
    op: str
    kernel: Kernel
    arguments: tuple[Argument, ...]
    at_edge: bool = False


@dataclass(frozen=True)
class Bins:
    """How a front end's driver divides blocks: samples of a bin, samples of a chunk at most, and where those of this bin are counted."""

    ticks: int
    chunk: int
    phase: Place


@dataclass(frozen=True)
class Plan:
    """Everything that the driver, the weights file and the metadata are written from."""

    graph: StepGraph
    stage: str
    prefix: str  # of C symbols, and of files
    family: str  # of instruction sets
    calls: tuple[Call, ...]
    constants: tuple[Constant, ...]
    state_offsets: dict[str, int]
    state_bytes: int
    scratch: dict[str, tuple[int, int]]  # intermediate tensor, or a kernel's own: offset and bytes; those never alive together share bytes
    scratch_bytes: int
    copies: tuple[tuple[Value, Place], ...]  # data outputs that no kernel writes directly, and where they lie
    bins: Bins | None  # of a front end

    @property
    def model(self) -> str:
        """The prefix of the model, which all its stages have."""
        return self.prefix.removesuffix(f"_{self.stage}")

    @property
    def entry(self) -> str:
        """The function that takes a block of samples, or makes a step."""
        return f"{self.prefix}_{'block' if self.bins else 'step'}"

    @property
    def weight_bytes(self) -> int:
        return sum(c.array.nbytes for c in self.constants)


@dataclass
class _Tensors:
    """What is known of each tensor while the nodes are walked: its type, and its buffer (a root tensor and bytes into it)."""

    values: dict[str, Value]
    buffer: dict[str, tuple[str, int]]
    scratch: dict[str, Value] = field(default_factory=dict)


def make_plan(graph: StepGraph, stage: str, family: str, model: str = DEFAULT_NAME) -> Plan:
    """Build the kernels of ``graph`` and lay out its memory.

    Args:
        stage: :data:`FRONTEND`, whose kernels take blocks of samples, or :data:`DECODER`.
        family: of instruction sets, one of :data:`firmware_sim.compiler.kernels.FAMILIES`.
        model: the prefix of the model; every C symbol begins with it and the stage.

    Raises:
        UserError: an operator, type or shape that cannot be compiled, or a state that cannot be updated in place.
    """
    roots = {v.name: v for v in graph.inputs} | {v.name: replace(v, alignment=ALIGNMENT) for v in graph.states}
    tensors = _Tensors(dict(roots), {name: (name, 0) for name in roots})
    chain, kernels = _front_end(graph, family) if stage == FRONTEND else (None, [])
    for made in kernels:
        _add_kernel(graph, made, tensors)
    for node in graph.nodes[len(chain.nodes) if chain else 0 :]:
        if _is_view(node):
            _add_views(graph, node, tensors)
            continue
        kernel = _build(graph, node, tensors, family)
        if chain:
            check_behind(chain, node, kernel)
        kernels.append(BlockKernel(node, kernel, at_edge=chain is not None))
        _add_kernel(graph, kernels[-1], tensors)
    _check_outputs(graph, tensors)
    of_chain = chain.updates if chain else ()
    behind = [(made.node, made.kernel.in_place) for made in kernels if not chain or made.node not in chain.nodes]
    _check_states(graph, [*of_chain, *behind])
    return _lay_out(graph, stage, f"{model}_{stage}", family, kernels, tensors, chain)


def _front_end(graph: StepGraph, family: str) -> tuple[Chain, list[BlockKernel]]:
    try:
        chain = read_chain(graph)
        return chain, block_kernels(chain, family)
    except OverflowError as error:
        raise UserError(f"{graph.source}: {error}; quantise with smaller multipliers or shifts") from error


def _add_kernel(graph: StepGraph, made: BlockKernel, tensors: _Tensors) -> None:
    """Note what a kernel writes, and what it needs besides the graph's tensors."""
    outputs = {v.name for v in graph.outputs}
    for value in made.kernel.outputs:
        root = made.kernel.in_place.get(value.name, value.name)
        callers = root in outputs
        tensors.values[value.name] = value if callers else replace(value, alignment=ALIGNMENT)
        tensors.buffer[value.name] = (root, 0)
        if root == value.name and not callers:
            tensors.scratch[value.name] = value
    named = {*(v.name for v in (*graph.inputs, *graph.states)), *graph.constants, *(name for node in graph.nodes for name in node.outputs)}
    for value in (*made.kernel.scratch, *made.kernel.given):
        if value.name in named:
            raise UserError(f"{made.node.where}: its kernel needs the name '{value.name}', which the graph uses; rename that tensor")
        tensors.values[value.name] = replace(value, alignment=ALIGNMENT)
        tensors.buffer[value.name] = (value.name, 0)
    tensors.scratch |= {value.name: value for value in made.kernel.scratch}


def _build(graph: StepGraph, node: GraphNode, tensors: _Tensors, family: str) -> Kernel:
    if node.domain != DOMAIN or node.op not in MODULES:
        raise UserError(f"{node.where}: the compiler has no kernel for it; it knows {', '.join(MODULES)}, Split and Identity")
    operands = tuple(_operand(graph, node, tensors, name) for name in node.inputs)
    try:
        return build(builder(node.op, family), Node(node.where, operands, node.outputs, node.attributes))
    except OverflowError as error:
        raise UserError(f"{node.where}: {error}; quantise with smaller multipliers or shifts") from error


def _operand(graph: StepGraph, node: GraphNode, tensors: _Tensors, name: str) -> Value | NDArray:
    if name in graph.constants:
        return graph.constants[name]
    if name not in tensors.values:
        raise UserError(f"{node.where}: input '{name}' is written by nothing; export the graph again")
    return tensors.values[name]


def _is_view(node: GraphNode) -> bool:
    return node.op in ("Split", "Identity") and node.domain == ""


def _add_views(graph: StepGraph, node: GraphNode, tensors: _Tensors) -> None:
    """Split (of a vector) and Identity move no data: their outputs are parts of the input's buffer."""
    whole = _operand(graph, node, tensors, node.inputs[0])
    if not isinstance(whole, Value):
        raise UserError(f"{node.where}: its input is a constant; export the graph again")
    shapes = [whole.shape]
    if node.op == "Split":
        sizes = graph.constants.get(node.inputs[1]) if len(node.inputs) == 2 else None
        vector = len(whole.shape) == 1 and node.attributes.get("axis", 0) == 0
        if not vector or sizes is None or sizes.shape != (len(node.outputs),) or sizes.min() < 1 or sizes.sum() != whole.shape[0]:
            raise UserError(f"{node.where}: only a vector can be split, into constant sizes that add up to its length; export it so")
        shapes = [(int(n),) for n in sizes]
    root, offset = tensors.buffer[whole.name]
    for name, shape in zip(node.outputs, shapes, strict=True):
        part = Value(name, whole.dtype, shape, whole.bound, math.gcd(tensors.values[root].alignment, offset))
        tensors.values[name] = part
        tensors.buffer[name] = (root, offset)
        offset += part.nbytes


def _check_outputs(graph: StepGraph, tensors: _Tensors) -> None:
    for declared in graph.outputs:
        made = tensors.values.get(declared.name)
        if made is None or (made.dtype, made.shape) != (declared.dtype, declared.shape):
            what = "is written by nothing" if made is None else f"is {made.dtype}{list(made.shape)}"
            raise UserError(f"{graph.source}: output '{declared.name}' {what}, declared as {declared.dtype}{list(declared.shape)}")


def _check_states(graph: StepGraph, updates: Sequence[tuple[GraphNode, Mapping[str, str]]]) -> None:
    """Whatever reads a state must have done so when the node that writes its next value overwrites it.

    ``updates``: of each node the outputs that overwrite a state, and which one.
    """
    writers = {state: node for node, in_place in updates for out, state in in_place.items() if out == next_name(state)}
    for state in graph.states:
        readers = [node for node in graph.nodes for name in node.inputs if name == state.name]
        mine = [node is writers.get(state.name) for node in readers]
        if mine.count(True) != 1 or not mine[-1] or any(map(_is_view, readers)):
            who = ", ".join(f"'{node.name}'" for node in readers) or "none"
            raise UserError(
                f"{graph.source}: state '{state.name}' cannot be updated in place (read by {who}): the last node that reads it "
                f"must write '{next_name(state.name)}', and none may split or rename it; export the graph so"
            )
    for node, in_place in updates:
        for out, overwritten in in_place.items():
            if out != next_name(overwritten):
                raise UserError(f"{node.where}: would overwrite '{overwritten}' with '{out}', which is not its next value; export it again")


def _lay_out(
    graph: StepGraph, stage: str, prefix: str, family: str, kernels: Sequence[BlockKernel], tensors: _Tensors, chain: Chain | None
) -> Plan:
    state_offsets, state_bytes = sequential((s.name, s.nbytes) for s in graph.states)
    lifetimes = _lifetimes(graph, kernels, tensors)
    arena, scratch_bytes = share_arena(lifetimes)

    def place(name: str) -> Place:
        root, offset = tensors.buffer[name]
        if root in state_offsets:
            return Place("state", state_offsets[root] + offset)
        if root in arena:
            return Place("scratch", arena[root] + offset)
        return Place(root, offset)

    pool = _ConstantPool(prefix)
    calls: list[Call] = []
    for i, made in enumerate(kernels):
        node, kernel = made.node, made.kernel
        written = {v.name for v in (*kernel.outputs, *kernel.scratch)} | set(kernel.in_place.values())
        arguments = tuple(
            Argument(name, place(p), tensors.values[p].dtype, p in written)
            if isinstance(p, str)
            else Argument(name, pool.add(f"{node.name}.{name}", p), p.dtype.name, False)
            for name, p in zip((p.name for p in kernel.function.params), kernel.pointers, strict=True)
        )
        equal = next((call.symbol for call in calls if _equal(call.kernel, kernel)), None)
        calls.append(Call(equal or f"{prefix}_k{i:02d}_{node.op.lower()}", node.name, node.op, kernel, arguments, made.at_edge))
    copies = tuple((v, place(v.name)) for v in graph.outputs if tensors.buffer[v.name] != (v.name, 0))
    scratch = {lifetime.name: (arena[lifetime.name], lifetime.nbytes) for lifetime in lifetimes}
    bins = Bins(chain.bins.ticks, CHUNK, place(chain.bins.phase.name)) if chain else None
    return Plan(
        graph, stage, prefix, family, tuple(calls), tuple(pool.constants), state_offsets, state_bytes, scratch, scratch_bytes, copies, bins
    )


def _equal(one: Kernel, other: Kernel) -> bool:
    """Whether they are one function: what a layer's kernel reads comes by its pointers, so that layers of equal shape share it."""
    return one.flags == other.flags and structural_equal(one.function, other.function)


def _lifetimes(graph: StepGraph, kernels: Sequence[BlockKernel], tensors: _Tensors) -> list[Lifetime]:
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for i, made in enumerate(kernels):
        for name in [*(p for p in made.kernel.pointers if isinstance(p, str)), *(v.name for v in made.kernel.outputs)]:
            root = tensors.buffer[name][0]
            first.setdefault(root, i)
            last[root] = i
    for output in graph.outputs:
        last[tensors.buffer[output.name][0]] = len(kernels)  # copied out after the last call
    return [Lifetime(name, value.nbytes, first[name], last[name]) for name, value in tensors.scratch.items()]


class _ConstantPool:
    """Const arrays, each stored once however many kernels read it."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._by_content: dict[tuple[str, bytes], Constant] = {}

    def add(self, name: str, array: NDArray) -> Constant:
        key = (array.dtype.name, np.ascontiguousarray(array).tobytes())
        if key not in self._by_content:
            readable = re.sub(r"\W", "_", name, flags=re.ASCII)
            self._by_content[key] = Constant(f"{self._prefix}_c{len(self._by_content):02d}_{readable}", array)
        return self._by_content[key]

    @property
    def constants(self) -> list[Constant]:
        return list(self._by_content.values())
