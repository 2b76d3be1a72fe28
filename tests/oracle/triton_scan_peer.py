"""Runs in the oracle's own environment: mamba-ssm's Triton kernels for the scan, on the CPU in Triton's interpreter (TRITON_INTERPRET=1).

``python triton_scan_peer.py CASE RESULT CHUNK``: CASE (safetensors) holds x, dt, a, b, c, h as ``realm_edge.models.mamba2.scan`` takes
them, and weights wy and wh. RESULT receives y and last, what the kernels make of them, and under ``grad/`` the gradient of
(y * wy).sum() + (last * wh).sum(), from their backward kernels.

The kernels run as they are. Around them: block sizes are the first that the package lists, since there is no GPU to time them on,
the choice of a CUDA device is left out, and the work is split as for a GPU with one multiprocessor.
"""

import contextlib
import sys
import types
from pathlib import Path

import safetensors.torch
import torch
import triton

sys.modules["selective_scan_cuda"] = types.ModuleType("selective_scan_cuda")  # the CUDA extension, imported by Mamba-1 and not built here
tuned = triton.autotune
triton.autotune = lambda configs, key, **more: tuned(configs=configs[:1], key=key)
torch.cuda.device = lambda index: contextlib.nullcontext()
torch.cuda.get_device_properties = lambda device: types.SimpleNamespace(multi_processor_count=1)

from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined  # noqa: E402


def main(case: Path, result: Path, chunk: int) -> None:
    tensors = safetensors.torch.load_file(case)
    wy, wh = tensors.pop("wy"), tensors.pop("wh")
    x, dt, a, b, c, h = (tensors[name].requires_grad_() for name in ("x", "dt", "a", "b", "c", "h"))
    y, last = mamba_chunk_scan_combined(
        x, dt, a, b[:, :, None], c[:, :, None], chunk_size=chunk, initial_states=h, return_final_states=True
    )
    ((y * wy).sum() + (last * wh).sum()).backward()
    found = {"y": y.detach(), "last": last.detach()} | {f"grad/{name}": tensor.grad for name, tensor in tensors.items()}
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in found.items()}, result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
