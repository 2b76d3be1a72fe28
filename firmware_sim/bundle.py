"""Reads a compiled bundle's ``metadata.json`` and ``SHA256SUMS`` (written by ``firmware_sim.compiler``)."""

import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realm_edge.errors import UserError
from realm_edge.files import read_json, sha256_file

MANIFEST = "SHA256SUMS"


@dataclass(frozen=True)
class Kernel:
    """One compiled kernel; ``macs`` are multiply-accumulates a call, as the project counts them; ``constant_bytes`` lie in flash."""

    symbol: str
    node: str
    op: str
    macs: int
    constant_bytes: int


@dataclass(frozen=True)
class StateTensor:
    """Where a state lies in the stage's state block."""

    name: str
    offset: int  # bytes
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Stage:
    """Front end (a step a sample) or decoder (a step a bin)."""

    prefix: str
    rate_hz: float
    state_bytes: int
    scratch_bytes: int
    weight_bytes: int
    states: tuple[StateTensor, ...]
    kernels: tuple[Kernel, ...]


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
    def stages(self) -> tuple[Stage, ...]:
        return (self.frontend, self.decoder) if self.frontend else (self.decoder,)

    @property
    def ticks_per_bin(self) -> int:
        return round(self.frontend.rate_hz / self.decoder.rate_hz) if self.frontend else 1


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


def load_bundle(path: Path) -> Bundle:
    """Read ``path/metadata.json``.

    Raises:
        UserError: the file is missing, is not JSON, lacks a field, has a state outside its block, two states of one name, or a sample rate
            that is no multiple of the bin rate.
    """
    source = path / "metadata.json"
    values = read_json(source)
    try:
        frontend = None if values["frontend"] is None else _stage(values["frontend"])
        bundle = Bundle(
            path=path,
            stream=values["stream"],
            target=values["target"],
            frontend=frontend,
            decoder=_stage(values["decoder"]),
            warm_up_bins=values["reset"]["warm_up_bins"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source}: {type(error).__name__} {error}: not a bundle of this version; rerun 'realm-edge compile'") from error
    names = [state.name for stage in bundle.stages for state in stage.states]
    if len(set(names)) != len(names):
        raise UserError(f"{source}: state '{max(names, key=names.count)}' is listed twice; rerun 'realm-edge compile'")
    if bundle.frontend and bundle.ticks_per_bin * bundle.decoder.rate_hz != bundle.frontend.rate_hz:
        raise UserError(
            f"{source}: {bundle.frontend.rate_hz} samples/s are no multiple of {bundle.decoder.rate_hz} bins/s; rerun 'realm-edge compile'"
        )
    return bundle


def _stage(values: dict) -> Stage:
    stage = Stage(
        prefix=values["prefix"],
        rate_hz=float(values["rate_hz"]),
        state_bytes=int(values["state_bytes"]),
        scratch_bytes=int(values["scratch_bytes"]),
        weight_bytes=int(values["weight_bytes"]),
        states=tuple(StateTensor(s["name"], int(s["offset"]), np.dtype(s["dtype"]), tuple(s["shape"])) for s in values["states"]),
        kernels=tuple(Kernel(k["symbol"], k["node"], k["op"], int(k["macs"]), int(k["constant_bytes"])) for k in values["kernels"]),
    )
    for state in stage.states:
        if state.offset < 0 or state.offset + state.nbytes > stage.state_bytes:
            raise ValueError(f"state '{state.name}' lies outside the {stage.state_bytes} bytes of {stage.prefix}")
    return stage
