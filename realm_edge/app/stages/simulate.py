"""The simulate stage: the firmware of every stream on one target, against the golden vectors and the budgets."""

import tempfile
from pathlib import Path

from firmware_sim.budgets import load_budgets
from firmware_sim.compare import Expected
from firmware_sim.compiler.bundle import check_compiled
from firmware_sim.components import load_components
from firmware_sim.simulate import simulate_stream
from firmware_sim.stream_report import compared, ranged_case, stream_report
from firmware_sim.targets import get_target
from firmware_sim.workload import Delays, Sensed
from quantization.golden import Golden
from quantization.summaries import QuantizedStream
from realm_edge.app import artefacts
from realm_edge.app.rundir import MAKERS, RunDir
from realm_edge.app.summaries import SIMULATION, DataSummary, Metrics, Simulation
from realm_edge.documents import write_document
from realm_edge.frontend import averaging_s, filter_delay_s
from realm_edge.progress import Progress
from realm_edge.settings import Settings
from realm_edge.streams import LFP, SPIKE


def run(
    run: RunDir, progress: Progress, target_name: str, budget_file: Path | None = None, components_file: Path | None = None
) -> Simulation:
    """Write ``simulation/<target>.json``.

    Raises:
        UserError: the compile stage is missing or stale, a bundle is not what the int8 graphs compile to, the part is too small, QEMU is
            missing, or a broken file of budgets or components.
    """
    target = get_target(target_name)
    run.require(f"compile.{target_name}")
    budgets = load_budgets(budget_file)
    quantised: dict[str, QuantizedStream] = run.summary("quantize")
    data: DataSummary = run.summary("data")
    metrics: Metrics = run.summary("train")
    [session] = [each for each in data.sessions if each.heldout]
    streams, results, cases = {}, {}, {}
    for stream in progress.track(artefacts.present(run), f"simulate on {target.part}"):
        golden = Golden.load(artefacts.golden(run, stream))
        expected = Expected(
            golden.decoded, golden.frontend_states | golden.decoder_states, golden.features if golden.samples is not None else None
        )
        samples = golden.features if golden.samples is None else golden.samples
        bundle = artefacts.bundle(run, stream, target_name)
        frontend = artefacts.int8_frontend(run, stream)
        check_compiled(bundle, stream.name, target.build, frontend if frontend.exists() else None, artefacts.int8_decoder(run, stream))
        with tempfile.TemporaryDirectory(prefix="realm-edge-") as folder:
            result = simulate_stream(bundle, target, samples, expected, Path(folder), starts=golden.starts)
        what = sensed(run.settings, stream is LFP, session.spike_electrodes)
        late = delays(run.settings, stream is LFP, golden.samples is not None, session.resampling_delay_ms / 1000)
        r2 = quantised[stream.name].r2
        streams[stream.name] = stream_report(result, budgets, load_components(components_file), r2, what, late)
        results[stream.name], cases[stream.name] = result, ranged_case(result, what, late)
    lfp, spikes, bit_exact = streams[LFP.name], SPIKE.name, all(one.bit_exact for one in streams.values())
    simulation = Simulation(
        target=target_name,
        part=target.part,
        core=lfp.core,
        synthetic=metrics.synthetic,
        streams=streams,
        budgets=lfp.budgets,
        comparisons=compared(cases[LFP.name], results[spikes], cases[spikes], load_components(components_file)) if spikes in cases else (),
        ok=bit_exact and all(row.ok for row in lfp.budgets),
        ok_nominally=bit_exact and all(row.state != "broken" for row in lfp.budgets),
        unverified=tuple(sorted({name for one in streams.values() for name in one.unverified})),
    )
    path = run.file("simulation", f"{target_name}.json")
    write_document(path, SIMULATION, simulation, MAKERS["simulate"])
    run.complete(f"simulate.{target_name}", [path], simulation)
    return simulation


def sensed(settings: Settings, lfp: bool, spike_electrodes: int | None = None) -> Sensed:
    """Of one stream. Amplifiers pass the highest band; those of spikes a quarter of the ADC's rate, such as 7.5 kHz at 30 kS/s."""
    if lfp:
        rate = settings.lfp.rate_hz
        return Sensed(rate, max((high for _, high in settings.lfp.bands_hz), default=rate / 4), spike_electrodes)
    return Sensed(settings.spike.rate_hz, settings.spike.rate_hz / 4, spike_electrodes)


def delays(settings: Settings, lfp: bool, computed: bool, resampling_s: float = 0.0) -> Delays:
    """Of one stream; where features come in from elsewhere, nobody knows how late they are.

    Args:
        resampling_s: how far the resampled LFP of the recording looks ahead.
    """
    bands = lfp and computed
    return Delays(
        output_delay=settings.output_delay_ms / 1000,
        resampling=resampling_s if lfp else 0.0,
        filters=filter_delay_s(settings) if bands else 0.0,
        averaging=averaging_s(settings) if bands else 0.0,
    )
