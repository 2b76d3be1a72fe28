"""What grew is told, and what may not is status 1; a baseline that cannot be compared is refused. No emulator."""

import json
from pathlib import Path

import pytest

from firmware_sim.cycles.compare import changes, check_comparable, comparison, read_baseline
from firmware_sim.cycles.flame import flame
from firmware_sim.cycles.form import CYCLES, Costs, CyclesProfile, FunctionRow, Stack
from firmware_sim.cycles.text import lines
from firmware_sim.targets import get_target
from realm_edge.documents import write_document
from realm_edge.errors import UserError


def costs(cycles: float) -> dict:
    return {"cycles": cycles, "cycles_low": cycles, "cycles_high": 2 * cycles, "stall_cycles": 0, "instructions": int(cycles)}


def profile(functions: dict[str, float], **others) -> CyclesProfile:
    rows = tuple(FunctionRow(name=name, calls=1, cycles_with_callees=cycles, **costs(cycles)) for name, cycles in functions.items())
    about = {"program": "a.elf", "program_sha256": "0", "machine": "mps2-an386", "target": "cortex-m4", "part": "STM32L4R5"}
    about |= {"core": "cortex-m4", "clock_hz": 120_000_000, "tables_sha256": "1", "label": "table-based", "validation": "none"}
    about |= {"entry": "reset", "until": None, "times": 1, "stepped": False, "regions": ()}
    stacks = tuple(Stack(functions=("reset", name) if name != "reset" else ("reset",), cycles=cycles) for name, cycles in functions.items())
    return CyclesProfile(**{**about, "total": Costs(**costs(sum(functions.values()))), "functions": rows, "stacks": stacks, **others})


BEFORE = profile({"fir": 8000.0, "sort": 1900.0, "init": 100.0, "tiny": 50.0})


def broken(now: CyclesProfile, most: float) -> list[str]:
    return [row.name for row in changes(BEFORE, now) if row.breaks(most)]


def test_the_total_and_large_functions_break_a_bound():
    now = profile({"fir": 8000.0, "sort": 1960.0, "init": 100.0, "tiny": 90.0})
    assert broken(now, 0.02) == ["sort"]  # 3.2 %; the total 1 %, and tiny 80 % but of less than 1 % of the total
    assert broken(now, 0.04) == []
    assert broken(profile({"fir": 8000.0, "sort": 1960.0, "init": 100.0, "tiny": 190.0}), 0.018) == ["total", "tiny", "sort"]
    assert broken(profile({"fir": 7000.0, "sort": 1900.0, "init": 100.0, "tiny": 50.0}), 0.0) == []


def test_a_bound_is_kept_where_growth_is_equal_to_it():
    assert broken(profile({"fir": 10000.0, "sort": 1900.0, "init": 100.0, "tiny": 50.0}), 0.25) == []


def test_new_functions_grow_from_nothing_and_gone_ones_do_not():
    now = profile({"fir": 7000.0, "fir_tail": 900.0, "sort": 1900.0, "init": 100.0})
    assert broken(now, 0.5) == ["fir_tail"]
    shown = list(comparison(changes(BEFORE, now), 0.5))
    assert [line.split()[-1] for line in shown if "more than" not in line] == ["total", "tiny", "fir"]
    assert shown[1].split() == ["0", "900", "+900", "new", "fir_tail", "more", "than", "50", "%"]
    assert "gone" in shown[2]


def test_functions_that_did_not_change_are_not_shown():
    assert list(comparison(changes(BEFORE, BEFORE), 0.0)) == [f"{10050:>14,} {10050:>14,} {'+0':>12} {'+0.00 %':>10}  total"]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"target": "nrf52840"}, "its target is nrf52840, and cortex-m4 here: give the same --target"),
        ({"entry": "main"}, "its entry is main, and reset here"),
        ({"until": "done"}, "its until is done, and the program's end here"),
        ({"tables_sha256": "2"}, "the cycle table of cortex-m4 or the flash of STM32L4R5 has changed since it was made: make it anew"),
    ],
)  # fmt: skip
def test_baselines_of_something_else_are_refused(others, words):
    with pytest.raises(UserError, match=words):
        check_comparable(profile({"fir": 1.0}, **others), BEFORE, Path("base.json"))


def test_a_baseline_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "base.json"
    write_document(path, CYCLES, BEFORE)
    assert read_baseline(path) == BEFORE
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"format": "realm-edge cycles/9"}))
    with pytest.raises(UserError, match="it is of format 'realm-edge cycles/9', not 'realm-edge cycles/1': make it anew"):
        read_baseline(path)
    path.write_text(json.dumps(content | {"clock_hz": "fast"}))
    with pytest.raises(UserError, match=r"base\.json: .*clock_hz"):
        read_baseline(path)


def test_the_flame_graph_is_as_wide_as_the_cycles():
    picture = flame(profile({"reset": 500.0, "<T>fir": 1500.0})).decode()
    assert "<title>reset: 2,000 cycles, 100.0%</title>" in picture and "<title>&lt;T&gt;fir: 1,500 cycles, 75.0%</title>" in picture
    assert 'width="1180.00"' in picture and 'width="885.00"' in picture
    assert flame(profile({"reset": 0.0})).startswith(b"<?xml")


def test_the_table_says_what_it_rests_on():
    shown = "\n".join(lines(BEFORE, get_target("cortex-m4")))
    assert "10,050 cycles (10,050 to 20,100), 0.0838 ms, 10,050 instructions" in shown
    assert "cortex-m4: table-based; none" in shown and "assumed: line_bytes" in shown
    many = "\n".join(lines(profile({f"f{i}": 1.0 for i in range(40)}), get_target("cortex-m4")))
    assert "10 cycles in 10 more functions; --json has them all" in many
