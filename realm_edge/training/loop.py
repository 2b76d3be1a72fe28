"""The one fit loop: every phase of training is a module, batches, a loss and a validation score."""

import copy
import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from realm_edge.checkpoint import read_tensors, write_tensors
from realm_edge.errors import UserError
from realm_edge.progress import Progress
from realm_edge.settings import FitSettings

GRADIENT_CLIP = 1.0

Module = TypeVar("Module", bound=nn.Module)
BatchType = TypeVar("BatchType")


@dataclass(frozen=True)
class Phase:
    """Names one phase of a run: its random numbers, and the file from which an interrupted one continues."""

    name: str
    seed: int  # of the run; each phase draws its own stream from it
    partial: Path | None = None  # written after each epoch; None: the phase cannot be resumed
    made_from: str = ""  # digest of settings and data; a partial file made from anything else is ignored


@dataclass(frozen=True)
class History:
    """What a fit did."""

    train_loss: tuple[float, ...] = ()  # one an epoch
    validation_loss: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()  # of the optimiser, one count an epoch
    seconds: float = 0.0  # over all the runs that it took
    finished: bool = False

    @property
    def epochs(self) -> int:
        return len(self.validation_loss)

    @property
    def best_epoch(self) -> int:
        """Counted from zero."""
        return self.validation_loss.index(min(self.validation_loss))

    @property
    def steps_to_best(self) -> int:
        """Optimiser steps up to the end of the best epoch."""
        return sum(self.steps[: self.best_epoch + 1])

    def as_json(self) -> dict[str, object]:
        return {
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "steps_to_best": self.steps_to_best,
            "best_validation_loss": self.validation_loss[self.best_epoch],
            "train_loss": list(self.train_loss),
            "validation_loss": list(self.validation_loss),
            "seconds": self.seconds,
        }


@contextmanager
def seeded(phase: Phase, purpose: str) -> Iterator[None]:
    """Draw from a stream of the phase's own; torch's global generator is as before afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{phase.seed}/{phase.name}/{purpose}".encode()))
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: results then do not depend on the number of cores.

    Models of this size gain next to nothing from a second core, and take four times as long when another process wants it too.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def masked_mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the elements whose target is not NaN; 0 where there is none."""
    known = torch.isfinite(target)
    error = torch.where(known, predicted - torch.where(known, target, 0.0), 0.0)
    return error.square().sum() / known.sum().clamp(min=1)


def fit(
    module: Module,
    settings: FitSettings,
    phase: Phase,
    batches: Callable[[], Sequence[BatchType]],
    loss: Callable[[Module, BatchType], Tensor],
    validate: Callable[[Module], float],
    progress: Progress,
) -> History:
    """Fit ``module`` in place with AdamW; it ends with the averaged weights of the epoch that validated best.

    Equal arguments give equal weights on one machine's CPU, interrupted and resumed or not. Validation is on the exponential moving
    average of the weights (``settings.average``), so that is what is kept. Training stops ``settings.patience`` epochs after the best one.

    Args:
        module: its parameters that require gradients are trained.
        batches: one epoch's batches, drawn with torch's global generator, which is seeded here.
        loss: of one batch, in training mode.
        validate: lower is better; called in evaluation mode without gradients. It must not draw random numbers.

    Raises:
        UserError: the loss stopped being a number; the message names phase, epoch and setting.
    """
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
    optimizer = torch.optim.AdamW(_decay_groups(module, settings.weight_decay), lr=settings.lr, fused=True)
    best = copy.deepcopy(average.module.state_dict())
    with seeded(phase, "fit"), one_thread():
        history = _resume(phase, module, average, best, optimizer)

        def epochs() -> Iterator[int]:
            while not history.finished:
                yield history.epochs

        for epoch in progress.track(epochs(), phase.name, settings.epochs):
            start = time.monotonic()
            module.train()
            losses = []
            drawn = batches()
            for index, batch in enumerate(drawn):
                _set_rate(optimizer, settings, epoch + index / len(drawn))
                value = loss(module, batch)
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                nn.utils.clip_grad_norm_(module.parameters(), GRADIENT_CLIP)
                optimizer.step()
                average.update_parameters(module)
                losses.append(float(value.detach()))
            average.eval()
            with torch.no_grad():
                score = validate(cast(Module, average.module))
            mean_loss = math.fsum(losses) / len(losses)
            if not math.isfinite(score) or not math.isfinite(mean_loss):
                raise UserError(f"{phase.name}: loss {mean_loss}, validation {score} in epoch {epoch}: lower its lr ({settings.lr})")
            if score < min(history.validation_loss, default=math.inf):
                best = copy.deepcopy(average.module.state_dict())
            history = _advanced(history, settings, mean_loss, score, len(losses), time.monotonic() - start)
            _save(phase, module, average, best, optimizer, history)
    module.load_state_dict(best)
    module.eval()
    return history


def _advanced(history: History, settings: FitSettings, train_loss: float, validation_loss: float, steps: int, seconds: float) -> History:
    longer = History(
        train_loss=(*history.train_loss, train_loss),
        validation_loss=(*history.validation_loss, validation_loss),
        steps=(*history.steps, steps),
        seconds=history.seconds + seconds,
    )
    return replace(longer, finished=longer.epochs >= settings.epochs or longer.epochs - 1 - longer.best_epoch >= settings.patience)


def _decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices only: shrinking A_log, D, dt_bias, norms and biases towards zero would mean something else."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.dim() >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.dim() < 2], "weight_decay": 0.0},
    ]


def _set_rate(optimizer: torch.optim.Optimizer, settings: FitSettings, epoch: float) -> None:
    """Linear warm-up over the first epoch, then half a cosine down to zero at ``settings.epochs``, or constant."""
    fall = 0.5 * (1.0 + math.cos(math.pi * epoch / settings.epochs)) if settings.schedule == "cosine" else 1.0
    for group in optimizer.param_groups:
        group["lr"] = settings.lr * fall * min(1.0, 0.1 + epoch)


def _save(
    phase: Phase, module: nn.Module, average: AveragedModel, best: dict[str, Tensor], optimizer: torch.optim.Optimizer, history: History
) -> None:
    if phase.partial is None:
        return
    tensors = {"random": torch.get_rng_state(), "averaged": average.n_averaged}
    for prefix, state in (("module", module.state_dict()), ("average", average.module.state_dict()), ("best", best)):
        tensors |= {f"{prefix}/{name}": tensor for name, tensor in state.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": tensor for name, tensor in slots.items()}
    write_tensors(phase.partial, tensors, {"made_from": phase.made_from, "phase": phase.name, "history": asdict(history)})


def _resume(phase: Phase, module: nn.Module, average: AveragedModel, best: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> History:
    """Put back what :func:`_save` wrote; an empty history when there is nothing to continue from."""
    if phase.partial is None or not phase.partial.exists():
        return History()
    try:
        metadata, tensors = read_tensors(phase.partial)
    except UserError:
        return History()  # a leftover that is not whole holds nothing worth keeping
    if metadata.get("made_from") != phase.made_from or metadata.get("phase") != phase.name:
        return History()
    torch.set_rng_state(tensors["random"])
    average.n_averaged.copy_(tensors["averaged"])
    module.load_state_dict(_under("module/", tensors))
    average.module.load_state_dict(_under("average/", tensors))
    best.update(_under("best/", tensors))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimizer/", tensors).items():
        index, slot = name.split("/")
        slots.setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    record = metadata["history"]
    return History(
        tuple(record["train_loss"]), tuple(record["validation_loss"]), tuple(record["steps"]), record["seconds"], record["finished"]
    )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
