"""What nobody foresaw, in one line: what went wrong, where, and the file that holds the whole traceback."""

import traceback

from realm_edge.errors import UserError
from realm_edge.files import cache_folder, write_text

STATUS = 70  # EX_SOFTWARE, sysexits.h
_PACKAGES = ("realm_edge", "export", "quantization", "firmware_sim")


def reported(error: Exception) -> str | None:
    """The line, after the traceback is written to the user's cache; None where it cannot be written."""
    whole = "".join(traceback.format_exception(error))
    try:
        path = cache_folder() / "traceback.txt"
        write_text(path, whole)
    except (OSError, UserError):
        return None
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"{said:.300} (in {_place(error)}). This is a bug of realm-edge, unless files of the run were changed and their digests made anew; "
        f"{path} holds the whole traceback: please report it"
    )


def _place(error: Exception) -> str:
    """The last line of this project's on the way to the error."""
    frames = [(frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    module, line = next((each for each in reversed(frames) if each[0].partition(".")[0] in _PACKAGES), frames[-1])
    return f"{module}, line {line}"
