"""Options that several commands of the command line share, and what is made of their values."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
TARGETS = click.option("--target", "targets", metavar="NAME", multiple=True, help="Target, repeatable (default: both); see `targets`.")
BUDGET = click.option("--budget", type=PATH, help="TOML file of limits (default: the product's).")
BEHAVIOR = click.option("--behavior", metavar="NAME", help="Behaviour series to decode, where a recording has several.")
LFP = click.option("--lfp", "lfp_series", metavar="NAME", help="LFP series to decode from, where an NWB recording has several.")
FEATURES = click.option("--features", metavar="NAME", help="The recordings hold features instead of voltage: the series they are in.")
SESSION = click.option("--session", type=int, metavar="N", help="Session to take, from 1, where a file holds several.")
CONFIG = click.option("--config", type=PATH, help="TOML file of settings; what it leaves out comes from the preset.")
PRESET = click.option("--preset", metavar="NAME", help="Settings to start from (default: demo).")
RECORDINGS = click.option("--data", "recordings", type=PATH, multiple=True, help="Recording, repeatable (default: synthetic ones).")
SOURCE = options(
    PRESET,
    CONFIG,
    RECORDINGS,
    BEHAVIOR,
    LFP,
    FEATURES,
    click.option("--fresh", is_flag=True, help="Remove the run in --out first."),
)


_DEVICE = click.Choice(["auto", "cpu", "cuda"])
_PRECISION = click.Choice(["32", "bf16-mixed", "16-mixed"])
MACHINE = options(
    click.option("--device", type=_DEVICE, default="auto", show_default=True, help="Where to train; auto: on a GPU if there is one."),
    click.option("--precision", type=_PRECISION, default="32", show_default=True, help="Of the matrix products in training."),
)


def number(option: str, text: str, kind: Callable[[str], Any], wanted: str) -> Any:
    """Read a number out of an option's text; a UserError names both and says what is ``wanted``."""
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{option} {text}: use {wanted}") from None


def settings_of(preset_name: str | None, config: Path | None) -> "Settings | None":
    """The settings that ``--preset`` and ``--config`` ask for; None where neither is given."""
    from realm_edge.settings import load, preset

    base = preset(preset_name) if preset_name else None
    return load(config, base) if config else base
