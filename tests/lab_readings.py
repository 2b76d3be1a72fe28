"""What tests of the formats of acquisition systems write, and how they look at what comes back."""

import numpy as np
import pytest

from realm_edge.readers.contents import Request

RNG = np.random.default_rng(0)
REQUEST = Request(max_gap_s=0.03)


def counts(samples, channels, limit=30000):
    return RNG.integers(-limit, limit, (samples, channels)).astype(np.int16)


def volts(signal):
    return signal.data[:] * signal.gain + signal.offset


def first(contents):
    return next(iter(contents.lfp.values()))()


def stretches(signal, within=1e-9):
    """First sample and start of each stretch."""
    return [(start, pytest.approx(time, abs=within)) for start, time in signal.clock.starts]


def same(intervals):
    return pytest.approx(np.array(intervals, float), abs=1e-9)


def names(files):
    return sorted(file.name for file in files)
