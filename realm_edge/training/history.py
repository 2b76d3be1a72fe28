"""What a fit did, epoch by epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from realm_edge.documents import Form, Number
from realm_edge.settings import FitSettings


class Fit(Form):
    """What a fit did, but for the time it took, which differs from one run to the next."""

    epochs: int
    best_epoch: int  # from 0
    steps_to_best: int  # of the optimiser, up to the end of the best epoch
    best_validation_loss: Number
    train_loss: tuple[Number, ...]  # one per epoch
    validation_loss: tuple[Number, ...]
    lr: Number | None = None  # the highest of the schedule, found by a range test where the settings name none; absent in earlier files


@dataclass(frozen=True)
class History:
    """What a fit did."""

    train_loss: tuple[float, ...] = ()  # one per epoch
    validation_loss: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()  # of the optimiser, one count an epoch
    seconds_by_epoch: tuple[float, ...] = ()  # validation included
    lr: float = 0.0  # the highest of the schedule; 0 before the first step
    finished: bool = False

    @property
    def epochs(self) -> int:
        return len(self.validation_loss)

    @property
    def seconds(self) -> float:
        """Over all the runs that it took."""
        return math.fsum(self.seconds_by_epoch)

    @property
    def best_epoch(self) -> int:
        """Counted from zero."""
        return self.validation_loss.index(min(self.validation_loss))

    @property
    def steps_to_best(self) -> int:
        """Optimiser steps up to the end of the best epoch."""
        return sum(self.steps[: self.best_epoch + 1])

    def advanced(self, settings: FitSettings, train_loss: float, validation_loss: float, steps: int, seconds: float) -> "History":
        """One epoch longer, and finished where ``settings`` say so."""
        longer = History(
            train_loss=(*self.train_loss, train_loss),
            validation_loss=(*self.validation_loss, validation_loss),
            steps=(*self.steps, steps),
            seconds_by_epoch=(*self.seconds_by_epoch, seconds),
            lr=self.lr,
        )
        return replace(longer, finished=longer.epochs >= settings.epochs or longer.epochs - 1 - longer.best_epoch >= settings.patience)

    def after(self, earlier: Sequence["History"]) -> "History":
        """The same, with the steps and the time of what had to be fitted before in its first epoch."""
        steps, seconds = (sum(sum(getattr(each, name)) for each in earlier) for name in ("steps", "seconds_by_epoch"))
        return replace(
            self,
            steps=(steps + self.steps[0], *self.steps[1:]),
            seconds_by_epoch=(seconds + self.seconds_by_epoch[0], *self.seconds_by_epoch[1:]),
        )

    def summary(self) -> Fit:
        return Fit(
            epochs=self.epochs,
            best_epoch=self.best_epoch,
            steps_to_best=self.steps_to_best,
            best_validation_loss=self.validation_loss[self.best_epoch],
            train_loss=self.train_loss,
            validation_loss=self.validation_loss,
            lr=self.lr,
        )
