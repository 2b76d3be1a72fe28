"""Options that several commands of the command line share, and what is made of their values."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from realm_edge.devices import Device, Precision
from realm_edge.errors import UserError

if TYPE_CHECKING:
    from realm_edge.settings import Settings

Command = Callable[..., None]


def options(*chosen: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Put several options on a command, in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(chosen):
            command = option(command)
        return command

    return decorate


PATH = click.Path(path_type=Path)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
OUT = click.option("--out", type=PATH, default=Path("runs/demo"), show_default=True, help="Directory of the run.")
TARGETS = click.option(
    "--target", "targets", metavar="NAME", multiple=True, help="Target, repeatable (default: cortex-m4, stm32u385, rv32imc); see `targets`."
)
BUDGET = click.option("--budget", type=PATH, help="TOML file of limits (default: the product's).")
COMPONENTS = click.option("--components", type=PATH, help="TOML file of figures that go before the product's; see `components`.")
PREFIX = click.option(
    "--prefix",
    metavar="NAME",
    help="What names in C begin with, before the stream (default: realm); models of one program need one each.",
)
NOMINAL = click.option("--nominal", is_flag=True, help="Status 0 also where a budget holds only with all figures at their nominal ones.")
SERIES = options(
    click.option("--behavior", metavar="NAME", multiple=True, help="Behaviour series to decode; repeatable: several are one target."),
    click.option("--lfp", metavar="NAME", multiple=True, help="LFP series to decode from; repeatable: several follow one another."),
)
FILES = options(
    click.option("--segments", metavar="TABLE", help="Intervals that are segments: trials, epochs, another table of the file, or a .csv."),
    click.option(
        "--behavior-file", type=PATH, multiple=True, help="File with the behaviour (.nwb, .npz, .csv, .parquet); once per recording."
    ),
    click.option("--units-file", type=PATH, multiple=True, help="File with the spike times, likewise."),
    click.option("--sync-offset", type=float, metavar="S", multiple=True, help="Seconds added to the times of those files."),
    click.option(
        "--spike-electrodes",
        type=click.IntRange(min=1),
        metavar="N",
        help="Electrodes that the sorted units come from, where the recording does not say: they have to be sensed.",
    ),
)
CHOICES = options(
    SERIES,
    click.option("--channels", metavar="LIST", multiple=True, help="Channels to take: 0-31,40, names, or column=value of the electrodes."),
    click.option("--without-channels", metavar="LIST", multiple=True, help="Channels to leave out, as with --channels."),
    FILES,
)
FEATURES = click.option("--features", metavar="NAME", help="The recordings hold features instead of voltage: the series they are in.")
SESSION = click.option("--session", type=int, metavar="N", help="Session to take, from 1, where a file holds several.")
CONFIG = click.option("--config", type=PATH, help="TOML file of settings; what it leaves out comes from the preset.")
PRESET = click.option("--preset", metavar="NAME", help="Settings to start from (default: demo).")
RECORDINGS = click.option("--data", "recordings", type=PATH, multiple=True, help="Recording, repeatable (default: synthetic ones).")
FRESH = click.option("--fresh", is_flag=True, help="Remove the run in --out first.")
SOURCE = options(PRESET, CONFIG, RECORDINGS, CHOICES, FEATURES, FRESH)


def gathered(command: Command) -> Command:
    """Give a command what :data:`CHOICES` and its recordings say as one :class:`realm_edge.sources.Recordings`."""

    @functools.wraps(command)
    def gather(
        behavior: tuple[str, ...],
        lfp: tuple[str, ...],
        segments: str | None,
        behavior_file: tuple[Path, ...],
        units_file: tuple[Path, ...],
        sync_offset: tuple[float, ...],
        spike_electrodes: int | None,
        channels: tuple[str, ...] = (),
        without_channels: tuple[str, ...] = (),
        recordings: tuple[Path, ...] = (),
        features: str | None = None,
        **others: Any,
    ) -> None:
        from realm_edge.readers.choices import Choices
        from realm_edge.sources import Recordings

        choices = Choices(behavior, lfp, channels, without_channels, segments, spike_electrodes=spike_electrodes)
        files = (others["file"],) if "file" in others else recordings
        asked = Recordings(files, choices, behavior_file, units_file, sync_offset, features)
        if click.get_current_context().invoked_subcommand is None:  # else the group refuses its own options
            if sync_offset and not (behavior_file or units_file):
                raise UserError(f"--sync-offset {sync_offset[0]:g}: it shifts --behavior-file or --units-file: give one of them")
            asked.check()
        command(recordings=asked, **others)

    return gather


_DEVICE, _PRECISION = click.Choice(get_args(Device)), click.Choice(get_args(Precision))
MACHINE = options(
    click.option("--device", type=_DEVICE, default="auto", show_default=True, help="Where to train; auto: on a GPU if there is one."),
    click.option("--precision", type=_PRECISION, default="32", show_default=True, help="Precision of the matrix products in training."),
)


def number(option: str, text: str, kind: Callable[[str], Any], wanted: str) -> Any:
    """Read a number out of an option's text; a UserError names both and says what is ``wanted``."""
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{option} {text or repr(text)}: use {wanted}") from None


def settings_of(preset_name: str | None, config: Path | None) -> "Settings | None":
    """The settings that ``--preset`` and ``--config`` ask for; None where neither is given."""
    from realm_edge.settings import load, preset

    base = preset(preset_name) if preset_name else None
    return load(config, base) if config else base
