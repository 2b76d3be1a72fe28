"""Scenarios as files: the product's are symmetric, and a user's is refused by the field that does not fit."""

import itertools

import pytest

from firmware_sim.components import load_components
from firmware_sim.verdict.candidate import figures, read_candidate, shipped
from realm_edge.errors import UserError

GOOD = {"title": '"LFP"', "signal": '"lfp"', "frontend": '"software"', "sends": '"decoded"'}


def written(path, **changes):
    path.write_text("".join(f"{key} = {value}\n" for key, value in (GOOD | changes).items()))
    return path


def test_whatever_one_signal_may_have_the_others_may():
    ways = {(each.frontend, each.sends) for each in shipped() if each.signal == "lfp"}
    assert ways == {*itertools.product(("software", "circuit"), ("decoded", "features")), ("none", "samples")}
    for signal in ("sbp", "spike"):
        assert {(each.frontend, each.sends) for each in shipped() if each.signal == signal} == ways
    assert len({each.name for each in shipped()}) == 18


def test_every_figure_that_a_scenario_names_is_in_the_library():
    for each in shipped():
        assert len(figures(each)) == sum(name is not None for name in (each.circuit, each.compressor, each.compression))
        for name, unit in figures(each):
            assert load_components().value(name, unit) > 0


def test_a_scenario_has_the_name_of_its_file(tmp_path):
    assert read_candidate(written(tmp_path / "mine.toml", adc_bits="16")).name == "mine"
    with pytest.raises(UserError, match="name: use 1 to 120 characters that can be printed"):
        read_candidate(written(tmp_path / "mine\x1b[31m.toml"))
    with pytest.raises(UserError, match="name: a scenario has the name of its file"):
        read_candidate(written(tmp_path / "mine.toml", name='"other"'))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adc_bits": "11"}, "adc_bits: Input should be 10, 12 or 16"),
        ({"colour": '"red"'}, "colour: Extra inputs are not permitted"),
        ({"sends": '"samples"'}, "samples are sent where there is no front end"),
        ({"frontend": '"circuit"'}, "circuit: name its figure"),
        ({"circuit": '"sensing.circuit-lfp"'}, "circuit: name its figure"),
        ({"compression": '"sensing.broadband-compression"'}, "only samples are compressed"),
        ({"compressor": '"sensing.broadband-compressor"'}, "what compresses needs a figure of 'compression'"),
        ({"title": r'"a\nb"'}, "title: use 1 to 120 characters that can be printed"),
        ({"title": '" "'}, "title: use 1 to 120 characters that can be printed"),
        ({"title": f'"{"a" * 121}"'}, "title: use 1 to 120 characters that can be printed"),
        ({"format": '"realm-edge budgets/1"'}, "this version reads 'realm-edge scenario/1'"),
    ],
)
def test_fields_that_do_not_go_together_are_refused_by_name(tmp_path, changes, said):
    with pytest.raises(UserError, match=said) as error:
        read_candidate(written(tmp_path / "s.toml", **changes))
    assert "\n" not in str(error.value) and "s.toml" in str(error.value)
