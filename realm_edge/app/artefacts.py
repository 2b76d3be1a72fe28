"""Where a run keeps the files of its streams."""

from pathlib import Path

from realm_edge.app.rundir import RunDir
from realm_edge.streams import LFP, SPIKE, Stream

_STUDENTS = {LFP.name: "student.safetensors", SPIKE.name: "student_spike.safetensors"}
_PREFIXES = {LFP.name: "", SPIKE.name: "spike_"}  # of step graphs


def present(run: RunDir) -> tuple[Stream, ...]:
    """The streams that the train stage has written a student for."""
    return tuple(stream for stream in (LFP, SPIKE) if student(run, stream).exists())


def student(run: RunDir, stream: Stream) -> Path:
    """Its checkpoint."""
    return run.file(_STUDENTS[stream.name])


def float_frontend(run: RunDir, stream: Stream) -> Path:
    """Float step graph; absent where the recording holds features or sorted units."""
    return run.file(f"{_PREFIXES[stream.name]}frontend.onnx")


def float_decoder(run: RunDir, stream: Stream) -> Path:
    """Float step graph."""
    return run.file(f"{_PREFIXES[stream.name]}decoder.onnx")


def int8_frontend(run: RunDir, stream: Stream) -> Path:
    """Integer step graph; absent where there is no :func:`float_frontend`."""
    return run.file(f"{_PREFIXES[stream.name]}frontend.int8.onnx")


def int8_decoder(run: RunDir, stream: Stream) -> Path:
    """Integer step graph."""
    return run.file(f"{_PREFIXES[stream.name]}decoder.int8.onnx")


def golden(run: RunDir, stream: Stream) -> Path:
    """Golden vectors."""
    return run.file("golden", f"{stream.name}.npz")


def bundle(run: RunDir, stream: Stream, target: str) -> Path:
    """The directory of the firmware."""
    return run.file("firmware", target, stream.name)
