"""Size and work of a decoder, and the width that gives a baseline a wanted size."""

from collections.abc import Callable

from torch import nn

from realm_edge.models.mamba2 import Mamba2
from realm_edge.models.student import Student

WIDEST = 4096


def parameters(module: nn.Module) -> int:
    """Trained numbers; buffers (statistics) do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs_per_step(module: nn.Module) -> int:
    """Multiply-accumulates per bin: linear and recurrent weights + convolution taps + 3 * heads * headdim * d_state a Mamba-2 block.

    The channel tokenizer's convolutions count once per channel. Nothing else counts: no norms, activations, biases or
    element-wise products. Attention's products between bins are not weights; :class:`realm_edge.baselines.transformer.Transformer`
    adds them itself.
    """
    return sum(_own_macs(each) for each in module.modules())


def _own_macs(module: nn.Module) -> int:
    if isinstance(module, nn.Linear | nn.Conv1d):
        return module.weight.numel()
    if isinstance(module, nn.RNNBase):
        return sum(weight.numel() for name, weight in module.named_parameters() if name.startswith("weight_"))
    if isinstance(module, nn.MultiheadAttention):
        return module.in_proj_weight.numel()  # its out_proj is a Linear of its own
    if isinstance(module, Student):  # its shared convolutions run once per channel; here all runs but the one counted above
        return (module.channels - 1) * sum(each.weight.numel() for each in module.maps.children() if isinstance(each, nn.Conv1d))
    if isinstance(module, Mamba2):
        return 3 * module.settings.nheads * module.settings.headdim * module.settings.d_state
    return 0


def width_for(wanted: int, count: Callable[[int], int], multiple: int = 1) -> int:
    """The width, a multiple of ``multiple``, whose parameter count is closest to ``wanted``.

    Args:
        count: parameters of a given width, increasing.
    """
    best = multiple
    for width in range(multiple, WIDEST + 1, multiple):
        if abs(count(width) - wanted) < abs(count(best) - wanted):
            best = width
        if count(width) > wanted:
            break
    return best
