"""Where training runs: on a CPU or a GPU, in how many processes, in which precision. No part of a run's settings.

Under torchrun every process draws the same batches, computes its share of each one's windows, and holds the same weights after each step.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from torch import Tensor, distributed

from realm_edge.errors import UserError
from realm_edge.torchrun import processes, processes_here

Tensors = TypeVar("Tensors", bound=tuple[Tensor, ...])


@cache
def one_cpu() -> Fabric:
    """One process on the CPU in float32: the only place where equal seeds give equal weights."""
    return _fabric("cpu", "32", each=1, machines=1)


def check_device(device: str) -> None:
    """See that there are as many GPUs as processes are to use.

    Raises:
        UserError: there are not.
    """
    here = processes_here()
    if device == "cuda" and torch.cuda.device_count() < here:
        found = torch.cuda.device_count()
        raise UserError(f"--device cuda: {here} process(es) but {found} GPU(s) that torch can use: use --device cpu, or fewer processes")


@contextmanager
def machine(device: str, precision: str) -> Iterator[Fabric]:
    """What to train on: this process, or all that torchrun started, which meet here and wait for one another at the end.

    Args:
        device: one of :data:`realm_edge.devices.Device`; ``auto`` is the GPU where there is one.
        precision: one of :data:`realm_edge.devices.Precision`; the mixed ones compute matrix products in 16 bits.

    Raises:
        UserError: there is no GPU, or fewer than processes; another process has ended before this one.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    total, here = processes(), processes_here()
    fabric = _fabric(device, precision, here, machines=total // here)
    if total == 1:
        yield fabric
        return
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # says at length who joined
    fabric.launch()
    try:
        yield fabric
        fabric.barrier()
    except RuntimeError as error:  # gloo's and NCCL's errors have no type of their own
        if "onnection closed by peer" not in str(error) and "onnection reset by peer" not in str(error):
            raise
        raise UserError("torchrun: another process of this training has ended: see what it said; the same command goes on") from error
    finally:
        distributed.destroy_process_group()


def _fabric(device: str, precision: str, each: int, machines: int) -> Fabric:
    """``each``: processes a machine."""
    plugin = Precision() if precision == "32" else MixedPrecision(precision, device)  # type: ignore[arg-type]
    # Named, or Fabric would look for the variables of batch systems, under which one process is one process still.
    many = each * machines > 1
    environment = TorchElasticEnvironment() if many else LightningEnvironment()
    strategy = "ddp_find_unused_parameters_true" if many else "auto"  # a batch is of one array, and uses its input layer alone
    return Fabric(accelerator=device, devices=each, num_nodes=machines, strategy=strategy, plugins=[plugin, environment])


def share(batch: Tensors, fabric: Fabric) -> Tensors:
    """Every n-th window of a batch for each of n processes; may be empty in the last ones."""
    kept = (tensor[fabric.global_rank :: fabric.world_size] for tensor in batch)
    return type(batch)(*kept) if fabric.world_size > 1 else batch


def mean_over_processes(mean: Tensor, count: Tensor) -> Tensor:
    """The mean over the elements of all processes, times what makes DDP's average of gradients the gradient of that.

    Where shares of a batch differ in what counts (unknown targets, masked bins), the average of the processes' means would not be the
    mean over the batch. All processes must call it.

    Args:
        mean: over this process' elements.
        count: how many these are; where there are none, the mean may be anything.
    """
    if not distributed.is_initialized():
        return mean
    total = count.clone()
    distributed.all_reduce(total)
    return torch.where(count > 0, mean, 0.0) * (count * distributed.get_world_size() / total.clamp(min=1))
