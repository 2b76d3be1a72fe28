"""Teacher and student on disk: safetensors with JSON metadata, nothing that can execute code."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from realm_edge.errors import UserError
from realm_edge.files import write_bytes
from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.settings import ModelSettings

FORMAT = "realm-edge/1"
_DIGEST = "sha256"

Module = TypeVar("Module", bound=nn.Module)


def save_student(path: Path, student: Student, made_from: Mapping[str, str]) -> None:
    """Write weights and statistics; ``made_from`` names the digests of what the student was trained on."""
    _save(path, "student", student, student.settings, made_from)


def save_teacher(path: Path, teacher: Teacher, made_from: Mapping[str, str]) -> None:
    """As :func:`save_student`."""
    _save(path, "teacher", teacher, teacher.settings, made_from)


def load_student(path: Path) -> Student:
    """Read a student, in evaluation mode.

    Raises:
        UserError: missing, truncated or foreign file, or tensors that are not a student's; the message names the file.
    """
    metadata, tensors = _load(path, "student")
    settings = _model_settings(path, metadata)
    n_features = _tensor(path, tensors, "feature_mean").numel()
    dims = _tensor(path, tensors, "target_mean").numel()
    return _filled(path, Student(settings, n_features, dims, kinds=_kinds(path, settings, tensors, n_features)), tensors)


def load_teacher(path: Path) -> Teacher:
    """As :func:`load_student`."""
    metadata, tensors = _load(path, "teacher")
    settings = _model_settings(path, metadata)
    arrays = [tensor.numel() for name, tensor in tensors.items() if name.startswith("reconstructions.") and name.endswith(".bias")]
    kinds = {_kinds(path, settings, tensors, n_features) for n_features in arrays}
    if not kinds:
        raise UserError(f"{path}: tensor 'reconstructions' is missing: rerun 'realm-edge train'")
    return _filled(path, Teacher(settings, arrays, kinds=kinds.pop()), tensors)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata as one safetensors file, atomically; it holds the SHA-256 of both."""
    content = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    about = json.dumps({**metadata, _DIGEST: _digest(metadata, content)}, sort_keys=True, allow_nan=False)
    write_bytes(path, safetensors.torch.save(content, {"realm_edge": about}))


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what :func:`write_tensors` wrote: metadata and tensors.

    Raises:
        UserError: missing, truncated or foreign file, or one that is not as it was written.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file: run the stage that writes it ('realm-edge train')")
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            metadata = json.loads((opened.metadata() or {})["realm_edge"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
    except KeyError:
        raise UserError(f"{path}: a safetensors file that realm-edge did not write: use one made by 'realm-edge train'") from None
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: truncated or not a safetensors file ({error}): remove it and rerun 'realm-edge train'") from error
    if not isinstance(metadata, dict) or metadata.pop(_DIGEST, None) != _digest(metadata, tensors):
        raise UserError(f"{path}: damaged, edited, or of an earlier version (its SHA-256 differs): remove it and rerun 'realm-edge train'")
    return metadata, tensors


def _digest(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, as hex, of metadata and of name, type, shape and bytes of every tensor."""
    found = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _save(path: Path, kind: str, module: nn.Module, settings: ModelSettings, made_from: Mapping[str, str]) -> None:
    metadata = {"format": FORMAT, "kind": kind, "model": settings.model_dump(mode="json"), "made_from": dict(made_from)}
    write_tensors(path, module.state_dict(), metadata)


def _load(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    metadata, tensors = read_tensors(path)
    found = (metadata.get("format"), metadata.get("kind"))
    if found != (FORMAT, kind):
        raise UserError(f"{path}: holds {found[1]!r} in format {found[0]!r}, expected a {kind!r} in {FORMAT!r}: rerun 'realm-edge train'")
    return metadata, tensors


def _model_settings(path: Path, metadata: Mapping[str, Any]) -> ModelSettings:
    try:
        return ModelSettings.model_validate(metadata.get("model"))
    except ValueError as error:  # pydantic's ValidationError is one
        first = str(error).splitlines()[0]
        raise UserError(f"{path}: model settings in the metadata are broken ({first}): rerun 'realm-edge train'") from error


def _kinds(path: Path, settings: ModelSettings, tensors: Mapping[str, Tensor], n_features: int) -> int:
    """Features a channel has; the linear tokenizer does not know, nor need to."""
    if settings.tokenizer == "linear":
        return 1
    shape = _tensor(path, tensors, "maps.conv.weight").shape  # (maps, kinds, taps)
    if len(shape) != 3 or not shape[1] or n_features % shape[1]:
        raise UserError(f"{path}: tensor 'maps.conv.weight' of shape {list(shape)} fits no {n_features} features: rerun 'realm-edge train'")
    return shape[1]


def _tensor(path: Path, tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise UserError(f"{path}: tensor '{name}' is missing: rerun 'realm-edge train'")
    return tensors[name]


def _filled(path: Path, module: Module, tensors: Mapping[str, Tensor]) -> Module:
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: tensors do not fit the model in its metadata ({reason:.200}): rerun 'realm-edge train'") from error
    return module.eval()
