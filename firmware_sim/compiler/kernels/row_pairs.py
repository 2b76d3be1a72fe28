"""Matrix times vector on the DSP extension: four products in three instructions.

A halfword of the stored weights holds 256 w[r1, k] + w[r0, k] of two rows, a word two columns of them. With x as pairs of int16,

    P = sum of SMLAD(word, x) = 256 Y1 + Y0        Q = sum of SMLAD(SXTB16(word), x) = Y0

as the lower byte of a halfword, sign-extended, is w[r0, k]. Y1 = (P - Q) / 256 exactly. Where |Y1| < 2^23, P may wrap around in 32 bits;
elsewhere, and for shifts near 62, SMLALD keeps it in 64. Flash holds as many bytes as there are weights.
"""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.dsp import FLAGS, joined, packed, smlad, smlald, sxtb16, symmetric, wrapping_difference
from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.fence import fence, fence64, pin, with_fences
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value
from firmware_sim.compiler.kernels.products import ROWS, Product, read_product
from firmware_sim.compiler.kernels.requantise import lifted, requantised16, rounding

# Batches of 4 columns that the loop's body holds at most. 8 take a tenth longer, 64 save little: tests/benchmarks/bench_choices.py. A
# body takes up to 2.2 KB: on a part with a smaller cache for code, kernels have to run from RAM (code_ram in data/targets.toml).
BODY = 32
_MOST_SHIFT = 62  # that high words are shifted by
_BATCH = 2  # words of x; with those of the weights, as many neighbouring loads as there are registers


@dataclass(frozen=True)
class Style:
    """How the loop's body is put to LLVM.

    Attributes:
        in_order: a batch's loads stay in one run, and its sums are finished before the next; otherwise LLVM mixes batches.
    """

    in_order: bool
    flags: Mapping[str, tuple[str, ...]]


# Reduction of induction variables would move loads out of their runs; so would a second scheduling.
SINGLE = Style(True, {"cl-opt": ("-disable-lsr:bool=true", *FLAGS["cl-opt"]), "mattr": ("+disable-postra-scheduler",)})
DUAL = Style(False, FLAGS)  # for cores that start a load and a product in one cycle


def row_pair_product(node: Node, dtype: str, style: Style = SINGLE, body: int = BODY) -> Kernel | None:
    """sat16(round_shift((x W + b) * mult, k)) for x of ``dtype``; None where a sum leaves int32 or a pair of weights int16.

    Args:
        body: batches of 4 columns in the loop's body, at most.
    """
    product = read_product(node, dtype)
    layout = _layout(product, body)
    words = _words(product.weight, layout)
    if words is None or product.bound >= 2**31:
        return None
    return _kernel(node, product, layout, words, style)


@dataclass(frozen=True)
class _Layout:
    """How a product is cut up.

    Attributes:
        loops, batches: the loop runs so many times over so many batches of 4 columns; the columns beyond x have no weights.
        starts: the first row of each block; the last block begins earlier where its rows do not divide those of the matrix.
        rows: of a block, an even number.
        in_place: x is read where it lies; otherwise pairs of int16 are made of it.
        by_words: x is int8 and is unpacked by the word, to the columns 0 and 2, 1 and 3.
    """

    loops: int
    batches: int
    starts: tuple[int, ...]
    rows: int
    in_place: bool
    by_words: bool

    @property
    def words(self) -> int:
        """Words of x."""
        return _BATCH * self.loops * self.batches


def _layout(product: Product, body: int) -> _Layout:
    n_out, n_in = product.weight.shape
    batches = -(-n_in // (2 * _BATCH))
    loops = -(-batches // body)
    rows = ROWS if n_out >= ROWS else 2
    starts = tuple(max(0, min(first, n_out - rows)) for first in range(0, n_out, rows))
    whole_words = product.x.alignment % 4 == 0 and n_in % 4 == 0
    in_place = whole_words and product.x.dtype == "int16" and batches % loops == 0
    return _Layout(loops, -(-batches // loops), starts, rows, in_place, whole_words and product.x.dtype == "int8")


def _words(weight: NDArray, layout: _Layout) -> NDArray[np.int32] | None:
    """Weights (block, word of x, pair of rows); None where two of them leave a halfword, which takes a weight of -128."""
    n_out, n_in = weight.shape
    padded = np.zeros((max(n_out, layout.rows), 2 * layout.words), np.int64)
    padded[:n_out, :n_in] = weight
    if layout.by_words:
        padded = padded.reshape(len(padded), -1, 4)[..., [0, 2, 1, 3]].reshape(padded.shape)
    rows = padded[np.add.outer(layout.starts, np.arange(layout.rows))]  # (block, row, column)
    halves = 256 * rows[:, 1::2] + rows[:, 0::2]
    if np.array_equal(halves.astype(np.int16), halves):
        return np.ascontiguousarray(halves.astype(np.int16)).view(np.int32).transpose(0, 2, 1).copy()
    return None


def _constants(product: Product, layout: _Layout, mult: NDArray, wide: bool) -> NDArray[np.int32]:
    """What a block needs besides: for each pair of rows where Q and P begin, and the multipliers of all rows.

    (block, words); P takes one word, the lower one, or where ``wide`` two.
    """
    index = np.add.outer(layout.starts, np.arange(layout.rows)) % len(mult)  # a matrix of one row is its own second row
    bias = product.bias.astype(np.int64)[index]
    q = bias[:, 0::2]
    p = 256 * bias[:, 1::2] + q
    begins = np.stack([q, p, p >> 32] if wide else [q, p], axis=2).reshape(len(index), -1)
    return np.concatenate([begins, mult[index]], axis=1).astype(np.int32)


def _kernel(node: Node, product: Product, layout: _Layout, words: NDArray[np.int32], style: Style) -> Kernel:
    x, dtype, bound = product.x, product.x.dtype, product.bound
    n_out, n_in = product.weight.shape
    wide = bound >= 2**23 or product.k > _MOST_SHIFT - 8  # of P - Q = 256 Y1 the shift is larger by 8
    k, (mult,) = lifted(product.k, product.mult)
    constants = _constants(product, layout, mult, wide)
    blocks, rows, pairs, n = len(layout.starts), layout.rows, layout.rows // 2, layout.words
    k_upper = k if wide else k + 8
    loops, batches, step = layout.loops, layout.batches, layout.batches * _BATCH
    begins = 3 if wide else 2  # words of constants for each pair
    runs = style.in_order or not wide  # without them LLVM finds a better order for two cycles' worth, unless all registers are taken
    finished = style.in_order and wide  # six words of sums: LLVM would put some off, and then has no registers for what it loaded
    p_type, accumulate, last = ("int64" if wide else "int32"), (smlald if wide else smlad), max(0, n_out - rows)

    def first_row(block: Any) -> Any:
        return block * rows if n_out % rows == 0 else T.min(block * rows, last)

    def lower(q: Any, mult: Any, half: Any) -> Any:
        return requantised16(Exact(q, bound), mult, k, half)

    def half_of(k: int) -> Any:
        """In a register from behind the sums on, where some are free again; LLVM's own order gains by it where sums are long."""
        half = T.int32(rounding(k))
        return fence(half) if style.in_order or wide else half

    def begin(constants: Any, block: Any, r: Any) -> Any:
        low = constants[block, begins * r + 1]
        return joined(low, constants[block, begins * r + 2]) if wide else low

    def upper(p: Any, q: Any, mult: Any, half: Any) -> Any:
        if wide:  # floor(P / 256) = Y1 + floor(Y0 / 256)
            y1 = wrapping_difference(T.cast(p >> T.int64(8), "int32"), q >> 8)
            return requantised16(Exact(pin(y1), bound), mult, k, half)
        return requantised16(Exact(pin(wrapping_difference(p, q)), bound << 8), mult, k_upper, half)

    @T.inline
    def multiply(x, weight, constants, y):
        p = T.alloc_buffer((pairs,), p_type)
        q = T.alloc_buffer((pairs,), "int32")
        two = T.alloc_scalar("int32")
        xs = T.alloc_buffer((_BATCH,), "int32")
        ws = T.alloc_buffer((_BATCH * pairs,), "int32")
        ms = T.alloc_buffer((rows,), "int32")
        halves = T.alloc_buffer((2,), "int32")
        for block in range(blocks):
            for r in T.unroll(pairs):
                q[r] = constants[block, begins * r]
                p[r] = begin(constants, block, r)
            for i in range(loops):
                for b in T.unroll(batches):
                    for j in T.unroll(_BATCH):
                        xs[j] = x[i * step + b * _BATCH + j]
                    for j in T.unroll(_BATCH * pairs):
                        ws[j] = weight[(block * n + i * step + b * _BATCH) * pairs + j]
                    if runs:
                        for j in T.unroll(_BATCH):
                            xs[j] = fence(xs[j])
                    for j in T.unroll(_BATCH):
                        for r in T.unroll(pairs):
                            p[r] = accumulate(ws[j * pairs + r], xs[j], p[r])
                            q[r] = smlad(sxtb16(ws[j * pairs + r]), xs[j], q[r])
                    if finished:
                        for r in T.unroll(pairs):
                            p[r] = fence64(p[r])
                            q[r] = fence(q[r])
            for r in T.unroll(rows):
                ms[r] = constants[block, begins * pairs + r]
            for r in T.unroll(pairs):
                q[r] = fence(q[r])
            halves[0] = half_of(k)
            halves[1] = half_of(k_upper)
            for r in T.unroll(pairs):
                two = symmetric(packed(lower(q[r], ms[2 * r], halves[0]), upper(p[r], q[r], ms[2 * r + 1], halves[1])))
                y[first_row(block) + 2 * r] = T.cast(two, "int16")
                if n_out > 1:
                    y[first_row(block) + 2 * r + 1] = T.cast(two >> 16, "int16")

    if layout.in_place:

        @T.prim_func(s_tir=True)
        def kernel(
            x: T.Buffer((n,), "int32"),
            weight: T.Buffer((words.size,), "int32"),
            constants: T.Buffer(constants.shape, "int32"),
            y: T.Buffer((n_out,), "int16"),
        ):
            multiply(x, weight, constants, y)

    elif layout.by_words:

        @T.prim_func(s_tir=True)
        def kernel(
            x: T.Buffer((n_in // 4,), "int32"),
            weight: T.Buffer((words.size,), "int32"),
            constants: T.Buffer(constants.shape, "int32"),
            y: T.Buffer((n_out,), "int16"),
            pairs: T.Buffer((n,), "int32"),
        ):
            for i in range(n_in // 4):
                pairs[2 * i] = sxtb16(x[i])
                pairs[2 * i + 1] = sxtb16(x[i], 8)
            multiply(pairs, weight, constants, y)

    else:

        @T.prim_func(s_tir=True)
        def kernel(
            x: T.Buffer((n_in,), dtype),
            weight: T.Buffer((words.size,), "int32"),
            constants: T.Buffer(constants.shape, "int32"),
            y: T.Buffer((n_out,), "int16"),
            pairs: T.Buffer((n,), "int32"),
        ):
            for i in range(n_in // 2):
                pairs[i] = packed(T.cast(x[2 * i], "int32"), T.cast(x[2 * i + 1], "int32"))
            if n_in % 2 == 1:
                pairs[n_in // 2] = packed(T.cast(x[n_in - 1], "int32"), T.int32(0))
            multiply(pairs, weight, constants, y)

    y = node.output(0, "int16", (n_out,), 32767)
    own = () if layout.in_place else (Value(f"{y.name}.pairs", "int16", (2 * n,), x.bound),)
    pointers: tuple[str | NDArray, ...] = (x.name, words, constants, y.name, *(value.name for value in own))
    return Kernel(with_fences(kernel), pointers, (y,), macs=n_in * n_out, scratch=own, flags=style.flags)
