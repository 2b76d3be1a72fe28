"""Second-order filter sections over a block of samples, channel by channel (:mod:`firmware_sim.compiler.frontend`)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels import emit
from firmware_sim.compiler.kernels.interface import Node, Value, full_range
from firmware_sim.compiler.kernels.words import Words, unsigned, upper
from quantization.operators.biquad import STEP, SUM_LIMIT, WORD_BITS

WORD = 2**WORD_BITS
Term = tuple[Any, Any]  # of a sum: an int32 coefficient and what it multiplies


@dataclass(frozen=True)
class Bank:
    """A checked QBiquad: sections that read one input.

    Attributes:
        coef: (sections, 5) int32, times 2^30.
        feedback: of errors, one or two factors.
        limit: outputs are clipped to [-limit, limit - 1].
        history, state: (channels, 2) and (channels, sections, 2 + errors), int32.
        next_history, next_state: the outputs that overwrite them.
        x: name of the input.
        y: the outputs of a sample, (channels, sections) int32.
    """

    coef: NDArray[np.int32]
    feedback: tuple[int, ...]
    limit: int
    history: Value
    state: Value
    next_history: Value
    next_state: Value
    x: str
    y: Value

    @property
    def in_place(self) -> dict[str, str]:
        return {self.next_history.name: self.history.name, self.next_state.name: self.state.name}

    @property
    def notch(self) -> bool:
        """Whether the section is one b0 (1, b1 / b0, 1) / (1, b1, .): one product serves the last input and the last output."""
        return len(self.coef) == 1 and bool(self.coef[0, 2] == self.coef[0, 0] and self.coef[0, 1] == -self.coef[0, 3] != 0)

    @property
    def by_differences(self) -> bool:
        """Whether all sections are band-passes: b0 (x - x2), where the difference is formed once for all of them."""
        return bool((self.coef[:, 1] == 0).all() and (self.coef[:, 2] == -self.coef[:, 0]).all())


def checked(node: Node) -> Bank:
    """Check a node.

    Raises:
        UserError: sums that leave 61 bits, or sections that differ in how they feed errors back.
    """
    node.expect(5, 3)
    x = node.tensor(0, "int32", None, 1)
    n = x.shape[0]
    coef = node.constant(1, "int32", None, None)
    sections, order = len(coef), coef.shape[1] - 5
    if order not in (1, 2) or (coef[:, 5:] != coef[0, 5:]).any():
        raise node.refuse("its sections do not all feed back the same one or two errors")
    feedback = tuple(int(f) for f in coef[0, 5:])
    coef = np.ascontiguousarray(coef[:, :5])
    history, state, limit = node.tensor(2, "int32", n, 2), node.tensor(3, "int32", n, sections, 2 + order), node.scalar(4, 1)
    taps = np.abs(coef.astype(np.int64))
    bound = int((taps[:, :3].sum(axis=1) * x.bound + taps[:, 3:].sum(axis=1) * limit).max()) + (sum(map(abs, feedback)) << WORD_BITS)
    # Four inputs are added up in 32 bits, an input and an output (_entering), two outputs.
    if limit > 2**30 or x.bound >= 2**29 or bound >= SUM_LIMIT:
        raise node.refuse(f"its sums may reach 2^{bound.bit_length() - 1}, beyond 2^{SUM_LIMIT.bit_length() - 1}", "use fewer guard bits")
    return Bank(
        coef,
        feedback,
        limit,
        history,
        state,
        node.output(1, "int32", history.shape, x.bound),
        node.output(2, "int32", state.shape, full_range("int32")),
        x.name,
        node.output(0, "int32", (n, sections), limit),
    )


@dataclass(frozen=True)
class Buffers:
    """A bank's parameters in a kernel."""

    coef: emit.Buffer
    history: emit.Buffer
    state: emit.Buffer


def buffers(bank: Bank, name: str) -> Buffers:
    """Declare them in the order of :func:`pointers`."""
    return Buffers(
        emit.parameter(f"{name}_coef", "int32", *bank.coef.shape),
        emit.parameter(f"{name}_history", "int32", *bank.history.shape),
        emit.parameter(f"{name}_state", "int32", *bank.state.shape),
    )


def pointers(bank: Bank) -> tuple[NDArray, str, str]:
    return bank.coef, bank.history.name, bank.state.name


@dataclass
class Section:
    """One section of one channel: its coefficients, last two outputs and errors, in registers."""

    words: Words
    bank: Bank
    taps: dict[int, emit.Register]
    y: emit.Turn
    errors: list[emit.Register]

    def advance(self, entering: Iterable[Term], above: Any = None) -> tuple[Any, Any]:
        """The next output and the one of two samples before; ``entering`` and 2^32 ``above`` is what the inputs add to the sum."""
        first, *second = self.errors
        error = unsigned(first.get())
        if second:
            error = error * emit.const(self.bank.feedback[0], "int64") + unsigned(second[0].get()) * emit.const(
                self.bank.feedback[1], "int64"
            )
        error = error if above is None else error + T.shift_left(T.cast(above, "int64"), T.int64(WORD_BITS))
        recursive = [(self.taps[tap].get(), y.get()) for tap, y in ((4, self.y.before), (3, self.y.last)) if tap in self.taps]
        products = [self.words.product(tap, value) for tap, value in (*entering, *recursive)]
        acc = emit.Register("int64", error)
        for product in products[:-1]:
            acc.set(self.words.pair(acc.get() + product))
        acc.set(acc.get() + products[-1])
        if second:
            second[0].set(first.get())
        first.set(T.cast(acc.get(), "int32"))
        older = emit.Register("int32", self.y.before.get())
        self.y.push(self.words.stepped(upper(acc.get()), STEP, self.bank.limit))
        return self.y.last.get(), older.get()


def load(words: Words, bank: Bank, memory: Buffers, c: Any, s: Any, taps: tuple[int, ...]) -> Section:
    """Section ``s`` of channel ``c``; of its coefficients for the inputs only those with the numbers ``taps``."""
    coefficients = {tap: emit.Register("int32", memory.coef[s, tap]) for tap in (*taps, *(() if bank.notch else (3,)), 4)}
    last, before, *errors = (emit.Register("int32", memory.state[c, s, row]) for row in range(2 + len(bank.feedback)))
    return Section(words, bank, coefficients, emit.Turn(last, before), errors)


def save(section: Section, memory: Buffers, c: Any, s: Any) -> None:
    """Back into the state."""
    for row, register in enumerate([section.y.last, section.y.before, *section.errors]):
        emit.store(memory.state, (c, s, row), register.get())


def run_section(
    words: Words,
    bank: Bank,
    memory: Buffers,
    c: Any,
    count: Any,
    read: Callable[[Any], Any],
    use: Callable[[Any, Any, Any], None],
    whole: bool = False,
) -> Section:
    """A bank of one section over a block: ``read(t)`` enters, ``use(t, y, y2)`` gets what leaves and what left two samples before.

    ``whole``: all inputs are multiples of STEP; times 2^30, they have nothing in the lower word.
    """
    past = emit.Turn(*(emit.Register("int32", memory.history[c, row]) for row in range(2)))
    upper_only = whole and _products(bank) == 1 and bank.coef[0, 0] == WORD // STEP
    section = load(words, bank, memory, c, 0, taps=() if upper_only else (0, 1, 2)[: _products(bank)])

    def advance(t: Any, x: Any) -> None:
        if upper_only:
            y, y2 = section.advance([], above=words.word(_combined(bank, x, past)) >> STEP.bit_length() - 1)
        else:
            y, y2 = section.advance(_entering(words, bank, section, x, past))
        past.push(x)
        use(t, y, y2)

    emit.by_twos(count, [section.y, past], read, advance, words.run)
    save(section, memory, c, 0)
    save_inputs(past, memory, c)
    return section


def save_inputs(past: emit.Turn, memory: Buffers, c: Any) -> None:
    """The last two inputs of channel ``c``."""
    for row, register in enumerate((past.last, past.before)):
        emit.store(memory.history, (c, row), register.get())


def _products(bank: Bank) -> int:
    """How many coefficients the inputs of a section need: those of a high-pass are b0 (1, -2, 1), of a notch b0 (1, ., 1)."""
    b0, b1, b2 = (int(tap) for tap in bank.coef[0, :3])
    return 1 if (b1, b2) in ((-2 * b0, b0), (0, -b0)) else 2 if b2 == b0 else 3


def _combined(bank: Bank, x: Any, past: emit.Turn) -> Any:
    """What b0 multiplies where it is the only product: x - x2 or x - 2 x1 + x2."""
    x1, x2 = past.last.get(), past.before.get()
    return x - x2 if bank.coef[0, 1] == 0 else x + x2 - (x1 + x1)


def _entering(words: Words, bank: Bank, section: Section, x: Any, past: emit.Turn) -> Iterator[Term]:
    """b0 x + b1 x1 + b2 x2, by as few products as the coefficients allow."""
    x1, x2, taps, products = past.last.get(), past.before.get(), section.taps, _products(bank)
    if products == 1:
        yield taps[0].get(), words.word(_combined(bank, x, past))
    elif products == 2:
        yield taps[0].get(), words.word(x + x2)
        yield taps[1].get(), words.word(x1 - section.y.last.get()) if bank.notch else x1
    else:
        yield from zip((taps[tap].get() for tap in range(3)), (x, x1, x2), strict=True)


def run_bank(
    words: Words,
    bank: Bank,
    memory: Buffers,
    c: Any,
    count: Any,
    differences: Callable[[Any], Any],
    using: Callable[[Any], AbstractContextManager[Callable[[Any], None]]],
) -> None:
    """Band-passes over a block; ``differences(t)`` is x - x2; ``using(s)`` gives what sees each output of section ``s``.

    The last two inputs are not written here: they are outputs of the filter before.
    """
    with emit.loop(len(bank.coef)) as s:
        section = load(words, bank, memory, c, s, taps=(0,))
        with using(s) as use:
            emit.by_twos(
                count,
                [section.y],
                differences,
                lambda _, x: use(section.advance([(section.taps[0].get(), x)])[0]),
                words.run,
            )
        save(section, memory, c, s)
