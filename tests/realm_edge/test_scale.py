"""From what files hold to ADC counts: volts are right to rounding, and nothing takes the resolution of the others."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from realm_edge.app import cli
from realm_edge.errors import UserError
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording
from realm_edge.settings import SIX_BANDS, Settings
from tests.nwb_file import add_behavior, electrical_series, electrodes, new_file, recording_file, region, velocity, write

pytestmark = [
    pytest.mark.filterwarnings("error::RuntimeWarning"),  # of numpy: a cast of NaN is not the same on every machine
    pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion"),
]

SECONDS, RATE = 60, 1000
GAIN = 1.95e-7  # V a count


def signal(channels=4, scale=2000.0, seconds=SECONDS):
    """Noise like LFP, and a tone on each channel, in counts, ``(samples, channels)``."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((seconds * RATE, channels)).cumsum(axis=0)
    x -= np.linspace(0, 1, len(x))[:, None] * x[-1]
    t = np.arange(len(x))[:, None] / RATE
    x = 0.02 * x + np.sin(2 * np.pi * np.array([8, 12, 20, 40])[:channels] * t)
    return scale * x / np.abs(x).max()


X = np.rint(signal()).astype(np.int16)
GAINS = np.array([1, 2, 0.5, 4]) * 1e-7


def volts(recording):
    return np.asarray(recording.lfp).astype(np.float64) * recording.lfp_scale + recording.lfp_offset


REAL_COUNTS = {  # name: data, what describes it, volts, volts per count
    "conversion": (X, {"conversion": GAIN}, X * GAIN, GAIN),
    "uniform channel_conversion": (X, {"conversion": 1.0, "channel_conversion": [GAIN] * 4}, X * GAIN, GAIN),
    "big-endian": (X.astype(">i2"), {"conversion": GAIN}, X * GAIN, GAIN),
    "int8": ((X // 16).astype(np.int8), {"conversion": GAIN}, (X // 16) * GAIN, GAIN),
    "offset": (X, {"conversion": GAIN, "offset": 1e-4}, X * GAIN + 1e-4, GAIN),
    "offset binary": ((X.astype(int) + 32768).astype(np.uint16), {"conversion": GAIN, "offset": -32768 * GAIN}, X * GAIN, GAIN),
    "one channel": (X[:, 0], {"conversion": GAIN}, X[:, :1] * GAIN, GAIN),
}


@pytest.mark.parametrize("kind", REAL_COUNTS)
def test_real_counts_stay_as_they_are(tmp_path, kind):
    data, described, expected, gain = REAL_COUNTS[kind]
    recording = read_recording(recording_file(tmp_path / "a.nwb", data, **described))
    assert (recording.lfp_scale, recording.lfp_unit, recording.lfp.dtype) == (pytest.approx(gain), "V", np.int16)
    np.testing.assert_allclose(volts(recording), expected, atol=1e-3 * GAIN, rtol=0)
    assert "few_counts" not in recording.provenance and recording.good_channels.all()


WIDE = X.astype(np.float64) * GAIN  # V
CONSTANTS = np.array([0.1, -0.3, 0.0, 0.002])  # V
MADE_COUNTS = {
    "channel gains that differ": (X, {"conversion": 1.0, "channel_conversion": list(GAINS)}, X * GAINS),
    "and a common factor": (X, {"conversion": 0.5, "channel_conversion": list(GAINS)}, X * GAINS * 0.5),
    "float32 in V": (WIDE.astype(np.float32), {"conversion": 1.0}, WIDE),
    "float64 in uV": (X * 0.195, {"conversion": 1e-6}, WIDE),
    "big-endian floats": (WIDE.astype(">f4"), {"conversion": 1.0}, WIDE),
    "float16 in uV": ((X * 0.195).astype(np.float16), {"conversion": 1e-6}, (X * 0.195).astype(np.float16).astype(float) * 1e-6),
    "float16 in V": (WIDE.astype(np.float16), {"conversion": 1.0}, WIDE.astype(np.float16).astype(np.float64)),
    "int32": (X.astype(np.int32) * 1000, {"conversion": GAIN / 1000}, WIDE),
    "a constant of 0.25 V": (WIDE + 0.25, {"conversion": 1.0}, WIDE + 0.25),
    "a constant of each channel": (WIDE + CONSTANTS, {"conversion": 1.0}, WIDE + CONSTANTS),
}


@pytest.mark.parametrize("kind", MADE_COUNTS)
def test_counts_that_are_made_are_right_to_rounding(tmp_path, kind):
    data, described, expected = MADE_COUNTS[kind]
    recording = read_recording(recording_file(tmp_path / "a.nwb", data, **described))
    found = volts(recording)
    counts = np.asarray(recording.lfp)
    inside = np.abs(counts.astype(int)) < 32767
    assert inside.mean() > 0.999 and recording.lfp_unit == "V" and recording.good_channels.all()
    assert np.abs(found - expected)[inside].max() <= 0.5001 * recording.lfp_scale
    assert np.median([len(np.unique(column)) for column in counts.T]) > 400
    centred, was = found - found.mean(axis=0), expected - expected.mean(axis=0)
    assert (np.sqrt(((centred - was) ** 2).mean(axis=0) / (was**2).mean(axis=0)) < 5e-3).all()


def with_auxiliary(scale=1500.0):
    """Four channels of LFP (V) and an analogue input of 3 V."""
    x = np.rint(signal(scale=scale)).astype(np.int16)
    adc = np.rint(20_000 * np.sin(2 * np.pi * np.arange(len(x)) / RATE)).astype(np.int16)
    return np.column_stack([x, adc]), np.array([GAIN] * 4 + [1.5e-4])


@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_an_auxiliary_channel_takes_nothing_from_the_others(tmp_path, kind):
    data, gains = with_auxiliary()
    if kind == "int16":
        path = recording_file(tmp_path / "a.nwb", data, conversion=1.0, channel_conversion=list(gains))
    else:
        path = recording_file(tmp_path / "a.nwb", (data * gains).astype(np.float32), conversion=1.0)
    recording = read_recording(path)
    np.testing.assert_array_equal(recording.good_channels, [True] * 4 + [False])
    assert recording.provenance["too_large"].startswith("4: beyond full scale at the scale of the others (an auxiliary input?)")
    atol = 1e-3 * GAIN if kind == "int16" else 0.51 * recording.lfp_scale  # counts of the most common gain stay as they are
    np.testing.assert_allclose(volts(recording)[:, :4], data[:, :4] * GAIN, atol=atol, rtol=0)
    assert min(len(np.unique(column)) for column in np.asarray(recording.lfp)[:, :4].T) > 500
    left = read_recording(path, Choices(without_channels=("4",)))
    assert left.lfp.shape[1] == 4 and left.good_channels.all()


def test_the_command_line_names_the_auxiliary_channel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, gains = with_auxiliary()
    recording_file(tmp_path / "mix.nwb", data, conversion=1.0, channel_conversion=list(gains))
    Path("short.toml").write_text("window_bins = 50")
    result = CliRunner().invoke(cli.main, ["data", "convert", "mix.nwb", "mix.realm", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["masked_channels"] == [4]
    result = CliRunner().invoke(cli.main, ["data", "--data", "mix.nwb", "--config", "short.toml", "--out", "run"])
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert "bad channels [4] are left out" in said and "an auxiliary input?" in said and "clipped" not in said


RARE = {"sentinel": -9999.0, "artefact of 100 mV": 0.1, "stimulus of 500 mV": 0.5, "infinite": np.inf}


@pytest.mark.parametrize("kind", RARE)
def test_one_sample_decides_nothing(tmp_path, kind):
    clean = WIDE.astype(np.float32)
    data = clean.copy()
    data[30_000, 0] = RARE[kind]
    recording, reference = (
        read_recording(recording_file(tmp_path / f"{name}.nwb", x, conversion=1.0)) for name, x in (("a", data), ("b", clean))
    )
    assert recording.good_channels.all()
    assert recording.lfp_scale == pytest.approx(reference.lfp_scale, rel=0.02)
    away = np.arange(len(data)) != 30_000
    assert np.abs(volts(recording)[away] - WIDE[away]).max() <= 0.51 * recording.lfp_scale
    settings = Settings(lfp=SIX_BANDS, window_bins=50)
    one, other = (prepare(each, settings, heldout=True) for each in (recording, reference))
    after = slice(1800, None)  # six seconds later every filter has forgotten it
    for a, b in zip(one.features[after].T, other.features[after].T, strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.999
    assert ("clipped" in one.provenance) == np.isfinite(RARE[kind])
    if "clipped" in one.provenance:
        assert one.provenance["clipped"].startswith("1 sample(s) clipped at full scale, channel 0")


@pytest.mark.parametrize("value", [5.0, np.nan, "noise"])
def test_a_channel_that_is_marked_bad_decides_nothing(tmp_path, value):
    data = WIDE.astype(np.float32)
    data[:, 2] = 5.0 * np.random.default_rng(1).standard_normal(len(data)) if value == "noise" else value
    data[::7, 2] *= -1
    file = new_file()
    electrodes(file, 4)
    file.add_electrode_column(name="bad", description="a mask", data=[False, False, True, False])
    file.add_acquisition(electrical_series("lfp", data, region(file, range(4)), rate=float(RATE)))
    add_behavior(file, velocity(seconds=SECONDS))
    recording = read_recording(write(tmp_path / "a.nwb", file))
    np.testing.assert_array_equal(recording.good_channels, [True, True, False, True])
    good = [0, 1, 3]
    assert np.abs(volts(recording)[:, good] - WIDE[:, good]).max() <= 0.51 * recording.lfp_scale
    assert min(len(np.unique(column)) for column in np.asarray(recording.lfp)[:, good].T) > 500
    assert recording.stretches == ((0, len(data), 0.0),)


def test_nothing_is_learnt_from_the_test_part(tmp_path):
    data = WIDE.astype(np.float32)
    first = read_recording(recording_file(tmp_path / "a.nwb", data, conversion=1.0))
    test = round(0.8 * len(data))
    data[test:] = data[test:] * 1000 + 1.0
    second = read_recording(recording_file(tmp_path / "b.nwb", data, conversion=1.0))
    assert second.lfp_scale == first.lfp_scale and second.good_channels.all()
    np.testing.assert_array_equal(second.lfp_offset, first.lfp_offset)
    np.testing.assert_array_equal(second.lfp[:test], first.lfp[:test])
    assert np.abs(second.lfp[test:].astype(int)).max() == 32767  # clipped, as an ADC does


def test_a_channel_with_few_counts_is_told(tmp_path):
    data = WIDE.astype(np.float32)
    data[:, 1] *= 1e-3
    recording = read_recording(recording_file(tmp_path / "a.nwb", data, conversion=1.0))
    assert recording.provenance["few_counts"].startswith("1 channel(s) have fewer than 64 counts left, channel 1 ")
    assert "--without-channels" in recording.provenance["few_counts"]
    result = CliRunner().invoke(cli.main, ["data", "inspect", str(tmp_path / "a.nwb")])
    assert result.exit_code == 0 and "few counts: 1 channel(s) have fewer than 64 counts left" in result.stdout


def test_floats_of_no_known_unit_in_npz(tmp_path):
    """A z-score, say: lfp_scale is not given, so the unit is unknown, and nothing else."""
    x = X / X.std()
    np.savez(tmp_path / "a.npz", lfp=x, lfp_rate=1000, behavior=np.arange(3000.0), behavior_rate=50)
    recording = read_recording(tmp_path / "a.npz")
    assert recording.lfp_unit == "a.u." and np.abs(volts(recording) - x).max() <= 0.51 * recording.lfp_scale


def test_gains_and_offsets_of_npz(tmp_path):
    np.savez(
        tmp_path / "a.npz", lfp=X, lfp_rate=1000, lfp_scale=GAINS, lfp_offset=[0, 1e-3, 0, 0], behavior=np.arange(3000.0), behavior_rate=50
    )
    recording = read_recording(tmp_path / "a.npz")
    expected = X * GAINS + [0, 1e-3, 0, 0]
    assert recording.lfp_unit == "V" and np.abs(volts(recording) - expected).max() <= 0.51 * recording.lfp_scale


@pytest.mark.parametrize(("start", "stop"), [(0, 1000), (1000, 1100), (20_000, 26_000)])
def test_an_artefact_decides_nothing(tmp_path, start, stop):
    """0.3 V over 0.1 to 6 s of the 43 s that scales are chosen on, at the start too."""
    data = WIDE.astype(np.float32)
    data[start:stop] += 0.3
    recording = read_recording(recording_file(tmp_path / "a.nwb", data, conversion=1.0))
    reference = read_recording(recording_file(tmp_path / "b.nwb", WIDE.astype(np.float32), conversion=1.0))
    assert 0.7 < recording.lfp_scale / reference.lfp_scale < 1.5
    clean = np.r_[0:start, stop : len(data)]
    assert np.abs(volts(recording)[clean] - WIDE[clean]).max() <= 0.51 * recording.lfp_scale
    assert min(len(np.unique(channel)) for channel in np.asarray(recording.lfp)[clean].T) > 1000


@pytest.mark.parametrize(("kind", "middle"), [(np.uint64, 1 << 62), (np.uint64, (1 << 63) + 12_345), (np.int64, -(1 << 62)), (np.int64, 0)])
def test_integers_of_64_bits_keep_their_low_bits(tmp_path, kind, middle):
    small = np.random.default_rng(0).integers(-500, 500, (6000, 3))
    values = np.array([[middle + int(value) for value in row] for row in small], kind)
    recording = read_recording(npz(tmp_path / "a.npz", values))
    counts = np.asarray(recording.lfp).astype(int)
    np.testing.assert_array_equal(counts - counts[0], small - small[0])
    assert recording.lfp_scale == GAIN and np.abs(recording.lfp_offset - GAIN * middle).max() <= 1e-15 * GAIN * abs(middle) + 1000 * GAIN


def npz(path, lfp, **more):
    t = np.arange(len(lfp) // 20) / 50
    np.savez(path, **({"lfp": lfp, "lfp_rate": 1000, "lfp_scale": GAIN, "behavior": np.sin(t), "behavior_times": t} | more))
    return path


ODD = {
    "negative": ({"lfp_scale": -GAIN}, "a negative scale turns the voltage round"),
    "not in volts": ({"lfp_scale": 0.195}, "one count is 0.195 V, which no LFP needs: is its scale that of volts?"),
    "floats in microvolts": ({"lfp": X * 1.0, "lfp_scale": 1.0}, "V, which no LFP needs: is its scale that of volts?"),
    "an offset": ({"lfp_offset": -6389.76}, "channel 0 has an offset of -6.39e+03 V, which no LFP has: is it in volts?"),
}


@pytest.mark.parametrize("kind", ODD)
def test_scales_and_offsets_that_no_lfp_has_are_told(tmp_path, kind):
    changed, told = ODD[kind]
    path = npz(tmp_path / "a.npz", changed.pop("lfp", X), **changed)
    assert told in read_recording(path).provenance["scale"]
    assert "scale" not in read_recording(npz(tmp_path / "b.npz", X)).provenance
    result = CliRunner().invoke(cli.main, ["data", "inspect", str(path)])
    assert result.exit_code == 0 and told in result.stdout


@pytest.mark.parametrize("factor", [1e25, 1e290])
def test_voltage_beyond_all_sense_is_refused(tmp_path, factor):
    with pytest.raises(
        UserError, match=r"a\.npz: lfp: one count is .* V and the offset of channel \d .* V, beyond 1e\+18: correct its values"
    ):
        read_recording(npz(tmp_path / "a.npz", X * factor, lfp_scale=1.0))
