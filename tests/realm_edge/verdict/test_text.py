from realm_edge.app.verdict import text
from tests.realm_edge.verdict.verdicts import made_up, table

COMMAND = "realm-edge verdict --out here"


def test_the_answer_comes_first_then_its_scenarios_then_other_tables_then_hints_then_what_the_figures_are_for() -> None:
    verdict = made_up(channels=(32,), parts=("stm32u385", "nrf54l15", "rv32imc"))
    lines = list(text.lines(verdict, COMMAND))
    assert lines[:2] == [verdict.answer, "synthetic recordings: no evidence about brains"]
    won, second, lost = verdict.tables
    at = lines.index("needs least in 95 % of the draws; turned most often by sensing.adc-12 (21 %) and radio.ble-event (8 %)")
    assert lines[2].startswith("* lfp-circuit-features ") and all(row.scenario in "".join(lines[2:at]) for row in won.rows)
    assert lines[at + 1] == "LFP against spikes: turned most often by sensing.spike-detector (31 %)"
    assert lines[at + 2].startswith(f"32 channels, nRF54L15, ble-1m: {second.winner} ") and "needs least in 94 %" in lines[at + 2]
    assert lines[at + 3] == lost.sentence
    assert lines[at + 4 :] == [
        "hint fewer-bands: 63 % of the cycles are the front end: fewer bands: realm-edge verdict --out here --apply fewer-bands",
        "hint longer-bins: 38 % of the power is the radio: longer bins: realm-edge verdict --out here --apply longer-bins",
        verdict.context,
    ]


def test_real_recordings_are_not_called_synthetic() -> None:
    lines = list(text.lines(made_up(channels=(32,), parts=("stm32u385",), synthetic=False), COMMAND))
    assert not any("synthetic" in line for line in lines)


def test_a_winner_without_rival_has_no_probability() -> None:
    lone = table(32, "stm32u385", "ble-1m").model_copy(update={"probability": None, "runner_up": None, "turns": ()})
    lines = list(text.lines(made_up(tables=(lone, lone)), COMMAND))
    assert "nothing else counts that it could be held against; no figure alone turns it" in lines
    assert any(line.startswith("32 channels, STM32U385, ble-1m: lfp-circuit-features ") and "next" not in line for line in lines)


def test_a_table_has_a_line_for_each_scenario_and_says_why_one_does_not_count() -> None:
    shown = table(32, "cortex-m4", "ble-1m")
    lines = list(text.lines(made_up(tables=(shown,)), COMMAND))
    assert "* lfp-circuit-features      428 uW (308 to 620), budget holds, R2 0.523, 61.7 ms, 2,560 b/s" in lines
    at = lines.index("  lfp-200-samples           485 uW (349 to 703), budget holds, R2 0.497, 61.7 ms, 76,800 b/s")
    assert lines[at + 1].strip() == "does not count: R² is more than 0.1 below the best"
    assert "  spike-samples             the link cannot carry this: 9.60 Mb/s would need 12.0 times its time, R2 0.603" in lines
    assert [sum(line[2:].startswith(f"{row.scenario} ") for line in lines) for row in shown.rows] == [1] * 18


def test_what_is_missing_is_said() -> None:
    unpriced = table(1024, "rv32imc", "uwb")
    lines = "\n".join(text.lines(made_up(tables=(unpriced,)), COMMAND))
    assert "sbp-circuit-decoded       no power figure for this part, no R2" in lines
    assert "does not count" not in lines
    assert "spike-software-decoded    does not fit: needs a clock of" in lines


def test_one_channel_is_no_channels() -> None:
    assert text.where(table(1, "stm32u385", "ble-1m")) == "1 channel, STM32U385, ble-1m"
    assert text.where(table(1024, "stm32u385", "ble-1m")) == "1,024 channels, STM32U385, ble-1m"
