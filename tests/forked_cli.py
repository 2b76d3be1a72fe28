"""``realm-edge`` in forked children of one process that has imported everything: a whole run then takes half the time.

As a program it reads ``{"arguments", "environment", "log"}`` a line from stdin and answers with the child's process id, and its exit status
once it has ended.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

MODULES = (
    "realm_edge.app.stages.compile",
    "realm_edge.app.stages.simulate",
    "realm_edge.app.stages.report",
    "realm_edge.app.stages.train",
    "torch.utils.tensorboard",
)


@dataclass(frozen=True)
class Forked:
    """A command that is running, in a process group of its own."""

    pid: int
    answers: TextIO

    def wait(self) -> int:
        """Its exit status; that of a signal that killed it is negative."""
        return int(self.answers.readline())


@dataclass(frozen=True)
class Server:
    """The process that forks; one command at a time."""

    process: "subprocess.Popen[str]"

    def start(self, arguments: Sequence[str], log: Path, environment: dict[str, str]) -> Forked:
        """Begin a command; what it says goes to the end of ``log``."""
        asked = {"arguments": list(arguments), "environment": environment, "log": str(log)}
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(asked) + "\n")
        stdin.flush()
        return Forked(int(stdout.readline()), stdout)


@contextmanager
def serving() -> Iterator[Server]:
    """Start the process, and end it."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-P", str(Path(__file__))]  # -P: tests/ holds folders with the names of the packages
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=root) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


def _serve() -> None:
    from importlib import import_module

    from realm_edge.app.cli import main

    for module in MODULES:
        import_module(module)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            for number, to in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
                os.dup2(to, number)
            os.environ.update(asked["environment"])
            status = 1
            try:
                main(asked["arguments"])
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            finally:
                os._exit(status)  # libraries wait at exit for threads of theirs that the fork left behind
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
