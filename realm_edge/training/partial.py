"""The file from which an interrupted fit goes on, at the step where it was."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import Precision
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from realm_edge.checkpoint import read_tensors, write_tensors
from realm_edge.errors import UserError
from realm_edge.training.history import History

FORMAT = "realm-edge partial/4"


@dataclass(frozen=True)
class State:
    """All that a step or an epoch of training changes, in place."""

    module: nn.Module
    average: AveragedModel
    best: dict[str, Tensor]  # state dict of the average that validated best
    optimizer: torch.optim.Optimizer
    precision: Precision


@dataclass
class Epoch:
    """One that is under way."""

    before: Tensor = field(default_factory=torch.get_rng_state)  # of torch's generator, from which the epoch's batches are drawn
    losses: list[Tensor] = field(default_factory=list)  # one scalar a step that is done
    norms: list[Tensor] = field(default_factory=list)  # of the gradient, likewise
    after: Tensor | None = None  # torch's generator after the last of these steps, where it was read from a file
    seconds: float = 0.0

    def draw(self, batches: Callable[[], Sequence[Any]]) -> Sequence[Any]:
        """Draw the epoch's batches, once more where steps are done already; torch's generator is then as after those."""
        torch.set_rng_state(self.before)
        drawn = batches()
        if self.after is not None and self.losses:
            torch.set_rng_state(self.after)
        return drawn

    def add(self, loss: Tensor, norm: Tensor, seconds: float) -> None:
        """Note a step that is done, ``seconds`` into the epoch."""
        self.losses.append(loss)
        self.norms.append(norm)
        self.seconds = seconds


def save(path: Path, origin: dict[str, str], state: State, history: History, epoch: Epoch) -> None:
    """Write all of it, atomically; ``origin`` says what it was made from."""
    tensors = {"random": torch.get_rng_state(), "random/epoch": epoch.before, "averaged": state.average.n_averaged}
    if epoch.losses:
        tensors |= {"losses": torch.stack(epoch.losses), "norms": torch.stack(epoch.norms)}
    for prefix, held in (("module", state.module.state_dict()), ("average", state.average.module.state_dict()), ("best", state.best)):
        tensors |= {f"{prefix}/{name}": tensor for name, tensor in held.items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": tensor for name, tensor in slots.items()}
    metadata = {"history": asdict(history), "seconds": epoch.seconds, "precision": state.precision.state_dict()}
    write_tensors(path, tensors, {"format": FORMAT, "origin": origin, **metadata})


def restore(path: Path | None, origin: dict[str, str], state: State, say: Callable[[str], None]) -> tuple[History, Epoch]:
    """Put back what :func:`save` wrote; a new history and epoch where there is nothing to go on from, or it is damaged, which is said."""
    metadata, tensors = _read(path, say) if path is not None and path.exists() else ({}, {})
    if metadata.get("format") != FORMAT or metadata.get("origin") != origin:
        return History(), Epoch()
    state.average.n_averaged.copy_(tensors["averaged"])
    state.module.load_state_dict(_under("module/", tensors))
    state.average.module.load_state_dict(_under("average/", tensors))
    state.best.update(_under("best/", tensors))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimizer/", tensors).items():
        index, slot = name.split("/")
        slots.setdefault(int(index), {})[slot] = tensor
    state.optimizer.load_state_dict({"state": slots, "param_groups": state.optimizer.state_dict()["param_groups"]})
    state.precision.load_state_dict(metadata["precision"])
    record: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in metadata["history"].items()}
    losses, norms = (list(tensors[name]) if name in tensors else [] for name in ("losses", "norms"))
    return History(**record), Epoch(tensors["random/epoch"], losses, norms, tensors["random"], metadata["seconds"])


def _read(path: Path, say: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        return read_tensors(path)
    except UserError:
        say(f"  warning: {path}: damaged, or of an earlier version: this phase of training starts anew")
        return {}, {}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
