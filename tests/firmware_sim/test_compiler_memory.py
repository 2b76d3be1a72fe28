"""The memory plan: what is alive at one time never overlaps."""

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.compiler.memory import ALIGNMENT, Lifetime, sequential, share_arena

LIFETIMES = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 20), st.integers(0, 6)), max_size=25)


@given(LIFETIMES)
def test_buffers_alive_together_do_not_overlap(rows):
    buffers = [Lifetime(f"t{i}", nbytes, first, first + length) for i, (nbytes, first, length) in enumerate(rows)]
    offsets, total = share_arena(buffers)
    for i, a in enumerate(buffers):
        assert offsets[a.name] % ALIGNMENT == 0 and 0 <= offsets[a.name] <= total - a.nbytes
        for b in buffers[:i]:
            together = a.first <= b.last and b.first <= a.last
            apart = offsets[a.name] + a.nbytes <= offsets[b.name] or offsets[b.name] + b.nbytes <= offsets[a.name]
            assert apart or not together


def test_bytes_are_used_again():
    chain = [Lifetime(f"t{i}", 64, i, i + 1) for i in range(10)]
    assert share_arena(chain)[1] == 128


def test_states_lie_one_after_another_and_aligned():
    assert sequential([("a", 3), ("b", 16), ("c", 8)]) == ({"a": 0, "b": 8, "c": 24}, 32)
