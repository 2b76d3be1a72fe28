"""A small decoder and a small recording, float and int8."""

import dataclasses
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from export.baseline_graphs import gru_graph, wiener_graph
from export.decoder_graph import decoder_graph
from export.frontend_graph import lfp_frontend_graph, spike_frontend_graph
from export.stepgraph import metadata
from quantization.calibrate import observe
from quantization.decoder import quantize_decoder
from quantization.formats import Formats
from quantization.frontend import quantize_frontend
from quantization.golden import run_frontend
from realm_edge import prepared
from realm_edge.baselines.recurrent import Recurrent
from realm_edge.frontend import design, design_spike, lfp_features
from realm_edge.models.student import Student
from realm_edge.settings import SIX_BANDS, LfpSettings, ModelSettings, Settings, SpikeSettings
from realm_edge.training.segments import Statistics
from realm_edge.wiener import fit_windows

WARM_UP = 50  # bins

torch.set_num_threads(1)  # on busy cores two threads wait for each other more than they compute
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts the tests in the background has it ignored


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The end-to-end runs first: they are the longest files, and no core is to wait for them at the end."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(autouse=True, scope="session")
def _own_sessions(tmp_path_factory):
    """Prepared sessions of tests are kept among the tests' files, not in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "cache_folder", lambda: folder)
        yield


@dataclass(frozen=True)
class Chain:
    """One LFP stream, float and int8."""

    samples: NDArray[np.int16]  # (ticks, channels)
    features: NDArray[np.float32]  # (bins, n), scipy
    frontend: onnx.ModelProto
    decoder: onnx.ModelProto
    frontend_int8: onnx.ModelProto
    decoder_int8: onnx.ModelProto


@pytest.fixture(scope="session")
def chain() -> Chain:
    return _chain(SIX_BANDS, "linear")


@pytest.fixture(scope="session")
def scored_chain() -> Chain:
    """With a running z-score and a longer mean power."""
    return _chain(SIX_BANDS.model_copy(update={"power_bins": 8, "zscore_bins": 64}), "linear")


@pytest.fixture(scope="session")
def channel_chain() -> Chain:
    """The same recording and sizes with the channel tokenizer."""
    return _chain(SIX_BANDS, "channel")


@pytest.fixture(scope="session")
def wide_chain(chain) -> Chain:
    """The same float decoder with int16 into every linear layer."""
    return _with_decoder(chain, chain.decoder, Formats("int16"))


@pytest.fixture(scope="session")
def wiener_chain(chain) -> Chain:
    """The same recording decoded by a Wiener filter, fitted on the sum of some features and their past."""
    statistics = _statistics(chain)
    inputs = np.clip((chain.features - statistics.input_mean) * statistics.input_inv_std, -8, 8)
    targets = np.cumsum(inputs[:, 6:8] - inputs[:, 8:10], axis=0)
    targets[4:] -= targets[:-4].copy()
    wiener = fit_windows(inputs, targets, 400, range(9))
    return _with_decoder(chain, wiener_graph(wiener, statistics, 50.0, ("vx", "vy"), "mm/s", {}))


@pytest.fixture(scope="session")
def gru_chain(chain) -> Chain:
    """The same recording decoded by a GRU with random weights, twice as large as torch draws them so that its gates open and close."""
    torch.manual_seed(0)
    decoder = Recurrent("gru", 24, chain.features.shape[1], 2).eval()
    for weight in decoder.cell.parameters():
        weight.data *= 2
    return _with_decoder(chain, gru_graph(decoder, _statistics(chain), 50.0, ("vx", "vy"), "mm/s", {}))


@pytest.fixture(scope="session")
def spike_frontend() -> tuple[onnx.ModelProto, NDArray[np.int16]]:
    """An int8 spike front end with a running z-score, and noise (ticks, channels) that crosses its thresholds now and then."""
    graph = spike_frontend_graph(design_spike(Settings(spike=SpikeSettings(zscore_bins=4)), np.full(6, -250, np.int32)), {})
    samples = np.random.default_rng(0).normal(0, 150, (5000, 6)).astype(np.int16)
    return quantize_frontend(graph, np.zeros((1, 6), np.float32), {}), samples


DECODERS = ("chain", "channel_chain", "wide_chain", "wiener_chain", "gru_chain")


@pytest.fixture(scope="session", params=["LFP front end", "spike front end", *DECODERS])
def int8_graph(request) -> tuple[onnx.ModelProto, NDArray[np.int16]]:
    """Each kind of int8 step graph, and rows of its data input."""
    if request.param == "spike front end":
        return request.getfixturevalue("spike_frontend")
    if request.param == "LFP front end":
        scored = request.getfixturevalue("scored_chain")
        return scored.frontend_int8, scored.samples[:1200]
    chain = request.getfixturevalue(request.param)
    return chain.decoder_int8, run_frontend(chain.frontend_int8, chain.samples[:6000])[0]


def _statistics(chain: Chain) -> Statistics:
    settled = chain.features[WARM_UP:]
    sd = settled.std(axis=0)
    inv_std = np.where(sd > 0, 1 / np.maximum(sd, 1e-9), 0).astype(np.float32)
    return Statistics(settled.mean(axis=0), inv_std, np.zeros(2, np.float32), np.ones(2, np.float32))


def _with_decoder(chain: Chain, decoder: onnx.ModelProto, formats: Formats | None = None) -> Chain:
    scale = metadata(chain.frontend_int8)["io"]["features"]["scale"]
    integers = quantize_decoder(decoder, observe(decoder, chain.features, WARM_UP), scale, {}, formats)
    return dataclasses.replace(chain, decoder=decoder, decoder_int8=integers)


def _chain(lfp: LfpSettings, tokenizer: str) -> Chain:
    rng = np.random.default_rng(1)
    channels, ticks = 6, 12000
    drift = rng.normal(0, 15, (ticks, channels)).cumsum(axis=0)
    line = 200 * np.sin(2 * np.pi * 60 * np.arange(ticks) / 1000)[:, None]
    samples = (drift + rng.normal(0, 60, (ticks, channels)) + line).clip(-32768, 32767).astype(np.int16)
    frontend = design(Settings(lfp=lfp), np.array([True, True, False, True, True, True]))
    features = lfp_features(frontend, samples)
    plain = lfp_features(dataclasses.replace(frontend, zscore_bins=0), samples)
    torch.manual_seed(0)
    settings = ModelSettings(d_model=24, n_layer=2, d_state=16, headdim=16, tokenizer=tokenizer)
    student = Student(settings, features.shape[1], 2, kinds=features.shape[1] // channels).eval()
    sd = features[WARM_UP:].std(axis=0)
    student.feature_mean.copy_(torch.from_numpy(features[WARM_UP:].mean(axis=0)))
    student.feature_inv_std.copy_(torch.from_numpy(np.where(sd > 0, 1 / np.maximum(sd, 1e-9), 0).astype(np.float32)))
    float_frontend = lfp_frontend_graph(frontend, {})
    float_decoder = decoder_graph(student, 50.0, ("vx", "vy"), "mm/s", {})
    int_frontend = quantize_frontend(float_frontend, plain[WARM_UP:], {})
    scale = metadata(int_frontend)["io"]["features"]["scale"]
    int_decoder = quantize_decoder(float_decoder, observe(float_decoder, features, WARM_UP), scale, {})
    return Chain(samples, features, float_frontend, float_decoder, int_frontend, int_decoder)
