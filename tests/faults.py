"""A command in a process of its own, to which something happens at an exact moment: python -m tests.faults PLAN train ...

PLAN is JSON: `calls` names functions by their dotted paths, `number` is how many calls of any of them are made before it
happens, and `signals` is what the process then sends itself, before the call is done. Its standard output ends in the
number of calls that were made, where it comes so far.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import wraps

from tests.commands import ROOT

STEP = "aetransfer.models.autoencoder.AutoEncoder.training_step"


def start_with_fault(
    calls: Sequence[str], number: int, signals: Sequence[str], *words: str, env: dict[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Start `python -m aetransfer.<words>`; see this module for the rest."""
    plan = json.dumps({"calls": list(calls), "number": number, "signals": list(signals)})
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults", plan, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Counter:
    """Counts the calls of several functions together, and sends the signals before one of them."""

    def __init__(self, number: int, signals: Sequence[str]) -> None:
        self.made, self.number, self.signals = 0, number, signals

    def watch(self, path: str) -> None:
        owner_path, _, name = path.rpartition(".")
        owner = _found(owner_path)
        original = getattr(owner, name)

        @wraps(original)
        def counted(*arguments, **named):
            self.made += 1
            if self.made == self.number:
                for each in self.signals:
                    os.kill(os.getpid(), signal.Signals[each])
            return original(*arguments, **named)

        setattr(owner, name, counted)


def _found(path: str):
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


def _main() -> None:
    plan, module, *words = sys.argv[1:]
    settings = json.loads(plan)
    counter = Counter(settings["number"], settings["signals"])
    for path in settings["calls"]:
        counter.watch(path)
    sys.argv = [module, *words]
    importlib.import_module(f"aetransfer.{module}").main()
    print(f"calls: {counter.made}")


if __name__ == "__main__":
    # As from a terminal, whatever the tests' own process ignores.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _main()
