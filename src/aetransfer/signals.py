"""How a run is asked to stop: by SIGTERM, SIGINT (Ctrl-C), SIGUSR1 or SIGUSR2, whichever a person or a cluster sends.

The first one asks. Training answers after the step it is in, once the state is on the disk
(`training/callbacks/resume.py`); all else is left at once,
for it can be done again. A second Ctrl-C ends the process where it is.

A cluster's launcher has a handler of its own that puts the job on the queue again (submitit's for SIGUSR2): it is
called when the run has let go of its files, also where SIGTERM came before it, for a cluster may send both. A person
who pressed Ctrl-C wants an end. Signals reach the main thread alone, so elsewhere nothing is changed.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
REQUEUES = (signal.SIGUSR1, signal.SIGUSR2)
INTERRUPTED = 130
GOES_ON = "Interrupted: the same command goes on where it stopped."
STARTS_OVER = "Interrupted: the same command starts over."


class Stopped(BaseException):
    """Raised where a run is left because that was asked for.

    Neither an Exception, which is a failure, nor a KeyboardInterrupt, after which Lightning ignores every Ctrl-C.
    """


@dataclass
class _State:
    """One for the process, as signals are. before: the handlers that were there, None while signals are not heeded.

    requeues: the signal whose handler is to be called in the end. sentence: what a second Ctrl-C says.
    """

    before: dict[signal.Signals, Any] | None = None
    asked: signal.Signals | None = None
    requeues: signal.Signals | None = None
    since: float = 0.0
    deferred: bool = False
    abandoned: bool = False
    sentence: str | None = GOES_ON


_state = _State()


@contextmanager
def heeded(sentence: str | None = GOES_ON) -> Iterator[None]:
    """Heed signals meanwhile. Raises KeyboardInterrupt at the end if one came; within another such block, Stopped.

    sentence: what the same command does when it is given again, said where there is no time to raise anything. None:
    the process is somebody's, and a second Ctrl-C ends what is done here, not the process.
    """
    global _state
    if _state.before is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    # Ctrl-C is ignored in the background of a script, and stays so.
    chosen = [each for each in SIGNALS if each != signal.SIGINT or signal.getsignal(each) != signal.SIG_IGN]
    before: dict[signal.Signals, Any] = {each: signal.signal(each, _ask) for each in chosen}
    _state.sentence, _state.before = sentence, before
    cause: Stopped | None = None
    try:
        yield
    except Stopped as stopped:
        cause = stopped
    finally:
        asked, requeues = _state.asked, _state.requeues
        _state = _State()
        for each, handler in before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)
    if asked is not None or cause is not None:
        if requeues is not None and callable(before[requeues]):
            before[requeues](requeues, None)
        raise KeyboardInterrupt from cause


def asked() -> signal.Signals | None:
    """Return the signal that asked for a stop, None where none did."""
    return _state.asked


def name() -> str:
    """Say what asked for a stop; where several processes stop together it may have reached another one."""
    return _state.asked.name if _state.asked else "another process"


def seconds_since_asked() -> float:
    return time.monotonic() - _state.since if _state.asked else 0.0


@contextmanager
def deferred() -> Iterator[None]:
    """Let what is done here be done whole: a signal only asks, and whoever calls this looks at `asked`."""
    before, _state.deferred = _state.deferred, True
    try:
        yield
    finally:
        _state.deferred = before


def abandon() -> None:
    """Interrupt the main thread from another one, with nothing more written: the run belongs to somebody else."""
    _state.abandoned = True
    ignored = signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None)
    # A signal that is really sent also wakes a thread that waits.
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM if ignored else signal.SIGINT)


def _ask(number: int, frame: FrameType | None) -> None:
    again = _state.asked is not None
    if not again:
        _state.asked, _state.since = signal.Signals(number), time.monotonic()
    if number in REQUEUES and _state.asked != signal.SIGINT:
        _state.requeues = signal.Signals(number)
    if _state.abandoned:
        raise Stopped("abandoned")
    if again:
        if number == signal.SIGINT:
            # Whatever it is that does not end: no file is ever half written, so nothing has to be tidied.
            if _state.sentence is None:
                raise Stopped(_state.asked)
            os.write(2, f"{_state.sentence}\n".encode())
            os._exit(INTERRUPTED)
    elif not _state.deferred:
        raise Stopped(_state.asked)
