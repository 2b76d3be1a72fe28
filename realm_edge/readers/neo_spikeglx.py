"""SpikeGLX: files without their other half, shorter than promised, and triggers that do not continue one another."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from realm_edge.errors import UserError
from realm_edge.readers.neo_flaws import Flaws
from realm_edge.readers.neo_parts import Part, refuse_other

_NAMED = re.compile(r"\.(ap|lf|nidq|obx\d*)$")  # stems of SpikeGLX's files


def check(folder: Path, metas: Iterable[Path]) -> Flaws:
    """Look for what is missing, and whether all triggers are parts of one recording.

    Args:
        folder: that Neo is given.
        metas: the ``.meta`` that have a ``.bin`` beside them.

    Raises:
        UserError: a ``.meta`` is not readable, a stream is missing for a trigger, or its channels, gains or rate differ between two.
    """
    from neo.rawio import spikeglxrawio as neo

    infos, short = [], []
    for meta in metas:
        try:
            info = neo.extract_stream_info(meta, neo.read_meta_file(meta))
        except ZeroDivisionError as error:
            raise UserError(f"{meta}: a gain of 0 in it: write what the amplifier was set to") from error
        except Exception as error:  # whatever Neo stumbles upon
            raise UserError(f"{meta}: not readable ({type(error).__name__}: {error}): copy it again, or move it away") from error
        infos.append(info | {"meta_file": meta})
        promised, size = info["meta"].get("fileSizeBytes", ""), meta.with_suffix(".bin").stat().st_size
        if promised.isdigit() and size < int(promised):
            short.append(f"{meta.stem}.bin has {size} of the {promised} bytes that its .meta promises: its end is missing")
        if "firstSample" not in info["meta"]:
            short.append(f"{meta.name} has no firstSample: its samples are taken to start at 0 s")
    neo._add_segment_order(infos)
    _refuse_missing(infos, folder)
    firsts: dict[str, Part] = {}
    for info in sorted(infos, key=lambda each: each["seg_index"]):
        refuse_other(firsts.setdefault(info["stream_name"], _part(info)), _part(info))
    return Flaws(tuple(short), tuple(_halves(folder)))


def _halves(folder: Path) -> Iterable[str]:
    for one, other in ((".meta", ".bin"), (".bin", ".meta")):
        for path in sorted(folder.rglob(f"*{one}")):
            if _NAMED.search(path.stem) and not path.with_suffix(other).is_file():
                yield f"{path.name}: no {other} beside it"


def _refuse_missing(infos: list[dict[str, Any]], folder: Path) -> None:
    there = {(info["seg_index"], info["stream_name"]) for info in infos}
    for info in infos:
        for stream in sorted({stream for _, stream in there}):
            if (info["seg_index"], stream) not in there:
                raise UserError(
                    f"{folder}: no files of {stream} beside {info['meta_file'].name}, and some of another trigger: "
                    "put them there, or make a recording of each trigger, in a directory of its own"
                )


def _part(info: dict[str, Any]) -> Part:
    names, gains = tuple(info["channel_names"]), tuple(info["channel_gains"].tolist())
    return Part(info["meta_file"], info["sampling_rate"], info["sample_length"], names, gains)
