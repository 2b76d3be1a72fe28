"""Calls in processes of their own: what they return and show comes back, and none goes on when this process does not."""

import io
import os
import re
import signal
import time
from contextlib import closing
from functools import partial

import pytest
from rich.console import Console

from realm_edge import progress as progress_module
from realm_edge.errors import UserError
from realm_edge.interrupt import interrupts_held_back
from realm_edge.parallel import parallel
from realm_edge.progress import Silent, Terminal

SECONDS = 60.0


def doubled(value, progress):
    print("no result of the command")
    for item in progress.track(range(value), f"of {value}", value):
        progress.note(f"item {item}")
    progress.say(f"{value} in process {os.getpid()}")
    return 2 * value


def until(path):
    end = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def train(folder, name, progress):
    """Steps of 0.2 s; what is interrupted saves behind the step in progress."""
    (folder / f"{name}.pid").write_text(str(os.getpid()))
    with interrupts_held_back() as interrupted:
        progress.say("begun")
        for step in progress.track(range(10_000), name):
            (folder / name).unlink(missing_ok=True)
            time.sleep(0.2)
            (folder / name).write_text(f"saved behind step {step}")
            if interrupted():
                raise KeyboardInterrupt


def refuse(folder, progress):
    until(folder / "lfp")
    raise UserError("spikes: their loss is no number")


def die(folder, progress):
    until(folder / "lfp")
    os.kill(os.getpid(), signal.SIGKILL)


class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


def stumble(progress):
    raise Odd("no", "pickle")


def refer(shared, progress):
    return id(shared), os.getpid()


class Interrupted(Silent):
    """Ctrl-C, once so many calls have begun."""

    def __init__(self, begun):
        self.begun = begun

    def say(self, text):
        self.begun -= 1
        if self.begun == 0:
            raise KeyboardInterrupt


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_results_and_progress_come_back_and_what_is_printed_does_not(capfd):
    found = dict(parallel([partial(doubled, value) for value in (3, 0, 5)], 2, Terminal()))
    assert found == {0: 6, 1: 0, 2: 10}
    shown = capfd.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert sorted(re.sub(r"[\d.]+ s$", "s", line) for line in lines if "of" in line and "result" not in line) == [
        "  of 0: s",
        "  of 3: s",
        "  of 5: s",
    ]
    pids = {line.partition("in process ")[2] for line in lines} - {""}
    assert len(pids) == 2 and str(os.getpid()) not in pids


def test_with_one_there_is_no_process_beside_this_one(capfd):
    assert list(parallel([partial(doubled, 1), partial(doubled, 2)], 1, Terminal())) == [(0, 2), (1, 4)]
    assert list(parallel([partial(doubled, 1)], 2, Terminal())) == [(0, 2)]
    assert capfd.readouterr().err.count(f"in process {os.getpid()}") == 3


def test_what_calls_share_travels_once_a_process():
    shared = bytearray(1 << 20)
    found = [value for _, value in parallel([partial(refer, shared) for _ in range(4)], 2, Silent())]
    assert len(set(found)) == len({pid for _, pid in found}) <= 2


def test_bars_of_both_are_shown_with_their_own_notes(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(progress_module.sys, "stderr", type("Tty", (io.StringIO,), {"isatty": lambda self: True})())
    monkeypatch.setattr(progress_module, "Console", lambda **options: Console(file=shown, force_terminal=True, width=120))
    terminal = Terminal()
    one, other = terminal.beside(), terminal.beside()
    first, second = one.track(range(3), "distil", 3), other.track(range(5), "spike_finetune", 5, estimate=False)
    next(first), next(second), next(second)
    one.note("of the first")
    other.note("of the second")
    bars = terminal._display.bars
    assert [(task.description, task.fields["note"]) for task in bars.tasks] == [
        ("distil", "of the first"),
        ("spike_finetune", "of the second"),
    ]
    assert list(first) == [1, 2] and terminal._display.bars is bars
    second.close()
    assert terminal._display.bars is None
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.getvalue())
    assert re.search(r"distil .*\d/3 .*of the first *\n *spike_finetune .*\d/5 +of the second", text)


def test_an_interruption_ends_all_of_them_behind_the_step_in_progress(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        closing(parallel([partial(train, tmp_path, name) for name in ("lfp", "spike")], 2, Interrupted(2))) as done,
    ):
        list(done)
    for name in ("lfp", "spike"):
        assert (tmp_path / name).read_text() == "saved behind step 0"
        assert gone(int((tmp_path / f"{name}.pid").read_text()))


@pytest.mark.parametrize(
    ("fail", "said"), [(refuse, "spikes: their loss is no number"), (die, "ended by SIGKILL, as where memory is used up: ")]
)
def test_the_end_of_one_ends_the_other_behind_its_step(tmp_path, capfd, fail, said):
    with pytest.raises(UserError, match=said):
        list(parallel([partial(train, tmp_path, "lfp"), partial(fail, tmp_path)], 2, Silent()))
    assert (tmp_path / "lfp").read_text().startswith("saved behind step ")
    assert gone(int((tmp_path / "lfp.pid").read_text()))
    assert capfd.readouterr().err == ""


def test_a_second_interruption_kills_them(tmp_path, monkeypatch):
    from realm_edge import parallel as module

    def interrupted_again(process):
        raise KeyboardInterrupt

    waits = module._Process.wait
    monkeypatch.setattr(module._Process, "wait", lambda one: (monkeypatch.setattr(module._Process, "wait", waits), interrupted_again(one)))
    with pytest.raises(KeyboardInterrupt):
        list(parallel([partial(train, tmp_path, name) for name in ("lfp", "spike")], 2, Interrupted(2)))
    assert all(gone(int((tmp_path / f"{name}.pid").read_text())) for name in ("lfp", "spike"))


def test_an_exception_that_cannot_travel_is_told_with_its_traceback():
    with pytest.raises(RuntimeError, match=r"^Odd: no pickle$") as raised:
        list(parallel([stumble, stumble], 2, Silent()))
    assert "in stumble" in str(raised.value.__cause__)
