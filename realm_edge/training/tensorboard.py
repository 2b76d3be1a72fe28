"""Curves of training for TensorBoard."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from realm_edge.training.history import History
from realm_edge.training.partial import Epoch

Log = Callable[[History, Epoch, Sequence[float]], None]


@contextmanager
def curves(folder: Path | None, history: History) -> Iterator[Log]:
    """Yields what writes an epoch that ended: loss, learning rate and norm of the gradient per step; both losses and seconds per epoch.

    It takes the history with the epoch, the epoch with all its steps, and the learning rate of each step.

    Args:
        folder: of the phase; None writes nothing. What an earlier training left there is removed.
        history: of a fit that goes on; its last steps may stand in the folder, and then are replaced.
    """
    if folder is None or history.finished:
        yield lambda history, epoch, rates: None
        return
    from torch.utils.tensorboard import SummaryWriter  # takes a second to import

    if history.epochs == 0:
        shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder), purge_step=sum(history.steps)) as writer:

        def log(history: History, epoch: Epoch, rates: Sequence[float]) -> None:
            first = sum(history.steps[:-1])
            losses, norms = torch.stack(epoch.losses).tolist(), torch.stack(epoch.norms).tolist()
            for index, (loss, norm, rate) in enumerate(zip(losses, norms, rates, strict=True)):
                writer.add_scalar("step/loss", loss, first + index)
                writer.add_scalar("step/gradient_norm", norm, first + index)
                writer.add_scalar("step/learning_rate", rate, first + index)
            last = sum(history.steps) - 1  # on the same axis of steps, so that one purge holds for all
            writer.add_scalar("epoch/train_loss", history.train_loss[-1], last)
            writer.add_scalar("epoch/validation_loss", history.validation_loss[-1], last)
            writer.add_scalar("epoch/seconds", history.seconds_by_epoch[-1], last)
            writer.flush()

        yield log
