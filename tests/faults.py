"""Commands in processes of their own, to which something happens at an exact moment.

A moment is a count of calls: of training steps, say, and of what is done to files, so that a test meets the same one
each time. The processes are forked from one that has imported all: most of a second start is imports.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

from tests.commands import ROOT

PRETRAINING_STEP = "aetransfer.models.autoencoder.AutoEncoder.training_step"
TRANSFER_STEP = "aetransfer.models.classifier.Classifier.training_step"
FILES = ("os.fsync", "os.replace", "os.unlink")


@dataclass(frozen=True)
class Fault:
    """What happens before the n-th call of any of these functions in the main thread: signals to the process itself.

    settings: attributes to set before that, by dotted path.
    """

    calls: Sequence[str] = ()
    number: int = 0
    signals: Sequence[str] = ()
    settings: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Ended:
    """code: minus the signal's number for a process that was killed."""

    code: int
    out: str
    err: str


class FaultyProcesses:
    """Runs commands one after another, each in a new process.

    folder: for what they print. as_whom: a command that runs the rest of its words, as another user say.
    """

    def __init__(self, folder: Path, as_whom: Sequence[str] = ()) -> None:
        self._folder = folder
        self._server = subprocess.Popen(
            [*as_whom, sys.executable, "-m", "tests.faults"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, fault: Fault, *words: str) -> Ended:
        """Run `python -m aetransfer.<words>` with this process's environment as it is now."""
        assert self._server.stdin is not None and self._server.stdout is not None
        out, err = self._folder / "out", self._folder / "err"
        fault_set = {**vars(fault), "settings": dict(fault.settings or {})}
        wanted = {"fault": fault_set, "words": words, "env": dict(os.environ), "files": [str(out), str(err)]}
        self._server.stdin.write(json.dumps(wanted) + "\n")
        self._server.stdin.flush()
        code = json.loads(self._server.stdout.readline())
        return Ended(code, out.read_text(), err.read_text())

    def close(self) -> None:
        self._server.communicate()


class Counter:
    """Counts the calls of several functions together."""

    def __init__(self, number: int, signals: Sequence[str]) -> None:
        self.made, self.number, self.signals = 0, number, signals

    def watch(self, path: str) -> None:
        owner, name = _owner(path)
        original = getattr(owner, name)

        @wraps(original)
        def counted(*arguments, **named):
            # The heartbeat's thread writes when it likes.
            if threading.current_thread() is threading.main_thread():
                self.made += 1
                if self.made == self.number:
                    for each in self.signals:
                        os.kill(os.getpid(), signal.Signals[each])
            return original(*arguments, **named)

        setattr(owner, name, counted)


def _owner(path: str):
    owner, _, name = path.rpartition(".")
    try:
        return importlib.import_module(owner), name
    except ModuleNotFoundError:
        module, _, kind = owner.rpartition(".")
        return getattr(importlib.import_module(module), kind), name


def _run(fault, words, env, files) -> None:
    """Be the command, and end as it ends."""
    for descriptor, path in zip((1, 2), files, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    # As from a terminal, whatever the tests' own process ignores.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    for path, value in fault["settings"].items():
        setattr(*_owner(path), value)
    counter = Counter(fault["number"], fault["signals"])
    for path in fault["calls"]:
        counter.watch(path)
    module, *rest = words
    sys.argv = [module, *rest]
    importlib.import_module(f"aetransfer.{module}").main()


def _serve() -> None:
    importlib.import_module("aetransfer.training.stages")
    for line in sys.stdin:
        wanted = json.loads(line)
        if (child := os.fork()) == 0:
            code = 1
            try:
                _run(**wanted)
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
                if isinstance(stop.code, str):
                    print(stop.code, file=sys.stderr)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                with suppress(OSError):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
