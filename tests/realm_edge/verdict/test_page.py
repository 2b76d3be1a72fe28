import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

from realm_edge.app.numbers import format_number
from realm_edge.app.verdict import page, plots
from realm_edge.app.verdict.form import System, Verdict
from realm_edge.evaluation.summary import SYNTHETIC
from tests.realm_edge.verdict.verdicts import made_up

SECTIONS = ["answer", "map", "tables", "accuracy", "heat", "hints", "unverified", "systems", "context"]
HOSTILE = '<script>alert("1")</script>'


def small(**changes: Any) -> Verdict:
    """Three tables, one of which has no power figure; a map of two links, over one of which nothing fits."""
    values: dict[str, Any] = {"channels": (32,), "parts": ("stm32u385", "nrf54l15", "rv32imc"), "links": ("ble-1m", "backscatter")}
    return made_up(**values | changes)


class Parsed(HTMLParser):
    """Headings, sections, all that a browser would fetch or jump to, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.sections: list[str] = []
        self.headings: list[int] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.references += [values[key] or "" for key in ("src", "href", "xlink:href", "srcset", "data", "action") if key in values]
        self.references += re.findall(r"url\((.*?)\)", " ".join(value or "" for value in values.values()))
        self.ids += [values["id"] or ""] if "id" in values else []
        self.sections += [values["id"] or ""] if tag == "section" else []
        self.headings += [int(tag[1])] if re.fullmatch(r"h[1-6]", tag) else []


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    return small()


@pytest.fixture(scope="module")
def html(verdict: Verdict) -> str:
    return page.page(verdict)


def charts(html: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", html, re.DOTALL)


def scenarios(html: str) -> list[str]:
    """The tables of scenarios, one text each."""
    return re.findall(r'<table class="scenarios">(.*?)</table>', html, re.DOTALL)


def section(html: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', html, re.DOTALL)
    assert found
    return found[0]


def test_sections_and_headings_are_in_order(html: str) -> None:
    parsed = Parsed(html)
    assert parsed.sections == SECTIONS
    assert parsed.headings[0] == 1 and parsed.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(parsed.headings, parsed.headings[1:], strict=False))


def test_nothing_is_fetched_and_every_jump_arrives_at_one_place(html: str) -> None:
    parsed = Parsed(html)
    assert not {"script", "link", "iframe", "object", "img", "form"} & set(parsed.tags)
    assert parsed.references and all(reference.startswith("#") for reference in parsed.references)
    for reference in parsed.references:
        assert parsed.ids.count(reference[1:]) == 1, reference
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style and "@import" not in style


def test_the_first_screen_has_question_answer_chart_what_decides_and_what_is_unverified(verdict: Verdict, html: str) -> None:
    top = html[html.index("<body>") : html.index('<section id="map"')]
    first = verdict.tables[0]
    assert f"<h1>{verdict.question}</h1>" in top and f"<strong>{escape(verdict.answer)}</strong>" in top
    assert len(charts(top)) == 1
    assert '<p class="big">P = 95 %</p>' in top and f"Next: <code>{first.runner_up}</code>" in top
    assert "<li><code>sensing.adc-12</code>, 21 % of draws</li>" in top and "radio.ble-event" in top
    assert '<a href="#unverified"><strong>2 figures</strong></a> behind this answer' in top
    assert '<p class="verdict answer pass">' in top
    assert "<strong>LFP against spikes: P = 87 %</strong>" in top and "<li><code>sensing.spike-detector</code>, 31 % of draws</li>" in top


def test_what_has_no_power_is_listed_with_its_reason_and_not_drawn(verdict: Verdict, html: str) -> None:
    drawn = charts(html)[0]
    top = section(html, "answer")
    for row in verdict.tables[0].rows:
        assert (f">{row.scenario}" in drawn) == (row.power_uw is not None)
        assert (f"<li><code>{row.scenario}</code>: {row.fit_text}</li>" in top) == (row.power_uw is None)
    assert "Not drawn, 2 of 18" in top
    without = re.split(r'<details id="table-3">', html)[1]
    assert "no scenario has a power figure: there is nothing to draw" in without
    assert "<code>lfp-circuit-decoded</code>: no power figure for this part" in without


def test_every_row_of_every_table_is_there_once_with_its_number(verdict: Verdict, html: str) -> None:
    found = scenarios(html)
    assert len(found) == len(verdict.tables)
    for table, text in zip(verdict.tables, found, strict=True):
        assert text.count('<th scope="row">') == len(table.rows)
        for row in table.rows:
            assert text.count(f"<code>{row.scenario}</code>") == 1
            if row.power_uw is not None:
                assert text.count(f'<td class="n">{format_number(row.power_uw)}<br>') == 1
        for state, look in page.STATES.items():
            assert text.count(f'<span class="{look}">{state}</span>') == sum(row.state == state for row in table.rows)
        assert text.count("needs least") == (table.winner is not None)


def test_all_but_the_first_table_are_collapsed(html: str) -> None:
    assert re.findall(r'<(\w+) id="table-\d"', html) == ["h3", "details", "details"]
    assert "<details open" not in html


def test_a_budget_that_holds_only_nominally_is_told_from_one_that_holds() -> None:
    first = small(parts=("cortex-m4",), channels=(256,))
    html = page.page(first)
    states = {row.state for row in first.tables[0].rows}
    assert states >= {"holds", "holds only nominally", "broken"}
    assert '<span class="warn">holds only nominally</span>' in scenarios(html)[0]
    rows = first.tables[0].rows
    doubtful = next(row for row in rows if row.state == "holds only nominally")
    table = first.tables[0].model_copy(update={"winner": doubtful.scenario})
    assert '<p class="verdict answer mind"><strong>' in page.page(first.model_copy(update={"tables": (table,)}))


def test_synthetic_is_said_on_top_and_in_every_picture(html: str) -> None:
    assert len(charts(html)) == 2
    assert all(f">{SYNTHETIC}</text>" in chart for chart in charts(html))
    assert re.search(r"<header>.*<strong>SYNTHETIC", html, re.DOTALL)
    assert all("<strong>Synthetic</strong>" in caption for caption in re.findall(r"<caption>.*?</caption>", html, re.DOTALL))


def test_real_recordings_are_named_and_nothing_is_called_synthetic() -> None:
    html = page.page(small(parts=("stm32u385",), synthetic=False, recordings=("monday.nwb", "tuesday.nwb")))
    assert "synthetic" not in html.lower()
    assert "Recordings: monday.nwb, tuesday.nwb." in html


def test_words_that_promise_too_much_do_not_occur(html: str) -> None:
    assert not re.search(r"safe|compliant", html, re.IGNORECASE)
    assert html.count("estimate for design comparison") >= 2


def test_every_chart_has_a_name_and_a_table_beside_it(html: str) -> None:
    named = re.findall(r'<div role="img" aria-label="([^"]+)"><svg', html)
    assert len(named) == len(charts(html))
    assert [re.search(r"table-\d", name)[0] for name in named] == ["table-1", "table-2"]


def test_the_map_says_who_wins_how_surely_and_where_nothing_fits(verdict: Verdict, html: str) -> None:
    text = section(html, "map")
    assert text.count("<caption>") == 3 and "STM32U385</strong> (<code>stm32u385</code>)" in text
    surest = next(cell for cell in verdict.map if cell.target == "stm32u385" and cell.link == "ble-1m")
    assert surest.probability is not None and surest.probability >= 0.945
    told = str(escape(surest.text))
    assert f'<td class="lfp sure-3" title="{told}"><strong>LFP</strong> <span class="p">95 %</span><br>238 µW<br>' in text
    assert text.count("no winner<br><small>Of 18: does not fit 18.</small></td>") == 3
    assert text.count("no winner<br><small>Of 18: does not fit 2, without a power figure 16.</small></td>") == 1
    assert all(name in text for name in ("spiking-band power", "LFP 200 Hz", "spikes"))


@pytest.mark.parametrize(("probability", "level"), [(None, 3), (1.0, 3), (0.946, 3), (0.944, 2), (0.8, 2), (0.77, 1), (0.62, 1), (0.49, 0)])
def test_how_sure_a_cell_looks_goes_with_the_number_in_it(verdict: Verdict, probability: float | None, level: int) -> None:
    assert page.sureness(verdict.map[0].model_copy(update={"probability": probability})) == level


def test_what_was_not_asked_is_no_cell_of_the_map(verdict: Verdict) -> None:
    both = small(channels=(32, 96), parts=("stm32u385", "rv32imc")).map
    html = page.page(verdict.model_copy(update={"tables": (), "map": [cell for cell in both if cell.link == "ble-1m"] + [both[1]]}))
    text = section(html, "map")
    assert (
        text.count('<td class="none">not asked</td>') == 1
    )  # of two links and two numbers of channels of one part; the other has one link
    assert text.count("<th>backscatter</th>") == 1 and text.count("<th>ble-1m</th>") == 2
    assert "There is no table: nothing was compared." in html


def test_nothing_wins() -> None:
    html = page.page(small(parts=("rv32imc",), hints=(), systems=()))
    assert '<p class="verdict answer fail"><strong>32 channels on generic Ibex SoC' in html and '<p class="big">No winner</p>' in html
    assert charts(html) == [] and "The measured shares speak for no change." in html


def test_one_scenario_has_no_rival(verdict: Verdict) -> None:
    first = verdict.tables[0]
    lone = first.model_copy(update={"rows": first.rows[:1], "runner_up": None, "probability": None, "turns": ()})
    html = page.page(verdict.model_copy(update={"tables": (lone,), "map": (), "accuracies": ()}))
    assert '<p class="big">P = –</p>' in html and "nothing else counts that it could be held against" in html
    assert "No figure alone turns that." in html and "Next:" not in html
    assert "No map was asked for." in html and "Not drawn" not in html


def test_unverified_figures_are_counted_for_the_answer_and_listed_once(verdict: Verdict) -> None:
    lines = tuple(f"figure {number} (assumption)" for number in range(40))
    first, second, _ = (table.model_copy(update={"rows": ()}) for table in verdict.tables)
    tables = tuple(each.model_copy(update={"unverified": shown}) for each, shown in ((first, lines[:30]), (second, lines[10:])))
    html = page.page(verdict.model_copy(update={"tables": tables}))
    assert "<strong>30 figures</strong></a> behind this answer: no source was read for them." in html
    assert all(html.count(f"<li>{line}</li>") == 1 for line in lines)
    assert html.index("figure 29 (") < html.index("Behind other tables alone") < html.index("figure 30 (")
    alone = page.page(verdict.model_copy(update={"tables": (first.model_copy(update={"unverified": lines[:1]}),)}))
    assert "<strong>1 figure</strong></a> behind this answer: no source was read for it." in alone
    none = page.page(verdict.model_copy(update={"tables": (first.model_copy(update={"unverified": ()}),)}))
    assert "Every figure behind this answer has a source." in none and "<p>None.</p>" in section(none, "unverified")


def test_heat_by_place_supply_and_limit(verdict: Verdict, html: str) -> None:
    text = section(html, "heat")
    assert text.count('<th scope="row">') == len(verdict.heat)
    assert '<th scope="row">cortex</th><td>inductive</td><td>40 mW/cm2</td><td class="n">1,142<br><small>799 to 1,599</small></td>' in text
    assert '<span class="warn">holds only nominally</span>' in text
    assert '<th scope="row">chest</th><td>battery</td><td>2 degC</td><td class="n">–</td><td class="n">–</td><td>–</td>' in text
    assert "No heat was computed." in page.page(verdict.model_copy(update={"tables": (), "heat": ()}))


def test_hints_have_their_command_and_what_they_change(html: str) -> None:
    text = section(html, "hints")
    assert all(f"<code>realm-edge verdict --out . --apply {name}</code>" in text for name in ("fewer-bands", "longer-bins"))
    assert "[lfp]\nbands_hz = [" in text and "bin_ms = 40" in text


def test_published_systems_are_grouped_by_what_they_cover_and_in_no_chart(verdict: Verdict, html: str) -> None:
    text = section(html, "systems")
    groups = list(dict.fromkeys(system.group for system in verdict.systems))
    assert re.findall(r'scope="rowgroup">(.*?)</th>', text) == [group.replace("'", "&#39;") for group in groups]
    assert text.count('<th scope="row">') == len(verdict.systems)
    assert not any(system.name in chart for system in verdict.systems for chart in charts(html))
    scattered = (*verdict.systems[1:], verdict.systems[0])
    assert {group: len(rows) for group, rows in page.groups(scattered).items()} == Counter(system.group for system in verdict.systems)


def test_what_comes_from_files_is_escaped(verdict: Verdict) -> None:
    first = verdict.tables[0]
    row = first.rows[0].model_copy(
        update={"scenario": HOSTILE, "title": HOSTILE, "firmware": HOSTILE, "why_not": HOSTILE, "eligible": False}
    )
    unpriced = first.rows[-1].model_copy(update={"scenario": HOSTILE, "fit_text": HOSTILE})
    texts = {
        "target": HOSTILE,
        "part": HOSTILE,
        "link": HOSTILE,
        "sentence": HOSTILE,
        "unverified": (HOSTILE,),
        "winner": HOSTILE,
        "lfp_sentence": HOSTILE,
    }
    table = first.model_copy(update={**texts, "rows": (row, unpriced), "turns": (first.turns[0].model_copy(update={"figure": HOSTILE}),)})
    cell = verdict.map[0].model_copy(update={"link": HOSTILE, "target": HOSTILE, "winner": HOSTILE, "text": HOSTILE})
    system = System(**dict.fromkeys(System.model_fields, HOSTILE))
    hint = verdict.hints[0].model_copy(update={"name": HOSTILE, "text": HOSTILE, "changes": {HOSTILE: HOSTILE}})
    heat = verdict.heat[0].model_copy(update=dict.fromkeys(("limit", "text", "source", "confidence"), HOSTILE))
    accuracy = verdict.accuracies[0].model_copy(update={"text": HOSTILE})
    told: dict[str, Any] = dict.fromkeys(("question", "answer", "context", "budget_source"), HOSTILE)
    told |= {"recordings": (HOSTILE,), "tables": (table, table), "map": (cell,), "systems": (system,), "hints": (hint,), "heat": (heat,)}
    html = page.page(verdict.model_copy(update=told | {"accuracies": (accuracy,)}))
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "script" not in Parsed(html).tags


def test_the_page_is_written_whole_or_not_at_all(verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "verdict.html"
    page.write(verdict, path)
    before = path.read_text(encoding="utf-8")
    assert before.startswith("<!DOCTYPE html>") and before.rstrip().endswith("</html>")

    def fails(*_: Any) -> str:
        raise ValueError("no chart")

    monkeypatch.setattr(plots, "power", fails)
    with pytest.raises(ValueError, match="no chart"):
        page.write(verdict, path)
    assert path.read_text(encoding="utf-8") == before and list(path.parent.iterdir()) == [path]


def test_equal_verdicts_give_equal_bytes(verdict: Verdict, html: str) -> None:
    assert page.page(small()) == html


def test_a_share_behind_its_letter_has_one_sign() -> None:
    assert [page.equals(share) for share in (0.95, 0.9951, 0.0004, 1.0, None)] == ["= 95 %", "> 99 %", "< 1 %", "= 100 %", "= –"]
