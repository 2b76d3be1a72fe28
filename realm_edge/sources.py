"""The recordings that a command is given, with what is taken of each."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from realm_edge import feature_bins
from realm_edge.apart import apart
from realm_edge.errors import UserError
from realm_edge.readers.choices import TABLES, Choices
from realm_edge.readers.remote import address_of, shown
from realm_edge.settings import Settings, changed, preset

Value = TypeVar("Value")
# Option -> key of what is chosen.
_KEYS = {
    "--behavior": "behavior",
    "--lfp": "lfp",
    "--channels": "channels",
    "--without-channels": "without_channels",
    "--segments": "segments",
    "--behavior-file": "behavior_files",
    "--units-file": "units_files",
    "--sync-offset": "sync_offsets",
    "--spike-electrodes": "spike_electrodes",
    "--features": "features",
}


@dataclass(frozen=True)
class Recordings:
    """Files, and what is taken of them. Extra files and offsets are given once per recording, in the same order."""

    files: tuple[Path, ...] = ()  # none: the synthetic ones
    choices: Choices = field(default_factory=Choices)  # of every recording
    behavior_files: tuple[Path, ...] = ()
    units_files: tuple[Path, ...] = ()
    sync_offsets: tuple[float, ...] = ()  # s
    features: str | None = None  # name of a series of features: the files hold no voltage

    def of(self, index: int) -> Choices:
        """What is taken of one recording.

        Raises:
            UserError: there are other than no, one, or as many extra files or offsets as recordings.
        """
        return dataclasses.replace(
            self.choices,
            behavior_file=self._one(self.behavior_files, index, "--behavior-file"),
            units_file=self._one(self.units_files, index, "--units-file"),
            sync_offset=self._one(self.sync_offsets, index, "--sync-offset") or 0.0,
        )

    def _one(self, given: Sequence[Value], index: int, option: str) -> Value | None:
        if not given:
            return None
        if len(given) != len(self.files):
            raise UserError(f"{option}: given {len(given)} times for {len(self.files)} recording(s): give it once for each, in their order")
        return given[index]

    def read_of(self, index: int) -> list[Path]:
        """The files that one recording is read from."""
        chosen = self.of(index)
        table = None if chosen.segments is None or Path(chosen.segments).suffix.lower() not in TABLES else Path(chosen.segments)
        return [file for file in (self.files[index], chosen.behavior_file, chosen.units_file, table) if file is not None]

    def fingerprint(self, index: int) -> str:
        """SHA-256, as hex, of all that one recording is read from."""
        return str(apart("realm_edge.readers.reading:fingerprint", self.files[index], self.of(index), files=self.read_of(index)))

    @property
    def behavior(self) -> str | None:
        """Names of the behaviour series, as one text."""
        return ", ".join(self.choices.behavior) or None

    def request(self) -> dict[str, Any]:
        """What a run is made from, JSON-able: names, hashes and choices."""
        return {"recordings": [[path.name, self.fingerprint(index)] for index, path in enumerate(self.files)], **self.chosen()}

    def chosen(self) -> dict[str, Any]:
        """What is taken of the recordings, JSON-able; extra files go by their names."""
        extra = {"behavior_files": self.behavior_files, "units_files": self.units_files}
        named: dict[str, Any] = {name: [path.name for path in files] for name, files in extra.items() if files}
        if self.choices.segments is not None and Path(self.choices.segments).suffix.lower() in TABLES:
            named["segments"] = Path(self.choices.segments).name
        offsets = {"sync_offsets": list(self.sync_offsets)} if self.sync_offsets else {}
        return self.choices.as_json() | {"behavior": self.behavior, "features": self.features} | named | offsets

    def options(self) -> list[str]:
        """The command line's options that ask for this, with paths that hold from any directory."""
        return [word for option, value in self.flags() for word in (option, _from_anywhere(option, value))]

    def check(self) -> None:
        """Refuse choices that do not go together.

        Raises:
            UserError: naming the option.
        """
        for offset in self.sync_offsets:
            if not np.isfinite(offset):
                raise UserError(f"--sync-offset {offset}: use a number of seconds")
        for path in (*self.files, *self.behavior_files, *self.units_files):
            if path.name in ("", ".."):  # also of an empty text
                raise UserError(f"{path}: not the name of a recording: name its file or its folder")
        chosen = [(option, value) for option, value in self.flags() if option != "--data"]
        if not self.files and chosen:
            option, value = chosen[0]
            raise UserError(f"{option} {value}: the synthetic recordings have one of each: leave it out, or give --data")
        if self.features is not None:
            for option, value in chosen:
                if option not in ("--behavior", "--features"):
                    raise UserError(f"{option} {value}: recordings of features (--features {self.features}) have none of it: leave it out")
            if len(self.choices.behavior) > 1:
                raise UserError(f"--behavior {self.behavior}: with --features one series is decoded: name one")

    def flags(self) -> list[tuple[str, Any]]:
        """The options that ask for this, with their values, once for each."""
        chosen = self.choices
        repeated: list[tuple[str, Sequence[Any]]] = [
            ("--data", self.files),
            ("--behavior", chosen.behavior),
            ("--lfp", chosen.lfp),
            ("--channels", chosen.channels),
            ("--without-channels", chosen.without_channels),
            ("--segments", [chosen.segments] if chosen.segments else []),
            ("--behavior-file", self.behavior_files),
            ("--units-file", self.units_files),
            ("--sync-offset", self.sync_offsets),
            ("--spike-electrodes", [] if chosen.spike_electrodes is None else [chosen.spike_electrodes]),
            ("--features", [self.features] if self.features else []),
        ]
        return [(option, value) for option, values in repeated for value in values]


def _from_anywhere(option: str, value: Any) -> str:
    is_table = option == "--segments" and Path(value).is_file()  # or the name of a table within the recording
    if not isinstance(value, Path) and not is_table:
        return str(value)
    return shown(Path(value)) if address_of(Path(value)) else str(Path(value).absolute())


def options_of(request: Mapping[str, Any]) -> list[str]:
    """The options that ask for what a :meth:`Recordings.request` says is taken, beside the recordings themselves."""
    words: list[str] = []
    for option, key in _KEYS.items():
        values = request.get(key)
        if isinstance(values, str | int):
            values = str(values).split(", ") if key == "behavior" else [values]
        words += [str(word) for value in values or [] for word in (option, value)]
    return words


def fitted(settings: Settings, recordings: Recordings) -> Settings:
    """Settings that the recordings can hold: bins of recorded features; LFP bands below half the slowest LFP's rate.

    Only bands that are the preset's own are left out; others were asked for, and preparing the recording refuses them.
    """
    if recordings.features is not None:
        first = recordings.files[0]
        bin_s = apart("realm_edge.feature_table:seconds_a_bin", first, recordings.features, files=[first])
        return feature_bins.fitted(settings, bin_s, f"{first}: {recordings.features}")
    if settings.lfp.bands_hz != preset(settings.preset).lfp.bands_hz:
        return settings
    reads = [(path, recordings.of(index), settings, recordings.read_of(index)) for index, path in enumerate(recordings.files)]
    rates = [float(apart("realm_edge.readers.reading:lfp_rate", *arguments, files=files)) for *arguments, files in reads]
    held = tuple(band for band in settings.lfp.bands_hz if 2 * band[1] <= min(rates))
    if not held and settings.lfp.bands_hz:
        slowest = recordings.files[rates.index(min(rates))]
        raise UserError(
            f"{slowest}: LFP at {min(rates):.6g} Hz is too slow for every band of the preset: is its rate in kHz, or are its time stamps "
            "in ms, us or ns? Correct them, or set lfp.bands_hz in --config"
        )
    return settings if held == settings.lfp.bands_hz else changed(settings, {"lfp": {"bands_hz": held}})
