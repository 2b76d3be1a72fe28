"""A front end's step graph as kernels that run over blocks of samples, equal to as many ticks of the graph.

What has to be known of all channels at once, the common average, is formed first for every sample of a block. Everything up to the bin's
sums and counts is one kernel then, channel by channel and within a channel filter by filter, so that what a filter keeps from sample to
sample stays in registers. What happens at a bin's edge is called by the driver there. Blocks are as short as :data:`CHUNK` inside, which
bounds the scratch; the driver divides longer ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from export.stepgraph import DOMAIN
from firmware_sim.compiler.graph import GraphNode, StepGraph
from firmware_sim.compiler.kernels import bin_features, biquad, common_average, emit, spike_count
from firmware_sim.compiler.kernels.bin_features import Features
from firmware_sim.compiler.kernels.biquad import Bank
from firmware_sim.compiler.kernels.common_average import Reference
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value, full_range
from firmware_sim.compiler.kernels.spike_count import Counter, Counts
from firmware_sim.compiler.kernels.words import FAMILIES, Words
from realm_edge.errors import UserError

CHUNK = 64  # samples that a kernel call takes at most
COUNT = Value("samples of this call", "int32", (1,), CHUNK)  # given by the driver
VALID = "valid"  # the output that the driver sets
_SHAPE = (
    "a front end is a common average, filters one behind the other, then spike counts, or a bank of band-passes and the features of bins"
)


@dataclass(frozen=True)
class Chain:
    """A front end, checked: what a sample passes."""

    reference: Reference
    filters: tuple[Bank, ...]  # of one section each
    bank: Bank | None  # with ``bins`` the features
    bins: Features | Counts
    nodes: tuple[GraphNode, ...]

    @property
    def banks(self) -> tuple[Bank, ...]:
        return (*self.filters, *((self.bank,) if self.bank else ()))

    @property
    def values(self) -> tuple[Value, ...]:
        """All outputs of its nodes that are more than a sample on its way."""
        return (*(value for bank in self.banks for value in (bank.next_history, bank.next_state)), *self.bins.outputs)

    @property
    def updates(self) -> tuple[tuple[GraphNode, dict[str, str]], ...]:
        """Of each node behind the reference the outputs that overwrite a state, and which one."""
        return tuple((node, each.in_place) for node, each in zip(self.nodes[1:], (*self.banks, self.bins), strict=True))

    @property
    def in_place(self) -> dict[str, str]:
        """Those of all nodes."""
        return {out: state for _, in_place in self.updates for out, state in in_place.items()}


@dataclass(frozen=True)
class BlockKernel:
    """A kernel that stands for ``node``; it runs for every block, or at a bin's edge."""

    node: GraphNode
    kernel: Kernel
    at_edge: bool


def read_chain(graph: StepGraph) -> Chain:
    """Recognise the nodes of a front end up to the features of bins.

    Raises:
        UserError: nodes in another order, or one that does not fit the operator.
    """
    values = {value.name: value for value in (*graph.inputs, *graph.states)}

    def node_at(i: int) -> GraphNode | None:
        return graph.nodes[i] if i < len(graph.nodes) and graph.nodes[i].domain == DOMAIN else None

    def operands(node: GraphNode) -> Node:
        missing = next((name for name in node.inputs if name not in values and name not in graph.constants), None)
        if missing is not None:
            raise UserError(f"{node.where}: input '{missing}' is written by nothing before it; {_SHAPE}")
        found = tuple(graph.constants[name] if name in graph.constants else values[name] for name in node.inputs)
        return Node(node.where, found, node.outputs, node.attributes)

    first = node_at(0)
    if first is None or first.op != "QCommonAverage" or first.inputs[:1] != tuple(value.name for value in graph.inputs):
        raise _other(graph, first)
    reference = common_average.checked(operands(first))
    values[reference.y.name] = reference.y
    banks: list[Bank] = []
    nodes = [first]
    while (node := node_at(len(nodes))) is not None and node.op == "QBiquad":
        bank = biquad.checked(operands(node))
        if bank.x != (banks[-1].y.name if banks else reference.y.name) or (banks and len(banks[-1].coef) != 1):
            raise _other(graph, node)
        values[bank.y.name] = bank.y
        banks.append(bank)
        nodes.append(node)
    if node is None or not banks:
        raise _other(graph, node)
    nodes.append(node)
    if node.op == "QSpikeCount":
        counts = spike_count.checked(operands(node))
        if counts.y != banks[-1].y.name or len(banks[-1].coef) != 1 or counts.outputs[1].name != VALID:
            raise _other(graph, node)
        return Chain(reference, tuple(banks), None, counts, tuple(nodes))
    if node.op != "QBinFeatures" or len(banks) < 2:
        raise _other(graph, node)
    features, *filters, bank = bin_features.checked(operands(node)), *banks
    if (features.y, features.z, features.outputs[1].name) != (filters[-1].y.name, bank.y.name, VALID):
        raise _other(graph, node)
    if not bank.by_differences:
        raise UserError(f"{nodes[-2].where}: a section is no band-pass b0 (1 - z^-2); {_SHAPE}")
    return Chain(reference, tuple(filters), bank, features, tuple(nodes))


def check_behind(chain: Chain, node: GraphNode, kernel: Kernel) -> None:
    """See that a kernel behind the features of bins may run at a bin's edge only.

    Raises:
        UserError: it reads samples, or keeps a state that it would change with every sample.
    """
    _, valid, *_ = (value.name for value in chain.bins.outputs)
    gated = node.op == "QRunningZ" and node.inputs[1] == valid
    if chain.reference.x.name in node.inputs or (kernel.in_place and not gated):
        raise UserError(f"{node.where}: works on every sample behind the features of bins; {_SHAPE}")


def _other(graph: StepGraph, node: GraphNode | None) -> UserError:
    return UserError(f"{node.where if node else graph.source}: stands where a front end has something else; {_SHAPE}")


def block_kernels(chain: Chain, family: str) -> list[BlockKernel]:
    """The kernels of a front end, in the order of their calls, without what comes behind its features."""
    words = FAMILIES[family]
    # One array: the loops go through both halves with one pointer.
    rows = Value("means of samples, and a channel between two filters", "int32", (2, CHUNK), full_range("int32"))
    found = []
    if chain.reference.averaged:
        found.append(BlockKernel(chain.nodes[0], common_average.means(chain.reference, rows, COUNT), False))
    found.append(BlockKernel(chain.nodes[-2], _filters(chain, words, rows), False))
    edge = spike_count.at_edge(chain.bins) if isinstance(chain.bins, Counts) else bin_features.at_edge(chain.bins)
    return [*found, BlockKernel(chain.nodes[-1], edge, True)]


class _Parameters:
    """Declares a kernel's parameters and notes what they point to."""

    def __init__(self) -> None:
        self.pointers: list[str | NDArray] = []

    def tensor(self, name: str, value: Value, *shape: int) -> emit.Buffer:
        """``shape`` where it is not that of ``value``."""
        self.pointers.append(value.name)
        return emit.parameter(name, value.dtype, *(shape or value.shape))

    def constant(self, name: str, array: NDArray) -> emit.Buffer:
        self.pointers.append(array)
        return emit.parameter(name, array.dtype.name, *array.shape)

    def bank(self, name: str, bank: Bank) -> biquad.Buffers:
        self.pointers += biquad.pointers(bank)
        return biquad.buffers(bank, name)


@dataclass(frozen=True)
class _Channel:
    """One channel in the loop over all of them: what its filters are written from.

    Attributes:
        count: samples of the block.
        rows: means of the samples, and the channel between two filters; None where there is neither.
    """

    chain: Chain
    words: Words
    c: Any
    count: Any
    samples: emit.Buffer
    mask: emit.Buffer | None
    rows: emit.Buffer

    def referenced(self, t: Any) -> Any:
        """Sample ``t`` less the mean of all channels."""
        reference = self.chain.reference
        x = T.cast(self.samples[t, self.c], "int32") * T.int32(reference.guard)
        x = x - self.rows[0, t] if reference.averaged else x
        return x if self.mask is None else T.bitwise_and(x, T.cast(self.mask[self.c], "int32"))

    def between(self, t: Any) -> Any:
        return self.rows[1, t]

    def store(self, t: Any, value: Any) -> None:
        emit.store(self.rows, (1, t), value)

    def run(self, i: int, memory: biquad.Buffers, use: Callable[[Any, Any, Any], None]) -> biquad.Section:
        """Filter ``i``; the first reads the reference, whose values are multiples of STEP, the others what was stored."""
        read = self.between if i else self.referenced
        return biquad.run_section(self.words, self.chain.filters[i], memory, self.c, self.count, read, use, whole=i == 0)


def _filters(chain: Chain, words: Words, rows: Value) -> Kernel:
    """From samples to the bin's sums or counts, channel by channel."""
    reference, given = chain.reference, _Parameters()
    scratch = (rows,) if len(chain.banks) > 1 or reference.averaged else ()
    with emit.kernel() as built:
        samples = given.tensor("samples", reference.x, CHUNK, reference.channels)
        count = given.tensor("count", COUNT)[0]
        mask = None if reference.good.all() else given.constant("mask", np.where(reference.good, -1, 0).astype(np.int8))
        row = given.tensor("rows", rows) if scratch else None
        memory = [given.bank(f"filter{i}", bank) for i, bank in enumerate(chain.banks)]
        finish = _counting(chain.bins, given) if isinstance(chain.bins, Counts) else _adding_up(chain, chain.bins, memory, given)
        with emit.loop(reference.channels) as c:
            channel = _Channel(chain, words, c, count, samples, mask, row)
            *before, last = range(len(chain.filters))
            for i in before:
                channel.run(i, memory[i], lambda t, y, _: channel.store(t, y))
            finish(channel, last, memory[last])
    return Kernel(words.finished(built.function), tuple(given.pointers), chain.values, chain.in_place, scratch=scratch, given=(COUNT,))


_Finish = Callable[[_Channel, int, biquad.Buffers], None]  # runs the last filter and what sees its output


def _counting(counts: Counts, given: _Parameters) -> _Finish:
    below, count = given.tensor("below", counts.below), given.tensor("crossings", counts.count)
    threshold = given.constant("threshold", counts.threshold)

    def finish(channel: _Channel, last: int, memory: biquad.Buffers) -> None:
        counter = Counter(threshold, below, count, channel.c)
        channel.run(last, memory, lambda t, y, _: counter.add(y))
        counter.save()

    return finish


def _adding_up(chain: Chain, features: Features, memory: Sequence[biquad.Buffers], given: _Parameters) -> _Finish:
    total, power = given.tensor("total", features.total), given.tensor("power", features.power)
    bank, of_bank = chain.banks[-1], memory[-1]

    def finish(channel: _Channel, last: int, memory: biquad.Buffers) -> None:
        added = bin_features.Total(features, total, channel.c)

        def leave(t: Any, y: Any, y2: Any) -> None:
            channel.store(t, y - y2)
            added.add(y)

        section = channel.run(last, memory, leave)
        added.save()
        biquad.save_inputs(section.y, of_bank, channel.c)
        squares = partial(bin_features.power_of, channel.words, features, power, channel.c)
        biquad.run_bank(channel.words, bank, of_bank, channel.c, channel.count, channel.between, squares)

    return finish
