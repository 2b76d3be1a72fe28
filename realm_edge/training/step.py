"""One step of the optimiser, on any machine."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from realm_edge.settings import FitSettings
from realm_edge.training.partial import State

GRADIENT_CLIP = 1.0

Step = Callable[[float, Callable[[], Tensor]], tuple[Tensor, Tensor]]


def new_state(module: nn.Module, settings: FitSettings, fabric: Fabric) -> State:
    """The module moved to the machine's device, its moving average, and AdamW before the first step."""
    module.to(fabric.device)
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
    precision = fabric.strategy.precision
    scales = getattr(precision, "scaler", None) is not None  # the fused AdamW would undo the scaling only after clipping
    if scales:
        precision.load_state_dict(torch.amp.GradScaler(fabric.device.type).state_dict())  # as new: an earlier fit has changed it
    optimizer = torch.optim.AdamW(_decay_groups(module, settings.weight_decay), lr=settings.lr, fused=not scales)
    return State(module, average, copy.deepcopy(average.module.state_dict()), optimizer, precision)


def stepper(state: State, fabric: Fabric) -> Step:
    """What takes a learning rate and what computes the loss of this process' share, steps, and returns loss and norm of the gradient."""
    objective, optimizer = fabric.setup(_Objective(state.module), state.optimizer)

    def step(rate: float, loss: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        value = objective(loss)
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(value)
        state.precision.unscale_gradients(state.optimizer)
        norm = nn.utils.clip_grad_norm_(state.module.parameters(), GRADIENT_CLIP)
        optimizer.step()
        state.average.update_parameters(state.module)
        return value.detach(), norm

    return step


class _Objective(nn.Module):
    """Makes any loss of a module a forward pass, which is what Fabric casts and DDP listens to."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, loss: Callable[[], Tensor]) -> Tensor:
        return loss()


def _decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices only: shrinking A_log, D, dt_bias, norms and biases towards zero would mean something else."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.dim() >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.dim() < 2], "weight_decay": 0.0},
    ]
