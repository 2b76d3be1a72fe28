"""The one fit loop: every phase of training is a module, batches, a loss and a validation score."""

import copy
import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from realm_edge.errors import UserError
from realm_edge.interrupt import interrupts_held_back
from realm_edge.progress import Progress
from realm_edge.settings import FitSettings
from realm_edge.training.history import History
from realm_edge.training.machine import mean_over_processes, one_cpu, share
from realm_edge.training.partial import Epoch, restore, save
from realm_edge.training.rates import found
from realm_edge.training.step import new_state, stepper
from realm_edge.training.tensorboard import curves

SAVE_SECONDS = 30.0  # between two saves within an epoch
DECAY = 0.995  # of the rate in an epoch of the exponential schedule (REALM's pretraining)

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Phase:
    """Names one phase of a run: its random numbers, its files, and the machine it runs on."""

    name: str
    seed: int  # of the run; each phase draws its own stream from it
    partial: Path | None = None  # written at the end of each epoch and within long ones; None: the phase cannot be resumed
    made_from: str = ""  # digest of settings and data; a partial file made from anything else is ignored
    fabric: Fabric = field(default_factory=one_cpu)
    curves: Path | None = None  # folder for TensorBoard

    def part(self, name: str) -> "Phase":
        """A phase within this one, with random numbers and files of its own."""
        partial = self.partial and self.partial.with_name(f"{self.partial.stem}-{name}{self.partial.suffix}")
        curves = self.curves and self.curves.with_name(f"{self.curves.name}-{name}")
        return replace(self, name=f"{self.name}-{name}", partial=partial, curves=curves)

    @property
    def origin(self) -> dict[str, str]:
        return {"phase": self.name, "made_from": self.made_from}


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


def masked_mse(predicted: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared error over the elements whose target is not NaN, in all processes; 0 where there is none.

    Args:
        predicted, target: (..., dims).
        weights: (...), of each bin in the mean; None: all 1.
    """
    known = torch.isfinite(target)
    error = torch.where(known, predicted - torch.where(known, target, 0.0), 0.0)
    if weights is None:
        return mean_over_processes(error.square().sum() / known.sum().clamp(min=1), known.sum())
    share = known * weights[..., None]
    total = share.sum()
    return mean_over_processes((share * error.square()).sum() / total.clamp(min=1e-6), total)


def fit(
    module: Module,
    settings: FitSettings,
    phase: Phase,
    batches: Callable[[], Sequence[Any]],
    loss: Callable[[Module, Any], Tensor],
    validate: Callable[[Module], float],
    progress: Progress,
    corrupt: Callable[[Any], Any] = lambda batch: batch,
) -> History:
    """Fit ``module`` in place with AdamW; it ends on the CPU, with the averaged weights of the epoch that validated best.

    Equal arguments give equal weights on one machine's CPU, interrupted and resumed or not. Validation is on the exponential moving
    average of the weights (``settings.average``), so that is what is kept. Training stops ``settings.patience`` epochs after the best one.
    Where ``settings.lr`` is 0, a range test finds the rate (:mod:`realm_edge.training.rates`).
    Several processes compute what one does, up to rounding and dropout.

    Args:
        module: its parameters that require gradients are trained.
        batches: one epoch's batches, drawn with torch's global generator, which is seeded here. A batch is a NamedTuple of tensors that
            hold windows side by side.
        loss: of one process' share of a batch, in training mode; made of :func:`realm_edge.training.machine.mean_over_processes`.
        validate: lower is better; called in evaluation mode without gradients. It must not draw random numbers.
        corrupt: turns a batch into another with random numbers, before it is shared among the processes.

    Raises:
        UserError: the loss stopped being a number, or was exactly 0 over an epoch; the message names phase, epoch and setting.
        KeyboardInterrupt: Ctrl-C or SIGTERM, once the step in progress is finished and saved.
    """
    fabric = phase.fabric
    state = new_state(module, settings, fabric)
    step = stepper(state, fabric)
    leads = fabric.is_global_zero  # this process writes

    with seeded(phase, "fit"), one_thread(), interrupts_held_back() as interrupted:
        history, epoch = restore(phase.partial, phase.origin, state, progress.say)
        highest = settings.lr or history.lr or _tested(module, settings, phase, batches, loss, corrupt, interrupted)
        history, settings = replace(history, lr=highest), settings.model_copy(update={"lr": highest})
        saved = time.monotonic()

        def epochs() -> Iterator[int]:
            while not history.finished:
                yield history.epochs

        def keep() -> float:
            if phase.partial is not None and leads:
                save(phase.partial, phase.origin, state, history, epoch)
            return time.monotonic()

        with curves(phase.curves if leads else None, history) as log:
            for number in progress.track(epochs(), phase.name, settings.epochs):
                start = time.monotonic() - epoch.seconds
                drawn = epoch.draw(batches)
                rates = [_rate(settings, number + index / len(drawn)) for index in range(len(drawn))]
                module.train()
                for index in range(len(epoch.losses), len(drawn)):
                    own = share(corrupt(drawn[index]), fabric)
                    with _noise(phase, sum(history.steps) + index):
                        value, norm = step(rates[index], partial(loss, module, own))
                    value, stop = _agreed(fabric, value, interrupted())
                    epoch.add(value, norm, time.monotonic() - start)
                    progress.note(_note(history, index + 1, len(drawn)))
                    if stop or time.monotonic() - saved >= SAVE_SECONDS:
                        saved = keep()
                    if stop:
                        raise KeyboardInterrupt

                state.average.eval()
                with torch.no_grad():
                    score = fabric.broadcast(validate(cast(Module, state.average.module)))
                mean_loss = math.fsum(torch.stack(epoch.losses).tolist()) / len(drawn)
                _check(phase, settings, number, mean_loss, score)
                if score < min(history.validation_loss, default=math.inf):
                    state.best.update(copy.deepcopy(state.average.module.state_dict()))
                history = history.advanced(settings, mean_loss, score, len(drawn), time.monotonic() - start)
                log(history, epoch, rates)
                epoch = Epoch()
                saved = keep()
    module.load_state_dict(state.best)
    module.cpu().eval()
    return history


def _tested(
    module: Module,
    settings: FitSettings,
    phase: Phase,
    batches: Callable[[], Sequence[Any]],
    loss: Callable[[Module, Any], Tensor],
    corrupt: Callable[[Any], Any],
    interrupted: Callable[[], bool],
) -> float:
    """The learning rate by a range test; what it draws is a stream of its own."""

    def agreed(value: Tensor) -> Tensor:
        value, stop = _agreed(phase.fabric, value, interrupted())
        if stop:
            raise KeyboardInterrupt
        return value

    with seeded(phase, "rate"):
        return found(module, settings, phase.fabric, corrupt(batches()[0]), loss, agreed)


def _check(phase: Phase, settings: FitSettings, epoch: int, loss: float, validation: float) -> None:
    """Losses are means of squares and distances: one that is exactly 0 was a mean over nothing (:func:`masked_mse`)."""
    said = f"{phase.name}: loss {loss}, validation {validation} in epoch {epoch}"
    if not math.isfinite(loss) or not math.isfinite(validation):
        raise UserError(f"{said}: lower its lr ({settings.lr:g})")
    if loss == 0 or validation == 0:
        what = "training windows" if loss == 0 else "validation part"
        raise UserError(
            f"{said}: there was nothing to predict in the {what}, no masked bin or no known behaviour: use longer segments than "
            "pretrain.block_bins, or recordings whose behaviour is known there"
        )


def _noise(phase: Phase, step: int) -> AbstractContextManager[None]:
    """Where dropout draws from: the phase's stream, or one of its own where shares differ in size and a GPU has its own generator."""
    fabric = phase.fabric
    if fabric.world_size == 1 and fabric.device.type == "cpu":
        return nullcontext()
    return seeded(phase, f"step {step}, process {fabric.global_rank}")


def _agreed(fabric: Fabric, loss: Tensor, interrupted: bool) -> tuple[Tensor, bool]:
    """The loss of the whole batch, and whether any process was interrupted: all stop at the same step."""
    if fabric.world_size == 1:
        return loss, interrupted
    both = cast(Tensor, fabric.all_reduce(torch.stack((loss, loss.new_tensor(float(interrupted)))), reduce_op="mean"))
    return both[0], bool(both[1] > 0)


def _rate(settings: FitSettings, epoch: float) -> float:
    """Linear warm-up, and with it half a cosine down to zero at ``settings.epochs``, or constant; or :data:`DECAY` an epoch after it."""
    fall = 0.5 * (1.0 + math.cos(math.pi * epoch / settings.epochs)) if settings.schedule == "cosine" else 1.0
    if settings.schedule == "exponential":
        fall = DECAY ** max(0.0, epoch - settings.warmup_epochs)
    return settings.lr * fall * min(1.0, settings.warmup_from + epoch * ((1.0 - settings.warmup_from) / settings.warmup_epochs))


def _note(history: History, step: int, steps: int) -> str:
    if not history.epochs:
        return f"step {step}/{steps}"
    return f"step {step}/{steps}  loss {history.train_loss[-1]:.4f}  validation {history.validation_loss[-1]:.4f}"
