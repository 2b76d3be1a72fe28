"""Our Mamba-2 against the real mamba-ssm package, in an environment of its own: opt-in, ``./start test -m oracle -rP``."""

import json
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from realm_edge.models.mamba2 import Mamba2, Mamba2State
from realm_edge.settings import ModelSettings

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(3600)]  # the first time installs PyTorch again

TOLERANCE = 1e-5  # of the largest value
CHUNK = 32  # of ssd_minimal_discrete, which needs whole chunks

CASES = {
    "implant-like": (ModelSettings(d_model=48, n_layer=1, d_state=16, headdim=16), 2, 160),
    "no expansion, three taps": (ModelSettings(d_model=24, n_layer=1, d_state=8, headdim=12, expand=1, d_conv=3), 3, 64),
    "realm": (ModelSettings(d_model=256, n_layer=1, d_state=64, headdim=64), 1, 512),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, python: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Tensor, dict[str, Tensor]]:
    """The case's name, its inputs (batch, bins, d_model), and what the package made of them."""
    settings, batch, bins = CASES[request.param]
    torch.manual_seed(3)
    module = Mamba2(settings)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # ones and zeros would hide an exchange of D and norm.weight
    u = 2 * torch.randn(batch, bins, settings.d_model)
    arguments = settings.model_dump(exclude={"n_layer"}) | {"chunk_size": CHUNK}
    folder = tmp_path_factory.mktemp("oracle")
    tensors = {"u": u} | {f"ours/{name}": tensor for name, tensor in module.state_dict().items()}
    safetensors.torch.save_file(tensors, folder / "case", {"arguments": json.dumps(arguments)})
    command = [str(python), str(Path(__file__).with_name("mamba_ssm_peer.py")), str(folder / "case"), str(folder / "result")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return request.param, u, safetensors.torch.load_file(folder / "result")


@torch.no_grad()
@pytest.mark.parametrize("weights", ["ours", "theirs"])
def test_step_and_forward_equal_those_of_mamba_ssm(case: tuple[str, Tensor, dict[str, Tensor]], weights: str) -> None:
    name, u, results = case
    settings = CASES[name][0]
    module = Mamba2(settings)
    found = {key.removeprefix(f"{weights}/"): tensor for key, tensor in results.items() if key.startswith(f"{weights}/")}
    module.load_state_dict({key: found.pop(key) for key in module.state_dict()}, strict=True)
    assert {key.split(".")[0] for key in found} == {"forward", "step", "step_ref"}  # nothing of theirs was left unloaded

    whole, after = module(u)
    state = Mamba2State.alloc(settings, len(u), u)
    outputs = []
    for index in range(u.shape[1]):
        y, state = module.step(u[:, index], state)
        outputs.append(y)
    computed = {
        "forward": {"y": whole, "conv": after.conv, "ssm": after.ssm},
        "step": {"y": torch.stack(outputs, dim=1), "conv": state.conv, "ssm": state.ssm},
    }
    worst = {}
    for key, expected in found.items():
        theirs, part = key.split(".")
        for ours, values in computed.items():
            assert values[part].shape == expected.shape
            error = float((values[part] - expected).abs().max() / expected.abs().max())
            worst[f"our {ours}, their {theirs}"] = max(error, worst.get(f"our {ours}, their {theirs}", 0.0))
    for pair, error in worst.items():
        print(f"{name}, {weights} weights, {pair}: {error:.1e} of the largest value")
    assert len(worst) == 6 and max(worst.values()) <= TOLERANCE
