"""No process of a run waits for one that is gone: each is heard of every BEAT seconds, and watches those it needs.

A collective that waits for a lost process can't be left from within Python, and some backends wait for half an hour.
So a thread looks, and ends the process if it did not notice by itself.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch.distributed import Store  # type: ignore[attr-defined]  # public, but in no __all__

BEAT = 1.0
# A process that is not heard of for so long is gone. Beside a busy processor a beat may come late.
SILENCE = 60.0
# For one that is not heard of yet: it imports torch, on a busy machine, or waits for the launcher.
STARTING = 120.0
# For a process that noticed by itself, and is just leaving.
GRACE = 20.0
UNHEARD = "Another process of this run ended without a word: it was killed, or its memory ran out"
# How a report ends of a process that a signal asked to stop: all of the run stop, and nothing has failed.
STOPPED = "was stopped"


def report(store: Store, number: int, sentence: str) -> None:
    """Say why an order was not carried out. The first word stands."""
    store.compare_set(f"failed/{number}", "", sentence.rstrip("."))


def failure(store: Store, number: int, started: Sequence[subprocess.Popen[bytes]], patience: float = 5.0) -> str:
    """Return why another process did not carry out an order, once something is known."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if said := _failed(store, number):
            return said
        if died := _died(started):
            return died
        time.sleep(0.1)
    return UNHEARD


def _failed(store: Store, number: int) -> str | None:
    key = f"failed/{number}"
    return store.get(key).decode() if store.check([key]) else None


def _died(started: Sequence[subprocess.Popen[bytes]]) -> str | None:
    for process in started:
        if process.poll():
            how = (
                f"exited with {process.returncode}"
                if process.returncode > 0
                else f"was killed by signal {-process.returncode}"
            )
            return f"Process {process.pid} of this run {how}"
    return None


class Watch:
    """Makes this process heard as `me`, and ends it when those it works with are gone.

    store: a connection of this thread's own. started: processes that this one started.
    """

    def __init__(self, store: Store, me: str, started: Sequence[subprocess.Popen[bytes]]) -> None:
        self._store, self._me, self._started = store, me, started
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._stopped, self._beat = threading.Event(), 0
        self._order: tuple[int, Callable[[str], None]] | None = None
        self._heard: dict[str, tuple[bytes, float]] = {}
        self._noticed: float | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    @contextmanager
    def over(self, number: int, others: Sequence[str], lost: Callable[[str], None]) -> Iterator[None]:
        """Watch over an order that `others` carry out as well. lost: is told why, before this process ends."""
        self._heard, self._noticed = {name: (b"", time.monotonic()) for name in others}, None
        self._order = number, lost
        try:
            yield
        finally:
            self._order = None

    def _run(self) -> None:
        while True:
            try:
                self._beat += 1
                self._store.set(f"beat/{self._me}", str(self._beat))
                if (order := self._order) is not None:
                    self._look(*order)
            except RuntimeError:
                # The store went with the first process. What it was, it has said or could not.
                if not self._stopped.is_set():
                    os._exit(1)
            if self._stopped.wait(BEAT):
                return

    def _look(self, number: int, lost: Callable[[str], None]) -> None:
        sentence = _failed(self._store, number) or _died(self._started) or self._silent()
        if sentence is None:
            return
        self._noticed = self._noticed or time.monotonic()
        if time.monotonic() - self._noticed > GRACE and self._order is not None:
            lost(f"{sentence}.")
            sys.stdout.flush()
            os._exit(1)

    def _silent(self) -> str | None:
        now = time.monotonic()
        for name, (beat, since) in self._heard.items():
            key = f"beat/{name}"
            latest = self._store.get(key) if self._store.check([key]) else b""
            if latest != beat:
                self._heard[name] = (latest, now)
            elif now - since > (silence := SILENCE if beat else STARTING):
                return f"Another process of this run was not heard of for {silence:.0f} seconds"
        return None
