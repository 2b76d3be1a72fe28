"""Reads a compiled bundle's ``metadata.json`` and ``SHA256SUMS`` (written by ``firmware_sim.compiler``)."""

import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from firmware_sim.bundle_metadata import FORMAT, BundleMetadata, Stage
from realm_edge.errors import UserError
from realm_edge.files import read_json, sha256_file

MANIFEST = "SHA256SUMS"
SHORTEST_BLOCK = 16  # ticks
SAMPLE_BYTES = 2


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder and what its metadata say; ``frontend`` is None where spike counts or features come in by the board."""

    path: Path
    stream: str
    target: str
    frontend: Stage | None
    decoder: Stage
    warm_up_bins: int | None  # after a reset; None where the decoder's graph does not say

    @property
    def prefix(self) -> str:
        """What C names of all stages begin with."""
        return self.decoder.prefix.removesuffix("_decoder")

    @property
    def named_stages(self) -> dict[str, Stage]:
        """Those there are of "frontend" and "decoder"."""
        return {name: stage for name, stage in (("frontend", self.frontend), ("decoder", self.decoder)) if stage}

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(self.named_stages.values())

    @property
    def ticks_per_bin(self) -> int:
        return round(self.frontend.rate_hz / self.decoder.rate_hz) if self.frontend else 1

    @property
    def blocks_per_bin(self) -> int:
        """In how many blocks of whole ticks samples are taken: four, or fewer where these would be short.

        Shorter blocks need less memory and leave less work behind the last sample of a bin, but each has a price of its own.
        """
        return next((n for n in (4, 2) if self.ticks_per_bin % n == 0 and self.ticks_per_bin // n >= SHORTEST_BLOCK), 1)

    @property
    def ticks_per_block(self) -> int:
        return self.ticks_per_bin // self.blocks_per_bin

    @property
    def ring_bytes(self) -> int:
        """RAM of the ring into which the DMA writes what comes in."""
        (channels,) = self.stages[0].inputs[0].shape
        return ring_bytes(channels, self.ticks_per_bin, self.blocks_per_bin)


def ring_bytes(channels: int, ticks_per_bin: int, blocks_per_bin: int) -> int:
    """RAM of the DMA's ring: one bin of blocks and the block that is being filled, so that a decoder step may last up to a bin."""
    return (ticks_per_bin + ticks_per_bin // blocks_per_bin) * channels * SAMPLE_BYTES


def check_manifest(path: Path) -> None:
    """Hold every file of a bundle against its manifest: whatever lies in ``src`` and ``lib`` goes into the firmware.

    Raises:
        UserError: there is no manifest, or a file is missing, is not as it was written, or is not listed; or something is neither a file
            nor a directory: a link may lead to what nobody hashed, or has no end.
    """
    again = "rerun 'realm-edge compile'"
    manifest = path / MANIFEST
    inside = {each: stat.S_IFMT(each.lstat().st_mode) for each in sorted(path.rglob("*"))}
    for each, kind in inside.items():
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            raise UserError(f"{each}: neither a regular file nor a directory: remove it, or {again}")
    if inside.get(manifest) != stat.S_IFREG:
        raise UserError(f"{manifest}: no such file: {again}")
    lines = (line.partition("  ") for line in manifest.read_text(encoding="utf-8", errors="replace").splitlines())
    listed = {name: sha256 for sha256, _, name in lines}
    found = {each.relative_to(path).as_posix(): each for each, kind in inside.items() if kind == stat.S_IFREG and each != manifest}
    for name in sorted({*listed, *found}):
        if name not in found:
            raise UserError(f"{path / name}: missing, but {MANIFEST} lists it: {again}")
        if name not in listed:
            raise UserError(f"{path / name}: {MANIFEST} does not list it: remove it, or {again}")
        if sha256_file(found[name]) != listed[name]:
            raise UserError(f"{path / name}: changed since it was compiled (its SHA-256 differs): {again}")


def load_metadata(path: Path) -> BundleMetadata:
    """Read ``path/metadata.json``.

    Raises:
        UserError: the file is missing, is not JSON, is of another version, lacks a field, has a state outside its block, two states of one
            name, or a sample rate that is no multiple of the bin rate.
    """
    source, again = path / "metadata.json", "rerun 'realm-edge compile'"
    values = read_json(source)
    form = values.get("format", "an earlier version") if isinstance(values, dict) else "another kind"
    if form != FORMAT:
        raise UserError(f"{source}: of {form}, not '{FORMAT}': {again}")
    try:
        return BundleMetadata.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{source}: {f'{where}: ' if where else ''}{message}: {again}") from error


def load_bundle(path: Path) -> Bundle:
    """What simulating a bundle needs of its metadata; errors as of :func:`load_metadata`."""
    found = load_metadata(path)
    return Bundle(path, found.stream, found.target, found.frontend, found.decoder, found.reset.warm_up_bins)
