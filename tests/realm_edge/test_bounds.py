"""Settings, budgets and their files have bounds: what is out of them, or contradicts itself, is one line before anything is done."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from firmware_sim.budgets import load_budgets
from realm_edge import memory, synthetic
from realm_edge.errors import UserError
from realm_edge.progress import Silent
from realm_edge.settings import PRESETS, FitSettings, ModelSettings, PretrainSettings, Settings, SyntheticSettings, changed, load
from realm_edge.toml_file import DEEPEST, MOST_BYTES, read_toml
from realm_edge.training import memory as training_memory
from realm_edge.training.loop import Phase, fit
from realm_edge.training.memory import Inputs, check_training, needs
from realm_edge.training.pretrain import pretrain
from realm_edge.training.segments import Batch, Series

READERS = pytest.mark.parametrize("read", [load, load_budgets])


def refused(path: Path, read=load) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("seed = true", "seed"),
        ("seed = '0'", "seed"),
        ("seed = 1e3", "seed"),
        ("[pretrain]\nlr = '1e-3'\nepochs = 1", "pretrain.lr"),
        ("[finetune]\ndropout = false", "finetune.dropout"),
        ("[pretrain]\nblock_bins = [5.0, 25]", "pretrain.block_bins.0"),
    ],
)
def test_numbers_are_not_made_of_other_things(tmp_path, text, field):
    (tmp_path / "c.toml").write_text(text)
    assert refused(tmp_path / "c.toml").startswith(f"{field}: Input should be a valid ")
    (tmp_path / "c.toml").write_text("[synthetic]\nseconds = 60\n[lfp]\nbands_hz = [[2, 6]]")
    assert load(tmp_path / "c.toml").synthetic.seconds == 60.0


def test_the_mark_of_windows_editors_is_no_part_of_a_file(tmp_path):
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbfseed = 3\r\n")
    assert load(tmp_path / "c.toml").seed == 3


@READERS
@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 50_000 + "]" * 50_000,
        "a = " + "{a = " * 5000 + "1" + "}" * 5000,
        "a" + ".a" * 200_000 + " = 1",
        "[" + "a." * 50 + "a]",
        "a = {" + '"a" . ' * 50 + "a = 1}",
        "a = " + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
    ],
    ids=["arrays", "tables", "keys", "header", "quoted", "just too deep"],
)
def test_what_is_nested_too_deep_is_told_at_once(tmp_path, read, text):
    path = tmp_path / "deep.toml"
    path.write_text(text)
    began = time.monotonic()
    assert "nested deeper than 16 tables or arrays" in refused(path, read)
    assert time.monotonic() - began < 5


@READERS
def test_only_regular_files_of_a_moderate_size_are_read(tmp_path, read):
    fifo, large = tmp_path / "fifo.toml", tmp_path / "large.toml"
    os.mkfifo(fifo)  # opening one waits for who writes
    large.write_text("#" * (MOST_BYTES + 1))
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\nseed = 1")
    (tmp_path / "hex.toml").write_text("seed = 0x" + "f" * 5000)
    assert refused(fifo, read) == "not readable as TOML (no regular file): name a TOML file that can be read"
    assert refused(Path("/dev/zero"), read) == "not readable as TOML (no regular file): name a TOML file that can be read"
    assert refused(tmp_path, read).startswith("not readable as TOML (Is a directory)")
    assert refused(large, read).startswith("larger than 1,048,576 bytes")
    (tmp_path / "digits.toml").write_text("seed = " + "9" * 5000)
    (tmp_path / "broken.toml").write_text("seed = = 1")
    assert refused(tmp_path / "latin.toml", read) == "not readable as TOML, which is UTF-8 (byte 2 is not): save it as UTF-8"
    assert refused(tmp_path / "digits.toml", read).startswith("a whole number of thousands of digits: use one of at most 64 bits")
    assert refused(tmp_path / "broken.toml", read).endswith("(at line 1, column 8)): correct it there")
    assert refused(tmp_path / "hex.toml", read).startswith("seed: a whole number of 20000 bits")
    assert refused(tmp_path / "none.toml", read) == "no such file"


def test_what_is_allowed_is_read(tmp_path):
    path = tmp_path / "fine.toml"
    path.write_text('a = "1.2.3.4"\n[b.c]\nd = [[1, 2.5e3], [-9223372036854775808]]\n')
    assert read_toml(path) == {"a": "1.2.3.4", "b": {"c": {"d": [[1, 2500.0], [-(2**63)]]}}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[teacher]\nn_layer = 1000000000", "teacher.n_layer: Input should be less than or equal to 256 (value 1000000000)"),
        ("[student]\nd_model = 1000000", "student.d_model: Input should be less than or equal to 8192"),
        ("[finetune]\nlr = inf", "finetune.lr: Input should be less than or equal to 10 (value inf)"),
        ("[finetune]\nlr = 1e400", "finetune.lr: Input should be less than or equal to 10 (value inf)"),
        ("[pretrain]\nweight_decay = nan", "pretrain.weight_decay: Input should be"),
        ("[pretrain]\nnoise_sd = inf", "pretrain.noise_sd: Input should be less than or equal to 100"),
        ("[distil]\nbatch = 1000000000", "distil.batch: Input should be less than or equal to 65536"),
        ("[distil]\nepochs = 4611686018427387904", "distil.epochs: Input should be less than or equal to 100000"),
        ("[synthetic]\nseconds = inf", "synthetic.seconds: Input should be less than or equal to 86400"),
        ("[synthetic]\nchannels = 1000000000", "synthetic.channels: Input should be less than or equal to 4096"),
        ("[lfp]\nrate_hz = 1000000000", "lfp.rate_hz: Input should be less than or equal to 1000000"),
        ("window_bins = 9000000000", "window_bins: Input should be less than or equal to 100000"),
        ("seed = -1", "seed: Input should be greater than or equal to 0"),
        ("lfp = 3", "lfp: Input should be a valid dictionary"),
        ("preset = ['demo']", "preset: unknown preset ['demo']: use one of demo"),
    ],
)
def test_a_number_out_of_its_bounds_names_field_bound_and_value(tmp_path, text, said):
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert refused(path).startswith(said)


def numbers(model: type, prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            found += numbers(field.annotation, f"{prefix}{name}.")
        elif field.annotation in (int, float):
            found.append(prefix + name)
    return found


@pytest.mark.parametrize("field", numbers(Settings))
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "4611686018427387904"])
def test_every_number_of_the_settings_is_bounded(tmp_path, field, value):
    section, _, name = field.rpartition(".")
    path = tmp_path / "config.toml"
    path.write_text((f"[{section}]\n" if section else "") + f"{name} = {value}")
    said = refused(path)
    assert said.startswith(f"{field}: ") and said.endswith(")"), said  # the value


@pytest.mark.parametrize("limit", ["1e400", "nan", "-inf", "1e16", "1" + "0" * 400, "9223372036854775807", "true", '"1"', "[1]"])
def test_a_limit_of_a_budget_is_a_moderate_number(tmp_path, limit):
    path = tmp_path / "budget.toml"
    path.write_text(f'[bandwidth_bps]\nlimit = {limit}\nsource = "x"')
    assert "bandwidth_bps" in refused(path, load_budgets)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("window_bins = 25", ("window_bins 25", "pretrain.block_bins [5, 25]")),
        ("[pretrain]\nblock_bins = [10, 300]", ("window_bins 250", "pretrain.block_bins [10, 300]")),
        ("[pretrain]\nblock_bins = [25, 5]", ("pretrain: block_bins: the shortest block, 25, is longer than the longest, 5",)),
        ("[distil]\nw_repr = 0\nw_task = 0\nw_ae = 0", ("distil: w_repr, w_task and w_ae are all 0",)),
        ("[lfp]\nrate_hz = 300", ("lfp: bands_hz: band 70.0-200.0 Hz", "rate_hz, 150.0 Hz")),
        ("[lfp]\nhighpass_hz = 15.0", ("lfp: bands_hz: nothing is left of band 6.0-15.0 Hz above highpass_hz 15.0",)),
        ("[lfp]\nhighpass_hz = 600\nbands_hz = []", ("lfp: highpass_hz 600.0 does not lie below half of rate_hz, 250.0 Hz",)),
        ("[lfp]\nline_hz = 500", ("lfp: line_hz 500.0 does not lie below half of rate_hz",)),
        ("[spike]\nrate_hz = 500", ("spike: highpass_hz 300.0 does not lie below half of rate_hz, 250.0 Hz",)),
        ("[split]\ntrain = 0.9\nvalidation = 0.1", ("split.train + split.validation",)),
        ("[student]\nheaddim = 7", ("student: headdim 7 does not divide",)),
        ("output_delay_ms = 30", ("output_delay_ms 30 is no multiple of bin_ms 20",)),
    ],
)
def test_settings_that_contradict_each_other_name_both_fields(tmp_path, text, fields):
    path = tmp_path / "config.toml"
    path.write_text(text)
    said = refused(path)
    assert all(field in said for field in fields), said


def test_the_command_line_says_it_in_one_line_and_makes_nothing(tmp_path):
    (tmp_path / "deep.toml").write_text("a = " + "[" * 50_000)
    command = [sys.executable, "-m", "realm_edge", "run", "--config", "deep.toml", "--out", "run"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "realm-edge: error: deep.toml: nested deeper than 16 tables or arrays: name a flatter file\n"
    assert not (tmp_path / "run").exists()


def test_training_that_does_not_fit_is_refused_before_it_is_allocated():
    vast = ModelSettings(d_model=8192, n_layer=256, d_state=16, headdim=64)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"training \(pretrain, on 224 inputs\) needs about .* GB of memory, and .* free: lower one "):
        check_training(changed(Settings(), {"teacher": vast.model_dump()}), Inputs(224, 2, 7))
    with pytest.raises(UserError, match=r"training \(finetune, .* lower one of student.d_model \(32\), .*, finetune.batch \(65536\)"):
        check_training(changed(Settings(), {"finetune": {"batch": 65536}, "window_bins": 100_000}), Inputs(224, 2, 7))
    assert time.monotonic() - began < 30
    check_training(Settings(), Inputs(224, 2, 7))


def test_what_is_free_decides(monkeypatch):
    need = max(one.bytes for one in needs(Settings(), Inputs(224, 2, 7)))
    monkeypatch.setattr(training_memory, "free_bytes", lambda: need)
    check_training(Settings(), Inputs(224, 2, 7))
    monkeypatch.setattr(training_memory, "free_bytes", lambda: need - 1)
    with pytest.raises(UserError, match="lower one of"):
        check_training(Settings(), Inputs(224, 2, 7))


def test_a_container_limits_what_is_free(tmp_path, monkeypatch):
    whole = memory.free_bytes()
    assert 0 < whole <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory.free_bytes() == 4000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes() > 5000


def test_synthetic_recordings_that_do_not_fit_are_refused():
    settings = Settings(synthetic=SyntheticSettings(seconds=86400, channels=4096))
    with pytest.raises(UserError, match=r"GB are free: lower synthetic.seconds \(86400\) or synthetic.channels \(4096\)"):
        synthetic.generate(settings, 0)


def test_the_presets_are_within_all_bounds():
    for settings in PRESETS.values():
        assert Settings.model_validate(settings.model_dump(mode="json")) == settings


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))


def fitted(loss, validation: float) -> None:
    batch = Batch(torch.ones(1, 4, 2), torch.ones(1, 4, 2), torch.tensor([4]), torch.ones(1, 4))
    settings = FitSettings(epochs=3, lr=1e-3)
    fit(Constant(), settings, Phase("finetune", 0), lambda: [batch, batch], loss, lambda module: validation, Silent())


def test_a_loss_of_exactly_0_or_none_at_all_stops_with_its_cause():
    def weights(module: Constant, batch: Batch) -> Tensor:
        return module.weight.square().mean()

    fitted(weights, 1.0)
    with pytest.raises(UserError, match=r"^finetune: loss 0.0, validation 1.0 in epoch 0: there was nothing to predict in the training"):
        fitted(lambda module, batch: 0 * weights(module, batch), 1.0)
    with pytest.raises(UserError, match=r"validation 0.0 in epoch 0: there was nothing to predict in the validation part"):
        fitted(weights, 0.0)
    for value in (float("nan"), float("inf")):
        with pytest.raises(UserError, match=r"in epoch 0: lower its lr \(0.001\)"):
            fitted(lambda module, batch, value=value: value * weights(module, batch), 1.0)


def test_windows_of_one_bin_leave_nothing_to_mask_and_pretraining_says_so():
    settings = PretrainSettings(epochs=1, lr=1e-3, batch=4, block_bins=(1, 1))
    model = ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=4)
    inputs, nothing, one = torch.randn(40, 4), torch.zeros(4), torch.ones(4)
    series = Series("a", inputs, torch.randn(40, 2), 20, 40, nothing, one, torch.zeros(2), torch.ones(2))
    with pytest.raises(UserError, match=r"pretrain: loss 0.0.* in epoch 0: there was nothing to predict .* pretrain.block_bins"):
        pretrain(model, settings, [series], 1, Phase("pretrain", 0), Silent())


@READERS
def test_a_file_of_another_format_is_named_and_one_without_is_read(tmp_path, read):
    """What a person writes may leave the format out."""
    path, form = tmp_path / "a.toml", {load: "realm-edge settings/1", load_budgets: "realm-edge budgets/1"}[read]
    rest = {load: "seed = 1\n", load_budgets: '[power_uw]\nlimit = 1.0\nsource = "x"\n'}[read]
    for head in ("", f'format = "{form}"\n'):
        path.write_text(head + rest)
        read(path)
    path.write_text('format = "realm-edge something/9"\n' + rest)
    assert refused(path, read) == f"format: it is of 'realm-edge something/9', and this version reads '{form}': write it anew"
