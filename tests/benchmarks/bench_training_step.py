"""What a step of each phase of training takes: python tests/benchmarks/bench_training_step.py [--preset NAME] [--windows N]

For a batch of so many windows of noise, on one core of this CPU: processor seconds of a step (forward, backward, AdamW, average), the bytes
that the forward pass leaves for the backward pass, the most memory that the process held so far, the floating-point operations of
matrix products and convolutions as torch's FlopCounterMode counts them (the scan is made of matrix products), and how many operations torch
dispatches, each of which is a kernel or two on a GPU. All are per step; none is measured on a GPU.

Example: python tests/benchmarks/bench_training_step.py --preset realm-s --windows 4
"""

import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.settings import PRESETS, FitSettings, Settings
from realm_edge.training.arrays import SharedStudent
from realm_edge.training.distil import Distillation
from realm_edge.training.loop import masked_mse, one_thread
from realm_edge.training.machine import one_cpu
from realm_edge.training.pretrain import mask_blocks
from realm_edge.training.segments import Batch
from realm_edge.training.step import new_state, stepper

DIMS = 2


class Operations(TorchDispatchMode):
    """Counts what is dispatched, but for views."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


Loss = Callable[[], Tensor]


def phases(settings: Settings, windows: int) -> Iterator[tuple[str, nn.Module, FitSettings, Loss]]:
    """Name, module, settings and loss of each phase on a batch of noise, the one that takes least memory first."""
    kinds = 1 + len(settings.lfp.bands_hz)
    inputs = settings.synthetic.channels * kinds
    bins = settings.window_bins
    x, lengths = torch.randn(windows, bins, inputs), torch.full((windows,), bins)
    batch = Batch(x, torch.randn(windows, bins, DIMS), lengths, torch.ones(windows, bins))
    teacher = Teacher(settings.teacher, [inputs], settings.pretrain.dropout, kinds)
    student = SharedStudent(Student(settings.student, inputs, DIMS, settings.distil.dropout, kinds), [inputs], kinds)
    module = Distillation(student, [inputs], settings.teacher.d_model)

    def distillation() -> Tensor:
        with torch.no_grad():
            seen = teacher.eval()(x)
        return module.loss(batch, seen, settings.distil)

    yield "finetune", student, settings.finetune, lambda: masked_mse(student.decode(x), batch.targets)
    yield "distil", module, settings.distil, distillation
    teacher.train()
    masked = mask_blocks(lengths, bins, settings.pretrain)
    yield "pretrain", teacher, settings.pretrain, lambda: masked_mse(teacher.reconstruct(x, masked)[masked], x[masked])


def saved_bytes(loss: Loss) -> int:
    """What stays in memory between forward and backward pass, weights left out."""
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        value = loss()
    del value
    return sum(held.values())


@click.command()
@click.option("--preset", default="realm-s", type=click.Choice(list(PRESETS)), show_default=True)
@click.option("--windows", default=4, show_default=True)
def main(preset: str, windows: int) -> None:
    """See the module."""
    settings = PRESETS[preset]
    print("phase     windows  processor s  left for gradients, MB  most memory, MB  Gflop  operations")
    torch.manual_seed(0)
    with one_thread():
        for name, module, fit, loss in phases(settings, windows):
            module.train()
            kept = saved_bytes(loss)
            step = stepper(new_state(module, fit, one_cpu()), one_cpu())
            step(fit.lr, loss)  # once, so that all there is to allocate is
            start = time.process_time()
            step(fit.lr, loss)
            took = time.process_time() - start
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            with FlopCounterMode(display=False) as flops, Operations() as operations:
                step(fit.lr, loss)
            gflop = flops.get_total_flops() / 1e9
            print(f"{name:8}  {windows:7}  {took:11.2f}  {kept / 1e6:22.0f}  {most:15.0f}  {gflop:5.1f}  {operations.count:10}", flush=True)


if __name__ == "__main__":
    main()
