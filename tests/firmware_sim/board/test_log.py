"""Logs as serial ports deliver them: noise, cuts, damage, resets; each costs one line, and none a wrong figure."""

from pathlib import Path

import pytest

from firmware_sim.board.log import MOST_BYTES, parse_log, read_log
from realm_edge.errors import UserError
from tests.firmware_sim.board.logs import DWT, ended, head, region, written

REGIONS = [region("model", "", 100, 5000), region("decoder", "", 100, 4000), region("decoder", "realm_lfp_decoder_k00_x", 100, 3000)]
LINES = ended([*head(), *REGIONS])
WHOLE = written(LINES)


def changed(kind: str, old: str, new: str, at: int = 0) -> bytes:
    """With right checksums, of a log in which one line says something else."""
    places = [i for i, (each, _) in enumerate(LINES) if each == kind]
    assert old in LINES[places[at]][1]
    return written([(each, rest.replace(old, new) if i == places[at] else rest) for i, (each, rest) in enumerate(LINES)])


def test_a_log_says_what_was_written() -> None:
    log = parse_log(WHOLE, "log")
    assert (log.bundle.prefix, log.board, log.clock_hz, log.compiler, log.flags) == (
        "realm_lfp", "NUCLEO-L4R5ZI", 120_000_000, "12.2.1 20221205", "-O2",
    )  # fmt: skip
    assert log.agrees and log.counter.name == "dwt" and [line.sum for line in log.regions] == [5000, 4000, 3000]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_noise_between_the_lines_and_in_front_of_them_is_passed_over(ending: str) -> None:
    lines = written(LINES, ending).split(ending.encode())
    noisy = [b"\x00\xff\xfeboot v1.2", *(b"I (12) wifi: up " + line if i % 3 == 0 else line for i, line in enumerate(lines)), b"done> "]
    assert parse_log((ending.encode() + b"[irq] 7" + ending.encode()).join(noisy), "log") == parse_log(WHOLE, "log")


def test_of_several_logs_the_last_whole_one_counts() -> None:
    later = changed("board", "NUCLEO-L4R5ZI", "second")
    cut = WHOLE[: len(WHOLE) // 2]
    assert parse_log(cut + b"\r\n" + WHOLE + later, "log").board == "second"
    assert parse_log(later + cut, "log").board == "second"  # the board was reset, and switched off
    assert parse_log(WHOLE[:200] + later, "log").board == "second"  # reset within a line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no line of a self-test's log is in it"),
        (b"hello\n", "no line of a self-test's log is in it"),
        (WHOLE.partition(b"\r\n")[2], "the beginning of the log"),
        (WHOLE[: WHOLE.index(b"@realm 14")], "line 14: the log ends here, without its end"),
        (WHOLE[:-6], "line 17: .* is cut off or damaged"),
        (WHOLE.replace(b"clock hz=120000000", b"clock hz=180000000"), "line 6: its checksum is [0-9a-f]{8}, not [0-9a-f]{8}"),
        (WHOLE.replace(b"@realm 7 ", b"@raelm 7 "), "line 9: number 8 of the log, where 7 is due: a line is missing"),
        (changed("log", "board 1", "board 2"), "'log realm-edge-board 2' is not 'log realm-edge-board 1'"),
        (changed("bundle", "digest=0", "digest=g"), "line 2: bundle: digest: String should match pattern"),
        (changed("bundle", "stream=lfp", "stream=../x"), "line 2: bundle: stream"),
        (changed("bundle", "build=", "build"), "is not 'name=value', each once"),
        (changed("bundle", "stream=lfp", "stream=lfp stream=lfp"), "is not 'name=value', each once"),
        (changed("bundle", "stream=lfp ", ""), "line 2: bundle: stream: Field required"),
        (changed("clock", "120000000", "-1"), "line 6: clock: its value: Input should be greater than or equal to 0"),
        (changed("clock", "120000000", "1e400"), "line 6: clock: its value"),
        (changed("weights", "found=1a08c9bd", "found=?"), "line 9: weights"),
        (changed("bits", "by=model", "by=magic"), "line 10: bits: by"),
        (changed("bits", "by=stage", "by=model", 1), "no line 'bits' of each run"),
        (changed("region", "stage=model", "stage=moon"), "line 14: region: stage"),
        (changed("region", "sum=5000", "sum=90071992547409930"), "line 14: region: sum"),
        (changed("region", "sum=5000", "sum=5001"), "line 14: region: its value: 100 visits of 50 to 50 cycles cannot take 5001"),
        (changed("region", "visits=100", "visits=1000000000000"), "line 14: region: visits"),
        (changed("counter", "name=dwt", "name=tsc"), "line 13: counter: name"),
        (changed("end", "lines=17", "lines=18"), "line 17: the end does not say what the lines before it do"),
        (changed("end", "agrees=1", "agrees=0"), "line 17: the end does not say what the lines before it do"),
        (written([*LINES[:5], *LINES[4:]]), "2 lines 'board', not one"),
    ],
)
def test_what_is_wrong_costs_one_line_that_says_where(content: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        parse_log(content, "serial.log")
    assert str(caught.value).startswith("serial.log: ") and "\n" not in str(caught.value)


def test_bits_that_differ_make_a_log_that_does_not_agree() -> None:
    lines = [(kind, rest.replace("wrong=0", "wrong=3") if "by=stage" in rest else rest) for kind, rest in head()]
    assert not parse_log(written(ended([*lines, *REGIONS], agrees=0)), "log").agrees
    lines = [(kind, rest.replace("features=equal", "features=differ") if "by=kernel" in rest else rest) for kind, rest in head()]
    assert not parse_log(written(ended([*lines, *REGIONS], agrees=0)), "log").agrees
    lines = [(kind, rest.replace("found=1a", "found=1b")) for kind, rest in head()]
    assert not parse_log(written(ended([*lines, *REGIONS], agrees=0)), "log").agrees


def test_files_that_are_none_or_too_large_are_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.log", "no such file"), (tmp_path, "not readable")):
        with pytest.raises(UserError, match=words):
            read_log(path)
    large = tmp_path / "large.log"
    large.write_bytes(WHOLE + b"x" * MOST_BYTES)
    with pytest.raises(UserError, match="more than 4 MiB"):
        read_log(large)
    large.write_bytes(WHOLE)
    assert read_log(large).counter.least == int(DWT.partition("least=")[2].split()[0])
