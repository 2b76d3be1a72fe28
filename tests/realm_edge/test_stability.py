"""The study of stability on an array of minutes: what is frozen stays frozen, what is refitted sees the first minute alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from realm_edge.documents import jsonable, read_document
from realm_edge.errors import UserError
from realm_edge.evaluation import stability
from realm_edge.evaluation.summary import SYNTHETIC
from realm_edge.evaluation.sweep import Plan
from realm_edge.progress import Silent
from realm_edge.settings import Settings
from realm_edge.sources import Recordings

TINY = {"d_model": 8, "n_layer": 1, "d_state": 4, "headdim": 8}
FIT = {"epochs": 2, "lr": 1e-2, "batch": 4}
SETTINGS = Settings.model_validate(
    {
        "window_bins": 60, "student": TINY, "distil": FIT, "finetune": FIT, "transformer_bins": 4,
        "synthetic": {"sessions": 2, "seconds": 22, "heldout_seconds": 22, "channels": 4, "units": 2},
    }
)  # fmt: skip
PLAN = Plan(SETTINGS, seeds=1, labels=(), command="realm-edge study stability")


def test_every_later_day_is_decoded_in_every_way(tmp_path):
    summary = jsonable(stability.run(PLAN, tmp_path, Silent()))
    assert read_document(tmp_path / "study.json", "realm-edge stability study/1", dict, "") == summary
    later = [3.0 * step for step in range(1, stability.AFTER + 1)]
    kinds = {(each["input"], each["decoder"], each["statistics"], each["refit"]): each["days"] for each in summary["lines"]}
    assert len(kinds) == 12
    for (_, decoder, _, refit), days in kinds.items():
        assert [point["day"] for point in days] == (later if refit else [0.0, *later])
        assert all(np.isfinite(point["r2"]) for point in days) and not (refit and decoder == "Wiener")
    frozen, running = (kinds["LFP", "Wiener", statistics, False] for statistics in ("frozen", "running"))
    assert frozen != running
    text = (tmp_path / "study.md").read_text()
    assert SYNTHETIC in text and "| LFP | student | running, read-out refitted | – |" in text and PLAN.command in text
    assert (tmp_path / "study.png").stat().st_size > 10_000

    result = tmp_path / "results" / "array0.json"
    before = result.stat().st_mtime_ns
    assert jsonable(stability.run(PLAN, tmp_path, Silent())) == summary
    assert result.stat().st_mtime_ns == before


def test_later_days_keep_the_thresholds_of_the_training_day():
    aged = SETTINGS.synthetic.model_copy(update={"sessions": stability.BEFORE + 3, "days_apart": 10.0})
    thresholds = [one.spike_threshold for one in stability._sessions(SETTINGS.model_copy(update={"synthetic": aged}))]
    day = thresholds[stability.BEFORE]
    assert all(np.array_equal(day, later) for later in thresholds[stability.BEFORE :])
    assert not np.array_equal(day, thresholds[0])


def test_a_refit_sees_its_first_bins_alone():
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((500, 6)).astype(np.float32)
    targets = (hidden @ rng.standard_normal((6, 2)) + 3).astype(np.float32)
    targets[10] = np.nan
    refitted = stability._refitted(hidden, targets, 100)
    np.testing.assert_allclose(refitted[200:], targets[200:], atol=0.05)
    changed = targets.copy()
    changed[100:] = 0.0
    np.testing.assert_array_equal(stability._refitted(hidden, changed, 100), refitted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recordings": Recordings((Path("a.nwb"),))}, "leave --data, --heldout, --decoders and --labels out"),
        ({"heldout": 2}, "leave --data"),
        ({"settings": SETTINGS.model_copy(update={"lfp": SETTINGS.lfp.model_copy(update={"zscore_bins": 64})})}, "set zscore_bins to 0"),
    ],
)
def test_what_it_has_no_choice_of_is_refused(changes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        stability.run(replace(PLAN, **changes), tmp_path, Silent())
