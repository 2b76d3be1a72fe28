"""What libraries would take from the environment, settled before any of them is loaded, in this process and in those that it starts."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_HDF5 = "HDF5_"
_OF_NO_DANGER = ("HDF5_USE_FILE_LOCKING",)  # the way out where another program has a recording open


def settle() -> None:
    """Set what decides how recordings are read.

    HDF5 would take from its variables other places for the files that a recording leads to, other drivers, and libraries that it loads.
    """
    for name in [name for name in os.environ if name.startswith(_HDF5) and name not in _OF_NO_DANGER]:
        del os.environ[name]
    os.environ["HDF5_EXTFILE_PREFIX"] = "${ORIGIN}"  # external storage lies beside the file, not where the program runs
    # pynwb would keep its schema as a pickle in the user's cache and load what it finds there: one that is half written, or somebody's.
    os.environ["PYNWB_NO_CACHE_DIR"] = "1"


@contextmanager
def without_cache() -> Iterator[None]:
    """Give libraries that make a folder in the user's cache while they are imported another place within the block.

    Without one that can be written to, they could not be imported.
    """
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before
