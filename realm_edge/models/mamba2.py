"""Mamba-2 in plain PyTorch: a chunked forward over sequences and a step over one bin, which compute the same function.

The mathematics and the parameter names and shapes are those of state-spaces/mamba 2.3 (``mamba_ssm/modules/mamba2.py``)
with ngroups 1 and the gated RMSNorm applied after the gate, so that state dicts move both ways. Per head, with A < 0:

    h[t] = exp(dt[t] A) h[t-1] + dt[t] x[t] B[t]^T        h  # (headdim, d_state)
    y[t] = h[t] C[t] + D x[t]
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realm_edge.settings import ModelSettings

CHUNK = 32  # bins; the quadratic work inside a chunk and the sequential work between chunks balance here on a CPU
KERNEL_CHUNK = 256  # mamba-ssm's default, for its kernels
BLOCK = 512  # bins that are scanned at once: what lies between the matrix products then stays in the cache
DT_RANGE = (1e-3, 0.1)  # initial step sizes, log-uniform (mamba-ssm's dt_min, dt_max)
DT_FLOOR = 1e-4
A_RANGE = (1.0, 16.0)  # initial -A, uniform


class Mamba2State(NamedTuple):
    """What one mixer carries from bin to bin."""

    conv: Tensor  # (batch, conv_dim, d_conv), the last d_conv inputs of the convolution, newest last
    ssm: Tensor  # (batch, nheads, headdim, d_state)

    @classmethod
    def alloc(cls, settings: ModelSettings, batch: int, like: Tensor) -> "Mamba2State":
        """The all-zero state before the first bin, with the dtype and device of ``like``."""
        conv_dim = settings.d_inner + 2 * settings.d_state
        return cls(
            conv=like.new_zeros(batch, conv_dim, settings.d_conv),
            ssm=like.new_zeros(batch, settings.nheads, settings.headdim, settings.d_state),
        )


class Mamba2(nn.Module):
    """One Mamba-2 mixer; order of the input projection: (z, x, B, C, dt)."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        conv_dim = settings.d_inner + 2 * settings.d_state
        self.in_proj = nn.Linear(settings.d_model, settings.d_inner + conv_dim + settings.nheads, bias=False)
        self.conv1d = nn.Conv1d(conv_dim, conv_dim, settings.d_conv, groups=conv_dim)
        low, high = (math.log(limit) for limit in DT_RANGE)
        dt = torch.exp(torch.empty(settings.nheads).uniform_(low, high)).clamp(min=DT_FLOOR)
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # inverse of softplus
        self.A_log = nn.Parameter(torch.log(torch.empty(settings.nheads).uniform_(*A_RANGE)))
        self.D = nn.Parameter(torch.ones(settings.nheads))
        self.norm = nn.RMSNorm(settings.d_inner, eps=1e-5)
        self.out_proj = nn.Linear(settings.d_inner, settings.d_model, bias=False)

    def forward(self, u: Tensor, state: Mamba2State | None = None) -> tuple[Tensor, Mamba2State]:
        """Run over a sequence of any length.

        Args:
            u: (batch, bins, d_model), bins >= 1.
            state: state before the first bin; None is the zero state.

        Returns:
            (batch, bins, d_model) and the state after the last bin.
        """
        state = state or Mamba2State.alloc(self.settings, len(u), u)
        z, xbc, dt = self._split(self.in_proj(u))

        history = torch.cat((state.conv[:, :, 1:], xbc.transpose(1, 2)), dim=2)  # (batch, conv_dim, d_conv - 1 + bins)
        conv = torch.cat((state.conv, xbc.transpose(1, 2)), dim=2)[:, :, -self.settings.d_conv :]
        xbc = self.conv1d(history).transpose(1, 2)
        x, b, c = self._heads(F.silu(xbc))

        dt = F.softplus(dt + self.dt_bias)  # (batch, bins, nheads)
        y, ssm = scan(x, dt, -torch.exp(self.A_log), b, c, state.ssm)
        y = (y + self.D[:, None] * x).flatten(-2)  # (batch, bins, d_inner)
        return self.out_proj(self.norm(y * F.silu(z))), Mamba2State(conv, ssm)

    def step(self, u: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        """Run one bin; equals :meth:`forward` on a sequence of length one.

        Args:
            u: (batch, d_model).
            state: state before this bin.

        Returns:
            (batch, d_model) and the state after this bin.
        """
        z, xbc, dt = self._split(self.in_proj(u))

        conv = torch.cat((state.conv[:, :, 1:], xbc[:, :, None]), dim=2)
        xbc = self.conv1d(conv)[:, :, 0]
        x, b, c = self._heads(F.silu(xbc))

        dt = F.softplus(dt + self.dt_bias)  # (batch, nheads)
        decay = torch.exp(-dt * torch.exp(self.A_log))
        ssm = decay[:, :, None, None] * state.ssm + (dt[:, :, None] * x)[..., None] * b[:, None, None, :]
        y = (ssm * c[:, None, None, :]).sum(dim=-1)  # (batch, nheads, headdim)
        y = (y + self.D[:, None] * x).flatten(-2)  # (batch, d_inner)
        return self.out_proj(self.norm(y * F.silu(z))), Mamba2State(conv, ssm)

    def _split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z (..., d_inner), xBC (..., conv_dim), dt (..., nheads)."""
        d_inner = self.settings.d_inner
        z, xbc, dt = projected.split((d_inner, d_inner + 2 * self.settings.d_state, self.settings.nheads), dim=-1)
        return z, xbc, dt

    def _heads(self, xbc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (..., nheads, headdim), B (..., d_state), C (..., d_state)."""
        x, b, c = xbc.split((self.settings.d_inner, self.settings.d_state, self.settings.d_state), dim=-1)
        return x.unflatten(-1, (self.settings.nheads, self.settings.headdim)), b, c


def scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`ssd_scan` in blocks, or mamba-ssm's Triton kernels for it on a GPU where the package is installed.

    Sums of decays and the state stay in float32 at least, also under autocast: bfloat16 would forget what lies a few bins back.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, dt, a, b, c, h = (tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in (x, dt, a, b, c, h))
        kernels = mamba_ssm_scan() if x.is_cuda and x.dtype == torch.float32 and len(x) else None  # no float64, no empty batch
        if kernels is not None:
            y, h = kernels(x, dt, a, b[:, :, None], c[:, :, None], chunk_size=KERNEL_CHUNK, initial_states=h, return_final_states=True)
            return y, h
        parts = []
        for piece in zip(*(tensor.split(BLOCK, dim=1) for tensor in (x, dt, b, c)), strict=True):
            part, h = ssd_scan(piece[0], piece[1], a, piece[2], piece[3], h)
            parts.append(part)
        return torch.cat(parts, dim=1), h


@cache
def mamba_ssm_scan() -> Callable[..., tuple[Tensor, Tensor]] | None:
    """``mamba_chunk_scan_combined`` of mamba-ssm, or None where the package cannot be imported."""
    try:
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except ImportError:
        return None
    return cast("Callable[..., tuple[Tensor, Tensor]]", mamba_chunk_scan_combined)


def ssd_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, h: Tensor, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """The recurrence of the module's docstring without D, chunk by chunk (Dao and Gu 2024, section 6).

    Unrolled inside a chunk that starts from state h0, with s[i] the sum of dt A up to and including bin i:
    y[i] = exp(s[i]) h0 C[i] + sum over j <= i of exp(s[i] - s[j]) (C[i] . B[j]) dt[j] x[j]: two matrix products.

    Args:
        x: (batch, bins, nheads, headdim).
        dt: (batch, bins, nheads), positive.
        a: (nheads,), negative.
        b: (batch, bins, d_state).
        c: (batch, bins, d_state).
        h: (batch, nheads, headdim, d_state), the state before the first bin.
        chunk: bins a chunk.

    Returns:
        y (batch, bins, nheads, headdim) and the state after the last bin.
    """
    bins = x.shape[1]
    chunk = min(chunk, bins)
    padding = -bins % chunk  # dt = 0 there: the state passes through unchanged
    x = F.pad(x * dt[..., None], (0, 0, 0, 0, 0, padding))
    # Differences of long sums lose digits: they are taken in float64, which is cheap on (batch, bins, nheads).
    s = F.pad((dt * a).double(), (0, 0, 0, padding)).unflatten(1, (-1, chunk)).cumsum(2).permute(0, 1, 3, 2)  # (batch, n, nheads, chunk)
    x = x.unflatten(1, (-1, chunk)).transpose(2, 3)  # (batch, n, nheads, chunk, headdim)
    b = F.pad(b, (0, 0, 0, padding)).unflatten(1, (-1, chunk))[:, :, None]  # (batch, n, 1, chunk, d_state)
    c = F.pad(c, (0, 0, 0, padding)).unflatten(1, (-1, chunk))[:, :, None]

    future = torch.ones(chunk, chunk, dtype=torch.bool, device=x.device).triu(1)
    decay = (s[..., :, None] - s[..., None, :]).to(x.dtype).masked_fill(future, -torch.inf).exp()  # (batch, n, nheads, chunk, chunk)
    inside = (c @ b.transpose(-1, -2) * decay) @ x

    to_end = (s[..., -1:] - s).to(x.dtype).exp()  # (batch, n, nheads, chunk)
    added = (x * to_end[..., None]).transpose(-1, -2) @ b  # (batch, n, nheads, headdim, d_state)
    kept = s[..., -1].to(x.dtype).exp()  # (batch, n, nheads)
    before = []
    for index in range(added.shape[1]):
        before.append(h)
        h = kept[:, index, :, None, None] * h + added[:, index]
    carried = c @ torch.stack(before, dim=1).transpose(-1, -2) * s.to(x.dtype).exp()[..., None]

    y = (inside + carried).transpose(2, 3).flatten(1, 2)[:, :bins]
    return y, h
