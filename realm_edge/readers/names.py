"""Names of recordings, without what says that they are NWB."""

from pathlib import Path

from realm_edge.readers import remote

ZARR = ".zarr"


def name_of(path: Path) -> str:
    """The name of a recording."""
    address = remote.address_of(path)
    if address is not None:
        return remote.stem_of(address)
    return path.name.removesuffix(ZARR).removesuffix(".nwb") if path.name.endswith(ZARR) else path.stem
