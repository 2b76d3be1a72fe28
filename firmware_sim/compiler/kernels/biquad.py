"""Second-order filter sections, one channel over a block of samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx
from tvm.script import tirx as T

from firmware_sim.compiler.kernels import emit
from firmware_sim.compiler.kernels.interface import Node, Value, full_range
from firmware_sim.compiler.kernels.words import Words
from quantization.operators.biquad import STEP, SUM_LIMIT, WORD_BITS


@dataclass(frozen=True)
class Bank:
    """A checked QBiquad: sections that read one input.

    Attributes:
        coef: (sections, 5) int32, times 2^30.
        feedback: of errors, one or two factors.
        limit: outputs are clipped to [-limit, limit - 1].
        x_bound: largest absolute input.
        history, state: (channels, 2) and (channels, sections, 2 + errors), updated in place by the outputs of the next names.
    """

    coef: NDArray[np.int32]
    feedback: tuple[int, ...]
    limit: int
    x_bound: int
    history: Value
    state: Value
    y: Value
    outputs: tuple[Value, Value]

    @property
    def differences(self) -> bool:
        """Whether all sections are band-passes: b0 (x - x2), which is formed once for all of them."""
        return bool((self.coef[:, 1] == 0).all() and (self.coef[:, 2] == -self.coef[:, 0]).all())


def bank(node: Node) -> Bank:
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
    if limit > 2**30 or bound >= SUM_LIMIT or x.bound > 2**29:
        raise node.refuse(f"its sums may reach 2^{bound.bit_length() - 1}, beyond 2^{SUM_LIMIT.bit_length() - 1}")
    y = node.output(0, "int32", (n, sections), limit)
    entered = node.output(1, "int32", history.shape, x.bound)
    after = node.output(2, "int32", state.shape, full_range("int32"))
    return Bank(coef, feedback, limit, x.bound, history, state, y, (entered, after))


@dataclass
class Section:
    """One section of one channel: its coefficients, outputs and errors in registers, loaded where it is made.

    Attributes:
        taps: the five coefficients of it.
        y: the last two outputs.
        errors: the last error, or the last two, as one turn.
    """

    words: Words
    bank: Bank
    taps: list[emit.Register]
    y: emit.Turn
    errors: emit.Turn

    @property
    def turns(self) -> list[emit.Turn]:
        return [self.y, self.errors] if len(self.bank.feedback) == 2 else [self.y]

    def advance(self, entering: Any) -> Any:
        """The next output; ``entering`` is what the inputs add to the sum, an int64."""
        e1, e2 = self.errors.last, self.errors.before
        acc = emit.Register("int64", _unsigned(e1.get()) * self.bank.feedback[0] + entering if self.bank.feedback[0] != 1 else entering + _unsigned(e1.get()))
        if len(self.bank.feedback) == 2:
            acc.set(acc.get() + _unsigned(e2.get()) * self.bank.feedback[1])
        acc.set(self.words.kept(acc.get() + product(self.taps[4].get(), self.y.before.get())))
        acc.set(acc.get() + product(self.taps[3].get(), self.y.last.get()))
        error = e2 if len(self.bank.feedback) == 2 else e1
        error.set(T.cast(acc.get(), "int32"))
        self.y.before.set(self.words.stepped(T.cast(acc.get() >> T.int64(WORD_BITS), "int32"), STEP, self.bank.limit))
        for turn in self.turns:
            turn.swap()
        return self.y.last.get()


def product(a: Any, b: Any) -> Any:
    """Of two int32, an int64."""
    return T.cast(a, "int64") * T.cast(b, "int64")


def entering(bank: Bank, s: int, taps: list[emit.Register], x: Any, past: emit.Turn) -> Any:
    """b0 x + b1 x1 + b2 x2, with as few products as the coefficients of section ``s`` allow; int64."""
    b0, b1, b2 = (int(tap) for tap in bank.coef[s, :3])
    x1, x2 = past.last.get(), past.before.get()
    if (b1, b2) == (-2 * b0, b0):
        return product(taps[0].get(), x + x2 - (x1 + x1))
    if (b1, b2) == (0, -b0):
        return product(taps[0].get(), x - x2)
    if b2 == b0:
        return product(taps[0].get(), x + x2) + product(taps[1].get(), x1)
    return product(taps[0].get(), x) + product(taps[1].get(), x1) + product(taps[2].get(), x2)


def _unsigned(word: Any) -> Any:
    return T.cast(T.reinterpret("uint32", word), "int64")


@dataclass(frozen=True)
class Buffers:
    """A bank's parameters in a kernel."""

    coef: emit.Buffer
    history: emit.Buffer
    state: emit.Buffer


def buffers(bank: Bank, name: str) -> Buffers:
    """Declare them, in this order: coefficients, history, state."""
    return Buffers(
        emit.parameter(f"{name}_coef", "int32", *bank.coef.shape),
        emit.parameter(f"{name}_history", "int32", *bank.history.shape),
        emit.parameter(f"{name}_state", "int32", *bank.state.shape),
    )


def load(words: Words, bank: Bank, memory: Buffers, c: Any, s: Any) -> Section:
    """Section ``s`` of channel ``c``, into registers."""
    taps = [emit.Register("int32", memory.coef[s, tap]) for tap in range(5)]
    last, before, *errors = (emit.Register("int32", memory.state[c, s, row]) for row in range(2 + len(bank.feedback)))
    return Section(words, bank, taps, emit.Turn(last, before), emit.Turn(errors[0], errors[-1]))


def save(section: Section, memory: Buffers, c: Any, s: Any) -> None:
    """Back into the state."""
    rows = [section.y.last, section.y.before, section.errors.last, section.errors.before][: 2 + len(section.bank.feedback)]
    for row, register in enumerate(rows):
        emit.store(memory.state, (c, s, row), register.get())


def past_inputs(memory: Buffers, c: Any) -> emit.Turn:
    """The last two inputs of channel ``c``, in registers."""
    return emit.Turn(emit.Register("int32", memory.history[c, 0]), emit.Register("int32", memory.history[c, 1]))


def save_inputs(past: emit.Turn, memory: Buffers, c: Any) -> None:
    emit.store(memory.history, (c, 0), past.last.get())
    emit.store(memory.history, (c, 1), past.before.get())


def one_section(
    words: Words, bank: Bank, memory: Buffers, c: Any, count: Any, x: Callable[[Any], Any], use: Callable[[Any, Any], None]
) -> None:
    """A bank of one section over a block: ``x(t)`` enters, ``use(t, y)`` gets what leaves."""
    section, past = load(words, bank, memory, c, 0), past_inputs(memory, c)

    def advance(t: Any) -> None:
        value = emit.Register("int32", x(t))
        y = section.advance(entering(bank, 0, section.taps, value.get(), past))
        past.before.set(value.get())
        past.swap()
        use(t, y)

    emit.by_twos(count, [*section.turns, past], advance)
    save(section, memory, c, 0)
    save_inputs(past, memory, c)


def scalar(node: Node) -> Any:
    raise node.refuse("it belongs to a front end, which is compiled as a whole (firmware_sim/compiler/frontend.py)")


__all__ = ["Bank", "Buffers", "Section", "bank", "buffers", "entering", "load", "one_section", "past_inputs", "product", "save", "save_inputs", "scalar", "tirx"]
