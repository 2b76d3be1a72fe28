"""The study of information on made-up features whose answer is known, and from the command line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.signal import lfilter

from realm_edge.app import cli
from realm_edge.documents import jsonable, read_document
from realm_edge.errors import UserError
from realm_edge.evaluation import information, information_output, predictability
from realm_edge.evaluation.forms import SessionInformation, Told
from realm_edge.evaluation.summary import SYNTHETIC
from realm_edge.evaluation.sweep import Plan
from realm_edge.evaluation.tasks import Task
from realm_edge.progress import Silent
from realm_edge.settings import Settings
from realm_edge.sources import Recordings
from realm_edge.training.material import gather
from tests import made_up
from tests.feature_file import feature_file

BINS = 3000
SETTINGS = Settings(window_bins=100)
PLAN = Plan(SETTINGS, labels=(), command="realm-edge study information")


def noise(columns: int, seed: int = 0, bins: int = BINS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((bins, columns)).astype(np.float32)


def slow(columns: int, keeps: float, seed: int = 0, bins: int = BINS) -> np.ndarray:
    """AR(1) of unit variance."""
    return (np.sqrt(1 - keeps**2) * lfilter([1.0], [1.0, -keeps], noise(columns, seed, bins), axis=0)).astype(np.float32)


def task(features: np.ndarray, targets: np.ndarray, **changes) -> Task:
    """One feature a channel, unless ``good_channels`` says otherwise."""
    bins = len(features)
    about = {
        "good_channels": np.ones(features.shape[1], bool),
        "counts": None,
        "train_end": bins * 6 // 10,
        "validation_end": bins * 7 // 10,
    }
    names = tuple(f"v{axis}" for axis in range(targets.shape[1]))
    return Task(made_up.session(features=features, targets=targets, target_names=names, **about | changes), (), 0.02, 100)


def measured(features: np.ndarray, targets: np.ndarray, **changes):
    return information.measured(task(features, targets, **changes), "features", SETTINGS, 3)[0]


# --- masked bins ------------------------------------------------------------------------------------------------------------------------


def test_what_is_seen_around_masked_bins_by_hand():
    masks = np.zeros((2, 12), bool)
    masks[0, [7, 8, 11]] = True
    masks[1, [0, 2]] = True
    hidden = predictability.hidden([(100, 112), (50, 54)], masks)
    assert hidden.bins.tolist() == [50, 52, 107, 108, 111]
    assert hidden.left.tolist() == [-1, 51, 106, 106, 110]
    assert hidden.leftmost.tolist() == [-1, 51, 102, 102, 109]  # at most five, and of one run
    assert hidden.right.tolist() == [51, 53, 109, 109, -1]
    assert hidden.rightmost.tolist() == [51, 53, 110, 110, -1]
    assert hidden.distance.tolist() == [1, 1, 1, 1, 1]

    x = np.arange(200, dtype=np.float32)[:, None] ** 2
    rows = predictability.around(x, hidden)
    before, after = [106**2, np.mean(np.arange(102, 107) ** 2)], [109**2, (109**2 + 110**2) / 2]
    np.testing.assert_allclose(rows[2:4], [[*before, *after], [*after, *before]])  # the nearer side first
    np.testing.assert_allclose(rows[0], [51**2, 51**2, 0, 0])  # the window shows nothing to the left
    np.testing.assert_allclose(rows[4], [110**2, (109**2 + 110**2) / 2, 0, 0])


def test_neighbours_are_of_a_bins_own_segment_and_part_and_nothing_is_masked_in_void_times():
    starts, valid = np.array([0, 130, 700, 900, 2900]), np.ones(BINS, bool)
    valid[700:900] = False
    one = task(noise(2), noise(1, 1), starts=starts, valid=valid).decoded
    series = gather((one,), one, "features", 0.02).decoded
    hidden = information._masked(series, 0, one.train_end, 100, SETTINGS, 2)
    assert hidden.bins.max() < one.train_end and not ((hidden.bins >= 700) & (hidden.bins < 900)).any()
    for side in (hidden.left, hidden.leftmost, hidden.right, hidden.rightmost):
        there = side >= 0
        np.testing.assert_array_equal(*(np.searchsorted(starts, each[there], "right") for each in (side, hidden.bins)))
        assert side.max() < one.train_end
    assert len(hidden.bins) / 2 / (one.train_end - 200) == pytest.approx(SETTINGS.pretrain.masked_fraction, abs=0.1)


def test_distances_without_bins_to_fit_on_share_the_fit_of_nearer_ones():
    windows, masks = [(100 * at, 100 * at + 100) for at in range(200)], np.zeros((200, 100), bool)
    masks[:, 20:28] = True  # 400 bins at each distance from 1 to 4
    masks[:, 60:62] = True
    found = predictability.classes(predictability.hidden(windows, masks))
    assert [(each.nearest, each.farthest) for each in found] == [(1, 1), (2, 2), (3, predictability.FAR - 1)]


@pytest.mark.parametrize("keeps", [0.9, 0.97])
def test_a_slow_process_has_the_r2_that_theory_says(keeps):
    """AR(1): of a bin a after one visible bin and b before the next, 1 - (1 - r^2a)(1 - r^2b) / (1 - r^2(a + b)) is told."""
    x, gap = slow(2, keeps, bins=60_000), 8
    windows = [(at, at + 100) for at in range(0, len(x), 100)]
    masks = np.zeros((len(windows), 100), bool)
    masks[:, 30 : 30 + gap] = masks[:, 70 : 70 + gap] = True
    train, test = (predictability.hidden(windows[part], masks[part]) for part in (slice(400), slice(400, None)))
    told = predictability.of_masked(x, x, train, test)
    for a in (1, 2):
        rows, b = test.distance == a, gap + 1 - a
        theory = 1 - (1 - keeps ** (2 * a)) * (1 - keeps ** (2 * b)) / (1 - keeps ** (2 * (a + b)))
        assert predictability.pooled_r2(x[test.bins][rows], told[rows]) == pytest.approx(theory, abs=0.03)


def test_the_level_of_chance_is_that_of_shifted_inputs():
    x = noise(20)
    turned, owners = predictability.turned(x, [10, 300])
    assert turned.shape == (BINS, 16) and owners.tolist() == [0, 2, 5, 8, 10, 13, 16, 19] * 2
    np.testing.assert_array_equal(turned[:, 9], np.roll(x[:, 2], 300))
    told = np.zeros((BINS, 16), np.float32)
    told[:, 8:] = turned[:, 8:] / 2  # a quarter of the variance is left
    assert predictability.greatest_r2(turned, told, 2) == pytest.approx(0.75, abs=1e-3)


def test_each_half_is_told_by_a_fit_to_the_other_one():
    x = slow(2, 0.97)
    x[BINS // 2 :] = 0.0  # whoever is fitted to that says 0
    windows = [(at, at + 100) for at in range(0, BINS, 100)] * 2
    train = predictability.hidden(windows, noise(100, 1, len(windows)) > 0)
    told = predictability.in_halves(x, train)
    first = train.bins <= np.median(train.bins)
    assert (told[first] == 0).all() and np.ptp(x[train.bins][first]) > 0 and not first.all()


# --- sessions ---------------------------------------------------------------------------------------------------------------------------


def test_white_noise_leaves_nothing_to_learn():
    x = noise(6)
    one = measured(x, x[:, :1] + noise(1, 1))
    assert abs(one.masked.r2) < 0.02 and abs(one.other_channels.r2) < 0.02 and one.verdict == information.NOTHING
    assert all(abs(each.r2) < 0.05 for each in one.by_distance) and sum(each.share for each in one.by_distance) == pytest.approx(1)
    assert one.target.r2 == pytest.approx(0.5, abs=0.05) and one.target.above_chance  # though the target is there
    assert one.kept < 0.1 and abs(one.masked.chance) < 0.02


def test_slow_features_that_are_about_the_target_and_others_that_are_not():
    x = np.concatenate([slow(3, 0.99), noise(3, 1)], axis=1)
    about, others = measured(x, x[:, :1] + 0.3 * noise(1, 2)), measured(x, x[:, 3:4] + 0.3 * noise(1, 2))
    assert about.verdict == information.ABOUT_TARGET and about.kept > 0.6
    assert others.verdict == information.ABOUT_OTHERS and others.kept < 0.1 and others.target.r2 > 0.8
    assert about.masked.r2 == others.masked.r2 and about.masked.r2 > 0.25
    assert about.by_distance[0].r2 > about.by_distance[-1].r2 > 0.1


def test_space_is_told_apart_from_time():
    """Twelve channels see one white source: half of each is told by the others, at most, and nothing by its neighbours in time."""
    source, own = noise(1), noise(12, 1)
    one = measured(source + own, noise(1, 2))
    rest = 10  # channels of the other folds, or eleven
    assert one.other_channels.r2 == pytest.approx(0.5 * rest / (rest + 1), abs=0.03) and abs(one.masked.r2) < 0.02
    assert one.other_channels.chance < 0.05 and one.channels == 12
    kinds = measured(np.concatenate([source, source], axis=1), noise(1, 2), good_channels=np.ones(1, bool))
    assert kinds.other_channels is None and kinds.channels == 1  # two inputs of one channel do not tell each other


def test_inputs_are_of_the_channel_that_they_come_from():
    """Kind after kind: inputs 0 and 8 are of channel 0. They are copies, and no other channel has them."""
    x = noise(8)
    assert abs(measured(np.concatenate([x, x], axis=1), noise(1, 1), good_channels=np.ones(8, bool)).other_channels.r2) < 0.02


def test_the_component_that_holds_the_target():
    """White components of falling variance; standardised inputs would all be alike, so three groups of copies make them."""
    sources = noise(3)
    x = np.concatenate([sources[:, [0] * 8], sources[:, [1] * 4], sources[:, [2] * 2]], axis=1) + 0.01 * noise(14, 1)
    one = measured(x, sources[:, 2:])
    held = {each.components: each for each in one.components}
    assert list(held) == [1, 2, 4, 8, 14]
    assert abs(held[1].r2) < 0.02 and abs(held[2].r2) < 0.02 and held[4].r2 > 0.99 and held[14].r2 == one.target.r2
    for k, inputs in ((1, 8), (2, 12), (4, 14)):
        assert held[k].variance == pytest.approx(inputs / 14, abs=0.02)


def test_nothing_is_fitted_on_the_validation_part():
    x, y = slow(4, 0.9), noise(2, 1)
    one, other = x.copy(), y.copy()
    end = BINS * 6 // 10
    one[end : BINS * 7 // 10] = 100 * noise(4, 5)[: BINS // 10]
    other[end : BINS * 7 // 10] = 50.0
    first, second = measured(x, y), measured(one, other)
    for name in ("masked", "other_channels", "target", "target_from_bin", "target_from_prediction"):  # shifts do bring those bins in
        assert getattr(first, name).r2 == getattr(second, name).r2
    assert first.components == second.components


@pytest.mark.parametrize(
    ("masked", "prediction", "kept", "expected"),
    [
        ((0.049, 0.0), (0.5, 0.0), 0.9, information.NOTHING),
        ((0.2, 0.21), (0.5, 0.0), 0.9, information.NOTHING),
        ((0.05, 0.01), (0.5, 0.0), 0.5, information.ABOUT_TARGET),
        ((0.05, 0.01), (0.5, 0.0), 0.49, information.ABOUT_OTHERS),
        ((0.9, 0.0), (0.1, 0.11), 0.9, information.ABOUT_OTHERS),
        ((0.9, 0.0), (0.1, 0.0), None, information.ABOUT_OTHERS),
        ((None, None), (0.1, 0.0), None, information.NOTHING),
    ],
)
def test_the_rules(masked, prediction, kept, expected):
    assert information.verdict(*(Told(r2=r2, chance=chance) for r2, chance in (masked, prediction)), kept) == expected


# --- what comes out ---------------------------------------------------------------------------------------------------------------------


def test_every_cell_and_sentence():
    one = measured(slow(6, 0.95), noise(1, 1))
    alone = measured(slow(2, 0.95), noise(1, 1), good_channels=np.ones(1, bool))
    sessions = [
        SessionInformation(command="x", session=name, synthetic=True, segments=1, seconds=1.0, masked_fraction=0.6, inputs=(each,))
        for name, each in (("a", one), ("b", alone))
    ]
    made = information_output.summarise(sessions, "A caption.", study="information", command="x", settings="0" * 64)
    assert made.caption == f"{SYNTHETIC} A caption."
    assert made.sentences[0].startswith(f"a, LFP: {one.verdict} (R² of masked bins {one.masked.r2:.3f};")
    text = information_output.markdown(made)
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("|") and "---" not in row]
    head, first, second, _, held, _ = rows
    assert head[3:6] == ["masked bin", "1 away", "2 away"]
    assert head[-5:] == ["9 or more away", "other channels", "target", "from prediction", "kept"]

    def told(each: Told) -> str:
        return f"{each.r2:.3f} ({each.chance:.3f})"

    others, target = told(one.other_channels), [told(one.target_from_bin), told(one.target_from_prediction)]
    kept = "–" if one.kept is None else f"{100 * one.kept:.0f} %"
    assert first == ["a", "LFP", "6", told(one.masked), *(f"{each.r2:.3f}" for each in one.by_distance), others, *target, kept]
    assert second[-4] == "–"
    component = {each.components: f"{100 * each.variance:.0f} %, {each.r2:.3f}" for each in one.components}
    assert held == ["a", "LFP", component[1], component[4], "–", f"6: {one.target.r2:.3f} ({one.target.chance:.3f})"]
    assert all(f"- {sentence}" in text for sentence in made.sentences)
    many = [replace_name(sessions[0], str(at)) for at in range(10)]
    drawn = information_output.plot(information_output.summarise(many, "", study="information", command="x", settings="0" * 64))
    assert drawn["png"].startswith(b"\x89PNG") and drawn["svg"].count(b">LFP<") == 1  # so many sessions have one entry in the legend


def replace_name(session: SessionInformation, name: str) -> SessionInformation:
    return session.model_copy(update={"session": name})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heldout": 2}, "leave --heldout, --decoders and --labels out"),
        ({"decoders": ("gru",)}, "it trains no decoder"),
        ({"labels": (0.5,)}, "it trains no decoder"),
        ({"recordings": Recordings((Path("a.nwb"), Path("b/a.nwb")))}, "two recordings are named a"),
    ],
)
def test_what_it_has_no_choice_of_is_refused(changes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        information.run(replace(PLAN, **changes), tmp_path, Silent())


def test_what_cannot_be_measured_is_told_by_name():
    with pytest.raises(UserError, match=r"day3: only \d+ bins of the training part are masked, in 20 draw\(s\), and 1000 are needed"):
        few = Settings(window_bins=100, pretrain={"epochs": 1, "lr": 1e-3, "masked_fraction": 0.001, "block_bins": (1, 1)})
        information.measured(task(noise(2), noise(1, 1)), "features", few, 1)
    void = np.arange(BINS) < 7 * BINS // 10
    with pytest.raises(UserError, match="day3: the whole test part lies in invalid times"):
        measured(noise(2), noise(1, 1), valid=void, starts=np.array([0, 7 * BINS // 10]))
    with pytest.raises(UserError, match="day3: no LFP input changes over the training part"):
        measured(np.ones((BINS, 2), np.float32), noise(1))


def test_recordings_of_features_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    feature_file(tmp_path / "a.nwb")
    given = ["study", "information", "--data", "a.nwb", "--features", "power", "--behavior", "force", "--seeds", "1", "--workers", "1"]
    shown = CliRunner().invoke(cli.main, [*given, "--json"])
    assert shown.exit_code == 0, shown.output
    summary = read_document(Path("runs/study-information/study.json"), "realm-edge information study/1", dict, "")
    assert json.loads(shown.stdout) == summary and not summary["synthetic"] and SYNTHETIC not in summary["caption"]
    (session,) = summary["sessions"]
    assert [(one["input"], one["inputs"], one["channels"]) for one in session["inputs"]] == [("LFP", 5, 5)]
    assert all(Path("runs/study-information", f"study.{kind}").stat().st_size for kind in ("md", "png", "svg"))
    result = Path("runs/study-information/results/a.json")
    before = result.stat().st_mtime_ns
    assert CliRunner().invoke(cli.main, given).exit_code == 0 and result.stat().st_mtime_ns == before
    again = CliRunner().invoke(cli.main, [*given[:-3], "2", "--workers", "1"])
    assert again.exit_code == 2 and "made with other settings or recordings" in again.stderr


@pytest.mark.slow
def test_synthetic_recordings_from_generator_to_plot(tmp_path):
    sizes = {"sessions": 2, "seconds": 60, "heldout_seconds": 60, "channels": 4, "units": 4}
    verdicts = {}
    for version in (1, 2):
        settings = Settings.model_validate({"window_bins": 100, "synthetic": sizes | {"version": version}})
        summary = jsonable(information.run(replace(PLAN, settings=settings, workers=2), tmp_path / str(version), Silent()))
        assert [session["session"] for session in summary["sessions"]] == ["synthetic_0", "synthetic_heldout"]
        assert [one["input"] for one in summary["sessions"][0]["inputs"]] == ["LFP", "spikes"]
        assert summary["caption"].startswith(SYNTHETIC) and len(summary["sentences"]) == 4
        assert SYNTHETIC in (tmp_path / str(version) / "study.svg").read_text()
        verdicts[version] = [session["inputs"][0]["masked"]["r2"] for session in summary["sessions"]]
        alone = jsonable(information.run(replace(PLAN, settings=settings), tmp_path / f"{version} alone", Silent()))
        for session in (*summary["sessions"], *alone["sessions"]):
            del session["seconds"]
        assert alone["sessions"] == summary["sessions"]  # whatever number of workers
    assert min(verdicts[2]) > max(verdicts[1])  # docs/generator.md
