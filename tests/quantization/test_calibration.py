"""How scales are found, int8 and int16 activations, the table of tensors and the warnings."""

import dataclasses
import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.stepgraph import metadata
from quantization.calibrate import WARM_UP_BINS, Observed, observe, settled, warm_up_bins
from quantization.decoder import ZSCORES, int8_tensors, quantize_decoder
from quantization.fixedpoint import INT8_LIMIT, INT16_LIMIT, table
from quantization.formats import Formats
from quantization.golden import float_decoded, run_decoder
from quantization.ladder import compare
from quantization.output import SHOWN, show
from quantization.sizes import sizes
from quantization.summaries import CALIBRATION, CalibratedStream, Calibration, Row, ScoredBins
from quantization.tensor_table import Stretches, tensor_table
from quantization.warnings import warnings
from realm_edge.documents import write_document
from realm_edge.errors import UserError
from realm_edge.metrics import nrmse
from realm_edge.models.student import CLIP

WARM_UP = 50  # bins
R2 = {"float": 0.7, "int8": 0.699, "wiener": 0.5}
SCORES = ScoredBins(r2=R2, nrmse_int8_float=0.015, nrmse_frontend=0.001, nrmse_decoder=0.015, scored_bins=1200)


@dataclasses.dataclass(frozen=True)
class Calibrated:
    observed: Observed
    scale: list[float]
    stretches: Stretches


@pytest.fixture(scope="module", params=["chain", "channel_chain"])
def chosen(request):
    """A chain and what it was calibrated with."""
    chain = request.getfixturevalue(request.param)
    return chain, calibrated(chain)


def calibrated(chain):
    scale = metadata(chain.frontend_int8)["io"]["features"]["scale"]
    observed = observe(chain.decoder, chain.features, WARM_UP)
    return Calibrated(observed, scale, Stretches.of(chain.features[-160:], scale))


def observed_as(values) -> Observed:
    return Observed({"x": np.asarray(values, np.float32)}, {}, WARM_UP)


def test_an_int8_scale_holds_all_but_one_value_in_ten_thousand():
    values = np.random.default_rng(0).permutation(np.concatenate([np.linspace(-1, 1, 50_000), [-40, 30, 20, -9]]))
    assert observed_as(values).usual_peak("x") == pytest.approx(1, abs=1e-3) and observed_as(values).peak("x") == 40
    assert observed_as(np.append(values, [-9, 9])).usual_peak("x") > 8.9  # six of 50,006


def test_an_int8_scale_of_silence_and_of_one_spike():
    silent = np.zeros((4000, 3), np.float32)
    assert observed_as(silent).usual_peak("x") == 0
    silent[5, 1] = 2
    assert observed_as(silent).usual_peak("x") == 2  # not 0, which has no scale


def test_stretches_cover_the_training_part_and_rounds_what_float_reads():
    features = np.arange(8000, dtype=np.float32)[:, None] / 10
    stretches = Stretches.of(features, [0.5])
    assert len(stretches.features) == 600
    assert stretches.features[0] == 0 and stretches.features[-1] == features[-1]
    assert np.abs(stretches.stored * 0.5 - stretches.features).max() <= 0.25 + 1e-4
    assert len(Stretches.of(features[:50], [0.5]).features) == 48


@pytest.mark.parametrize(
    ("starts", "bins", "expected"),
    [
        ((0,), 151, WARM_UP_BINS),  # without pauses always: one bin is left
        ((0,), 20_000, WARM_UP_BINS),
        ((0, 5000), 20_000, WARM_UP_BINS),
        (range(0, 600, 50), 600, 31),  # 12 trials of a second: 12 x 19 = 228 of at least 225 bins
        (range(0, 9000, 90), 9000, 45),  # 4500 of at least 4425
        (range(600), 600, 0),
    ],
)
def test_the_warm_up_of_every_segment_is_left_out_as_far_as_bins_remain(starts, bins, expected):
    assert warm_up_bins(starts, bins) == expected


def test_calibration_starts_anew_at_each_segment_and_counts_what_has_settled(chain):
    starts, warm_up = (0, 60, 75, 200), 40
    observed = observe(chain.decoder, chain.features[:300], warm_up, starts=starts)
    parts = [observe(chain.decoder, chain.features[a:b], warm_up) for a, b in ((0, 60), (75, 200), (200, 300))]  # the second is too short
    for name, values in observed.tensors.items():
        np.testing.assert_array_equal(values, np.concatenate([part.tensors[name] for part in parts]), err_msg=name)
    for name, peak in observed.state_peaks.items():
        np.testing.assert_array_equal(peak, np.max([part.state_peaks[name] for part in parts], axis=0), err_msg=name)
    counts = settled(starts, 300, warm_up)
    np.testing.assert_array_equal(np.flatnonzero(counts), [*range(40, 60), *range(115, 200), *range(240, 300)])
    whole = observe(chain.decoder, chain.features[:300], warm_up).tensors["decoded"][counts[warm_up:]]
    assert not np.allclose(observed.tensors["decoded"][20:40], whole[20:40])
    with pytest.raises(UserError, match="more than 40 bins"):
        observe(chain.decoder, chain.features[:60], warm_up, starts=(0, 30))


def test_int16_activations_reach_every_linear_layer_and_no_other_product(chosen):
    chain, c = chosen
    decoders = {kind: quantize_decoder(chain.decoder, c.observed, c.scale, {}, Formats(kind)) for kind in ("int8", "int16")}
    error = {}
    for kind, decoder in decoders.items():
        decoded, _ = run_decoder(decoder, c.stretches.stored)
        error[kind] = nrmse(decoded * metadata(decoder)["scales"]["decoded"], float_decoded(chain.decoder, c.stretches.features))
        compare(decoder, c.stretches.stored[:100])
    assert error["int16"] < 0.9 * error["int8"] < 0.04
    narrow = {
        kind: [node.input[0] for node in decoder.graph.node if node.op_type in ("QLinear", "QChannelConv")]
        for kind, decoder in decoders.items()
    }
    wide = {kind: [node.input[0] for node in decoder.graph.node if node.op_type == "QLinear16"] for kind, decoder in decoders.items()}
    by_channel = "maps" in c.observed.tensors  # the tokenizer's kernels read int8 alone
    assert narrow["int16"] == (["normalised", "maps"] if by_channel else [])
    assert wide["int8"] == ([] if by_channel else ["normalised"])
    for kind, tensors in narrow.items():
        assert set(tensors) == int8_tensors(chain.decoder, Formats(kind)) and len(set(tensors + wide[kind])) > 5


def test_z_scores_clip_where_float_clips(chosen):
    chain, c = chosen
    far = Stretches(c.stretches.features + 100 * c.stretches.features.std(axis=0), np.full_like(c.stretches.stored, 32767))
    decoder = quantize_decoder(chain.decoder, c.observed, c.scale, {})
    row = next(row for row in tensor_table(chain.decoder, decoder, c.observed, Formats(), far) if row.tensor == "normalised")
    if "maps" in c.observed.tensors:  # int8: the scale holds what was seen
        assert row.dtype == "int8" and row.saturated > 0.3
    else:
        assert metadata(decoder)["scales"]["normalised"] * INT16_LIMIT == pytest.approx(CLIP)
        assert (row.dtype, row.saturated) == ("int16", 0.0)  # at the rail, as float is


def test_the_table_shows_formats_noise_and_contributions(chosen):
    chain, c = chosen
    rows = {row.tensor: row for row in tensor_table(chain.decoder, chain.decoder_int8, c.observed, Formats(), c.stretches)}
    decoded, states = run_decoder(chain.decoder_int8, c.stretches.stored)
    exact = float_decoded(chain.decoder, c.stretches.features)
    scale = metadata(chain.decoder_int8)["scales"]["decoded"]
    total = nrmse(decoded * scale, exact)
    difference = decoded * scale - exact
    assert rows["decoded"].sqnr_db == pytest.approx(10 * np.log10(np.sum(exact**2) / np.sum(difference**2)), abs=1e-4)
    # Small independent errors add up in squares.
    assert np.sqrt(sum(row.nrmse_alone**2 for row in rows.values())) == pytest.approx(total, rel=0.35)
    assert {row.tensor for row in rows.values() if row.dtype == "int8" and row.kind == "activation"} == int8_tensors(
        chain.decoder, Formats()
    )
    assert {row.tensor for row in rows.values() if row.kind == "state"} == {s["out"] for s in metadata(chain.decoder_int8)["states"]}
    int8 = {i.name for i in chain.decoder_int8.graph.initializer if i.data_type == 3}
    assert {row.tensor for row in rows.values() if row.kind == "weight"} == int8
    assert rows["blocks.0.norm"].nrmse_alone > 10 * rows["blocks.0"].nrmse_alone  # int8 against int16
    assert rows["next.block0.h"].scale[0] < rows["next.block0.h"].scale[1]
    assert rows["next.block0.h"].shape == states["state.block0.h"].shape[1:]
    assert all(row.sqnr_db is None or row.sqnr_db > 15 for row in rows.values())


def test_saturation_is_counted(chosen):
    chain, c = chosen
    name = "final_norm"
    tight = dict(c.observed.tensors)
    tight[name] = tight[name] / 10
    observed = Observed(tight, c.observed.state_peaks, WARM_UP)
    decoder = quantize_decoder(chain.decoder, observed, c.scale, {})
    rows = {row.tensor: row for row in tensor_table(chain.decoder, decoder, observed, Formats(), c.stretches)}
    beyond = np.mean(np.abs(c.observed.tensors[name]) > observed.usual_peak(name))
    assert rows[name].saturated == pytest.approx(beyond, rel=0.2) and beyond > 0.3
    assert rows["blocks.0.norm"].saturated < 0.001


def test_one_scale_for_all_weights_loses_precision(chosen):
    chain, c = chosen
    wide = Formats(per_channel_weights=False)
    decoder = quantize_decoder(chain.decoder, c.observed, c.scale, {}, wide)
    largest = [np.abs(numpy_helper.to_array(i)).max(axis=0) for i in decoder.graph.initializer if i.name == "blocks.0.mixer.in_proj.weight"]
    assert largest[0].max() == INT8_LIMIT and largest[0].min() < INT8_LIMIT
    sqnr = [
        next(row.sqnr_db for row in tensor_table(chain.decoder, graph, c.observed, formats, c.stretches) if row.tensor == "head.weight")
        for graph, formats in ((chain.decoder_int8, Formats()), (decoder, wide))
    ]
    assert sqnr[0] >= sqnr[1] > 25


def test_a_coarser_table_is_the_same_points_joined_by_lines():
    fine, coarse = (table(np.tanh, 1e-4, 2.0**-15, segments=segments) for segments in (256, 64))
    assert np.array_equal(coarse[::4], fine[::4])
    middle = (fine[:-1:4].astype(int) + fine[4::4]) / 2
    assert np.abs(coarse[2::4] - middle).max() <= 1
    assert np.abs(coarse - fine).max() > 1


def test_sizes_add_up_to_the_graph(chain):
    listed = sizes(chain.decoder_int8)
    assert sum(listed.bytes[kind] for kind in ("weights", "tables", "constants")) == sum(
        len(i.raw_data) for i in chain.decoder_int8.graph.initializer
    )
    parameters = sum(numpy_helper.to_array(i).size for i in chain.decoder_int8.graph.initializer if i.data_type == 3)
    assert listed.bytes["weights"] == parameters
    assert listed.tables["blocks.0.mixer.x.table"] == 257 * 2
    assert listed.states["state.block0.h"] == 3 * 16 * 16 * 2  # heads, headdim, d_state, int16


def row(**changes):
    return dataclasses.replace(Row("blocks.0.norm", "activation", "int8", (24,), (0.1, 0.1), 0.0002, 40.0, 0.004), **changes)


def test_no_warning_where_all_is_well():
    assert warnings([row(), row(sqnr_db=None, saturated=None)], SCORES) == []


@pytest.mark.parametrize(
    ("rows", "scores", "said"),
    [
        ([row(saturated=0.004), row()], {}, r"more than 0\.1 % of the values at the rail: blocks\.0\.norm \(0\.4 %\);.*inspect"),
        (
            [row(tensor=f"t{i}", sqnr_db=12.0) for i in range(5)],
            {},
            r"below 20 dB.*t0 \(12\.0 dB\), t1 .*, t2 .* and 2 more;.*weight_decay",
        ),
        (
            [row(nrmse_alone=0.03), row()],
            {"nrmse_int8_float": 0.035, "nrmse_decoder": 0.034},
            r"3\.5 % .*most comes from blocks\.0\.norm \(3 %\).*int16 activations err less \(quantize\.activations\)$",
        ),
        ([row(dtype="int16")], {"nrmse_int8_float": 0.035, "nrmse_decoder": 0.034}, r"3\.5 % .*weight_decay\)$"),
        ([row()], {"nrmse_int8_float": 0.04, "nrmse_frontend": 0.038}, r"integer features make 3\.8 % of it"),
        ([row()], {"r2": SCORES.r2.model_copy(update={"int8": 0.69})}, r"loses 0\.010 of R2"),
    ],
)
def test_each_warning_names_tensor_and_remedy(rows, scores, said):
    (line,) = warnings(rows, SCORES.model_copy(update=scores))
    assert re.search(said, line)


def test_the_command_shows_what_costs_most(chain, tmp_path, capsys):
    rows = [row(tensor=f"t{i}", nrmse_alone=0.001 * i, scale=(0.1, 0.2)) for i in range(SHOWN + 3)]
    counts = dict.fromkeys(("compared_bins", "warm_up_bins", "bins", "segments"), 1)
    stream = CalibratedStream(tensors=tuple(rows), sizes={"decoder": sizes(chain.decoder_int8)}, states=(), **counts)
    write_document(tmp_path / "calibration.json", CALIBRATION, Calibration(streams={"lfp": stream}))
    show({"lfp": SCORES}, tmp_path / "calibration.json")
    said = capsys.readouterr().out
    assert "R2 0.699 in int8, 0.700 in float; NRMSE 1.5 % (front end 0.1 %, decoder 1.5 %)" in said
    assert said.index("t10 ") < said.index("t3 ") and "t2 " not in said
    assert "0.1 to 0.2" in said and "3 that cost less" in said


def test_names_of_tensors_and_folders_are_no_commands_for_the_terminal(chain, tmp_path, capsys):
    """Rich would take some for its own markup, and end where one closes what nothing opened."""
    rows = [row(tensor=name, nrmse_alone=1.0, scale=(0.1, 0.2)) for name in ("[/bold]", "a\x1b[31m\nb", *map(str, range(SHOWN)))]
    counts = dict.fromkeys(("compared_bins", "warm_up_bins", "bins", "segments"), 1)
    stream = CalibratedStream(tensors=tuple(rows), sizes={"decoder": sizes(chain.decoder_int8)}, states=(), **counts)
    folder = tmp_path / "a[" / "bold]\x1b"
    write_document(folder / "calibration.json", CALIBRATION, Calibration(streams={"lfp": stream}))
    show({"lfp": SCORES}, folder / "calibration.json")
    said = capsys.readouterr().out
    assert "[/bold]" in said and "a\\x1b[31m\\nb" in said and "a[/bold]\\x1b/calibration.json" in said and "\x1b" not in said


@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_what_a_kernel_reads_that_knows_int8_alone_is_int8(kind):
    z_scores = next(iter(ZSCORES))
    made, linear = onnx.helper.make_node(z_scores, ["x"], ["z"]), onnx.helper.make_node("Linear", ["z", "w"], ["a"])
    conv = onnx.helper.make_node("ChannelConv", ["z", "v"], ["b"])

    def found(*nodes: onnx.NodeProto) -> frozenset[str]:
        return int8_tensors(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [])), Formats(kind))

    assert found(made, linear) == frozenset()
    assert found(made, linear, conv) == {"z"}
