from dataclasses import replace

import pytest

from firmware_sim.budgets import Measured, evaluate, load_budgets
from realm_edge.errors import UserError

FITTING = Measured(
    power_uw={"sensing": 30.0, "mcu_active": 5000.0, "mcu_sleep": 10.0, "radio": 200.0, "total": 5240.0},
    power_range=(4000.0, 9000.0),
    bandwidth_bps=1600.0,
    latency_range=(22.0, 25.0),
    latency_ms={"bin_wait": 20.0, "compute": 3.0, "radio": 0.2, "total": 23.2},
    flash_bytes=90_000,
    ram_bytes=20_000,
    r2_float=0.60,
    r2_int8=0.598,
    fit_text="fits",
    stream="lfp",
    cycles={"frontend": 630.0, "decoder": 360.0, "loop": 10.0},
)
SHARES = (
    "63 % of the cycles are the front end, 36 % the decoder: fewer bands or a lower rate, before a smaller student; or a core with less"
)


def rows_of(measured):
    return {row.name: row for row in evaluate(load_budgets(), measured)}


def test_all_is_well_when_every_limit_is_kept():
    rows = rows_of(FITTING)
    assert set(rows) == {"power_uw", "bandwidth_bps", "latency_ms", "flash_bytes", "ram_bytes", "r2", "r2_loss"}
    assert all(row.ok and row.state == "holds" and row.lever == "" and row.by_how_much >= 0 for row in rows.values())
    assert (rows["power_uw"].low, rows["power_uw"].high) == (4000.0, 9000.0)
    assert (rows["latency_ms"].low, rows["latency_ms"].high) == (22.0, 25.0)
    assert (rows["r2"].low, rows["r2"].high) == (0.598, 0.598)
    assert rows["power_uw"].by_how_much == pytest.approx(rows["power_uw"].limit - 5240.0)
    assert rows["r2"].by_how_much == pytest.approx(0.598)


def test_the_power_limit_is_half_of_what_warms_by_one_degree():
    budget = next(b for b in load_budgets() if b.name == "power_uw")
    assert budget.limit == pytest.approx(0.5 * 1.0 / 0.029 * 1000, abs=1.0)
    assert "Kim et al. 2007" in budget.source


def test_a_broken_power_budget_names_the_part_that_would_mend_it():
    power = {"sensing": 1000.0, "mcu_active": 18000.0, "mcu_sleep": 10.0, "radio": 200.0, "total": 19210.0}
    row = rows_of(replace(FITTING, power_uw=power))["power_uw"]
    assert not row.ok
    assert row.by_how_much == pytest.approx(17241 - 19210)
    assert row.lever.endswith("mcu_active must fall from 18000 to 16031 uW")
    assert row.lever.startswith(SHARES)


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"cycles": {"frontend": 30.0, "decoder": 60.0, "loop": 10.0}},
         "30 % of the cycles are the front end, 60 % the decoder: a smaller student, before fewer bands or a lower rate; or a core"),
        ({"stream": "spike"},
         "63 % of the cycles are the front end, 36 % the decoder: a lower rate or a detector circuit, before a smaller student; or a core"),
        ({"cycles": {"frontend": 0.0, "decoder": 95.0, "loop": 5.0}},
         "95 % of the cycles are the decoder: a smaller student or a core with less energy per cycle: mcu_active must fall from"),
    ],
)  # fmt: skip
def test_the_lever_of_the_core_is_where_its_cycles_go(changes, begins):
    power = {"mcu_active": 18000.0, "radio": 200.0, "total": 18200.0}
    assert rows_of(replace(FITTING, power_uw=power, **changes))["power_uw"].lever.startswith(begins)


def test_when_no_part_alone_is_enough_the_lever_says_so():
    power = {"sensing": 30000.0, "mcu_active": 29000.0, "mcu_sleep": 10.0, "radio": 200.0, "total": 59210.0}
    lever = rows_of(replace(FITTING, power_uw=power))["power_uw"].lever
    assert lever.startswith("fewer channels")
    assert "not enough alone: without sensing the rest is still 11969 uW over the limit" in lever


def test_what_a_worse_end_breaks_holds_only_nominally():
    row = rows_of(replace(FITTING, power_range=(4000.0, 17_242.0)))["power_uw"]
    assert (row.state, row.ok, row.value, row.high) == ("holds only nominally", False, 5240.0, 17_242.0)
    assert row.by_how_much > 0
    assert row.lever.startswith("reaches 17242 uW with every figure at its worse end: narrower ranges, or less of mcu_active: " + SHARES)
    assert rows_of(replace(FITTING, power_range=(4000.0, 17_241.0)))["power_uw"].state == "holds"
    late = rows_of(replace(FITTING, latency_range=(22.0, None)))["latency_ms"]
    assert late.state == "holds only nominally" and late.lever.startswith("does not fit with every figure at its worse end")
    broken = rows_of(replace(FITTING, latency_ms={"bin_wait": 120.0, "total": 120.0}, latency_range=(90.0, 130.0)))["latency_ms"]
    assert (broken.state, broken.ok) == ("broken", False)


def test_each_other_budget_can_break():
    assert (
        "shorter bins: bin_wait must fall from 200 to 97 ms"
        in rows_of(replace(FITTING, latency_ms={"bin_wait": 200.0, "compute": 3.0, "radio": 0.2, "total": 203.2}))["latency_ms"].lever
    )
    late = {"bin_wait": 20.0, "compute": 3.0, "radio": 0.2, "output_delay": 300.0, "total": 323.2}
    assert rows_of(replace(FITTING, latency_ms=late))["latency_ms"].lever.startswith(
        "a lower output_delay_ms: output_delay must fall from 300"
    )
    for change, name in (
        ({"bandwidth_bps": 2e5}, "bandwidth_bps"),
        ({"flash_bytes": 600_000}, "flash_bytes"),
        ({"ram_bytes": 200_000}, "ram_bytes"),
        ({"r2_float": -0.2, "r2_int8": -0.2}, "r2"),
        ({"r2_int8": 0.59}, "r2_loss"),
    ):
        rows = rows_of(replace(FITTING, **change))
        assert [row.name for row in rows.values() if not row.ok] == [name]
        assert rows[name].lever
        assert rows[name].by_how_much < 0


def test_the_loss_by_int8_is_not_counted_where_float_decodes_little():
    assert rows_of(replace(FITTING, r2_float=0.29, r2_int8=0.25))["r2_loss"].ok
    assert not rows_of(replace(FITTING, r2_float=0.31, r2_int8=0.27))["r2_loss"].ok


def test_what_does_not_fit_breaks_power_and_latency_without_a_figure():
    nothing = dict.fromkeys(("sensing", "total"))
    rows = rows_of(
        replace(FITTING, power_uw=nothing, latency_ms=dict.fromkeys(("total",)), fit_text="does not fit: needs a clock of 300.0 MHz")
    )
    for name in ("power_uw", "latency_ms"):
        assert (rows[name].ok, rows[name].value, rows[name].by_how_much) == (False, None, None)
        assert rows[name].lever == "does not fit: needs a clock of 300.0 MHz"


def test_a_budget_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[power_uw]\nlimit = 100\nsource = "our battery"\n')
    (row,) = evaluate(load_budgets(path), FITTING)
    assert (row.ok, row.limit, row.source) == (False, 100.0, "our battery")
    assert row.by_how_much == pytest.approx(-5140.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[heat]\nlimit = 1\nsource = "s"', "unknown budget 'heat'"),
        ("[power_uw]\nlimit = 1", "'power_uw' needs exactly 'limit' and 'source'"),
        ('[power_uw]\nlimit = "much"\nsource = "s"', "has limit 'much'"),
        ('[power_uw]\nlimit = inf\nsource = "s"', "has limit inf"),
        ('[flash_bytes]\nlimit = -1\nsource = "s"', "budget 'flash_bytes' has limit -1: nothing needs less than 0 bytes"),
        ('[power_uw]\nlimit = 1\nsource = " "', "has no source"),
        ("[power_uw", "not readable as TOML"),
        ("", "holds no budget"),
    ],
)
def test_broken_budget_files_are_named(text, message, tmp_path):
    path = tmp_path / "b.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_budgets(path)
    assert str(caught.value).startswith(str(path))
    with pytest.raises(UserError, match="no such file"):
        load_budgets(tmp_path / "absent.toml")


def test_what_a_front_end_would_add_to_is_marked_where_there_is_none():
    rows = rows_of(replace(FITTING, decoder_only=True))
    assert {name for name, row in rows.items() if row.decoder_only} == {"power_uw", "latency_ms", "flash_bytes", "ram_bytes"}
    assert not any(row.decoder_only for row in rows_of(FITTING).values())
