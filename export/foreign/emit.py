"""Writes what was traced as a float step graph of this project's own operators, with the ends of a decoder: ``features`` to ``decoded``."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.foreign.expression import function_of
from export.foreign.states import Piece, cut
from export.foreign.tape import Blocked, Ids, Vector
from export.foreign.trace import Blocker, Trace
from export.functions import functions
from export.pointwise import PREFIX
from export.stepgraph import DOMAIN, GraphBuilder

_MOST_RUNS = 8  # that are joined one by one; what is scattered more is joined whole and picked from
_PADDED = 2  # times what a linear layer reads of a vector, it may span


@dataclass(frozen=True)
class Part:
    """Elements from ``start`` to ``stop`` of a vector."""

    vector: Vector
    start: int
    stop: int


@dataclass
class Node:
    """A node to be: its inputs are names, or parts of vectors that are still to be found names for."""

    op: str
    inputs: list[str | Part]
    outputs: list[str]
    name: str
    own: bool = True  # of this project's domain
    attributes: dict[str, Any] = field(default_factory=dict)


def emit(found: Trace, rate_hz: float, made_from: dict[str, str]) -> onnx.ModelProto | None:
    """The step graph; None where something blocks, of which the trace then tells."""
    if found.blockers or found.output is None:
        return None
    pieces, renamed = cut(found)
    if found.blockers:
        return None
    try:
        return _Writer(found, pieces, renamed).written(rate_hz, made_from)
    except Blocked as blocked:
        found.blockers.append(Blocker("", "", blocked.why, blocked.remedy))
        return None


class _Writer:
    """One graph that is being written."""

    def __init__(self, found: Trace, pieces: list[Piece], renamed: NDArray[np.int64]) -> None:
        self.found, self.tape = found, found.tape
        self.renamed = renamed
        self.pieces = {piece.vector.first: piece for piece in pieces}
        self.of_writer: dict[int, list[Piece]] = {}
        for piece in pieces:
            if piece.writer is not None:
                self.of_writer.setdefault(piece.writer.first, []).append(piece)
        self.nodes: list[Node] = []
        self.graph = GraphBuilder("decoder", functions())
        self.functions: list[onnx.FunctionProto] = []
        self.used: set[str] = set()
        self.names: dict[int, str] = {}
        for vector in self.tape.vectors:
            vector.operands = tuple(self._now(ids) for ids in vector.operands)
        assert found.output is not None
        self.output = self._now(found.output)
        self.stored = [(piece, self._now(piece.following)) for piece in pieces if piece.following is not None]
        self._name_states()

    def written(self, rate_hz: float, made_from: dict[str, str]) -> onnx.ModelProto:
        while self._folded():
            pass
        self._pruned()
        self._divided()
        features = self.found.input.size
        self.graph.input("features", np.float32, (features,), unit="", scale=1.0, offset=0.0)
        order = self._order()
        for piece in self._live_pieces():
            self.graph.state(self._name(piece.vector).removeprefix("state."), np.float32, self._shape(piece))
        if any(vector.kind != "affine" for vector in order for ids in vector.operands if self._reads_input(ids)) or self._reads_input(
            self.output
        ):
            n = self.found.input.size
            self._node("Affine", ["features", *self._constants("input", gain=np.ones(n), offset=np.zeros(n))], ["input"], "input")
        for vector in order:
            _EMITTERS[vector.kind](self, vector)
        for piece, following in self.stored:
            if piece in self._live_pieces():
                name = self._name(piece.vector)
                self._node("Store", [name, self._rescaled(following)], [name.replace("state.", "next.", 1)], f"{name}.store")
        result = self._read(self.output, view=True)
        self._node("Identity", [result], ["decoded"], "decoded", own=False)
        self.graph.output("decoded", np.float32, (len(self.output),), unit="", scale=1.0, offset=0.0)
        for node in self._resolved():
            self.graph.node(
                node.op, [str(each) for each in node.inputs], node.outputs, node.name, DOMAIN if node.own else "", **node.attributes
            )
        self.graph.functions = (*functions(), *self.functions)
        return self.graph.build(kind="decoder", rate_hz=rate_hz, made_from=made_from)

    # What is computed at all, and in which order

    def _now(self, ids: Ids) -> Ids:
        """Numbers as they are since states were cut."""
        return np.where(ids < 0, ids, self.renamed[np.maximum(ids, 0)])

    def _live(self) -> list[Vector]:
        """Vectors that the output, or a state that it depends on, is made of."""
        live: dict[int, Vector] = {}
        todo: list[Ids] = [self.output]
        following = {piece.vector.first: ids for piece, ids in self.stored}
        while todo:
            ids = todo.pop()
            if (ids < 0).any():
                continue  # told of when it is read
            for vector, _ in self.tape.parts(ids):
                if vector.first in live:
                    continue
                live[vector.first] = vector
                todo += vector.operands
                if vector.kind == "second":
                    todo.append(vector.about["of"].ids)
                if vector.first in self.pieces:
                    piece = self.pieces[vector.first]
                    todo.append(following[vector.first] if piece.writer is None else piece.writer.ids)
        return [live[first] for first in sorted(live)]

    def _live_pieces(self) -> list[Piece]:
        return [self.pieces[vector.first] for vector in self._live() if vector.first in self.pieces]

    def _order(self) -> list[Vector]:
        """Vectors that are computed, each behind what it reads; the one that updates a state behind all others that read it."""
        live = [vector for vector in self._live() if vector.kind not in ("piece", "input", "state")]
        before: dict[int, list[int]] = {vector.first: [] for vector in live}
        for vector in live:
            for ids in (*vector.operands, *((vector.about["of"].ids,) if vector.kind == "second" else ())):
                for read, _ in self.tape.parts(ids[ids >= 0]):
                    if read.first in before:
                        before[vector.first].append(read.first)
                    piece = self.pieces.get(read.first)
                    if piece and piece.writer and piece.writer is not vector:
                        before[piece.writer.first].append(vector.first)
        by_first = {vector.first: vector for vector in live}
        try:
            return [by_first[first] for first in TopologicalSorter(before).static_order()]
        except CycleError:
            raise Blocked("a state is read after it was updated", "read its new value instead") from None

    def _uses(self) -> NDArray[np.int64]:
        """How many operations read each element."""
        counts = np.zeros(self.tape.elements, np.int64)
        readers = [ids for vector in self._live() for ids in vector.operands]
        for ids in (*readers, self.output, *(ids for _, ids in self.stored)):
            counts[np.unique(ids[ids >= 0])] += 1
        return counts

    def _folded(self) -> bool:
        """One gain and offset into the linear layer, or norm, whose result nothing else reads; whether there was one."""
        counts = self._uses()
        for vector in self._live():
            if vector.kind != "affine":
                continue
            ids = vector.operands[0]
            maker = self.tape.owner(int(ids[0]))
            if maker.kind not in ("linear", "layer_norm", "rms_norm") or len(self.tape.parts(ids)) != 1 or (counts[ids] != 1).any():
                continue
            at, gain, offset = ids - maker.first, vector.about["gain"], vector.about["offset"]
            if maker.kind == "linear":
                weight, bias = maker.about["weight"][:, at] * gain, maker.about["bias"][at] * gain + offset
                vector.kind, vector.operands, vector.about = "linear", maker.operands, {"weight": weight, "bias": bias}
                return True
            whole = np.array_equal(at, np.arange(maker.size))
            if whole and (maker.kind == "layer_norm" or not offset.any()):
                about = {"weight": maker.about["weight"] * gain, "bias": maker.about["bias"] * gain + offset, "eps": maker.about["eps"]}
                vector.kind, vector.operands, vector.about = maker.kind, maker.operands, about
                return True
        return False

    def _pruned(self) -> None:
        """Linear layers without the columns that nothing reads."""
        counts = self._uses()
        for vector in self._live():
            used = np.flatnonzero(counts[vector.ids])
            if vector.kind != "linear" or len(used) == vector.size:
                continue
            about = {"weight": vector.about["weight"][:, used], "bias": vector.about["bias"][used]}
            smaller = self.tape.add("linear", len(used), vector.name, *vector.operands, **about)
            moved = np.arange(self.tape.elements)
            moved[vector.first + used] = smaller.ids
            self._move(moved)

    def _move(self, moved: NDArray[np.int64]) -> None:
        """Elements have other numbers from now on."""

        def now(ids: Ids) -> Ids:
            return np.where(ids < 0, ids, moved[np.maximum(ids, 0)])

        for each in self.tape.vectors:
            each.operands = tuple(now(ids) for ids in each.operands)
        self.output = now(self.output)
        self.stored = [(piece, now(ids)) for piece, ids in self.stored]

    def _divided(self) -> None:
        """Functions whose parts go different ways, one for each part: each then has a scale of its own."""
        live = self._live()
        readers = [ids for vector in live for ids in vector.operands] + [self.output, *(ids for _, ids in self.stored)]
        for vector in live:
            if vector.kind != "pointwise":
                continue
            spans = []
            for ids in readers:
                at = ids[(ids >= vector.first) & (ids < vector.first + vector.size)] - vector.first
                spans += [(int(at.min()), int(at.max()) + 1)] if len(at) else []
            ranges: list[tuple[int, int]] = []
            for start, stop in sorted(spans):
                if ranges and start < ranges[-1][1]:
                    ranges[-1] = (ranges[-1][0], max(stop, ranges[-1][1]))
                else:
                    ranges.append((start, stop))
            if len(ranges) < 2:
                continue
            moved = np.arange(self.tape.elements)
            for start, stop in ranges:
                at = np.arange(start, stop)
                expression = vector.about["expression"].mapped(lambda values, at=at: values[at])
                part = self.tape.add("pointwise", len(at), vector.name, vector.operands[0][at], expression=expression)
                moved = np.concatenate([moved, part.ids])
                moved[vector.first + at] = part.ids
            self._move(moved)

    # Names

    def _unique(self, name: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("_.")[:60] or "node"
        chosen, count = plain, 1
        while chosen in self.used or chosen in ("features", "decoded", "input"):
            count += 1
            chosen = f"{plain}.{count}"
        self.used.add(chosen)
        return chosen

    def _name(self, vector: Vector) -> str:
        """Of the tensor that holds a vector."""
        if vector.kind == "input":
            return "input"
        if vector.first not in self.names:
            self.names[vector.first] = self._unique(f"{vector.name}.{vector.kind}" if vector.kind != "linear" else vector.name)
        return self.names[vector.first]

    def _name_states(self) -> None:
        number = Counter(piece.name for piece in self.pieces.values())
        seen: Counter[str] = Counter()
        for piece in self.pieces.values():
            begun = re.sub(r"^(state\.|state_in\.|past_)", "", piece.name)
            plain = begun if begun != piece.name else re.sub(r"(_in|_?0)$", "", piece.name) or piece.name
            plain = f"{plain}.{seen[piece.name]}" if number[piece.name] > 1 else plain
            seen[piece.name] += 1
            name = f"state.{self._unique(plain)}"
            self.names[piece.vector.first] = name
            if piece.writer is not None and piece.writer.kind in ("gru", "lstm"):
                made = self._state_result(piece)
                self.names[made.first] = name.replace("state.", "next.", 1)

    def _state_result(self, piece: Piece) -> Vector:
        """The vector that is a state's next value, of what is updated by a recurrent layer."""
        writer = piece.writer
        assert writer is not None
        held = [ids for ids, _ in writer.about["memories"]]
        if writer.kind == "gru" or np.array_equal(self._now(held[0]), piece.vector.ids):
            return writer
        return next(each for each in self.tape.vectors if each.kind == "second" and each.about["of"] is writer)

    def _shape(self, piece: Piece) -> tuple[int, ...]:
        if piece.writer is not None and piece.writer.kind == "conv":
            channels = len(piece.writer.operands[0])
            return (piece.vector.size // channels, channels)
        if piece.writer is not None and piece.writer.kind == "attention":
            return tuple(piece.writer.about["heads"])
        return (piece.vector.size,)

    def _constants(self, owner: str, **values: Any) -> list[str]:
        return [self.graph.constant(f"{owner}.{what}", value, np.float32) for what, value in values.items()]

    # Nodes

    def _node(self, op: str, inputs: Iterable[str | Part], outputs: list[str], name: str, own: bool = True, **attributes: Any) -> None:
        self.nodes.append(Node(op, list(inputs), outputs, name, own, attributes))

    def _reads_input(self, ids: Ids) -> bool:
        source = self.found.input
        return bool(((ids >= source.first) & (ids < source.first + source.size)).any())

    def _read(self, ids: Ids, view: bool = False) -> str | Part:
        """A tensor that holds these elements in this order: one that is there, a part of one, or one that is put together.

        Args:
            view: it is read by what moves no data, so that a state has to be copied.
        """
        if (ids < 0).any():
            raise Blocked("constants and what changes are put together", "keep what is padded or joined with constants to linear layers")
        breaks = np.flatnonzero(np.diff(ids) != 1) + 1
        runs = [run for part in np.split(ids, breaks) for run in self._by_vector(part)]
        if len(runs) == 1:
            vector, at = runs[0]
            if vector.kind != "piece" or (len(at) == vector.size and not view):
                return self._part(vector, int(at[0]), int(at[-1]) + 1)
            return self._gathered(self._name(vector), at)
        vectors = list(dict.fromkeys(vector for vector, _ in runs))
        if len(vectors) == 1:
            return self._gathered(self._name(vectors[0]), ids - vectors[0].first)
        if len(runs) <= _MOST_RUNS:
            return self._joined([self._rescaled(vector.first + at) for vector, at in runs])
        first, offset = np.zeros(len(ids), np.int64), 0
        for vector in vectors:
            inside = (ids >= vector.first) & (ids < vector.first + vector.size)
            first[inside] = ids[inside] - vector.first + offset
            offset += vector.size
        return self._gathered(self._joined([self._rescaled(vector.ids) for vector in vectors]), first)

    def _rescaled(self, ids: Ids) -> str | Part:
        """The same for what gives all that it is joined with its scale: hidden values and cells have one of their own, and are copied."""
        found = self._read(ids)
        for vector, _ in self.tape.parts(ids):
            piece = self.pieces.get(vector.first)
            if vector.kind in ("gru", "lstm", "second") or (piece and piece.writer and piece.writer.kind in ("gru", "lstm")):
                name, n = self._unique(f"{self._name(vector).removeprefix('next.').removeprefix('state.')}.copy"), len(ids)
                self._node("Affine", [found, *self._constants(name, gain=np.ones(n), offset=np.zeros(n))], [name], name)
                return name
        return found

    def _by_vector(self, run: Ids) -> list[tuple[Vector, NDArray[np.int64]]]:
        return [(vector, run[at] - vector.first) for vector, at in self.tape.parts(run)]

    def _part(self, vector: Vector, start: int, stop: int) -> str | Part:
        return self._name(vector) if (start, stop) == (0, vector.size) else Part(vector, start, stop)

    def _gathered(self, x: str | Part, places: NDArray[np.int64]) -> str:
        name = self._unique("picked")
        places_name = self.graph.constant(f"{name}.places", places, np.int64)
        self._node("Gather", [x, places_name], [name], name, own=False, axis=0)
        return name

    def _joined(self, parts: list[str | Part]) -> str | Part:
        result = parts[0]
        for part in parts[1:]:
            name = self._unique("joined")
            self._node("Concat", [result, part], [name], name, own=False, axis=0)
            result = name
        return result

    def linear(self, vector: Vector) -> None:
        """A layer for each vector that it reads, and their sum."""
        name, weight, bias = self._name(vector), vector.about["weight"], vector.about["bias"]
        terms: list[str] = []
        sources = self.tape.parts(vector.operands[0])
        for source, places in sources:
            at = vector.operands[0][places] - source.first
            start, stop = int(at.min()), int(at.max()) + 1
            distinct = np.unique(at)
            if source.kind == "piece":
                start, stop = 0, source.size  # of a state nothing is split
            if stop - start > _PADDED * len(distinct):
                x: str | Part = self._gathered(self._name(source), distinct)
                at, width = np.searchsorted(distinct, at), len(distinct)
            else:
                x, at, width = self._part(source, start, stop), at - start, stop - start
            rows = np.zeros((width, vector.size))
            np.add.at(rows, at, weight[places])
            term = name if len(sources) == 1 else self._unique(f"{name}.of_{self._name(source).replace('state.', '')}")
            constants = self._constants(term, weight=rows, bias=bias if not terms else np.zeros(vector.size))
            self._node("Linear", [x, *constants], [term], term)
            terms.append(term)
        self._summed(terms, name)

    def _summed(self, terms: list[str], name: str) -> None:
        result = terms[0]
        for k, term in enumerate(terms[1:], start=2):
            out = name if k == len(terms) else self._unique(f"{name}.sum")
            self._node("Add", [result, term], [out], f"{out}.add", own=False)
            result = out

    def affine(self, vector: Vector) -> None:
        name, ids = self._name(vector), vector.operands[0]
        whole = np.array_equal(ids, self.found.input.ids)
        x = "features" if whole else self._read(ids)
        self._node("Affine", [x, *self._constants(name, gain=vector.about["gain"], offset=vector.about["offset"])], [name], name)

    def pointwise(self, vector: Vector) -> None:
        name = self._name(vector)
        function, taken = function_of(vector.about["expression"], f"{PREFIX}{len(self.functions)}")
        self.functions.append(function)
        constants = self._constants(name, **{f"c{i}": value for i, value in enumerate(taken)})
        self._node(function.name, [self._read(vector.operands[0]), *constants], [name], name)

    def relu(self, vector: Vector) -> None:
        name = self._name(vector)
        self._node("Relu", [self._read(vector.operands[0])], [name], name, own=False)

    def of_two(self, vector: Vector) -> None:
        name, op = self._name(vector), {"add": "Add", "mul": "Mul"}[vector.kind]
        read = self._rescaled if vector.kind == "add" else self._read
        self._node(op, [read(ids) for ids in vector.operands], [name], name, own=False)

    def norm(self, vector: Vector) -> None:
        name, x = self._name(vector), self._read(vector.operands[0])
        if vector.kind == "layer_norm":
            constants = self._constants(name, weight=vector.about["weight"], bias=vector.about["bias"], eps=vector.about["eps"])
            self._node("LayerNorm", [x, *constants], [name], name)
        else:
            self._node("RmsNorm", [x, *self._constants(name, weight=vector.about["weight"], eps=vector.about["eps"])], [name], name)

    def conv(self, vector: Vector) -> None:
        name, (piece,) = self._name(vector), self.of_writer[vector.first]
        before, after = self._ends(piece)
        constants = self._constants(name, weight=vector.about["weight"], bias=vector.about["bias"])
        self._node("Conv", [self._read(vector.operands[0]), before, *constants], [name, after], name)

    def gru(self, vector: Vector) -> None:
        (piece,) = self.of_writer[vector.first]
        before, after = self._ends(piece)
        self._node("GruStep", [*(self._read(ids) for ids in vector.operands[:2]), before], [after], f"{after.removeprefix('next.')}.step")

    def lstm(self, vector: Vector) -> None:
        hidden, cell = sorted(self.of_writer[vector.first], key=lambda piece: self._state_result(piece) is not vector)
        (h, next_h), (c, next_c) = self._ends(hidden), self._ends(cell)
        sums = [self._read(ids) for ids in vector.operands[:2]]
        self._node("LstmStep", [*sums, h, c], [next_h, next_c], f"{next_h.removeprefix('next.')}.step")

    def attention(self, vector: Vector) -> None:
        name, (piece,) = self._name(vector), self.of_writer[vector.first]
        before, after = self._ends(piece)
        operands = [self._read(ids) for ids in vector.operands[:4]]
        self._node("LinearAttentionStep", [*operands, before, *self._constants(name, scale=vector.about["scale"])], [name, after], name)

    def second(self, vector: Vector) -> None:
        """Another result of an operator, which writes both."""
        readers = [each for each in self._live() for ids in each.operands if np.isin(ids, vector.ids).any()]
        if vector.about["of"].kind == "attention" and (readers or np.isin(self.output, vector.ids).any()):
            raise Blocked(f"the state of '{vector.name}' is read within the step", "read the operator's output")

    def _ends(self, piece: Piece) -> tuple[str, str]:
        name = self._name(piece.vector)
        return name, name.replace("state.", "next.", 1)

    # Parts of vectors

    def _resolved(self) -> list[Node]:
        """Nodes with names for all parts: where those of a vector do not overlap it is split, else each is picked."""
        asked: dict[int, set[tuple[int, int]]] = {}
        vectors: dict[int, Vector] = {}
        for node in self.nodes:
            for part in node.inputs:
                if isinstance(part, Part):
                    vectors[part.vector.first] = part.vector
                    asked.setdefault(part.vector.first, set()).add((part.start, part.stop))
        behind: dict[str, list[Node]] = {}
        names: dict[tuple[int, int, int], str] = {}
        for first, ranges in asked.items():
            vector = vectors[first]
            whole = self._name(vector)
            cuts, end = [], 0
            for start, stop in sorted(ranges):
                name = names[first, start, stop] = self._unique(f"{whole.removeprefix('next.')}.{start}_{stop}")
                if start < end:
                    places = self.graph.constant(f"{name}.places", np.arange(start, stop), np.int64)
                    behind.setdefault(whole, []).append(Node("Gather", [whole, places], [name], name, False, {"axis": 0}))
                    continue
                if start > end:
                    cuts.append((self._unique(f"{whole}.rest"), start - end))
                cuts.append((name, stop - start))
                end = stop
            if end < vector.size:
                cuts.append((self._unique(f"{whole}.rest"), vector.size - end))
            sizes = self.graph.constant(f"{whole}.sizes", [size for _, size in cuts], np.int64)
            split = Node("Split", [whole, sizes], [name for name, _ in cuts], f"{whole}.split", False, {"axis": 0})
            behind.setdefault(whole, []).append(split)
        result: list[Node] = []
        for node in self.nodes:
            node.inputs = [names[each.vector.first, each.start, each.stop] if isinstance(each, Part) else each for each in node.inputs]
            result.append(node)
            for output in node.outputs:
                result += behind.get(output, [])
        return result


_EMITTERS: dict[str, Callable[[_Writer, Vector], None]] = {
    "add": _Writer.of_two,
    "affine": _Writer.affine,
    "attention": _Writer.attention,
    "conv": _Writer.conv,
    "gru": _Writer.gru,
    "layer_norm": _Writer.norm,
    "linear": _Writer.linear,
    "lstm": _Writer.lstm,
    "mul": _Writer.of_two,
    "pointwise": _Writer.pointwise,
    "relu": _Writer.relu,
    "rms_norm": _Writer.norm,
    "second": _Writer.second,
}
