from itertools import groupby

from realm_edge.app.verdict.systems import systems

CONFIDENCES = {"primary", "abstract", "secondary", "unverified", "abstract (title)", "abstract / secondary", "primary / secondary"}


def test_each_system_says_what_its_figure_covers_where_it_is_from_and_what_was_read() -> None:
    assert len(systems()) == len({system.name for system in systems()}) == 28
    for system in systems():
        assert all((system.name, system.group, system.covers, system.power, system.source)), system.name
        assert system.confidence in CONFIDENCES, system.name


def test_this_projects_own_figures_are_not_among_them() -> None:
    assert not any("realm-edge" in text for system in systems() for text in (system.name, system.covers, system.source))


def test_those_that_cover_the_same_are_beside_one_another() -> None:
    groups = [group for group, _ in groupby(systems(), key=lambda system: system.group)]
    assert len(groups) == len(set(groups))


def test_what_covers_a_decoder_alone_is_not_among_what_covers_more() -> None:
    by_name = {system.name.split(" (")[0]: system for system in systems()}
    assert by_name["SNN decoder on a RISC-V MCU"].group == "decoder alone"
    assert by_name["NeuRAD"].group == by_name["MiBMI"].group == "recording, features and decoder"
    assert by_name["NeuRAD"].power == "581 uW (1-D), 588 uW (2-D)" and by_name["NeuRAD"].confidence == "abstract"
    assert by_name["WIMAGINE"].group == "whole implant"
    assert by_name["Summit RC+S"].group.startswith("no power figure") and by_name["Summit RC+S"].confidence == "primary"
    assert by_name["Precision Layer 7"].confidence == "unverified"
