"""Recordings in the formats of acquisition systems, read by Neo: what was written has to come back."""

import os
import subprocess
import sys

import numpy as np
import pytest

from realm_edge.errors import UserError
from realm_edge.readers import neo_formats
from realm_edge.readers.contents import Request
from tests import lab_files
from tests.lab_readings import REQUEST, RNG, counts, first, names, same, stretches, volts

pytest.importorskip("neo", reason="needs the extra formats")


# SpikeGLX


@pytest.fixture
def spikeglx(tmp_path):
    lfp, inputs = counts(2500, 4), counts(5000, 3)
    inputs[:, 2] = 0
    inputs[1000:2000, 2] |= 1
    inputs[3000:, 2] |= 4
    lab_files.spikeglx(tmp_path / "run_g0", lfp, 2500.0, first_sample=5000)
    lab_files.spikeglx_nidq(tmp_path / "run_g0", inputs, 5000.0, first_sample=10000)
    return tmp_path / "run_g0", lfp, inputs


def test_spikeglx(spikeglx):
    folder, lfp, inputs = spikeglx
    contents = neo_formats.read(folder, REQUEST)
    assert list(contents.lfp) == ["imec0.lf", "nidq", "imec0.lf-SYNC"]
    signal = contents.lfp["imec0.lf"]()
    assert signal.unit == "V" and signal.channels == ("LF0", "LF1", "LF2") and signal.good.all()
    assert volts(signal) == pytest.approx(lfp[:, :3] * 0.6 / 512 / 250)
    assert signal.clock.rate == 2500.0 and stretches(signal) == [(0, 2.0)] and signal.clock.samples == 2500
    wheel = contents.behaviors["nidq"]()
    assert wheel.unit == "V" and wheel.names == ("XA0", "XA1", "XD0") and wheel.values.dtype == np.float32
    assert wheel.values[:, :2] == pytest.approx(inputs[:, :2] * (5 / 32768), rel=1e-6)
    assert wheel.times == pytest.approx(2.0 + np.arange(5000) / 5000)


def test_spikeglx_digital_inputs_are_intervals_on_the_clock_of_the_signals(spikeglx):
    intervals = neo_formats.read(spikeglx[0], REQUEST).intervals
    assert list(intervals) == ["XD0", "XD1", "XD2"]
    assert intervals["XD0"] == same([[2.2, 2.4]])
    assert intervals["XD1"].shape == (0, 2)
    assert intervals["XD2"] == same([[2.6, 3.0]])  # on until the end


def test_a_named_file_of_spikeglx_comes_first(spikeglx):
    path = spikeglx[0] / "run_g0_t0.nidq.meta"
    assert next(iter(neo_formats.read(path, REQUEST).lfp)) == "nidq"
    assert names(neo_formats.files_of(path)) == [f"run_g0_t0.{name}" for name in ("imec0.lf.bin", "imec0.lf.meta", "nidq.bin", "nidq.meta")]


def test_triggers_of_spikeglx_are_stretches(tmp_path):
    parts = [counts(1000, 3), counts(500, 3)]
    lab_files.spikeglx(tmp_path / "run", parts[0], 1000.0, 0, run="run_g0_t0")
    lab_files.spikeglx(tmp_path / "run", parts[1], 1000.0, 4000, run="run_g0_t1")
    signal = first(neo_formats.read(tmp_path / "run", REQUEST))
    assert stretches(signal) == [(0, 0.0), (1000, 4.0)]
    assert np.array_equal(signal.data[900:1100], np.concatenate(parts)[900:1100, :2])


# Intan


def intan(tmp_path, numbers=None):
    samples = 10 * 128
    amplifier, adc = (RNG.integers(0, 2**16, (samples, channels)).astype(np.uint16) for channels in (3, 1))
    digital = np.zeros(samples, np.uint16)
    digital[200:400] = 2
    path = tmp_path / "rat.rhd"
    lab_files.intan(path, 20000.0, amplifier, adc, digital, np.arange(samples) if numbers is None else numbers)
    return path, amplifier, adc


def test_intan(tmp_path):
    path, amplifier, adc = intan(tmp_path)
    contents = neo_formats.read(path, REQUEST)
    signal = first(contents)
    assert volts(signal) == pytest.approx((amplifier.astype(float) - 32768) * 0.195e-6, abs=1e-12)
    assert signal.unit == "V" and signal.channels == ("a-000", "a-001", "a-002")
    assert signal.clock.rate == 20000.0 and stretches(signal) == [(0, 0.0)]
    series = contents.behaviors["USB board ADC input channel"]()
    assert series.values == pytest.approx((adc.astype(float) - 32768) * 0.00015259, abs=1e-5) and series.unit == "V"
    assert contents.intervals["digital-in-0"].shape == (0, 2)
    assert contents.intervals["digital-in-1"] == same([[0.01, 0.02]])


def test_sample_numbers_that_intan_leaves_out_are_gaps_or_pauses(tmp_path):
    numbers = np.arange(1280)
    numbers[300:] += 100  # 5 ms
    numbers[700:] += 20000  # 1 s
    path, amplifier, _ = intan(tmp_path, numbers)
    signal = first(neo_formats.read(path, REQUEST))
    assert stretches(signal) == [(0, 0.0), (800, numbers[700] / 20000)]
    assert signal.clock.after.tolist() == [299] and signal.clock.missing.tolist() == [100]
    assert signal.clock.samples == 1380
    assert np.array_equal(signal.data[250:750], amplifier[250:750])  # recorded samples: nothing is filled yet


@pytest.mark.parametrize("named", ["", "info.rhd", "amplifier.dat"])
def test_intan_with_one_file_a_signal(tmp_path, named):
    data = counts(3000, 3)
    folder = lab_files.intan_folder(tmp_path / "rat", 20000.0, data)
    signal = first(neo_formats.read(folder / named, REQUEST))
    assert volts(signal) == pytest.approx(data * 0.195e-6)
    assert names(neo_formats.files_of(folder / named)) == ["amplifier.dat", "info.rhd", "time.dat"]


# Blackrock


@pytest.fixture
def blackrock(tmp_path):
    parts = [counts(1000, 3), counts(1500, 3)]
    labels = [(1, "chan1", "uV", 8191), (2, "chan2", "uV", 8191), (129, "ainp1", "mV", 5000)]
    lab_files.blackrock(tmp_path / "monday.ns2", 30, labels, [(0, parts[0]), (60000, parts[1])])
    spikes = [(300, 1, 1), (900, 1, 1), (60000, 1, 1), (104999, 1, 1), (500, 2, 0), (61000, 2, 255)]
    lab_files.blackrock_events(tmp_path / "monday.nev", [1, 2], spikes, [(0, 7), (15000, 8), (61500, 7), (75000, 8)])
    (tmp_path / "monday.ccf").write_bytes(b"<CCF/>")
    (tmp_path / "tuesday.ns2").write_bytes(b"another recording")
    return tmp_path / "monday.ns2", np.concatenate(parts)


def test_blackrock(blackrock):
    path, data = blackrock
    contents = neo_formats.read(path, REQUEST)
    assert list(contents.lfp) == ["nsx2", "nsx2 inputs"]
    signal = contents.lfp["nsx2"]()
    assert volts(signal) == pytest.approx(data[:, :2] * 0.25e-6)
    assert signal.channels == ("chan1", "chan2") and signal.clock.rate == 1000.0
    assert stretches(signal) == [(0, 0.0), (1000, 2.0)]
    assert contents.name == "monday" and names(neo_formats.files_of(path)) == ["monday.ccf", "monday.nev", "monday.ns2"]


def test_blackrocks_analog_inputs_are_behaviour(blackrock):
    path, data = blackrock
    series = neo_formats.read(path, REQUEST).behaviors["nsx2 inputs"]()
    assert series.values[:, 0] == pytest.approx(data[:, 2] * (5000 / 32764), rel=1e-6, abs=1e-3)
    assert series.unit == "mV" and series.names == ("ainp1",)
    assert series.times == pytest.approx(np.concatenate([np.arange(1000) / 1000, 2 + np.arange(1500) / 1000]))


def test_blackrocks_spikes_and_events_are_on_the_clock_of_the_signals(blackrock):
    contents = neo_formats.read(blackrock[0].with_suffix(".nev"), REQUEST)
    assert [times.tolist() for times in contents.units().times] == [
        pytest.approx([0.01, 0.03, 2.0, 104999 / 30000]),
        pytest.approx([500 / 30000]),
        pytest.approx([61000 / 30000]),
    ]
    assert contents.provenance["units"] == "3, of which 1 unsorted and 1 noise"
    assert contents.intervals["digital_input_port"] == same([[0, 0.5], [0.5, 2.05], [2.05, 2.5]])
    assert contents.intervals["digital_input_port/7"] == same([[0, 2.05]])
    assert contents.intervals["digital_input_port/8"] == same([[0.5, 2.5]])
    codes = contents.behaviors["digital_input_port"]()
    assert codes.values.tolist() == [[7], [8], [7], [8]] and codes.times == pytest.approx([0, 0.5, 2.05, 2.5])


def test_a_clock_that_was_reset_is_refused(tmp_path):
    labels = [(1, "chan1", "uV", 8191)]
    path = lab_files.blackrock(tmp_path / "reset.ns2", 30, labels, [(30000, counts(100, 1)), (0, counts(900, 1))])
    with pytest.raises(UserError, match=r"reset\.ns2: nsx2: sample 100 at 0\.000000 s was taken 1100\.000 ms before.*reset"):
        first(neo_formats.read(path, REQUEST))


# Neuralynx


@pytest.fixture
def neuralynx(tmp_path):
    blocks = [(1_000_000 + 16000 * index, counts(512, 1)[:, 0]) for index in range(6)]
    blocks += [(5_000_000 + 16000 * index, counts(512, 1)[:, 0]) for index in range(4)]
    lab_files.neuralynx(tmp_path / "CSC1.ncs", 32000, 1e-8, blocks)
    lab_files.neuralynx(tmp_path / "CSC2.ncs", 32000, 2e-8, [(stamp, -data) for stamp, data in blocks])
    lab_files.neuralynx_spikes(tmp_path / "SE7.nse", [(1_010_000, 0), (1_020_000, 1), (5_010_000, 1)])
    lab_files.neuralynx_events(tmp_path / "Events.nev", [(1_001_000, 1, "trial"), (1_050_000, 1, "trial"), (5_020_000, 1, "trial")])
    return tmp_path, np.concatenate([data for _, data in blocks])


@pytest.mark.parametrize("named", ["", "CSC1.ncs", "Events.nev"])
def test_neuralynx(neuralynx, named):
    folder, data = neuralynx
    contents = neo_formats.read(folder / named, REQUEST)
    assert list(contents.lfp) == ["stream0_32000Hz_1mVRange_DSPFilter0"]
    signal = first(contents)
    assert volts(signal) == pytest.approx(np.stack([data * 1e-8, data * -2e-8], axis=1), abs=1e-12)
    assert np.array_equal(signal.data[500:4000][:, 0], data[500:4000])
    assert signal.channels == ("CSC1", "CSC2") and signal.clock.rate == 32000.0
    assert stretches(signal) == [(0, 0.0), (6 * 512, 4.0)]  # zero is the first stamp of the folder
    assert [times.tolist() for times in contents.units().times] == [pytest.approx([0.01]), pytest.approx([0.02, 4.01])]
    assert contents.intervals["Events event_id=11 ttl=1"] == same([[0.001, 0.05], [0.05, 4.02]])
    assert len(neo_formats.files_of(folder / named)) == 4


def test_the_rate_of_neuralynx_is_that_of_its_time_stamps(tmp_path):
    """A clock that is 0.01 % fast is half a second off after 80 minutes if the header is believed."""
    period = 16000 * (1 - 1e-4)
    records = [(round(10_000_000 + period * index), counts(512, 1)[:, 0]) for index in range(200)]
    lab_files.neuralynx(tmp_path / "CSC1.ncs", 32000, 1e-8, records)
    clock = first(neo_formats.read(tmp_path, REQUEST)).clock
    assert clock.rate == pytest.approx(32000 / (1 - 1e-4), rel=1e-6) and len(clock.starts) == 1


# Plexon


def test_plexon(tmp_path):
    parts = [(4000, counts(300, 2)), (4000 + 300 * 40, counts(200, 2)), (80000, counts(400, 2))]
    spikes, events = [(5000, 0), (9000, 1), (90000, 1)], [(4100, 3), (20000, 5), (81000, 3)]
    path = lab_files.plexon(tmp_path / "rat.plx", 1000, parts, spikes, events)
    contents = neo_formats.read(path, REQUEST)
    signal = first(contents)
    assert volts(signal) == pytest.approx(np.concatenate([data for _, data in parts]) * 5.0 / 32768 / 1000)
    assert signal.channels == ("FP01", "FP02") and signal.clock.rate == 1000.0
    assert stretches(signal) == [(0, 0.1), (500, 2.0)]
    assert [times.tolist() for times in contents.units().times] == [pytest.approx([0.125]), pytest.approx([0.225, 2.25])]
    assert contents.provenance["units"] == "2, of which 1 unsorted and 0 noise"
    assert contents.intervals["Strobed"] == same([[0.1025, 0.5], [0.5, 2.025]])
    assert contents.intervals["Strobed/3"] == same([[0.1025, 2.025]])


# TDT


def test_tdt(tmp_path):
    data = RNG.standard_normal((2, 10, 64, 2)).astype(np.float32) * 100
    start = 1_700_000_000.0
    for number, seconds in enumerate((0.0, 10.0)):
        lab_files.tdt(
            tmp_path / "tank" / f"b{number}", start + seconds, 1000.0, data[number], [(0.25, 0), (0.5, 1)], [(0.125, 1), (0.25, 2)]
        )
    tank = neo_formats.read(tmp_path / "tank", REQUEST)
    assert list(tank.lfp) == ["LFP1"]
    signal = first(tank)
    assert volts(signal) == pytest.approx(data.reshape(-1, 2) * 1e-6) and signal.channels == ("LFP1 1", "LFP1 2")
    assert stretches(signal) == [(0, 0.0), (640, 10.0)]
    assert [times.tolist() for times in tank.units().times] == [pytest.approx([0.25, 10.25]), pytest.approx([0.5, 10.5])]
    assert tank.intervals["Tick/1"] == same([[0.125, 10.125]])
    for name in ("b1", "b1/tank_b1.tsq", "b1/tank_b1.tev"):
        block = tmp_path / "tank" / name
        assert np.array_equal(first(neo_formats.read(block, REQUEST)).data[100:300], data[1].reshape(-1, 2)[100:300])
        assert len(neo_formats.files_of(block)) == 4


# Open Ephys


@pytest.mark.parametrize("named", ["", "Record Node 101/experiment1/recording1/structure.oebin"])
def test_open_ephys(tmp_path, named):
    data, numbers = counts(3000, 3), np.arange(3000) + 90000
    numbers[1000:] += 300  # 10 ms
    numbers[2000:] += 30000  # 1 s
    lab_files.open_ephys(tmp_path / "rat", 30000.0, data, numbers, numbers / 30000 + 0.5, [(3.55, 3.56), (3.58, 4.6)])
    contents = neo_formats.read(tmp_path / "rat" / named, REQUEST)
    signal = first(contents)
    assert volts(signal) == pytest.approx(data[:, :2] * 0.195e-6) and signal.channels == ("CH1", "CH2")
    assert stretches(signal) == [(0, 3.5), (2300, numbers[2000] / 30000 + 0.5)]
    assert signal.clock.after.tolist() == [999] and signal.clock.missing.tolist() == [300]
    [name] = contents.behaviors
    series = contents.behaviors[name]()
    assert series.names == ("ADC1",) and series.unit == "V"
    assert series.values[:, 0] == pytest.approx(data[:, 2] * 0.00015258789, rel=1e-6)
    assert series.times == pytest.approx(numbers / 30000 + 0.5)
    assert contents.intervals["TTL"] == same([[3.55, 3.56], [3.58, 4.6]])


def test_open_ephys_before_version_6_is_on_the_clock_of_sample_numbers(tmp_path):
    data, numbers = counts(3000, 3), np.arange(3000) + 90000
    numbers[2000:] += 30000
    folder = lab_files.open_ephys(tmp_path / "rat", 30000.0, data, numbers, None, [(3.02, 3.06), (3.08, 4.08)])
    contents = neo_formats.read(folder, REQUEST)
    assert stretches(first(contents)) == [(0, 3.0), (2000, 122000 / 30000)]
    assert contents.intervals["TTL"] == same([[3.02, 3.06], [3.08, 4.08]])


def test_recordings_of_an_open_ephys_experiment_are_stretches(tmp_path):
    parts = [counts(600, 2), counts(900, 2)]
    for number, (data, at) in enumerate(zip(parts, (0, 60000), strict=True), 1):
        numbers = at + np.arange(len(data))
        lab_files.open_ephys(tmp_path / "rat", 30000.0, data, numbers, numbers / 30000, [(at / 30000 + 0.005, at / 30000 + 0.01)], number)
    contents = neo_formats.read(tmp_path / "rat", REQUEST)
    assert stretches(first(contents)) == [(0, 0.0), (600, 2.0)]
    assert contents.intervals["TTL"] == same([[0.005, 0.01], [2.005, 2.01]])


def test_experiments_of_open_ephys_are_sessions(tmp_path):
    for number in (1, 2):
        data = np.full((300, 2), number, np.int16)
        folder = lab_files.open_ephys(tmp_path / "new", 30000.0, data, np.arange(300), np.arange(300) / 30000, [(0.001, 0.002)])
        (folder / "Record Node 101" / "experiment1").rename(tmp_path / f"experiment{number}")
    for number in (1, 2):
        (tmp_path / f"experiment{number}").rename(folder / "Record Node 101" / f"experiment{number}")
    with pytest.raises(UserError, match=r"it holds 2 sessions.*--session 1"):
        neo_formats.read(folder, REQUEST)
    assert (first(neo_formats.read(folder, Request(0.03, session=2))).data[:] == 2).all()
    with pytest.raises(UserError, match="no session 3: use --session with 1 to 2"):
        neo_formats.read(folder, Request(0.03, session=3))


# Axona


def test_axona(tmp_path):
    data = counts(300, 8)
    path = lab_files.axona(tmp_path / "rat.set", data, list(range(8)), [32, 33, 34, 35, 36, 37, 38, 39], np.array([96, 9600]))
    for each in (path, path.with_suffix(".bin")):
        contents = neo_formats.read(each, REQUEST)
        signal = first(contents)
        assert volts(signal) == pytest.approx(data * 1.5 / 4000 / 32768, rel=1e-6)
        assert signal.channels == ("1a", "1b", "1c", "1d", "2a", "2b", "2c", "2d") and signal.clock.rate == 48000.0
        assert np.array_equal(signal.data[100:200], data[100:200])
        assert [times.tolist() for times in contents.units().times] == [pytest.approx([0.001, 0.1])]
        assert contents.provenance["units"] == "1, of which 1 unsorted and 0 noise"
        assert names(neo_formats.files_of(each)) == ["rat.1", "rat.bin", "rat.set"]


# EDF and BDF


@pytest.mark.parametrize(("suffix", "kind", "top"), [("edf", "FILETYPE_EDFPLUS", 2**15), ("bdf", "FILETYPE_BDFPLUS", 2**23)])
def test_edf(tmp_path, suffix, kind, top):
    pyedflib = pytest.importorskip("pyedflib", reason="pyedflib has no wheel for this Python")
    path = tmp_path / f"patient.{suffix}"
    data = RNG.integers(-top, top, (3000, 2)).astype(np.int32)
    header = {
        "dimension": "uV",
        "sample_frequency": 500,
        "physical_max": 3000.0,
        "physical_min": -3000.0,
        "prefilter": "",
        "transducer": "",
    }
    header |= {"digital_max": top - 1, "digital_min": -top}
    with pyedflib.EdfWriter(str(path), 2, getattr(pyedflib, kind)) as writer:
        writer.setSignalHeaders([header | {"label": label} for label in ("LFP L01", "LFP L12")])
        writer.writeSamples([np.ascontiguousarray(column) for column in data.T], digital=True)
        for onset, length, text in ((0.0, -1, "go"), (0.5, 0.25, "reach"), (1.25, -1, "go"), (2.5, -1, "stop")):
            writer.writeAnnotation(onset, length, text)
    contents = neo_formats.read(path, REQUEST)
    assert list(contents.lfp) == ["500 Hz"]
    signal = first(contents)
    assert volts(signal) == pytest.approx(((data + float(top)) * 6000 / (2 * top - 1) - 3000) * 1e-6, rel=1e-9, abs=1e-12)
    assert signal.data.dtype == (np.int16 if suffix == "edf" else np.int32)
    assert np.array_equal(signal.data[990:1510], data[990:1510])
    assert signal.channels == ("LFP L01", "LFP L12") and signal.clock.rate == 500.0 and stretches(signal) == [(0, 0.0)]
    assert contents.intervals["Event"] == same([[0.0, 1.25], [1.25, 2.5]])
    assert contents.intervals["Event/go"] == same([[0.0, 1.25]])
    assert contents.intervals["Epoch"] == same([[0.5, 0.75]])


def test_edf_without_pyedflib(tmp_path, monkeypatch):
    (tmp_path / "patient.edf").write_bytes(bytes(512))
    monkeypatch.setitem(sys.modules, "pyedflib", None)
    with pytest.raises(UserError, match=r"patient\.edf: what reads it is not installed .*: pip install pyedflib, which needs a C compiler"):
        neo_formats.read(tmp_path / "patient.edf", REQUEST)


# All of them


def test_what_no_reader_takes(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "lonely.bin").write_bytes(bytes(100))
    for path in (tmp_path / "notes.txt", tmp_path / "lonely.bin", tmp_path):
        assert not neo_formats.handles(path) and neo_formats.files_of(path) == []
        with pytest.raises(UserError, match="Neo has no reader for it"):
            neo_formats.read(path, REQUEST)


def test_nothing_is_written_beside_the_recording(blackrock):
    folder = blackrock[0].parent
    before = names(folder.rglob("*"))
    everything(neo_formats.read(blackrock[0], REQUEST))
    assert names(folder.rglob("*")) == before


def test_without_neo_the_extra_is_named(blackrock, monkeypatch):
    monkeypatch.setitem(sys.modules, "neo.rawio", None)
    assert neo_formats.handles(blackrock[0])
    with pytest.raises(UserError, match=r"monday\.ns2.*pip install realm-edge\[formats\]"):
        neo_formats.read(blackrock[0], REQUEST)


def everything(contents):
    for signal in contents.lfp.values():
        signal().data[:]
    for series in contents.behaviors.values():
        series()
    contents.units()
    dict(contents.intervals)


def test_broken_files_are_refused_with_their_name(blackrock, spikeglx, tmp_path):
    """Every byte of a header counts: each is either harmless or refused, and never anything else."""
    plexon = lab_files.plexon(tmp_path / "rat.plx", 1000, [(0, counts(50, 2))], [(100, 1)], [(200, 3)])
    rhd, *_ = intan(tmp_path)
    tsq = lab_files.tdt(tmp_path / "tank" / "b0", 1e9, 1000.0, np.ones((2, 64, 2)), [(0.1, 1)], [(0.1, 1)]) / "tank_b0.tsq"
    rng = np.random.default_rng(1)
    refused = 0
    for path in (blackrock[0], blackrock[0].with_suffix(".nev"), spikeglx[0] / "run_g0_t0.imec0.lf.meta", plexon, rhd, tsq):
        whole = path.read_bytes()
        broken = [whole[: len(whole) // 3], b"", rng.bytes(5000)]
        for _ in range(20):
            changed = bytearray(whole)
            for at in rng.integers(0, min(len(whole), 1000), 3):
                changed[at] = rng.integers(256)
            broken.append(bytes(changed))
        for content in broken:
            path.write_bytes(content)
            try:
                everything(neo_formats.read(path, REQUEST))
            except UserError as error:
                assert str(path) in str(error) and "\n" not in str(error)
                refused += 1
        path.write_bytes(whole)
        everything(neo_formats.read(path, REQUEST))
    assert refused > 20


_PEAK = """
import sys
from pathlib import Path
from realm_edge.readers import neo_formats
from realm_edge.readers.contents import Request
from realm_edge.table import blocks
signal = next(iter(neo_formats.read(Path(sys.argv[1]), Request(0.03)).lfp.values()))()
next(blocks(signal.data))
resident = lambda: next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
before = resident()
print(max(resident() for _ in blocks(signal.data)) - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_reading_a_recording_block_by_block_keeps_none_of_it(tmp_path):
    samples = 128 * 5000
    path = tmp_path / "long.rhd"
    numbers, words = np.arange(samples), np.zeros(samples, np.uint16)
    lab_files.intan(path, 30000.0, np.ones((samples, 64), np.uint16), np.zeros((samples, 0), np.uint16), words, numbers)
    size = path.stat().st_size
    assert size > 80e6
    grown = int(subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, check=True, text=True).stdout) * 1024
    assert grown < size / 4
