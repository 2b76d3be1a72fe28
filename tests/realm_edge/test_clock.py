"""Regular clocks out of time stamps as recordings have them."""

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_edge.app import cli
from realm_edge.errors import UserError
from realm_edge.preparation import prepare
from realm_edge.readers import clock as clock_module
from realm_edge.readers.clock import clock_of
from realm_edge.readers.reading import read_recording
from realm_edge.settings import SIX_BANDS, Settings
from tests.nwb_file import recording_file, velocity

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")

SECONDS, RATE = 60, 1000.0
T = np.arange(round(SECONDS * RATE)) / RATE
RNG = np.random.default_rng(0)
COUNTS = RNG.integers(-500, 500, (len(T), 2), dtype=np.int16)
MAX_GAP = 0.02


def found(times):
    return clock_of(times, len(times), MAX_GAP, "a: lfp")


REGULAR = {  # name: stamps, rate in Hz, start in s, how exactly each is found
    "exact": (T, RATE, 0.0, 1e-9, 1e-9),
    "jitter of 0.1 ms": (T + RNG.uniform(-1e-4, 1e-4, len(T)), RATE, 0.0, 1e-7, 2e-6),
    "jitter of 0.3 ms, sorted": (np.sort(T + RNG.normal(0, 3e-4, len(T))), RATE, 0.0, 1e-6, 1e-5),
    "float32 at 5000 s": ((T + 5000).astype(np.float32), RATE, 5000.0, 1e-6, 3e-4),
    "rounded to ms": (np.round(T, 3), RATE, 0.0, 1e-9, 1e-9),
    "rounded to ms, 1250 Hz": (np.round(np.arange(75_000) / 1250, 3), 1250.0, 0.0, 1e-7, 5e-4),
    "rounded to ms, 2 kHz": (np.round(np.arange(300_000) / 2000, 3), 2000.0, 0.0, 1e-7, 5e-4),
    "rounded to 0.1 ms, 30 kHz": (np.round(np.arange(300_000) / 30_000, 4), 30_000.0, 0.0, 1e-7, 5e-5),
    "unix time": (T + 1.6e9, RATE, 1.6e9, 1e-7, 1e-6),
    "drift of 20 ppm": (T * (1 + 20e-6), RATE / (1 + 20e-6), 0.0, 1e-7, 1e-6),
    "drift of 0.5 ppm": (T * (1 + 0.5e-6), RATE / (1 + 0.5e-6), 0.0, 1.6e-7, 1e-6),
    "integers of seconds": (np.arange(500), 1.0, 0.0, 1e-9, 1e-9),
    "before zero": (T - 30, RATE, -30.0, 1e-9, 1e-9),
}


@pytest.mark.parametrize("kind", REGULAR)
def test_rate_and_start(kind):
    times, rate, start, relative, absolute = REGULAR[kind]
    clock = found(times)
    assert clock.rate == pytest.approx(rate, rel=relative) and clock.samples == len(times)
    assert clock.start == pytest.approx(start, abs=absolute, rel=0)
    assert len(clock.starts) == 1 and clock.gaps == ()


@pytest.mark.parametrize("jitter", [0.0, 1e-4])
@pytest.mark.parametrize("lost", [1, 15, 25, 2000])
def test_lost_samples(lost, jitter):
    """Up to 20 ms they are filled; more is a pause."""
    rng = np.random.default_rng(lost)
    at = 20_000
    times = np.delete(T + rng.uniform(-jitter, jitter, len(T)), slice(at, at + lost))
    clock = found(times)
    assert clock.rate == pytest.approx(RATE, rel=2e-6)
    if lost <= 20:
        assert clock.samples == len(T) and len(clock.starts) == 1
        assert clock.gaps == ((pytest.approx(20.0, abs=1e-4), pytest.approx(lost / RATE, rel=1e-5)),)
        filled = clock.read(np.arange(len(times))[:, None], at - 1, at + lost + 1)[:, 0]
        np.testing.assert_array_equal(filled, [at - 1] * (lost + 1) + [at])
    else:
        assert clock.samples == len(times) and clock.gaps == ()
        (first, stop, start), (again, end, restart) = clock.stretches
        assert (first, stop, again, end) == (0, at, at, len(times))
        assert start == pytest.approx(0, abs=1e-5) and restart == pytest.approx((at + lost) / RATE, abs=2e-5)


WRONG = {
    "a step back": (lambda t: t.__setitem__(1000, t[990]), r"time 0\.99 of sample 1000 does not follow the one before: sort the samples"),
    "a double": (lambda t: t.__setitem__(1000, t[999]), r"time 0\.999 of sample 1000 does not follow the one before"),
    "NaN": (lambda t: t.__setitem__(7, np.nan), r"time nan of sample 7 is no finite number: correct the file"),
    "a wave": (lambda t: t.__iadd__(8e-3 * np.sin(np.pi * t / 60)), r"its clock is irregular: sample \d+ is \d+\.\d+ ms off a clock of"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_stamps_that_make_no_clock(kind):
    change, message = WRONG[kind]
    times = T.copy()
    change(times)
    with pytest.raises(UserError, match=f"a: lfp: {message}"):
        found(times)


def test_stamps_of_another_shape():
    with pytest.raises(UserError, match=r"a: lfp: 10 samples have times of shape \(9,\)"):
        clock_of(np.arange(9.0), 10, MAX_GAP, "a: lfp")
    with pytest.raises(UserError, match="1 samples are too few"):
        found(np.zeros(1))


@st.composite
def recorded(draw):
    """Stamps of a recording with gaps and pauses, and what they are made of."""
    rate = draw(st.sampled_from([250.0, 1000.0, 1249.9978, 2500.0159, 30_000.319]))
    jitter = draw(st.sampled_from([0.0, 0.02, 0.1])) / rate
    start = draw(st.floats(-1e3, 1e6))
    lengths = draw(st.lists(st.integers(200, 3000), min_size=1, max_size=6))
    longest = int(MAX_GAP * rate)
    lost = [
        draw(st.one_of(st.integers(1, max(1, longest - 1)), st.integers(2 * longest + 3, 100 * longest + 3)))
        for _ in range(len(lengths) - 1)
    ]
    index, parts = 0, []
    for length, missing in zip(lengths, [*lost, 0], strict=True):
        parts.append(np.arange(index, index + length))
        index += length + missing
    seed = draw(st.integers(0, 1000))
    grid = np.concatenate(parts)
    noise = np.random.default_rng(seed).uniform(-jitter, jitter, len(grid))
    return rate, start, lengths, lost, start + grid / rate + noise, jitter


@given(recorded(), st.sampled_from([1 << 17, 501]))
@settings(max_examples=60, deadline=None)
def test_made_up_stamps_are_taken_apart_again(made, block):
    """Rate, gaps and pauses are those that the stamps were made with, whatever the blocks they are read in."""
    rate, start, lengths, lost, times, jitter = made
    before = clock_module._BLOCK
    clock_module._BLOCK = block
    try:
        clock = found(times)
    finally:
        clock_module._BLOCK = before
    pauses = [missing / rate > MAX_GAP for missing in lost]
    assert len(clock.starts) == 1 + sum(pauses)
    assert clock.missing.tolist() == [missing for missing, pause in zip(lost, pauses, strict=True) if not pause]
    ends = np.cumsum(lengths)[:-1] - 1
    assert clock.after.tolist() == [end for end, pause in zip(ends, pauses, strict=True) if not pause]
    assert clock.samples == sum(lengths) + clock.missing.sum()
    tolerance = 1e-7 + 2 * jitter
    assert clock.start == pytest.approx(start, abs=tolerance, rel=0)
    grid = np.round((times - start) * rate)
    for first, stop, at in clock.stretches:  # each stretch starts at the time of its first sample, and ends where it should
        recorded_first = first - clock.missing[clock.after + np.cumsum(clock.missing) - clock.missing < first - 1].sum()
        assert at == pytest.approx(start + grid[recorded_first] / rate, abs=tolerance, rel=0)
        assert (stop - first) * abs(rate / clock.rate - 1) < 0.5


@pytest.mark.parametrize(
    ("times", "line"),
    [
        (T + 1 + RNG.uniform(-1e-4, 1e-4, len(T)), "LFP        2 channel(s), 1000 Hz, 60.0 s from 1.000 s"),
        (T * (1 + 20e-6), "LFP        2 channel(s), 999.98 Hz, 60.0 s from 0.000 s"),
        (np.delete(T, slice(20_000, 22_000)), "pauses     1, the longest 2.000 s at 20.000 s: a segment starts after each"),
        (np.delete(T, slice(20_000, 20_015)), "gaps       1, the longest 15.0 ms at 20.000 s"),
    ],
    ids=["jitter", "drift", "pause", "gap"],
)
def test_inspect_tells_of_the_clock_and_decoding_takes_it(tmp_path, times, line):
    data = COUNTS[: len(times)]
    path = recording_file(tmp_path / "ts.nwb", data, velocity(seconds=SECONDS + 2), timestamps=times)
    result = CliRunner().invoke(cli.main, ["data", "inspect", str(path)])
    assert result.exit_code == 0, result.output
    assert line in result.stdout.splitlines()
    session = prepare(read_recording(path), Settings(lfp=SIX_BANDS, window_bins=50), heldout=True)
    expected = (SECONDS - (2 if "pauses" in line else 0)) / 0.02
    assert expected - 3 <= session.bins <= expected
    assert ("resampled" in session.provenance) == ("999.98" in line)


@pytest.mark.parametrize(("rate", "digits"), [(30_000.0, 3), (30_000.0, 4), (2500.0159, 3), (1000.0, 2)])
def test_stamps_that_many_samples_share(rate, digits):
    """Rounded to milliseconds or worse: the rate is that of the samples, and no gap is seen where there is none."""
    times = np.round(np.arange(200_000) / rate, digits)
    clock = clock_of(times, len(times), 0.02, "a")
    assert clock.rate == pytest.approx(rate, rel=2e-6) and clock.gaps == () and len(clock.starts) == 1
    pause = np.round(np.delete(np.arange(200_000), slice(100_000, 101_000)) / rate, digits)  # 33 ms or more
    clock = clock_of(pause, len(pause), 0.02, "a")
    assert [first for first, _ in clock.starts] == [0, 100_000] and clock.gaps == ()
    assert clock.starts[1][1] == pytest.approx(101_000 / rate, abs=10.0**-digits)
