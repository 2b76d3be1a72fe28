"""Runs in the oracle's own environment, where realm_edge is not: mamba-ssm's Mamba2 on the CPU.

``python mamba_ssm_peer.py CASE RESULT``: CASE (safetensors) holds the inputs ``u`` (batch, bins, d_model), weights under ``ours/`` and the
arguments of ``Mamba2`` as metadata. RESULT receives, for ``ours`` and for ``theirs`` (weights that the package initialised itself), the
weights and what the package computes from them.

The module's own ``forward`` and ``step`` run unchanged. Where they call Triton kernels, which need a GPU, they get the pure PyTorch
references that the package holds for testing those kernels.
"""

import json
import sys
import types
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open
from torch.nn import functional as F

sys.modules["selective_scan_cuda"] = types.ModuleType("selective_scan_cuda")  # the CUDA extension, imported by Mamba-1 and not built here

from mamba_ssm.modules import mamba2  # noqa: E402
from mamba_ssm.modules.ssd_minimal import ssd_minimal_discrete  # noqa: E402
from mamba_ssm.ops.triton import layernorm_gated  # noqa: E402
from mamba_ssm.ops.triton.selective_state_update import selective_state_update_ref  # noqa: E402


def chunk_scan_reference(x, dt, A, B, C, chunk_size, D, z, dt_bias, dt_softplus, return_final_states, **unused):
    """``mamba_chunk_scan_combined`` as its own comparison with ``ssd_minimal_discrete`` spells it; unused arguments are None or False."""
    assert z is None and dt_softplus and not any(unused.values()), unused
    dt = F.softplus(dt + dt_bias)
    b, c = (matrix.expand(-1, -1, x.shape[2], -1) for matrix in (B, C))  # one group: all heads share it
    y, final = ssd_minimal_discrete(x * dt[..., None], A * dt, b, c, chunk_size)
    y = y + D[:, None] * x
    return (y, final) if return_final_states else y


mamba2.mamba_chunk_scan_combined = chunk_scan_reference
layernorm_gated.rmsnorm_fn = layernorm_gated.rms_norm_ref


def computed(module: mamba2.Mamba2, u: torch.Tensor) -> dict[str, torch.Tensor]:
    """Outputs and last states of ``forward`` and of the loop of ``step``, the latter with either of its two state updates."""
    cache = types.SimpleNamespace(seqlen_offset=0, key_value_memory_dict={})  # makes forward leave its last states
    results = {"forward.y": module(u, inference_params=cache)}
    results["forward.conv"], results["forward.ssm"] = cache.key_value_memory_dict[0]
    for name, update in (("step", None), ("step_ref", selective_state_update_ref)):
        mamba2.selective_state_update = update
        conv, ssm = module.allocate_inference_cache(len(u), 0)
        outputs = []
        for index in range(u.shape[1]):
            y, conv, ssm = module.step(u[:, index : index + 1], conv, ssm)
            outputs.append(y)
        results |= {f"{name}.y": torch.cat(outputs, dim=1), f"{name}.conv": conv, f"{name}.ssm": ssm}
    return results


@torch.no_grad()
def main(case: Path, result: Path) -> None:
    with safe_open(case, framework="pt") as opened:
        arguments = json.loads(opened.metadata()["arguments"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
    torch.manual_seed(7)
    found = {}
    for whose in ("ours", "theirs"):
        module = mamba2.Mamba2(**arguments, use_mem_eff_path=False, layer_idx=0)
        if whose == "ours":
            weights = {name.removeprefix("ours/"): tensor for name, tensor in tensors.items() if name.startswith("ours/")}
            module.load_state_dict(weights, strict=True)
        else:
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))  # ones and zeros would hide an exchange of D and norm.weight
        values = module.state_dict() | computed(module, tensors["u"])
        found |= {f"{whose}/{name}": tensor.contiguous() for name, tensor in values.items()}
    safetensors.torch.save_file(found, result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
