"""The layout of Flint 2012: structs in a MATLAB 5 file."""

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import savemat

from realm_edge.app.cli import main
from realm_edge.errors import UserError
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording

TRIALS, SECONDS, START = 3, 2.0, 30.0
RNG = np.random.default_rng(0)
LFP = RNG.standard_normal((TRIALS, 2, 4000))  # trial, electrode, sample
VELOCITY = RNG.standard_normal((TRIALS, 200, 3))
SPIKES = [[START + SECONDS * i + 0.5, START + SECONDS * i + 0.75] for i in range(TRIALS)]  # of the first neuron; the last has one in all


def struct(rows):
    """A struct array of MATLAB, shape (1, len(rows))."""
    out = np.zeros((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for index, row in enumerate(rows):
        out[0, index] = tuple(row.values())
    return out


def trial(i, **changed):
    empty = np.zeros((0, 0))
    neurons = [
        {"Spike": np.array(SPIKES[i])[:, None], "LFP": LFP[i, 0][:, None]},
        {"Spike": empty, "LFP": empty},  # a second unit of the first electrode
        {"Spike": np.array([[START + 0.125]]) if i == 0 else empty, "LFP": LFP[i, 1][:, None]},
    ]
    values = {
        "Time": (START + SECONDS * i + np.arange(200) / 100)[:, None],
        "HandVel": VELOCITY[i],
        "TargetPos": np.zeros((200, 2)),
        "Condition": 1.0,
        "Neuron": struct(changed.pop("neurons", neurons)),
    }
    return values | changed


def write(path, *sessions):
    savemat(path, {"Subject": struct([{"Trial": struct(trials)} for trials in sessions])})
    return path


def values(recording):
    """LFP in the file's unit, (samples, electrodes)."""
    return np.asarray(recording.lfp) * recording.lfp_scale + recording.lfp_offset


@pytest.fixture
def trials():
    return [trial(i) for i in range(TRIALS)]


def test_trials_become_one_recording(tmp_path, trials):
    recording = read_recording(write(tmp_path / "Flint_2012_e1.mat", trials))
    assert (recording.name, recording.lfp_rate, recording.lfp_start) == ("Flint_2012_e1", 2000.0, START)
    expected = LFP.transpose(0, 2, 1).reshape(-1, 2)
    assert recording.lfp.dtype == np.int16 and recording.lfp_unit == "a.u."
    np.testing.assert_allclose(values(recording), expected, atol=0.51 * recording.lfp_scale)
    np.testing.assert_allclose(recording.behavior, VELOCITY[:, :, :2].reshape(-1, 2), rtol=1e-6)
    np.testing.assert_allclose(recording.behavior_times, START + np.arange(600) / 100)
    assert recording.behavior_names == ("hand_velocity_x", "hand_velocity_y")
    assert [list(times) for times in recording.spike_times] == [[time for times in SPIKES for time in times], [], [START + 0.125]]
    assert recording.lfp_gaps == () and recording.provenance["trials"] == "3"


def test_one_trial_of_one_neuron(tmp_path, trials):
    alone = trial(0, neurons=[{"Spike": np.array([[START]]), "LFP": LFP[0, 0][:, None]}])
    recording = read_recording(write(tmp_path / "a.mat", [alone]), Choices(("hand_velocity",)))
    assert recording.lfp.shape == (4000, 1) and [list(times) for times in recording.spike_times] == [[START]]


def test_small_gaps_and_overlaps_between_trials(tmp_path, trials):
    trials[1]["Time"] = trials[1]["Time"] + 0.005
    recording = read_recording(write(tmp_path / "a.mat", trials))
    counts = values(recording)
    assert recording.lfp.shape == (12_000, 2)  # the third trial is where its clock says
    [(at, length)] = recording.lfp_gaps
    assert at == pytest.approx(START + 2.0) and length == pytest.approx(0.005)
    np.testing.assert_array_equal(counts[4000:4010], np.tile(counts[3999], (10, 1)))
    np.testing.assert_allclose(counts[4010:8010], LFP[1].T, atol=recording.lfp_scale)
    np.testing.assert_allclose(counts[8010:], LFP[2, :, 10:].T, atol=recording.lfp_scale)


def test_pauses_between_trials_and_the_table_of_them(tmp_path, trials):
    trials[2]["Time"] = trials[2]["Time"] + 0.05
    path = write(tmp_path / "a.mat", trials)
    recording = read_recording(path)
    assert recording.stretches == ((0, 8000, START), (8000, 12_000, pytest.approx(START + 4.05)))
    np.testing.assert_allclose(values(recording)[8000:], LFP[2].T, atol=0.51 * recording.lfp_scale)
    ends = np.array([[0.0, 1.99], [2.0, 3.99], [4.05, 6.04]])
    np.testing.assert_allclose(read_recording(path, Choices(segments="trials")).trials, START + ends)


def test_several_sessions_must_be_chosen_from(tmp_path, trials):
    path = write(tmp_path / "Flint_2012_e2.mat", trials, trials[:1])
    with pytest.raises(UserError, match=r"holds 2 sessions.*data convert Flint_2012_e2\.mat Flint_2012_e2_1\.realm --session 1"):
        read_recording(path)
    assert CliRunner().invoke(main, ["data", "convert", str(path), str(tmp_path / "e2_2.realm"), "--session", "2"]).exit_code == 0
    second = read_recording(tmp_path / "e2_2.realm")
    assert second.lfp.shape == (4000, 2) and second.behavior_names == ("hand_velocity_x", "hand_velocity_y")
    none = CliRunner().invoke(main, ["data", "inspect", str(path), "--session", "3"])
    assert none.exit_code == 2 and "no session 3: use --session with 1 to 2" in none.stderr


def _changed(name):
    def change(trials):
        empty = np.zeros((0, 0))
        match name:
            case "overlap":
                trials[2]["Time"] = trials[2]["Time"] - 0.05
            case "other electrodes":
                trials[1] = trial(1, neurons=[{"Spike": empty, "LFP": LFP[1, 0][:, None]}] * 3)
            case "lengths":
                neurons = [{"Spike": empty, "LFP": LFP[1, 0, : 4000 - k][:, None]} for k in range(3)]
                neurons[1]["LFP"] = empty
                trials[1] = trial(1, neurons=neurons)
            case "no lfp":
                trials[0] = trial(0, neurons=[{"Spike": empty, "LFP": empty}] * 3)
            case "velocity":
                trials[0]["HandVel"] = VELOCITY[0][:, :1]
            case "rows":
                trials[0]["HandVel"] = VELOCITY[0][:7]
            case "nan":
                lfp = LFP[0, 0].copy()
                lfp[900:] = np.nan
                trials[0] = trial(0, neurons=[{"Spike": empty, "LFP": lfp[:, None]}, *[{"Spike": empty, "LFP": empty}] * 2])
                trials[1:] = []
            case "no time":
                for each in trials:
                    del each["Time"]
        return trials

    return change


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("overlap", r"trial 3: its clock has overlaps: it starts 50\.0 ms before the end of the one before, more than the 20 ms of a bin"),
        ("other electrodes", r"trial 2: other neurons have LFP"),
        ("lengths", r"trial 2: its channels have 3998 to 4000 samples"),
        ("no lfp", "no LFP: no Neuron of the first trial has any"),
        ("velocity", "not laid out as Flint 2012"),
        ("rows", "not laid out as Flint 2012"),
        ("nan", r"Neuron\.LFP: every channel is NaN in more than 20 % of the samples"),
        ("no time", r"not laid out as Flint 2012 \(KeyError"),
    ],
)
def test_wrong_structs(tmp_path, trials, kind, message):
    with pytest.raises(UserError, match=rf"a\.mat: {message}") as caught:
        read_recording(write(tmp_path / "a.mat", _changed(kind)(trials)))
    assert "\n" not in str(caught.value)


def test_other_mat_files(tmp_path, trials):
    path = tmp_path / "a.mat"
    savemat(path, {"x": 1.0})
    with pytest.raises(UserError, match=r"a\.mat: no struct 'Subject'"):
        read_recording(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 40)
    with pytest.raises(UserError, match=r"a\.mat: a MATLAB 7\.3 file.*name the \.nwb beside it"):
        read_recording(path)
    write(path, trials)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"a\.mat: not readable as a MATLAB file"):
        read_recording(path)
