"""What is fuzzed: a small file of every kind that is read, and how it is read."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch

from export import trial
from export.foreign.contract import Names
from export.foreign.lower import lowered
from export.stepgraph import save_model
from firmware_sim.board.current import read_trace
from firmware_sim.board.log import read_log
from firmware_sim.budgets import load_budgets
from firmware_sim.compiler.driver import check_abi
from firmware_sim.compiler.graph import read_graph
from firmware_sim.compiler.plan import DECODER
from firmware_sim.components import load_components
from firmware_sim.cycles.compare import read_baseline
from firmware_sim.cycles.form import CYCLES
from firmware_sim.cycles.program import read_program
from firmware_sim.targets import get_target
from firmware_sim.verdict.candidate import read_candidate
from quantization.golden import Golden
from realm_edge import feature_table, session, settings
from realm_edge.app.rundir import RunDir
from realm_edge.checkpoint import load_student, load_teacher, save_student, save_teacher
from realm_edge.documents import write_document
from realm_edge.inspection import summary
from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.links import linked_files
from realm_edge.readers.reading import fingerprint, read_recording
from realm_edge.settings import ModelSettings, PretrainSettings, Settings
from tests import foreign_graphs, lab_files
from tests.feature_file import feature_file
from tests.firmware_sim import compiled_graphs
from tests.firmware_sim.board import logs as board_logs
from tests.firmware_sim.cycles import programs, test_compare
from tests.fuzz.graphs import mutated_graph
from tests.fuzz.mutations import Damage, mutated, mutated_members, mutated_text
from tests.nwb_file import recording_file, velocity
from tests.realm_edge import test_flint, test_links, test_makin
from tests.stored_recording import written

RNG = np.random.default_rng(0)
SETTINGS = Settings(window_bins=10, pretrain=PretrainSettings(epochs=1, lr=1e-3, block_bins=(2, 5)))
TINY = ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=4)
T = np.arange(150) / 50


@dataclass(frozen=True)
class Kind:
    """``make`` writes a whole one into a folder and gives what is opened; ``use`` opens it."""

    name: str
    make: Callable[[Path], Path]
    use: Callable[[Path], object]
    damage: Damage = mutated
    apart: bool = True  # read in the process apart: signals, hangs and memory are its business
    guarded: bool = False  # by digests: no change may be accepted


def _counts(rows: int, columns: int) -> np.ndarray:
    return RNG.integers(-500, 500, (rows, columns)).astype(np.int16)


def _recording(path: Path, behavior: str = "") -> None:
    """All of what a command does with a recording."""
    fingerprint(path)
    summary(path)
    recording = read_recording(path, Choices((behavior,) if behavior else ()))
    prepare(recording, SETTINGS, heldout=True)


def _voltage(path: Path) -> None:
    """Of recordings that have no behaviour of their own."""
    fingerprint(path)
    summary(path)


def _behavior_table(path: Path) -> None:
    read_recording(path.parent / "lfp.npz", Choices(behavior_file=path))


def _npz(folder: Path) -> Path:
    path = folder / "a.npz"
    arrays = {"lfp": _counts(3000, 3), "lfp_rate": 1000.0, "behavior": np.sin(T), "behavior_times": T, "lfp_scale": 1e-6}
    np.savez(path, spike_times=T, spike_index=np.array([70, 150]), trials=np.array([[0.0, 1.0], [1.5, 2.9]]), **arrays)
    return path


def _npz_deflated(folder: Path) -> Path:
    with np.load(_npz(folder)) as file:
        arrays = dict(file)
    np.savez_compressed(folder / "a.npz", **arrays)
    return folder / "a.npz"


def _nwb(folder: Path) -> Path:
    return recording_file(folder / "a.nwb", _counts(3000, 3), velocity(seconds=3.0), units=[T, T[::2]])


def _nwb_zarr(folder: Path) -> Path:
    return Path(test_links.zarr_recording(folder / "a.nwb.zarr", {"source": ".", "path": "/general/extracellular_ephys/array"}))


def _links(folder: Path) -> Path:
    """References of all kinds to what no group lists, and a virtual dataset, an external link and external storage beside."""
    with h5py.File(folder / "b.h5", "w") as file:
        file["data"] = _counts(8, 4)
    (folder / "c").write_bytes(bytes(64))
    with h5py.File(folder / "a.h5", "w") as file:
        hidden = test_links.unlisted(file, "c")
        for index, refer in enumerate(test_links.REFERENCES.values()):
            refer(file.create_group(f"g{index}"), hidden)
        del file["unlisted"]
        file["link"] = h5py.ExternalLink("b.h5", "/data")
        layout = h5py.VirtualLayout((8, 4), "i2")
        layout[:] = h5py.VirtualSource("b.h5", "data", (8, 4))
        file.create_virtual_dataset("virtual", layout)
    return folder / "a.h5"


def _flint(folder: Path) -> Path:
    return Path(test_flint.write(folder / "a.mat", [test_flint.trial(i) for i in range(test_flint.TRIALS)]))


def _makin(folder: Path) -> Path:
    test_makin.write_nwb(folder / "a.nwb")
    test_makin.write_mat(folder / "a.mat")
    return folder / "a.nwb"


def _realm(folder: Path) -> Path:
    path = folder / "a.realm"
    written(path)
    return path


def _csv(folder: Path) -> Path:
    np.savez(folder / "lfp.npz", lfp=_counts(3000, 2), lfp_rate=1000.0)
    pd.DataFrame({"time": T, "x": np.sin(T), "y": np.cos(T)}).to_csv(folder / "a.csv", index=False)
    return folder / "a.csv"


def _parquet(folder: Path) -> Path:
    pd.read_csv(_csv(folder)).to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


def _spikeglx(folder: Path) -> Path:
    return lab_files.spikeglx(folder, _counts(3000, 3), 2500.0, 0)


def _intan(folder: Path) -> Path:
    amplifier, adc = (RNG.integers(0, 2**16, (1280, channels)).astype(np.uint16) for channels in (3, 1))
    return lab_files.intan(folder / "a.rhd", 20000.0, amplifier, adc, np.zeros(1280, np.uint16), np.arange(1280))


def _blackrock(folder: Path) -> Path:
    labels = [(1, "chan1", "uV", 8191), (129, "ainp1", "mV", 5000)]
    lab_files.blackrock_events(folder / "a.nev", [1, 2], [(300, 1, 1), (900, 1, 1), (60000, 2, 1)], [(0, 7), (15000, 8)])
    return lab_files.blackrock(folder / "a.ns2", 30, labels, [(0, _counts(500, 2)), (60000, _counts(700, 2))])


def _neuralynx(folder: Path) -> Path:
    blocks = [(1_000_000 + 16000 * index, _counts(512, 1)[:, 0]) for index in range(4)]
    lab_files.neuralynx(folder / "CSC1.ncs", 32000, 1e-8, blocks)
    lab_files.neuralynx_spikes(folder / "SE7.nse", [(1_010_000, 0), (1_020_000, 1)])
    lab_files.neuralynx_events(folder / "Events.nev", [(1_001_000, 1, "trial"), (1_050_000, 1, "trial")])
    return folder


def _plexon(folder: Path) -> Path:
    parts = [(4000, _counts(300, 2)), (80000, _counts(400, 2))]
    return lab_files.plexon(folder / "a.plx", 1000, parts, [(5000, 0), (90000, 1)], [(4100, 3), (20000, 5)])


def _tdt(folder: Path) -> Path:
    data = RNG.standard_normal((10, 64, 2)).astype(np.float32)
    return Path(lab_files.tdt(folder / "b0", 1.7e9, 1000.0, data, [(0.25, 0), (0.5, 1)], [(0.125, 1), (0.25, 2)]))


def _open_ephys(folder: Path) -> Path:
    numbers = np.arange(3000)
    return lab_files.open_ephys(folder / "rat", 30000.0, _counts(3000, 3), numbers, numbers / 30000, [(0.01, 0.02), (0.03, 0.05)])


def _axona(folder: Path) -> Path:
    return Path(lab_files.axona(folder / "a.set", _counts(300, 8), list(range(8)), list(range(32, 40)), np.array([96, 9600])))


def _features(folder: Path) -> Path:
    return feature_file(folder / "a.nwb", rows=200)


def _session(folder: Path) -> Path:
    session.save(prepare(read_recording(_npz(folder)), SETTINGS, heldout=True), folder / "s.npz")
    (folder / "a.npz").unlink()
    return folder / "s.npz"


def _load_session(path: Path) -> None:
    found = session.load(path)
    if found.lfp is not None:
        np.asarray(found.lfp[:100])


def _golden(folder: Path) -> Path:
    values = {"features": np.ones((9, 4), np.int16), "decoded": np.ones((9, 2), np.int16)}
    state = {"h": np.ones((9, 3), np.int16)}
    Golden(5, 2, np.ones((180, 3), np.int16), *values.values(), state, state, np.zeros(1, np.int64)).save(folder / "g.npz")
    return folder / "g.npz"


def _student(folder: Path) -> Path:
    torch.manual_seed(0)
    save_student(folder / "student.safetensors", Student(TINY, 5, 2), {"data": "0"})
    return folder / "student.safetensors"


def _teacher(folder: Path) -> Path:
    torch.manual_seed(0)
    save_teacher(folder / "teacher.safetensors", Teacher(TINY, [5]), {"data": "0"})
    return folder / "teacher.safetensors"


def _config(folder: Path) -> Path:
    settings.save(Settings(), folder / "c.toml")
    return folder / "c.toml"


def _budget(folder: Path) -> Path:
    (folder / "b.toml").write_text("".join(f'[{name}]\nlimit = 1.5e3\nsource = "test"\n' for name in ("power_uw", "latency_ms", "r2")))
    return folder / "b.toml"


def _figures(folder: Path) -> Path:
    about = 'unit = "pJ/cycle"\ncondition = "at 3 V"\nsource = "test"\nconfidence = "primary"\n'
    (folder / "c.toml").write_text("".join(f"[mcu.{name}.active]\nvalue = 2.5\nlow = 2\nhigh = 3e1\n{about}" for name in ("x", "ibex-soc")))
    return folder / "c.toml"


def _scenario(folder: Path) -> Path:
    fields = {"title": "LFP", "signal": "lfp", "frontend": "circuit", "sends": "features", "circuit": "sensing.circuit-lfp"}
    (folder / "s.toml").write_text("adc_bits = 10\n" + "".join(f'{key} = "{value}"\n' for key, value in fields.items()))
    return folder / "s.toml"


def _program(folder: Path) -> Path:
    target = get_target("cortex-m4")
    return Path(shutil.copy(programs.link(folder.parent / "linked", target, programs.CALLS[target.name]), folder / "program.elf"))


def _profile(folder: Path) -> Path:
    write_document(folder / "base.json", CYCLES, test_compare.BEFORE)
    return folder / "base.json"


def _run(folder: Path) -> Path:
    """A run of which two stages are done, without what they would compute."""
    path = folder / "run"
    made = RunDir.create(path, SETTINGS)
    for stage in ("data", "train"):
        made.request(stage, {"recordings": [["a.npz", "0" * 64]]} if stage == "data" else {})
        out = made.file(f"{stage}.bin")
        out.write_bytes(RNG.bytes(300))
        made.complete(stage, [out], {"r2": 0.5, "ok": True})
    return path


def _graph(folder: Path) -> Path:
    save_model(compiled_graphs.decoder(), folder / "decoder.int8.onnx")
    return folder / "decoder.int8.onnx"


def _of_others(folder: Path) -> Path:
    """A graph with a layer, a convolution, norms, functions and states, that is written node by node."""
    return foreign_graphs.mamba2(folder / "a.onnx", d=4, heads=2, width=3, keys=4)


def _compilable(path: Path) -> None:
    """What the compiler does before TVM, which does not survive a fork."""
    check_abi(read_graph(path), DECODER)


def _reopen(path: Path) -> None:
    made = RunDir.open(path)
    made.require("train")
    if made.settings != SETTINGS:
        raise AssertionError("other settings were taken")


def _board_log(folder: Path) -> Path:
    path = folder / "serial.log"
    path.write_bytes(b"boot\r\n" + board_logs.written(board_logs.ended([*board_logs.head(), board_logs.region("model", "", 100, 5000)])))
    return path


def _current(folder: Path) -> Path:
    path = folder / "ppk.csv"
    path.write_text("Timestamp(ms),Current(uA),D0-D7\n" + "".join(f"{i / 10:.1f},{400 + i},0000000{i % 2}\n" for i in range(40)))
    return path


KINDS = (
    Kind("npz", _npz, _recording, damage=mutated_members),
    Kind("npz deflated", _npz_deflated, _recording, damage=mutated_members),
    Kind("NWB 2", _nwb, _recording),
    Kind(
        "NWB 2 features", _features, lambda path: feature_table.read(path, "power", None, SETTINGS, lambda bins: (bins // 2, bins * 3 // 4))
    ),
    Kind("NWB 1 of Makin", _makin, partial(_recording, behavior="cursor_velocity")),
    Kind("NWB 2 as Zarr", _nwb_zarr, _recording, damage=mutated_text),
    Kind("HDF5 that leads to others", _links, linked_files),
    Kind("Flint .mat", _flint, _recording),
    Kind("realm", _realm, partial(_recording, behavior="hand"), guarded=True),
    Kind("csv", _csv, _behavior_table, damage=mutated_text),
    Kind("parquet", _parquet, _behavior_table),
    Kind("SpikeGLX", _spikeglx, _voltage),
    Kind("Intan", _intan, _voltage),
    Kind("Blackrock", _blackrock, _voltage),
    Kind("Neuralynx", _neuralynx, _voltage),
    Kind("Plexon", _plexon, _voltage),
    Kind("TDT", _tdt, _voltage),
    Kind("Open Ephys", _open_ephys, _voltage),
    Kind("Axona", _axona, _voltage),
    Kind("session", _session, _load_session, damage=mutated_members, apart=False),
    Kind("golden", _golden, Golden.load, damage=mutated_members, apart=False),
    Kind("student", _student, load_student, apart=False),
    Kind("teacher", _teacher, load_teacher, apart=False),
    Kind("config", _config, settings.load, damage=mutated_text, apart=False),
    Kind("budget", _budget, load_budgets, damage=mutated_text, apart=False),
    Kind("figures", _figures, load_components, damage=mutated_text, apart=False),
    Kind("scenario", _scenario, read_candidate, damage=mutated_text, apart=False),
    Kind("program", _program, lambda path: read_program(path, get_target("cortex-m4")), apart=False),
    Kind("baseline of cycles", _profile, read_baseline, damage=mutated_text, apart=False),
    Kind("log of a board", _board_log, read_log, damage=mutated_text, apart=False),
    Kind("current", _current, read_trace, damage=mutated_text, apart=False),
    Kind("step graph, compiled", _graph, _compilable, damage=mutated_graph, apart=False),
    Kind("step graph, run", _graph, trial.run, damage=mutated_graph),
    Kind("step graph of others", _of_others, lambda path: lowered(path, Names(), 50.0, None), damage=mutated_graph),
    Kind("run", _run, _reopen, damage=mutated_text, apart=False, guarded=True),
)


def files_of(folder: Path) -> list[Path]:
    """All files that were made."""
    return sorted(file for file in folder.rglob("*") if file.is_file())


def copied(folder: Path, to: Path) -> None:
    """A fresh copy of what was made."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
