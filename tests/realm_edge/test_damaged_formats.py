"""Recordings of acquisition systems that pause where Neo does not look, that lack a file or a file's end, or that do not fit together."""

import json
import shutil

import numpy as np
import pytest

from realm_edge.errors import UserError
from realm_edge.readers import neo_formats
from realm_edge.readers.assembly import signal_of
from realm_edge.readers.choices import Choices
from tests import lab_files
from tests.lab_readings import REQUEST, RNG, counts, first, same, stretches, volts

pytest.importorskip("neo", reason="needs the extra formats")


def cut(path, size):
    """Leave out the last bytes of a file."""
    path.write_bytes(path.read_bytes()[:-size])


def told(contents, key):
    return contents.provenance.get(key, "")


# TDT


def tdt(folder, chunks=20):
    data = (RNG.standard_normal((chunks, 64, 2)) * 100).astype(np.float32)
    return lab_files.tdt(folder, 1.7e9, 1000.0, data, [(0.25, 1)], [(0.125, 1)]), data


def tdt_index(block, change):
    """Change the rows of samples in a block's index."""
    path = next(block.glob("*.tsq"))
    rows = np.fromfile(path, lab_files.TSQ)
    change(rows, rows["store"] == b"LFP1").tofile(path)
    return path


def test_rows_that_tdts_index_lacks_are_a_pause(tmp_path):
    block, data = tdt(tmp_path / "tank" / "b0")
    tdt_index(block, lambda rows, own: rows[~(own & (rows["stamp"] > 1.7e9 + 0.3) & (rows["stamp"] < 1.7e9 + 0.6))])
    signal = first(neo_formats.read(block, REQUEST))
    kept = [chunk for chunk in range(20) if not 0.3 < chunk * 0.064 < 0.6]
    assert volts(signal) == pytest.approx(data[kept].reshape(-1, 2) * 1e-6)
    assert stretches(signal, 1e-6) == [(0, 0.0), (5 * 64, 10 * 0.064)]


def test_a_short_gap_of_tdts_time_stamps_is_filled(tmp_path):
    block, data = tdt(tmp_path / "tank" / "b0")

    def late(rows, own):
        rows["stamp"][own & (rows["stamp"] >= 1.7e9 + 0.64 - 1e-3)] += 0.02
        return rows

    tdt_index(block, late)
    signal = first(neo_formats.read(block, REQUEST))
    assert stretches(signal, 1e-6) == [(0, 0.0)] and signal.clock.rate == 1000.0
    assert (signal.clock.after.tolist(), signal.clock.missing.tolist()) == ([639], [20])
    assert volts(signal) == pytest.approx(data.reshape(-1, 2) * 1e-6)


def test_tdts_rate_is_that_of_its_time_stamps(tmp_path):
    block, _ = tdt(tmp_path / "tank" / "b0", 200)

    def fast(rows, own):
        rows["stamp"][own] = 1.7e9 + (rows["stamp"][own] - 1.7e9) / 1.0002
        return rows

    tdt_index(block, fast)
    clock = first(neo_formats.read(block, REQUEST)).clock
    assert clock.rate == pytest.approx(1000.2, rel=1e-6) and len(clock.starts) == 1


@pytest.mark.parametrize("missing", [64 * 4, 64 * 4 * 3, 100, 64 * 4 * 5 + 10])
def test_samples_that_tdts_tev_lacks_are_told_and_not_made_up(tmp_path, missing):
    block, data = tdt(tmp_path / "tank" / "b0")
    cut(block / "tank_b0.tev", 16 + missing)  # behind the samples lies a snippet of 16 bytes
    contents = neo_formats.read(block, REQUEST)
    whole = 20 - -(-missing // (2 * 64 * 4))
    assert volts(first(contents)) == pytest.approx(data[:whole].reshape(-1, 2) * 1e-6)
    assert told(contents, "cut_short") == f"block 1: {(20 - whole) * 0.064:.3f} s of LFP1 are not in its .tev or .sev"


def test_an_index_of_tdt_without_its_end_is_told(tmp_path):
    block, data = tdt(tmp_path / "tank" / "b0")
    tdt_index(block, lambda rows, own: rows[: int(np.flatnonzero(own)[29]) + 1])
    contents = neo_formats.read(block, REQUEST)
    assert volts(first(contents)) == pytest.approx(data[:15].reshape(-1, 2) * 1e-6)
    assert told(contents, "cut_short") == "tank_b0.tsq does not end with the mark of a block's end: its end is missing"


def test_an_index_of_tdt_that_does_not_fit_itself_is_refused(tmp_path):
    block, _ = tdt(tmp_path / "tank" / "b0")
    path = next(block.glob("*.tsq"))
    whole = path.read_bytes()
    tdt_index(block, lambda rows, own: np.delete(rows, np.flatnonzero(own & (rows["channel"] == 2))[3]))
    with pytest.raises(
        UserError, match=r"tank_b0\.tsq: channel 2 of store LFP1 has 19 blocks of samples and channel 1 20: .*copy it again"
    ):
        neo_formats.read(block, REQUEST)
    path.write_bytes(whole)

    def shifted(rows, own):
        rows["stamp"][np.flatnonzero(own & (rows["channel"] == 2))[3]] += 0.5
        return rows

    tdt_index(block, shifted)
    with pytest.raises(UserError, match=r"tank_b0\.tsq: channels 1 and 2 of store LFP1 have other time stamps"):
        neo_formats.read(block, REQUEST)


def test_a_block_of_a_tank_that_lacks_a_file_is_told(tmp_path):
    _, data = tdt(tmp_path / "tank" / "b0")
    tdt(tmp_path / "tank" / "b1")
    (tmp_path / "tank" / "b1" / "tank_b1.tev").unlink()
    contents = neo_formats.read(tmp_path / "tank", REQUEST)
    assert volts(first(contents)) == pytest.approx(data.reshape(-1, 2) * 1e-6)
    assert told(contents, "left_out") == "b1: no .tev in it: copy the block again, all files of it"
    with pytest.raises(UserError, match=r"b1: no block of TDT's with all files: b1: no \.tev in it"):
        neo_formats.read(tmp_path / "tank" / "b1", REQUEST)


def test_blocks_of_a_tank_at_other_rates_are_refused(tmp_path):
    tdt(tmp_path / "tank" / "b0")
    block, _ = tdt(tmp_path / "tank" / "b1")

    def fast(rows, own):
        rows["rate"][own] = 2000
        return rows

    tdt_index(block, fast)
    with pytest.raises(UserError, match=r"tank_b1\.tsq: store LFP1 has 2000 Hz .*tank_b0\.tsq 1000 Hz.*make a recording of each block"):
        neo_formats.read(tmp_path / "tank", REQUEST)


def test_a_sev_that_one_channel_of_tdt_lacks_is_named(tmp_path):
    block, data = tdt(tmp_path / "tank" / "b0")
    for channel in (1, 2):  # the same bytes at the same places, of which the index names the channel's
        (block / f"tank_b0_LFP1_Ch{channel}.sev").write_bytes((block / "tank_b0.tev").read_bytes())
    assert volts(first(neo_formats.read(block, REQUEST))) == pytest.approx(data.reshape(-1, 2) * 1e-6)
    (block / "tank_b0_LFP1_Ch2.sev").unlink()
    with pytest.raises(UserError, match=r"tank_b0\.tsq: no \.sev of channel 2 of store LFP1 beside it: copy the block again"):
        neo_formats.read(block, REQUEST)


# Plexon


def plexon(path):
    data = counts(1000, 2)
    return lab_files.plexon(path, 1000, [(40 * at, data[at : at + 100]) for at in range(0, 1000, 100)], [(400, 1)], []), data


@pytest.mark.parametrize(("size", "whole"), [(50, 975), (216 - 16, 900), (2 * 216 + 7, 896), (6 * 216 + 100, 650)])
def test_a_plx_that_ends_within_samples_is_told(tmp_path, size, whole):
    path, data = plexon(tmp_path / "rat.plx")
    cut(path, size)  # a block is 16 bytes and 100 samples of a channel
    contents = neo_formats.read(path, REQUEST)
    signal = first(contents)
    assert np.array_equal(signal.data[:], data[:whole]) and signal.clock.samples == whole and stretches(signal) == [(0, 0.0)]
    assert np.array_equal(signal.data[whole - 30 : whole], data[whole - 30 : whole])
    assert told(contents, "cut_short") == "rat.plx ends within a block of samples: its end is missing"


@pytest.mark.parametrize("size", [216 - 8, 216, 216 + 50])
def test_a_plx_in_which_channels_end_apart_is_refused(tmp_path, size):
    path, _ = plexon(tmp_path / "rat.plx")
    cut(path, size)
    with pytest.raises(UserError, match=r"rat\.plx: it ends before all channels do: copy it again"):
        neo_formats.read(path, REQUEST)


# Neuralynx


def neuralynx(folder, sizes, pauses=(), names=("CSC1", "CSC2"), start=1_000_000):
    """Records of so many valid samples at 1 kHz; ``pauses``: (record, s before it). Gives what was written, and the time of each sample."""
    data, stamp, records, times = counts(sum(sizes), 1)[:, 0], start, [], []
    for at, (size, end) in enumerate(zip(sizes, np.cumsum(sizes), strict=True)):
        stamp += round(1e6 * dict(pauses).get(at, 0))
        records.append((stamp, data[end - size : end]))
        times.append((stamp - start) / 1e6 + np.arange(size) / 1000)
        stamp += 1000 * size
    for name in names:
        lab_files.neuralynx(folder / f"{name}.ncs", 1000, 1e-8, records)
    return data, np.concatenate(times)


def times_of(signal):
    """Of recorded samples."""
    clock = signal.clock
    at = np.arange(len(signal.data))
    at += np.cumsum(clock.missing)[np.searchsorted(clock.after, at) - 1] * (np.searchsorted(clock.after, at) > 0) if len(clock.after) else 0
    firsts, starts = (np.array(column) for column in zip(*clock.starts, strict=True))
    stretch = np.searchsorted(firsts, at, "right") - 1
    return starts[stretch] + (at - firsts[stretch]) / clock.rate


@pytest.mark.parametrize(
    ("sizes", "pauses"),
    [
        ([512] * 4 + [300] + [512] * 8, ()),  # the next follows at once
        ([512] * 4 + [300] + [512] * 8, ((5, 0.212),)),  # as if it were full
        ([512] * 4 + [502] + [512] * 8, ((5, 0.010),)),  # a gap that is filled
        ([512] * 4 + [300] + [512] * 8, ((5, 5.0),)),  # a stop and a new start
        ([300, 17, 512, 1, 512, 512, 40, 512, 512, 512, 512, 512], ((3, 0.5), (6, 2.0))),
    ],
)
def test_records_of_neuralynx_that_are_not_full(tmp_path, sizes, pauses):
    data, times = neuralynx(tmp_path, sizes, pauses)
    signal = first(neo_formats.read(tmp_path, REQUEST))
    assert np.array_equal(signal.data[:], np.stack([data, data], axis=1))
    assert np.array_equal(signal.data[1990:2010][:, 1], data[1990:2010]) and np.array_equal(signal.data[5:6][:, 0], data[5:6])
    assert signal.clock.rate == 1000.0 and times_of(signal) == pytest.approx(times, abs=1e-6)


def test_the_neuralynx_file_that_was_named_comes_first(tmp_path):
    neuralynx(tmp_path, [512] * 4, names=["CSC1"])
    lab_files.neuralynx(tmp_path / "CSC3.ncs", 2000, 1e-8, [(1_000_000 + 256_000 * at, counts(512, 1)[:, 0]) for at in range(8)])
    for name, rate in (("CSC1.ncs", 1000.0), ("CSC3.ncs", 2000.0)):
        assert first(neo_formats.read(tmp_path / name, REQUEST)).clock.rate == rate


def test_a_neuralynx_file_without_samples_is_told(tmp_path):
    data, _ = neuralynx(tmp_path, [512] * 4)
    (tmp_path / "CSC2.ncs").write_bytes((tmp_path / "CSC2.ncs").read_bytes()[:16384])
    contents = neo_formats.read(tmp_path, REQUEST)
    assert np.array_equal(first(contents).data[:], data[:, None])
    assert told(contents, "left_out") == "CSC2.ncs: no samples in it"


@pytest.mark.parametrize("size", [1044, 44])
def test_a_neuralynx_file_that_lacks_its_last_record_is_told(tmp_path, size):
    data, _ = neuralynx(tmp_path, [512] * 4)
    cut(tmp_path / "CSC2.ncs", size)
    contents = neo_formats.read(tmp_path, REQUEST)
    assert np.array_equal(first(contents).data[:], np.stack([data, data], axis=1)[: 3 * 512])
    assert "CSC2.ncs is a record shorter than CSC1.ncs: all are read as far as it goes" in told(contents, "cut_short")
    assert ("CSC2.ncs ends within a record: its end is missing" in told(contents, "cut_short")) == (size == 44)


def test_neuralynx_files_that_do_not_fit_together_are_refused(tmp_path):
    neuralynx(tmp_path, [512] * 6)
    cut(tmp_path / "CSC2.ncs", 3 * 1044)
    with pytest.raises(UserError, match=r"CSC2\.ncs: 3 records, and 6 in CSC1\.ncs: copy it again, or move it out of the directory"):
        neo_formats.read(tmp_path, REQUEST)
    neuralynx(tmp_path, [512, 512, 512, 400, 512, 512])
    neuralynx(tmp_path, [512, 512, 400, 512, 512, 512], names=["CSC2"])
    with pytest.raises(UserError, match=r"CSC2\.ncs: its records are not at the times of those of CSC1\.ncs"):
        first(neo_formats.read(tmp_path, REQUEST))


def test_neuralynx_files_that_pause_at_other_times_are_refused(tmp_path):
    neuralynx(tmp_path, [512] * 10, ((4, 2.0),))
    neuralynx(tmp_path, [512] * 10, ((6, 2.0),), names=["CSC2"])
    with pytest.raises(
        UserError, match=r"CSC2\.ncs: its records are not at the times of those of CSC1\.ncs: copy it again, or move it out"
    ):
        neo_formats.read(tmp_path, REQUEST)
    records = [(1_000_000 + 256_000 * at, counts(512, 1)[:, 0]) for at in range(20)]
    lab_files.neuralynx(tmp_path / "CSC2.ncs", 2000, 1e-8, records)
    with pytest.raises(UserError, match=r"its \.ncs of one rate or filter pause at other times than those of another: move those of one"):
        neo_formats.read(tmp_path, REQUEST)


def test_two_neuralynx_files_of_one_channel_are_refused(tmp_path):
    data, _ = neuralynx(tmp_path, [512] * 4)
    lab_files.neuralynx(tmp_path / "LFP1.ncs", 2000, 1e-8, [(1_000_000 + 256_000 * at, data[:512]) for at in range(8)])
    assert first(neo_formats.read(tmp_path / "LFP1.ncs", REQUEST)).clock.rate == 2000.0  # another stream of the same input
    (tmp_path / "CSC1_0001.ncs").write_bytes((tmp_path / "CSC1.ncs").read_bytes())
    with pytest.raises(UserError, match=r"CSC1_0001\.ncs: the same channel as CSC1\.ncs: make a recording of each"):
        neo_formats.read(tmp_path, REQUEST)


def test_events_and_spikes_of_neuralynx_that_end_within_a_record_are_told(tmp_path):
    neuralynx(tmp_path, [512] * 4)
    lab_files.neuralynx_spikes(tmp_path / "SE7.nse", [(1_010_000, 1), (1_020_000, 1)])
    lab_files.neuralynx_events(tmp_path / "Events.nev", [(1_100_000, 1, "a"), (1_200_000, 1, "b"), (1_300_000, 1, "c")])
    for name in ("SE7.nse", "Events.nev"):
        cut(tmp_path / name, 10)
    contents = neo_formats.read(tmp_path, REQUEST)
    assert [times.tolist() for times in contents.units().times] == [pytest.approx([0.01])]
    assert contents.intervals["Events event_id=11 ttl=1"] == same([[0.1, 0.2]])
    assert told(contents, "cut_short") == "; ".join(
        f"{name} ends within a record: its end is missing" for name in ("Events.nev", "SE7.nse")
    )


# Open Ephys


def open_ephys(folder, numbers, times, pulses=((0.5, 0.6),), rate=1000.0, channels=3, number=1):
    data = counts(len(numbers), channels)
    lab_files.open_ephys(folder, rate, data, numbers, times, list(pulses), number)
    return data, folder / "Record Node 101" / "experiment1" / f"recording{number}" / "continuous" / "Acquisition_Board-100.A"


def test_time_stamps_of_open_ephys_that_jump_are_a_pause(tmp_path):
    numbers = np.arange(4000) + 3000
    times = numbers / 1000
    times[2000:] += 1.0
    data, _ = open_ephys(tmp_path / "rat", numbers, times, [(3.5, 3.6)])
    signal = first(neo_formats.read(tmp_path / "rat", REQUEST))
    assert np.array_equal(signal.data[:], data[:, :2])
    assert stretches(signal) == [(0, 3.0), (2000, 6.0)] and signal.clock.rate == 1000.0


def test_the_rate_of_open_ephys_is_fitted_through_time_stamps_with_jitter(tmp_path):
    numbers = np.arange(60000)
    numbers[40000:] += 5000
    times = numbers / 1000.2 + RNG.normal(0, 1e-4, 60000)
    open_ephys(tmp_path / "rat", numbers, times)
    clock = first(neo_formats.read(tmp_path / "rat", REQUEST)).clock
    assert clock.rate == pytest.approx(1000.2, rel=1e-6)
    assert [first for first, _ in clock.starts] == [0, 40000]
    assert [time for _, time in clock.starts] == pytest.approx([0.0, 45000 / 1000.2], abs=2e-5)


def test_a_sample_number_that_is_missing_within_the_jitter_of_the_time_stamps_is_a_gap(tmp_path):
    numbers = np.arange(40000)
    numbers[20000:] += 2
    open_ephys(tmp_path / "rat", numbers, numbers / 10000 + RNG.normal(0, 1e-4, 40000), rate=10000.0)
    clock = first(neo_formats.read(tmp_path / "rat", REQUEST)).clock
    assert (clock.after.tolist(), clock.missing.tolist()) == ([19999], [2])


def test_time_stamps_of_open_ephys_may_start_below_zero(tmp_path):
    numbers = np.arange(4000) + 3000
    open_ephys(tmp_path / "rat", numbers, numbers / 1000 - 3.002, [(1.5, 1.6)])
    contents = neo_formats.read(tmp_path / "rat", REQUEST)
    assert stretches(first(contents)) == [(0, -0.002)] and contents.intervals["TTL"] == same([[1.5, 1.6]])
    assert "cut_short" not in contents.provenance


def test_samples_before_open_ephys_was_synchronised_are_placed_by_their_numbers(tmp_path):
    numbers = np.arange(4000) + 3000
    numbers[1000:] += 500
    times = numbers / 1000 + 7.0
    known = times.copy()
    known[:2000] = -1
    data, _ = open_ephys(tmp_path / "rat", numbers, known, [(10.2, 10.25), (10.8, 13.0), (13.5, 13.6)])
    contents = neo_formats.read(tmp_path / "rat", REQUEST)
    signal = first(contents)
    assert np.array_equal(signal.data[:], data[:, :2]) and stretches(signal) == [(0, 10.0), (1000, 11.5)]
    assert contents.intervals["TTL"] == same([[10.2, 10.25], [10.8, 13.0], [13.5, 13.6]])
    assert told(contents, "cut_short").endswith("the first 2.000 s have no synchronised time stamps: placed by their sample numbers")


def test_samples_after_open_ephys_lost_synchronisation_are_placed_by_their_numbers(tmp_path):
    numbers = np.arange(4000) + 3000
    numbers[3500:] += 100
    times = numbers / 1000 - 5.0  # of which one is -1 s
    times[3000:] = -1
    open_ephys(tmp_path / "rat", numbers, times, [(0.2, 0.25)])
    contents = neo_formats.read(tmp_path / "rat", REQUEST)
    assert stretches(first(contents)) == [(0, -2.0), (3500, 1.6)] and contents.intervals["TTL"] == same([[0.2, 0.25]])
    assert "the last 1.000 s have no time stamps: placed by their sample numbers" in told(contents, "cut_short")


def test_a_stream_of_open_ephys_whose_directory_is_missing_is_told(tmp_path):
    numbers = np.arange(4000) + 3000
    _, folder = open_ephys(tmp_path / "rat", numbers, numbers / 1000)
    shutil.rmtree(folder.parent.parent / "events" / folder.name / "TTL")
    contents = neo_formats.read(tmp_path / "rat", REQUEST)
    assert stretches(first(contents)) == [(0, 3.0)] and "TTL" not in contents.intervals
    assert "the folder events/Acquisition_Board-100.A/TTL/ is missing" in told(contents, "left_out")


@pytest.mark.parametrize("how", ["missing", "unknown"])
def test_open_ephys_that_was_never_synchronised_has_samples_and_events_on_one_clock(tmp_path, how):
    numbers = np.arange(4000) + 3000
    times = np.full(4000, -1.0) if how == "unknown" else numbers / 1000 + 100
    pulses = [(4.0, 4.1), (5.0, 5.5)] if how == "unknown" else [(104.0, 104.1), (105.0, 105.5)]
    _, folder = open_ephys(tmp_path / "rat", numbers, times, pulses)
    if how == "missing":
        (folder / "timestamps.npy").unlink()
    contents = neo_formats.read(tmp_path / "rat", REQUEST)
    assert stretches(first(contents)) == [(0, 3.0)] and contents.intervals["TTL"] == same([[4.0, 4.1], [5.0, 5.5]])
    assert "no synchronised time stamps: its clock, and its events', is that of its sample numbers" in told(contents, "cut_short")


def test_samples_of_open_ephys_behind_the_last_time_stamp_are_placed_by_their_numbers(tmp_path):
    numbers = np.arange(4000) + 3000
    numbers[3000:] += 700
    _, folder = open_ephys(tmp_path / "rat", numbers, numbers / 1000 + 1.0, [(4.5, 4.6)])
    np.save(folder / "timestamps.npy", np.load(folder / "timestamps.npy")[:2000])
    contents = neo_formats.read(tmp_path / "rat", REQUEST)
    assert stretches(first(contents)) == [(0, 4.0), (3000, 7.7)] and contents.intervals["TTL"] == same([[4.5, 4.6]])
    assert "the last 2.000 s have no time stamps: placed by their sample numbers" in told(contents, "cut_short")


def test_open_ephys_without_sample_numbers_goes_by_time_stamps(tmp_path):
    numbers = np.arange(4000) + 3000
    times = numbers / 1000 + 1.0
    times[2500:] += 2.0
    data, folder = open_ephys(tmp_path / "rat", numbers, times, [(4.5, 4.6)])
    (folder / "sample_numbers.npy").unlink()
    contents = neo_formats.read(tmp_path / "rat", REQUEST)
    signal = first(contents)
    assert np.array_equal(signal.data[:], data[:, :2]) and stretches(signal) == [(0, 4.0), (2500, 8.5)]
    assert contents.intervals["TTL"] == same([[4.5, 4.6]])


@pytest.mark.parametrize(
    ("short", "size"), [("continuous.dat", 2000 * 3 * 2), ("continuous.dat", 2000 * 3 * 2 - 5), ("sample_numbers.npy", 0)]
)
def test_files_of_open_ephys_of_other_lengths_are_read_as_far_as_both_go(tmp_path, short, size):
    numbers = np.arange(4000) + 3000
    data, folder = open_ephys(tmp_path / "rat", numbers, numbers / 1000, [(3.5, 3.6)])
    if size:
        cut(folder / short, size)
    else:
        np.save(folder / short, numbers[:2000])
    contents = neo_formats.read(tmp_path / "rat", REQUEST)
    signal = first(contents)
    assert np.array_equal(signal.data[:], data[:2000, :2]) and stretches(signal) == [(0, 3.0)] and signal.clock.samples == 2000
    assert ": what has both is used" in told(contents, "cut_short") and " 2000 " in told(contents, "cut_short")


def test_an_array_of_open_ephys_that_was_cut_is_refused_with_its_name(tmp_path):
    numbers = np.arange(4000)
    _, folder = open_ephys(tmp_path / "rat", numbers, numbers / 1000)
    cut(folder / "timestamps.npy", 800)
    with pytest.raises(
        UserError, match=r"Acquisition_Board-100\.A/timestamps\.npy: it is damaged or cut short .*: copy the recording again"
    ):
        neo_formats.read(tmp_path / "rat", REQUEST)


def test_events_of_open_ephys_of_other_lengths_are_named(tmp_path):
    numbers = np.arange(4000)
    _, folder = open_ephys(tmp_path / "rat", numbers, numbers / 1000)
    path = folder.parent.parent / "events" / folder.name / "TTL" / "timestamps.npy"
    np.save(path, np.load(path)[:-1])
    with pytest.raises(UserError, match=r"TTL/timestamps\.npy: 1 events, and 2 in \w+\.npy: copy it again"):
        neo_formats.read(tmp_path / "rat", REQUEST)


def test_a_stream_that_one_recording_of_open_ephys_lacks_is_named(tmp_path):
    numbers = np.arange(4000)
    open_ephys(tmp_path / "rat", numbers, numbers / 1000)
    _, folder = open_ephys(tmp_path / "rat", numbers + 9000, numbers / 1000 + 9, [(9.5, 9.6)], number=2)
    (folder / "continuous.dat").unlink()
    with pytest.raises(UserError, match=r"recording2: its streams are not those of .*recording1: Acquisition_Board-100\.A: copy it again"):
        neo_formats.read(tmp_path / "rat", REQUEST)


@pytest.mark.parametrize(
    ("change", "differ"),
    [
        ({"rate": 2000.0}, "2000 and 1000 Hz"),
        ({"channels": 4}, "4 and 3 channels"),
        ({"gain": 0.39}, "gains of 0.39 and 0.195 in channel CH1"),
    ],
)
def test_recordings_of_open_ephys_that_do_not_continue_one_another_are_refused(tmp_path, change, differ):
    gain = change.pop("gain", None)
    numbers = np.arange(2000)
    open_ephys(tmp_path / "rat", numbers, numbers / 1000)
    _, folder = open_ephys(tmp_path / "rat", numbers + 5000, (numbers + 5000) / change.get("rate", 1000), [(6.0, 6.1)], number=2, **change)
    if gain is not None:
        path = folder.parent.parent / "structure.oebin"
        structure = json.loads(path.read_text())
        structure["continuous"][0]["channels"][0]["bit_volts"] = gain
        path.write_text(json.dumps(structure))
    with pytest.raises(UserError, match=rf"recording2/.*: it does not continue .*recording1/.*: {differ}.*: make a recording of each"):
        neo_formats.read(tmp_path / "rat", REQUEST)


# SpikeGLX


def triggers(folder, **second):
    parts = [counts(1000, 3), counts(500, second.pop("channels", 3))]
    lab_files.spikeglx(folder, parts[0], 1000.0, 0, run="run_g0_t0")
    lab_files.spikeglx(folder, parts[1], second.pop("rate", 1000.0), 4000, run="run_g0_t1", **second)
    return parts


@pytest.mark.parametrize(
    ("second", "differ"),
    [
        ({"gain": 500}, r"gains of 2\.344 and 4\.688 in channel LF0"),
        ({"rate": 2000.0}, "2000 and 1000 Hz"),
        ({"channels": 4}, "4 and 3 channels, not all of one name"),
    ],
)
def test_triggers_of_spikeglx_that_do_not_continue_one_another_are_refused(tmp_path, second, differ):
    triggers(tmp_path / "run", **second)
    with pytest.raises(
        UserError, match=rf"t1\.imec0\.lf\.meta: it does not continue \S*t0\.imec0\.lf\.meta: {differ}: make a recording of each"
    ):
        neo_formats.read(tmp_path / "run", REQUEST)


@pytest.mark.parametrize(("gone", "left"), [(".meta", ".bin"), (".bin", ".meta")])
def test_a_trigger_of_spikeglx_without_one_of_its_files_is_told(tmp_path, gone, left):
    parts = triggers(tmp_path / "run")
    (tmp_path / "run" / f"run_g0_t1.imec0.lf{gone}").unlink()
    contents = neo_formats.read(tmp_path / "run", REQUEST)
    assert np.array_equal(first(contents).data[:], parts[0][:, :2])
    assert told(contents, "left_out") == f"run_g0_t1.imec0.lf{left}: no {gone} beside it"


def test_a_stream_of_spikeglx_that_one_trigger_lacks_is_named(tmp_path):
    triggers(tmp_path / "run")
    lab_files.spikeglx_nidq(tmp_path / "run", counts(1000, 3), 1000.0, 0)
    with pytest.raises(
        UserError, match=r"run: no files of nidq beside run_g0_t1\.imec0\.lf\.meta, .*put them there, or make a recording of each"
    ):
        neo_formats.read(tmp_path / "run", REQUEST)


def test_a_meta_of_spikeglx_without_its_first_sample_is_told(tmp_path):
    path = lab_files.spikeglx(tmp_path / "run", counts(1000, 3), 1000.0, 500).with_suffix(".meta")
    path.write_text(path.read_text().replace("firstSample=500\n", ""))
    contents = neo_formats.read(path, REQUEST)
    assert stretches(first(contents)) == [(0, 0.0)]
    assert told(contents, "cut_short") == f"{path.name} has no firstSample: its samples are taken to start at 0 s"


def test_a_gain_of_zero_is_named(tmp_path):
    path = lab_files.spikeglx(tmp_path / "run", counts(1000, 3), 1000.0, 0, gain=0).with_suffix(".meta")
    with pytest.raises(UserError, match=r"run_g0_t0\.imec0\.lf\.meta: a gain of 0 in it: write what the amplifier was set to"):
        neo_formats.read(path, REQUEST)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 600, 601])
def test_a_file_of_spikeglx_that_ends_within_a_sample_is_used(tmp_path, size):
    data = counts(1000, 3)
    path = lab_files.spikeglx(tmp_path / "run", data, 1000.0, 0)
    cut(path, size)
    contents = neo_formats.read(tmp_path / "run", REQUEST)
    assert np.array_equal(first(contents).data[:], data[: 1000 - -(-size // 6), :2])
    assert told(contents, "cut_short").startswith(f"run_g0_t0.imec0.lf.bin has {6000 - size} of the 6000 bytes")


# Intan


@pytest.mark.parametrize("number", [20000, -5000])
def test_intan_starts_at_its_first_sample_number(tmp_path, number):
    amplifier, adc, digital = np.full((1280, 2), 33000, np.uint16), np.zeros((1280, 1), np.uint16), np.zeros(1280, np.uint16)
    digital[200:400] = 1
    path = lab_files.intan(tmp_path / "rat.rhd", 20000.0, amplifier, adc, digital, np.arange(1280) + number)
    contents = neo_formats.read(path, REQUEST)
    assert stretches(first(contents)) == [(0, number / 20000)]
    assert contents.intervals["digital-in-0"] == same([[(number + 200) / 20000, (number + 400) / 20000]])
    assert contents.behaviors["USB board ADC input channel"]().times == pytest.approx((np.arange(1280) + number) / 20000)


@pytest.mark.parametrize(("name", "width"), [("amplifier.dat", 6), ("time.dat", 4)])
def test_files_of_intan_of_other_lengths_are_read_as_far_as_all_go(tmp_path, name, width):
    data = counts(3000, 3)
    folder = lab_files.intan_folder(tmp_path / "rat", 20000.0, data)
    cut(folder / name, 1000 * width + 1)
    contents = neo_formats.read(folder, REQUEST)
    signal = first(contents)
    assert np.array_equal(signal.data[:], data[:1999]) and signal.clock.samples == 1999
    assert told(contents, "cut_short") == f"{name} has 1999 samples and others 3000: all are read as far as it goes"


def test_intan_with_one_file_a_channel(tmp_path):
    data = counts(3000, 3)
    folder = lab_files.intan_folder(tmp_path / "rat", 20000.0, data)
    (folder / "amplifier.dat").unlink()
    with pytest.raises(UserError, match=r"info\.rhd: a \.dat of its signals is missing beside it .*: copy all files again"):
        neo_formats.read(folder, REQUEST)
    for channel, length in enumerate((3000, 2500, 3000)):
        (folder / f"amp-A-{channel:03d}.dat").write_bytes(data[:length, channel].tobytes())
    contents = neo_formats.read(folder, REQUEST)
    assert np.array_equal(first(contents).data[:], data[:2500])
    assert told(contents, "cut_short") == "amp-A-001.dat has 2500 samples and others 3000: all are read as far as it goes"
    (folder / "amp-A-001.dat").unlink()
    with pytest.raises(UserError, match=r"info\.rhd: no \.dat of A-001 beside it: copy all files again"):
        neo_formats.read(folder, REQUEST)


# Blackrock and Axona


def test_an_axona_bin_that_ends_within_a_packet_is_told(tmp_path):
    data = counts(300, 8)
    path = lab_files.axona(tmp_path / "rat", data, list(range(8)), list(range(32, 40)), np.array([96, 9600]))
    cut(path.with_suffix(".bin"), 10)
    contents = neo_formats.read(path, REQUEST)
    assert np.array_equal(first(contents).data[:], data[:297])
    assert told(contents, "cut_short") == "rat.bin ends within a packet: its end is missing"


def test_a_nev_that_ends_within_a_packet_is_told(tmp_path):
    lab_files.blackrock(tmp_path / "monday.ns2", 30, [(1, "chan1", "uV", 8191)], [(0, counts(1000, 1))])
    path = lab_files.blackrock_events(tmp_path / "monday.nev", [1], [(300, 1, 1), (900, 1, 1)], [])
    cut(path, 50)
    contents = neo_formats.read(tmp_path / "monday.ns2", REQUEST)
    assert [times.tolist() for times in contents.units().times] == [pytest.approx([0.01])]
    assert told(contents, "cut_short") == "monday.nev ends within a packet: its end is missing"


def test_blackrocks_files_that_pause_at_other_times_are_read_one_by_one(tmp_path):
    labels, parts, whole = [(1, "chan1", "uV", 8191)], [counts(1000, 1), counts(500, 1)], counts(6000, 1)
    lab_files.blackrock(tmp_path / "monday.ns2", 30, labels, [(0, parts[0]), (60000, parts[1])])
    lab_files.blackrock(tmp_path / "monday.ns3", 15, labels, [(0, whole)])
    lab_files.blackrock_events(tmp_path / "monday.nev", [1], [(300, 1, 1), (900, 1, 1)], [(0, 1), (300, 2)])
    contents = neo_formats.read(tmp_path / "monday.ns2", REQUEST)
    assert np.array_equal(first(contents).data[:], np.concatenate(parts)) and stretches(first(contents)) == [(0, 0.0), (1000, 2.0)]
    assert told(contents, "left_out") == "all .nsX but monday.ns2, which pause at other times: each can be named"
    assert np.array_equal(first(neo_formats.read(tmp_path / "monday.ns3", REQUEST)).data[:], whole)
    with pytest.raises(UserError, match=r"monday\.nev: monday\.ns2 and monday\.ns3 pause at other times: name one of them"):
        neo_formats.read(tmp_path / "monday.nev", REQUEST)


def test_spikes_without_signals_say_which_file_is_missing(tmp_path):
    events = lab_files.blackrock_events(tmp_path / "monday.nev", [1], [(300, 1, 1), (900, 1, 1)], [])
    axona = lab_files.axona(tmp_path / "rat", counts(300, 8), list(range(8)), list(range(32, 40)), np.array([96, 9600]))
    axona.with_suffix(".bin").unlink()
    for path, missing in ((events, r"its \.ns1 to \.ns6"), (axona, r"its \.bin \(raw, not \.eeg\)")):
        contents = neo_formats.read(path, REQUEST)
        assert [len(times) for times in contents.units().times] == [2]
        with pytest.raises(
            UserError, match=rf"{path.name}: no signals in this recording: put {missing} beside it, or name it with --units-file"
        ):
            signal_of(contents, Choices(), str(path))
