from realm_edge.app.verdict import text
from tests.realm_edge.verdict.verdicts import made_up, table


def test_the_sentence_comes_first_then_each_table_then_the_hints_then_what_the_figures_are_for() -> None:
    verdict = made_up(channels=(32,), parts=("stm32u385", "rv32imc"))
    lines = list(text.lines(verdict))
    assert lines[:2] == [verdict.answer, "synthetic recordings: no evidence about brains"]
    won, lost = verdict.tables
    assert lines[2:8] == [
        won.sentence,
        "  lfp-circuit-features: needs least in 95 % of the draws; next: sbp-circuit-features; "
        "turned most often by sensing.adc-12 (21 %) and radio.ble-event (8 %)",
        f"  {won.lfp_sentence}",
        "  LFP against spikes: turned most often by sensing.spike-detector (31 %)",
        lost.sentence,
        f"  {lost.lfp_sentence}",
    ]
    assert lines[8:] == [
        "hint fewer-bands: 63 % of the cycles are the front end: fewer bands: realm-edge verdict --apply fewer-bands",
        "hint longer-bins: 38 % of the power is the radio: longer bins: realm-edge verdict --apply longer-bins",
        verdict.context,
    ]


def test_real_recordings_are_not_called_synthetic() -> None:
    lines = list(text.lines(made_up(channels=(32,), parts=("stm32u385",), synthetic=False)))
    assert not any("synthetic" in line for line in lines)


def test_a_winner_without_rival_has_no_probability() -> None:
    lone = table(32, "stm32u385", "ble-1m").model_copy(update={"probability": None, "runner_up": None, "turns": ()})
    assert list(text.table(lone))[1] == (
        "  lfp-circuit-features: nothing else counts that it could be held against; no figure alone turns it"
    )


def test_a_table_has_a_line_for_each_scenario_and_says_why_one_does_not_count() -> None:
    shown = table(32, "cortex-m4", "ble-1m")
    lines = list(text.table(shown))
    assert "* lfp-circuit-features      428 uW (308 to 620), budget holds, R2 0.523, 61.7 ms, 2,560 b/s" in lines
    at = lines.index("  lfp-200-samples           485 uW (349 to 703), budget holds, R2 0.497, 61.7 ms, 76,800 b/s")
    assert lines[at + 1].strip() == "does not count: R² is more than 0.1 below the best"
    assert "  spike-samples             the link cannot carry this: 9.60 Mb/s would need 12.0 times its time, R2 0.603" in lines
    assert [sum(line[2:].startswith(f"{row.scenario} ") for line in lines) for row in shown.rows] == [1] * 18


def test_what_is_missing_is_said() -> None:
    unpriced = table(1024, "rv32imc", "uwb")
    lines = "\n".join(text.table(unpriced))
    assert "sbp-circuit-decoded       no power figure for this part, no R2" in lines
    assert "does not count" not in lines
    assert "spike-software-decoded    does not fit: needs a clock of" in lines


def test_a_table_without_scenarios_is_its_sentences() -> None:
    empty = table(32, "rv32imc", "ble-1m").model_copy(update={"rows": (), "sentence": "nothing was asked"})
    assert list(text.table(empty)) == ["nothing was asked", f"  {empty.lfp_sentence}"]
