"""Exports of current probes: energy over the run that a line marks, or a window, and what cannot be divided."""

from pathlib import Path

import numpy as np
import pytest

from firmware_sim.board.current import energy, read_trace
from firmware_sim.board.log import BoardLog, parse_log
from realm_edge.errors import UserError
from tests.firmware_sim.board.logs import ended, head, region, written

CLOCK, CYCLES = 1_000_000, 50_000  # 50 ms
REST, BUSY = 400.0, 2400.0  # microamperes
HEADER = "Timestamp(ms),Current(uA)"


def log(clock: int = CLOCK, cycles: int = CYCLES) -> BoardLog:
    lines = [(kind, rest.replace("120000000", str(clock)) if kind == "clock" else rest) for kind, rest in head()]
    return parse_log(written(ended([*lines, region("model", "", 100, cycles)])), "log")


def samples(width_ms: float = 50.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Milliseconds, microamperes, and whether the run is on: at 10 kS/s, from 20 ms on."""
    ms = np.arange(0, 100, 0.1)
    on = (ms >= 20 - 1e-9) & (ms <= 20 + width_ms + 1e-9)
    return ms, np.where(on, BUSY, REST), on


def ppk2(path: Path, header: str, digital: str = "word", width_ms: float = 50.0) -> Path:
    rows = [header]
    for ms, microamperes, on in zip(*samples(width_ms), strict=True):
        bits = ["0", "1", "0", str(int(on)), "0", "0", "0", "0"]  # D1 is high all the time, D3 marks
        more = {"word": ["".join(bits)], "columns": bits, "both": ["".join(bits), *bits], "quoted": [f'"{"".join(bits)}"'], "none": []}[
            digital
        ]
        rows.append(",".join([f"{ms:.3f}", f"{microamperes:.3f}", *more]))
    path.write_text("\n".join(rows) + "\n")
    return path


EIGHT = ",".join(f"D{n}" for n in range(8))


@pytest.mark.parametrize(
    ("header", "digital"),
    [(f"{HEADER},D0-D7", "word"), (f"{HEADER},{EIGHT}", "columns"), (f"{HEADER},D0-D7,{EIGHT}", "both"), (f"{HEADER},D0-D7", "quoted")],
)
def test_energy_of_a_ppk2_is_that_of_the_marked_run(header: str, digital: str, tmp_path: Path) -> None:
    found = energy(read_trace(ppk2(tmp_path / "ppk.csv", header, digital)), log(), 3.0, "D3", None)
    assert found.window_by == "D3" and found.window_s == pytest.approx((0.020, 0.070)) and found.samples == 501
    assert (found.instrument, found.volts, found.volts_measured, found.cycles, found.cycles_by) == ("PPK2", 3.0, False, CYCLES, "counter")
    assert found.milliamperes == pytest.approx(2.4) and found.microwatts == pytest.approx(7200)
    assert found.pj_per_cycle == pytest.approx(7200e-6 * 0.050 / CYCLES * 1e12)  # 7.2 nJ


def test_the_line_is_found_where_only_one_marks_a_part(tmp_path: Path) -> None:
    trace = read_trace(ppk2(tmp_path / "ppk.csv", f"{HEADER},D0-D7"))
    with pytest.raises(UserError, match=r"no single line is high in one piece \(D1 1 times, D3 1 times\): give --mark"):
        energy(trace, log(), 3.0, None, None)
    text = (tmp_path / "ppk.csv").read_text().replace(",01", ",00")
    (tmp_path / "ppk.csv").write_text(text)
    assert energy(read_trace(tmp_path / "ppk.csv"), log(), 3.0, None, None).window_by == "D3"


@pytest.mark.parametrize("header", ["#time (s),current (A),voltage (V)", "#time,current,voltage,power,charge,energy"])
def test_a_joulescope_measures_the_voltage_and_needs_a_window(header: str, tmp_path: Path) -> None:
    more = ",0,0,0" if header.endswith("energy") else ""
    rows = [f"{ms / 1e3:.4f},{ua / 1e6:.9f},{1.8:.3f}{more}" for ms, ua, _ in zip(*samples(), strict=True)]
    path = tmp_path / "joulescope.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    found = energy(read_trace(path), log(), None, None, (0.030, 0.060))
    assert (found.instrument, found.volts, found.volts_measured, found.cycles_by) == ("Joulescope", pytest.approx(1.8), True, "clock")
    assert found.cycles == pytest.approx(0.030 * CLOCK) and found.pj_per_cycle == pytest.approx(2400e-6 * 1.8 / CLOCK * 1e12)
    with pytest.raises(UserError, match=r"--volts 3: .* has the voltage: leave it out"):
        energy(read_trace(path), log(), 3.0, None, (0.030, 0.060))
    with pytest.raises(UserError, match=r"--mark D0: .* has no digital lines: name one of them, or give --window"):
        energy(read_trace(path), log(), None, "D0", None)


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    trace = read_trace(ppk2(tmp_path / "ppk.csv", f"{HEADER},D0-D7"))
    for arguments, words in (
        ((log(), None, "D3", None), "a PPK2 tells no voltage: give --volts"),
        ((log(), 3.0, "D9", None), "--mark D9: .* has D0, D1, "),
        ((log(), 3.0, "D4", None), "no single line is high in one piece"),
        ((log(), 3.0, None, (5.0, 6.0)), "holds 0 samples of .*, which has 0 to 0.0999 s"),
        ((log(clock=0), 3.0, None, (0.03, 0.06)), "need the core's clock"),
        ((log(cycles=60_000), 3.0, "D3", None), r"60000 cycles in 0.05 s are a clock of 1.2e\+06 Hz, the log tells 1000000"),
    ):
        with pytest.raises(UserError, match=words):
            energy(trace, *arguments)
    assert energy(trace, log(clock=0, cycles=60_000), 3.0, "D3", None).cycles == 60_000  # nobody told a clock


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "its first line is ''"),
        ("time,current\n1,2\n", "its first line is 'time,current'"),
        (f"{HEADER}\n1,2\n", "holds 1 samples"),
        (f"{HEADER}\n1,2\n2,x\n", "not numbers in every line"),
        (f"{HEADER}\n1,2\n2\n", "not numbers in every line"),
        (f"{HEADER}\n1,2\n2,nan\n3,1\n", "line 3: no number"),
        (f"{HEADER}\n1,2\n2,3\n2,4\n", "line 4: its time is not after the one before"),
    ],
)
def test_exports_that_are_none_cost_a_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_trace(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        read_trace(tmp_path / "none.csv")


def test_a_probe_the_wrong_way_round_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER}\n" + "".join(f"{i},-5\n" for i in range(10)))
    with pytest.raises(UserError, match="the wrong way round"):
        energy(read_trace(path), log(), 3.0, None, (0.0, 0.009))
