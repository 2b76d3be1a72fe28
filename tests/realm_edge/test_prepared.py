"""Prepared sessions are kept, held against their hash, and made anew where they are damaged."""

import os
from pathlib import Path

import numpy as np
import pytest

from realm_edge import prepared as module
from realm_edge.prepared import prepared
from realm_edge.session import load, stored
from realm_edge.settings import SIX_BANDS, Settings
from realm_edge.sources import Recordings

SETTINGS = Settings(lfp=SIX_BANDS, window_bins=30)
T = np.arange(1000) / 50


@pytest.fixture
def recording(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    counts = np.random.default_rng(0).integers(-500, 500, (20_000, 2), dtype=np.int16)
    np.savez(tmp_path / "a.npz", lfp=counts, lfp_rate=1000, behavior=np.sin(T), behavior_times=T)
    return Recordings((tmp_path / "a.npz",))


def test_a_session_is_prepared_once(recording):
    kept = prepared(recording, 0, SETTINGS, heldout=True)
    made = kept.stat().st_mtime_ns, kept.stat().st_ino
    assert prepared(recording, 0, SETTINGS, heldout=True) == kept and kept.stat().st_ino == made[1]
    assert prepared(recording, 0, SETTINGS, heldout=False) != kept
    lfp = np.load(recording.files[0])["lfp"]
    assert np.array_equal(np.asarray(load(kept).lfp), lfp[: len(load(kept).lfp)])


@pytest.mark.parametrize("damage", ["a bit", "cut short", "no sum"])
def test_a_damaged_session_is_prepared_anew(recording, damage):
    kept = prepared(recording, 0, SETTINGS, heldout=True)
    whole = kept.read_bytes()
    match damage:
        case "a bit":
            kept.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
        case "cut short":
            kept.write_bytes(whole[:5000])
        case "no sum":
            kept.write_bytes(whole[:5000] + whole)
            kept.with_suffix(".sha256").unlink()
    assert prepared(recording, 0, SETTINGS, heldout=True).read_bytes() == whole


def test_what_was_used_longest_ago_goes_with_its_sum_once_nobody_uses_it(recording, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 0)
    monkeypatch.setattr(module, "_in_use", {})
    old = prepared(recording, 0, SETTINGS, heldout=True)
    os.utime(old, (1, 1))
    new = prepared(recording, 0, SETTINGS, heldout=False)
    assert old.exists() and stored(old).features[0:1].size
    module._in_use.pop(old).close()  # as where another process used it, which has ended
    module._forget(new.parent)
    assert sorted(Path(new.parent).iterdir()) == sorted([new, new.with_suffix(".sha256")])
