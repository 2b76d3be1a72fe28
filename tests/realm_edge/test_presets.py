"""The presets hold what their names promise."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from realm_edge.app.cli import main
from realm_edge.app.preset_sizes import preset_size
from realm_edge.baselines.cost import parameters
from realm_edge.frontend import design
from realm_edge.models.student import Student
from realm_edge.settings import PRESETS, Settings, load, save

STUDENTS = {  # parameters that docs/paper.md tells of it, and how far off it may be
    "implant-s": (41e3, 0.01),
    "implant-m": (95e3, 0.01),
    "implant-l": (271e3, 0.01),
    "implant-s-realm": (41e3, 0.01),
    "realm-s": (2.1e6, 0.05),  # the paper's; it has another Mamba-2
    "realm": (4.9e6, 0.10),
}


@pytest.mark.parametrize("name", STUDENTS)
def test_students_are_as_large_as_promised(name: str) -> None:
    wanted, tolerance = STUDENTS[name]
    assert preset_size(PRESETS[name]).student_parameters == pytest.approx(wanted, rel=tolerance)


@pytest.mark.parametrize("name", ["realm-s", "realm"])
def test_the_teacher_of_the_paper(name: str) -> None:
    assert preset_size(PRESETS[name]).teacher_parameters == pytest.approx(11.5e6, rel=0.02)
    assert PRESETS[name].bin_ms == 10 and PRESETS[name].window_bins == 500  # segments of 5 s


@pytest.mark.parametrize("name", [name for name in STUDENTS if name.startswith("implant")])
def test_implant_students_take_32_channels_of_5_features_and_have_larger_teachers(name: str) -> None:
    size = preset_size(PRESETS[name])
    assert (size.channels, size.features) == (32, 160)
    assert size.student_parameters < size.teacher_parameters


@pytest.mark.parametrize("name", PRESETS)
def test_inputs_and_sizes_are_those_of_the_real_modules(name: str) -> None:
    settings, size = PRESETS[name], preset_size(PRESETS[name])
    frontend = design(settings, np.ones(size.channels, bool))
    assert frontend.n_features == size.features
    assert frontend.samples_per_bin * 1000 == settings.bin_ms * settings.lfp.rate_hz
    assert settings.spike_samples_per_bin * 1000 == settings.bin_ms * settings.spike.rate_hz
    student = Student(settings.student, size.features, 2, kinds=size.features // size.channels)
    assert parameters(student) == size.student_parameters


@torch.no_grad()
def test_macs_are_counted_layer_by_layer() -> None:
    size = preset_size(PRESETS["implant-m"])
    d_model, d_inner, d_state, heads, headdim, taps = 64, 128, 16, 4, 32, 4
    conv_dim = d_inner + 2 * d_state
    block = d_model * (d_inner + conv_dim + heads) + taps * conv_dim + 3 * heads * headdim * d_state + d_inner * d_model
    assert size.student_macs_per_step == 160 * d_model + 3 * block + d_model * 2


def test_the_papers_students_have_its_tokenizer() -> None:
    for name in ("realm-s", "realm"):
        settings = PRESETS[name]
        assert settings.student.tokenizer == settings.teacher.tokenizer == "channel"
        linear = settings.model_copy(update={"student": settings.student.model_copy(update={"tokenizer": "linear"})})
        more = preset_size(settings).student_parameters - preset_size(linear).student_parameters
        assert more == 96 * (8 - 7) * 256 + 8 * 7 * 3 + 8 + 5  # a wider linear map, the convolution, the attention


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_named_valid_and_survive_a_file(name: str, tmp_path) -> None:
    settings = PRESETS[name]
    assert settings.preset == name
    assert Settings.model_validate(settings.model_dump()) == settings  # model_copy alone does not validate
    save(settings, tmp_path / "config.toml")
    assert load(tmp_path / "config.toml", Settings()) == settings


def test_the_command_lists_what_is_counted() -> None:
    shown = CliRunner().invoke(main, ["presets", "--json"])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout) == [asdict(preset_size(settings)) for settings in PRESETS.values()]
    lines = CliRunner().invoke(main, ["presets"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["preset", *PRESETS]
    assert len({len(line) for line in lines}) == 1  # columns
