"""What the prediction of a masked bin is held against: ``pretrain.target``.

``features``: all that is in the bin, as REALM does it; most of it no visible bin tells (``realm-edge study information``).
``low-passed``: its slow part. ``whitened``: what is left where 1/f in time is taken off, so that slow drifts count no more than fast
changes; across bands the front end has done that, whose features are z-scores each. ``predictable``: all of it, but what is known to be
told from so far away counts more. Windows are filtered by themselves, so that nothing crosses the ends of segments and parts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from realm_edge.models.by_segment import inside
from realm_edge.settings import PretrainSettings
from realm_edge.training.loop import masked_mse
from realm_edge.training.machine import mean_over_processes
from realm_edge.training.segments import Series, windows_of

Filter = Callable[[Tensor, Tensor], Tensor]  # windows (batch, bins, n), 0 in the padding, and (batch,) bins before it -> the same shape


@dataclass(frozen=True)
class Goal:
    """What is to be predicted, and how far off a prediction is."""

    wanted: Filter  # of windows' inputs
    error: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # of predicted and wanted (batch, bins, n), masked (batch, bins), lengths


def goal(settings: PretrainSettings, series: Sequence[Series], window: int) -> Goal:
    """What ``settings.target`` asks for.

    Args:
        series: pretraining sessions; their training parts alone are read, for deviations and for what is predictable.
        window: bins a training segment.
    """
    longest = settings.block_bins[1]
    if settings.target == "features":
        return Goal(_unchanged, _error)
    if settings.target == "predictable":
        weights = predictability(series, window, longest)

        def error(predicted: Tensor, wanted: Tensor, masked: Tensor, lengths: Tensor) -> Tensor:
            return _weighted_error(weights[predicted.shape[2]], predicted, wanted, masked, lengths)

        return Goal(_unchanged, error)
    filtered = low_pass(longest // 2) if settings.target == "low-passed" else whiten(longest)
    deviations = _deviations(filtered, series, window)

    def wanted(inputs: Tensor, lengths: Tensor) -> Tensor:
        return filtered(inputs, lengths) / deviations[inputs.shape[2]]

    return Goal(wanted, _error)


def low_pass(bins: int) -> Filter:
    """The mean around each bin, under a Hann window of ``bins`` (one more where even); of what lies in the window alone.

    Half the longest masked block, a quarter of a second in the presets, halves the power at 2.6 to 2.8 Hz.
    """
    taps = torch.hann_window(bins // 2 * 2 + 3, periodic=False)[1:-1]  # without the zeros at its ends

    def low_passed(x: Tensor, lengths: Tensor) -> Tensor:
        there = inside(lengths, x.shape[1]).to(x.device)[..., None]
        under, around = _convolved(there.to(x), taps, len(taps) // 2), _convolved(x, taps, len(taps) // 2)
        return torch.where(there, around / under, 0.0)

    return low_passed


def whiten(bins: int) -> Filter:
    """Half a difference: (1 - B)^0.5, B the step back by a bin, of ``bins`` terms. It makes a power spectrum of 1/f flat.

    Fractional differencing, Hosking 1981 (Biometrika 68, 165). What was before a window counts as 0, the mean.
    """
    taps = torch.cumprod(torch.tensor([1.0, *((k - 1.5) / k for k in range(1, bins))]), dim=0)

    def whitened(x: Tensor, lengths: Tensor) -> Tensor:
        return torch.where(inside(lengths, x.shape[1]).to(x.device)[..., None], _convolved(x, taps.flip(0), bins - 1), 0.0)

    return whitened


def predictability(series: Sequence[Series], window: int, farthest: int) -> dict[int, Tensor]:
    """Share of each input's variance that the same input tells so many bins away: its squared autocorrelation, within training windows.

    Returns:
        For each number of inputs (farthest, n_inputs), from a distance of 1 bin on.
    """
    shares = {}
    for n, own in _arrays(series).items():
        power, products = (own[0].inputs[:1].new_zeros(rows, n, dtype=torch.float64) for rows in (1, farthest))
        bins, pairs = 0, torch.zeros(farthest, 1, dtype=torch.float64)
        for x in _windows(own, window):
            power += x.square().sum(dim=0)
            bins += len(x)
            for away in range(1, min(farthest + 1, len(x))):
                products[away - 1] += (x[away:] * x[:-away]).sum(dim=0)
                pairs[away - 1] += len(x) - away
        variance = torch.where(power > 0, power / bins, 1.0)
        shares[n] = (products / pairs.clamp(min=1).to(products.device) / variance).square().float()
    return shares


def distance(masked: Tensor, lengths: Tensor) -> Tensor:
    """Bins to the nearest one of the window that is seen, on either side, (batch, bins); 0 for one that is seen.

    Args:
        masked: (batch, bins), bool; at least one bin before the padding is not.
        lengths: (batch,), bins before the padding.
    """
    bins = masked.shape[1]
    at = torch.arange(bins, device=masked.device)
    seen = ~masked & inside(lengths, bins).to(masked.device)
    before = torch.where(seen, at, -bins).cummax(dim=1).values
    behind = torch.where(seen, at, 2 * bins).flip(1).cummin(dim=1).values.flip(1)
    return torch.minimum(at - before, behind - at)


def _unchanged(x: Tensor, lengths: Tensor) -> Tensor:
    return x


def _error(predicted: Tensor, wanted: Tensor, masked: Tensor, lengths: Tensor) -> Tensor:
    return masked_mse(predicted[masked], wanted[masked])


def _weighted_error(weights: Tensor, predicted: Tensor, wanted: Tensor, masked: Tensor, lengths: Tensor) -> Tensor:
    """Mean of squared errors, weighted by (farthest, n) ``weights``; what is farther away counts as the farthest."""
    own = weights[distance(masked, lengths)[masked].clamp(max=len(weights)) - 1]
    total = own.sum()
    return mean_over_processes((own * (predicted[masked] - wanted[masked]).square()).sum() / total.clamp(min=1e-9), total)


def _convolved(x: Tensor, taps: Tensor, before: int) -> Tensor:
    """(batch, bins, n) -> the same shape: at each bin the sum under ``taps``, of which so many lie before it; beyond the window is 0."""
    batch, bins, n = x.shape
    padded = F.pad(x.transpose(1, 2).reshape(batch * n, 1, bins), (before, len(taps) - 1 - before))
    return F.conv1d(padded, taps.to(x)[None, None]).view(batch, n, bins).transpose(1, 2)


def _deviations(filtered: Filter, series: Sequence[Series], window: int) -> dict[int, Tensor]:
    """Of each input after the filter, over the training parts, (n_inputs,) for each number of inputs; 1 where nothing changes."""
    deviations = {}
    for n, own in _arrays(series).items():
        power, bins = own[0].inputs[:1].new_zeros(n, dtype=torch.float64), 0
        for x in _windows(own, window):
            power += filtered(x[None], torch.tensor([len(x)]))[0].square().sum(dim=0)
            bins += len(x)
        deviations[n] = torch.where(power > 0, power / bins, 1.0).sqrt().float()
    return deviations


def _arrays(series: Sequence[Series]) -> dict[int, list[Series]]:
    """The sessions by their numbers of inputs."""
    arrays: dict[int, list[Series]] = {}
    for one in series:
        arrays.setdefault(one.inputs.shape[1], []).append(one)
    return arrays


def _windows(series: Sequence[Series], window: int) -> Iterator[Tensor]:
    """Inputs (bins, n_inputs) of the training parts, float64."""
    return (one.inputs[first:stop].double() for each in series for one, first, stop in windows_of(each, 0, each.train_end, window))
