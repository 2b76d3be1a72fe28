"""Step graphs of other people from the command line: checked, and compiled to firmware that equals onnxruntime."""

import json
from functools import partial

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from export.foreign.contract import Names
from export.foreign.lower import lowered
from export.stepgraph import GraphBuilder, Stepper, load_model, metadata, save_model
from firmware_sim.emulator import find_emulator
from firmware_sim.targets import get_target
from quantization.foreign import golden_of, quantise, read_rows, scored
from quantization.formats import Formats
from quantization.functions import functions
from quantization.golden import run_decoder
from realm_edge.app.cli import main
from realm_edge.errors import UserError
from realm_edge.progress import Silent
from tests import foreign_graphs as graphs

ROWS = 250


def rows_file(path, elements, **more):
    """Rows that change slowly, as a recording's features do."""
    rng, rows = np.random.default_rng(0), np.zeros((ROWS, elements), np.float32)
    for k in range(1, ROWS):
        rows[k] = 0.9 * rows[k - 1] + 0.45 * rng.normal(size=elements)
    np.savez(path, x=rows, **more)
    return path


def needs_emulator(target):
    try:
        find_emulator(get_target(target))
    except UserError as error:
        pytest.skip(str(error))


def called(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


# NRMSE of int8 against float, with room: what is measured is about half of it.
BOUNDS = {
    "GRU": (graphs.gru, 0.02),
    "LSTM": (graphs.lstm, 0.02),
    "GRU beside a layer": (graphs.residual, 0.02),
    "two RNN layers": (graphs.rnn, 0.03),
    "GRU that resets first": (partial(graphs.layer, op="GRU", gates=3), 0.02),
    "GRU cell written out": (partial(graphs.of_module, graphs.Cell, state=(1, graphs.UNITS)), 0.03),
    "convolution of all channels": (partial(graphs.of_module, graphs.Window, 1, state=(1, graphs.INPUTS, 3)), 0.02),
    "convolution by channel": (partial(graphs.of_module, graphs.Window, graphs.INPUTS, state=(1, graphs.INPUTS, 3)), 0.02),
    "norms": (partial(graphs.of_module, graphs.Norms, state=None), 0.04),
    "leaky means": (partial(graphs.of_module, graphs.Leaky, state=(1, graphs.INPUTS)), 0.04),
    "Mamba-2": (graphs.mamba2, 0.06),
    "linear attention by key": (partial(graphs.linear_attention, by_key=True), 0.03),
    "functions": (graphs.functions, 0.02),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_integers_are_close_to_float_on_rows_that_were_not_calibrated_on(name, tmp_path):
    make, most = BOUNDS[name]
    found = lowered(make(path=tmp_path / "a.onnx"), Names(), 50.0, tmp_path / "b.onnx")
    model = load_model(tmp_path / "b.onnx")
    rows = read_rows(rows_file(tmp_path / "rows.npz", int(np.prod(found["input"]["shape"]))), "x", int(np.prod(found["input"]["shape"])))
    integers, about = quantise(model, rows, Formats(), {}, Silent())
    golden = golden_of(integers, rows)  # onnxruntime equals the reference
    error = scored(model, integers, golden, rows)
    assert 0 < error.nrmse < most
    assert 0 < error.largest_error < 0.3 * error.largest_output
    assert golden.first_bin == ROWS - ROWS // 5 and len(golden.decoded) == ROWS // 5
    assert about.bins == ROWS - ROWS // 5 and {row.kind for row in about.tensors} >= {"activation", "weight"}


def test_states_start_anew_where_rows_say_so(tmp_path):
    """Rows behind a pause are decoded as from the beginning, in float and in integers."""
    lowered(graphs.gru(tmp_path / "a.onnx"), Names(), 50.0, tmp_path / "b.onnx")
    path = rows_file(tmp_path / "rows.npz", graphs.INPUTS, starts=np.array([0, 100, 230]))
    rows = read_rows(path, "x", graphs.INPUTS)
    integers, about = quantise(load_model(tmp_path / "b.onnx"), rows, Formats(), {}, Silent())
    golden = golden_of(integers, rows)
    assert about.segments == 2 and golden.starts.tolist() == [0, 30]
    stepper = Stepper(integers)
    for row in golden.features[30:]:
        result = stepper.step({"features": row})["decoded"]
    np.testing.assert_array_equal(golden.decoded[-1], result)
    whole = run_decoder(integers, golden.features)[0]
    np.testing.assert_array_equal(golden.decoded[:30], whole[:30])
    assert not np.array_equal(golden.decoded[30:], whole[30:])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": np.zeros((90, 6)), "b": np.zeros(3)}, "it has no array 'x' but 'a', 'b': name the rows 'x'"),
        ({"x": np.zeros((90, 5))}, r"'x' is float64\[90, 5\]: give \(rows, 6\), a row for each step"),
        ({"x": np.zeros((9, 6))}, "'x' has 9 rows: give 50 to 200,000"),
        ({"x": np.full((90, 6), np.nan)}, "'x' holds values that are not finite: leave those rows out"),
        ({"x": np.zeros((90, 6)), "starts": np.array([0, 90])}, "'starts' is no list of rows from 0 on"),
        ({"x": np.zeros((90, 6)), "starts": np.array([5])}, "'starts' is no list of rows from 0 on"),
    ],
)
def test_rows_that_do_not_fit_are_told_of(content, said, tmp_path):
    np.savez(tmp_path / "rows.npz", **content)
    with pytest.raises(UserError, match=f"^{tmp_path / 'rows.npz'}: {said}"):
        read_rows(tmp_path / "rows.npz", "x", 6)


def test_check_says_what_blocks_and_how_to_mend_it(tmp_path):
    w = graphs.Written()
    w.node("Softmax", ["x"], "y")
    path = w.save(tmp_path / "a.onnx", {"x": (1, 6)}, {"y": (1, 6)})
    done = called("check-onnx", path)
    assert done.exit_code == 1 and "blocks     'y node' (Softmax): no operator of the implant computes it: write it with" in done.output
    found = json.loads(called("check-onnx", path, "--json").output)
    assert found["format"] == "realm-edge checked graph/1" and not found["ok"] and found["blockers"][0]["op"] == "Softmax"
    done = called("compile", "--onnx", path, "--out", tmp_path / "out")
    assert done.exit_code == 2 and f"{path}: node 'y node' (Softmax): no operator" in done.output and "check-onnx' lists all" in done.output
    assert not (tmp_path / "out" / "graph.onnx").exists()


def test_check_of_a_graph_that_can_be_had_names_the_next_command(tmp_path):
    path = graphs.gru(tmp_path / "a.onnx")
    done = called("check-onnx", path)
    assert done.exit_code == 0
    assert "state      s0_in -> s0_out [1, 1, 8]" in done.output and "becomes    Affine, GruStep, Identity, 3 Linear" in done.output
    assert f"ok: realm-edge compile --onnx {path} --calibration FILE.npz --target cortex-m4" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--calibration", "a.npz"], "--calibration: it is of --onnx FILE: give that too"),
        (["--state", "a:b"], "--state: it is of --onnx FILE: give that too"),
        (["--onnx", "a.onnx", "--state", "a"], "--state a: use IN:OUT"),
        (["--onnx", "a.onnx"], "a.onnx: no such file: export it"),
    ],
)
def test_options_that_do_not_go_together_are_told_of(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = called("compile", *arguments, "--out", "out")
    assert done.exit_code == 2 and said in done.output


def test_a_float_graph_needs_rows_and_a_run_is_left_alone(tmp_path):
    path = graphs.gru(tmp_path / "a.onnx")
    done = called("compile", "--onnx", path, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "give recorded input with --calibration FILE.npz" in done.output
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").touch()
    done = called("compile", "--onnx", path, "--out", tmp_path / "run")
    assert done.exit_code == 2 and "it is the directory of a run: give another with --out" in done.output


def compiled(make, tmp_path, target):
    needs_emulator(target)
    path = make(path=tmp_path / "my net.onnx")
    elements = load_input(path)
    rows = rows_file(tmp_path / "rows.npz", elements)
    done = called("compile", "--onnx", path, "--calibration", rows, "--target", target, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), tmp_path / "out"


def load_input(path):
    return int(np.prod([d.dim_value for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]))


def test_an_lstm_of_torch_runs_as_firmware(tmp_path):
    found, out = compiled(graphs.lstm, tmp_path, "cortex-m4")
    one = found["targets"]["cortex-m4"]
    assert one["bit_exact"] and one["differs"] is None and found["steps"] == ROWS // 5
    assert one["state_bytes"] == 2 * 2 * graphs.UNITS and one["cycles_range"][0] < one["cycles"] < one["cycles_range"][1]
    assert (found["kind"], found["prefix"]) == ("other", "realm_my_net") and 0 < found["int8_against_float"]["nrmse"] < 0.02
    written = {each.relative_to(out).as_posix() for each in out.rglob("*") if each.is_file()}
    assert {"graph.onnx", "graph.int8.onnx", "golden.npz", "calibration.json", "compiled.json"} <= written
    assert {"firmware/cortex-m4/include/realm_my_net.h", "firmware/cortex-m4/lib/librealm_my_net.a"} <= written
    text = (out / "firmware/cortex-m4/metadata.json").read_text()
    assert [state["name"] for state in json.loads(text)["decoder"]["states"]] == ["state.s0", "state.s1"]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cortex-m4", "rv32imc", "stm32g0b1", "cortex-m55"])
@pytest.mark.parametrize("make", [graphs.gru, graphs.mamba2, graphs.rnn], ids=["GRU", "Mamba-2", "RNN"])
def test_others_run_as_firmware(make, target, tmp_path):
    found, _ = compiled(make, tmp_path, target)
    assert found["targets"][target]["bit_exact"]


def test_an_integer_graph_of_this_form_is_taken_as_it_is(tmp_path):
    graph = GraphBuilder("decoder", functions())
    x = graph.input("features", np.int16, (3,), unit="", scale=1.0, offset=0.0)
    state = graph.state("sum", np.int16, (3,))
    graph.node("QAdd", [x, state[0]], ["decoded"], "add")
    graph.node("QStore", [state[0], "decoded"], [state[1]], "store")
    graph.output("decoded", np.int16, (3,), unit="", scale=1.0, offset=0.0)
    save_model(graph.build(kind="decoder", rate_hz=50.0), tmp_path / "a.onnx")
    found = json.loads(called("check-onnx", tmp_path / "a.onnx", "--json").output)
    assert found["kind"] == "integer" and found["ok"] and found["operators"] == {"QAdd": 1, "QStore": 1}
    needs_emulator("cortex-m4")
    done = called("compile", "--onnx", tmp_path / "a.onnx", "--target", "cortex-m4", "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["targets"]["cortex-m4"]["bit_exact"] and not summary["recorded"] and summary["int8_against_float"] is None
    assert metadata(load_model(tmp_path / "out" / "graph.int8.onnx"))["kind"] == "decoder"
