"""What a terminal shows while something is tracked."""

import io
import re

from rich.console import Console

from realm_edge import progress


def test_a_bar_shows_what_is_done_the_time_left_and_a_note(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", type("Tty", (io.StringIO,), {"isatty": lambda self: True})())
    monkeypatch.setattr(progress, "Console", lambda **options: Console(file=shown, force_terminal=True, width=120))
    terminal = progress.Terminal()
    terminal.note("nothing is tracked yet")
    for index in terminal.track(range(3), "distil", 3):
        terminal.note(f"step {index}/3  loss 0.5000")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.getvalue())
    assert "nothing" not in text
    assert re.search(r"distil .*3/3 +0:00:00 +step 2/3  loss 0.5000", text)
