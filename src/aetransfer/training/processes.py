"""Several processes for one run: the first does what a run of one process does, the others do each stage with it.

Launchers start the same command in each; else the first process starts the others, as this module's caller says. They
meet in torch's store, where the first one puts each stage as an order, and form torch's process group for its length.

torchrun's own engine (torch.distributed.launcher) is for commands whose processes are all alike. Here it would keep a
command that has a lock, a record and a sweep to go on with as a process beside those that train. It takes SIGTERM and
SIGINT for itself and kills after 30 s, whether a checkpoint is written or not, and stops the others of a process that
failed as a scheduler stops a run, so that none of them can say why. srun's and submitit's processes have none anyway.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed
from torch.distributed import (  # type: ignore[attr-defined]  # public, but in no __all__
    DistError,
    DistNetworkError,
    PrefixStore,
    Store,
    TCPStore,
)

from aetransfer import signals
from aetransfer.config.schema import Job
from aetransfer.errors import UserError
from aetransfer.store.directory import RunDirectory
from aetransfer.training.launched import Launched, processes_of
from aetransfer.training.strategy import Worker

# Each process is heard of so often, in seconds. One that is silent for SILENCE is gone: beside a busy processor a beat
# may come late. One that is not heard of yet imports torch, on a busy machine, or waits for the launcher.
BEAT, SILENCE, STARTING = 1.0, 60.0, 120.0
# What a process has that noticed by itself that others are gone, and is just leaving; and one that was let go.
GRACE, LEAVING = 20.0, 30.0
# What a process that is started here runs: it calls `follow`.
FURTHER = "aetransfer.training.stages"
UNHEARD = "Another process of this run ended without a word: it was killed, or its memory ran out"
# How a report ends of a process that a signal asked to stop: all of the run stop, and nothing has failed.
STOPPED = "was stopped"


class _Watch(threading.Thread):
    """Makes this process heard as `me`, and ends it when those it works with are gone.

    A collective that waits for a lost process can't be left from within Python, and some backends wait for half an
    hour. store: a connection of this thread's own. children: the processes that this one started.
    """

    def __init__(self, store: Store, me: str, children: Sequence[subprocess.Popen[bytes]]) -> None:
        super().__init__(name="watch", daemon=True)
        self._store, self._me, self._children = store, me, children
        self._stopped = threading.Event()
        self._key = ""
        self._lost: Callable[[str], None] | None = None
        self._heard: dict[str, tuple[bytes, float]] = {}
        self.start()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    @contextmanager
    def over(self, number: int, others: Sequence[str], lost: Callable[[str], None]) -> Iterator[None]:
        """Watch over an order that `others` carry out as well. lost: told why, should this process have to be ended."""
        self._heard = {name: (b"", time.monotonic()) for name in others}
        self._key, self._lost = f"failed/{number}", lost
        try:
            yield
        finally:
            self._lost = None

    def report(self, sentence: str) -> None:
        """Say to the others why the order was not carried out here. The first word stands."""
        self._store.compare_set(self._key, "", sentence.rstrip("."))

    def reason(self, patience: float = 5.0) -> str:
        """Return why another process did not carry out the order, once something is known."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if why := self._failed():
                return why
            time.sleep(0.1)
        return UNHEARD

    def run(self) -> None:
        beat, noticed = 0, 0.0
        while not self._stopped.wait(BEAT if beat else 0):
            beat += 1
            try:
                self._store.set(f"beat/{self._me}", str(beat))
                lost = self._lost
                why = self._failed() or self._silent() if lost else None
            except RuntimeError:
                # The store went with the first process. What it was, it has said or could not.
                if not self._stopped.is_set():
                    os._exit(1)
                return
            noticed = (noticed or time.monotonic()) if why else 0.0
            if why and lost and lost is self._lost and time.monotonic() - noticed > GRACE:
                lost(f"{why}.")
                sys.stdout.flush()
                os._exit(1)

    def _failed(self) -> str | None:
        if self._store.check([key := self._key]):
            return self._store.get(key).decode()
        for process in self._children:
            if code := process.poll():
                how = f"exited with {code}" if code > 0 else f"was killed by signal {-code}"
                return f"Process {process.pid} of this run {how}"
        return None

    def _silent(self) -> str | None:
        now = time.monotonic()
        for name, (beat, since) in self._heard.items():
            latest = self._store.get(key) if self._store.check([key := f"beat/{name}"]) else b""
            if latest != beat:
                self._heard[name] = (latest, now)
            elif now - since > (silence := SILENCE if beat else STARTING):
                return f"Another process of this run was not heard of for {silence:.0f} seconds"
        return None


class _Group:
    """This process among those of its command: the store they meet in, its watch, and those that it started itself.

    number: of the order that comes next. store: its own, where it is the first and no launcher has one.
    """

    def __init__(self, here: Launched, number: int = 0, store: Store | None = None) -> None:
        self.here, self.number = here, number
        self.store = store or _connected(here)
        self.started: list[subprocess.Popen[bytes]] = []
        self.watch = _Watch(_connected(here), f"{here.node}.{here.local}", self.started)

    @contextmanager
    def worker(self, job: Job, processes: int, others: Sequence[str], lost: Callable[[str], None]) -> Iterator[Worker]:
        """Be the worker for an order meanwhile, and start those of the node's other devices where nothing else has."""
        here, before = self.here, torch.get_num_threads()
        if here.on_node == 1 and here.local == 0:
            if "OMP_NUM_THREADS" not in os.environ:
                torch.set_num_threads(max(1, before // processes))
            for local in range(1 + len(self.started), processes):
                self.started.append(_start(replace(here, local=local), job.allow, self.number))
        store = PrefixStore(f"group/{self.number}", _connected(here))
        try:
            with self.watch.over(self.number, others, lost):
                yield Worker(here.node, here.local, processes, job.trainer.num_nodes, store)
        finally:
            torch.set_num_threads(before)

    def awaited(self) -> dict[str, Any]:
        """Wait for what the first process says next. Whether a signal that came here ends the run is for it to say."""
        with signals.deferred():
            while not self.store.check([key := f"order/{self.number}"]):
                time.sleep(0.1)
        content: dict[str, Any] = json.loads(self.store.get(key))
        return content

    def dismiss(self, code: int) -> None:
        """Let the others go, who exit with `code`."""
        self.watch.stop()
        self.store.set(f"order/{self.number}", json.dumps({"end": code}))
        left = [f"left/{name}" for name in _others(self.here.nodes, self.here.on_node)]
        until = time.monotonic() + LEAVING
        # One that was killed does not answer.
        while left and not self.store.check(left) and time.monotonic() < until:
            time.sleep(0.1)
        for process in self.started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            process.kill()
            process.wait()


def _others(nodes: int, on_node: int) -> list[str]:
    """Name all processes but the first."""
    return [f"{node}.{local}" for node in range(nodes) for local in range(on_node)][1:]


def _start(here: Launched, allow: Sequence[str], number: int) -> subprocess.Popen[bytes]:
    words = [json.dumps(each) for each in (asdict(here), list(allow), number)]
    environment = {**os.environ, "RANK": str(here.local), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen([sys.executable, "-m", FURTHER, *words], env=environment)


def _connected(here: Launched, listens: bool = False) -> Store:
    store = TCPStore(
        here.address,
        here.port,
        is_master=listens and not here.has_store,
        wait_for_workers=False,
        timeout=timedelta(seconds=STARTING),
    )
    # torchrun's store lives on when it starts all processes again.
    return PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store) if here.has_store else store


def _first(here: Launched | None) -> _Group:
    """Return the first process's group. here: None to start the others when a stage needs them.

    Raises UserError where the launcher's port is taken.
    """
    if here is None:
        # Only this machine hears it.
        listening = socket.create_server(("127.0.0.1", 0))
        port, descriptor = listening.getsockname()[1], listening.detach()
        # The libuv backend of torch 2.6 takes no socket that listens already.
        store = TCPStore(
            "127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=descriptor, use_libuv=False
        )
        return _Group(Launched("", 0, 1, 0, 1, store.host, store.port), store=store)
    try:
        return _Group(here, store=_connected(here, listens=True))
    except DistNetworkError as error:
        raise UserError(
            f"Port {here.port}, where the processes of this run would meet, is taken: set MASTER_PORT to one that is "
            "free."
        ) from error


# Whether this process leads others, and those that it has at hand by now.
_leads = False
_group: _Group | None = None


@contextmanager
def leading(here: Launched | None = None) -> Iterator[None]:
    """Have other processes at hand meanwhile, and let them go at the end; within another such block, do nothing."""
    global _leads, _group
    if _leads:
        yield
        return
    _leads, code = True, 1
    try:
        _group = None if here is None else _first(here)
        yield
        code = 0
    except (KeyboardInterrupt, signals.Stopped):
        code = signals.INTERRUPTED
        raise
    finally:
        if _group is not None:
            _group.dismiss(code)
        _leads, _group = False, None


@contextmanager
def called(job: Job, directory: RunDirectory, source: str | None, lost: Callable[[str], None]) -> Iterator[Worker]:
    """Have all processes of a job execute this stage; the block is the first one's part of it.

    lost: told why, should this process have to be ended because the others are gone and it waits for them in vain.
    Raises UserError where another process failed, Stopped where a signal reached that one alone.
    """
    global _group
    processes, nodes = processes_of(job), job.trainer.num_nodes
    if processes * nodes == 1:
        yield Worker()
        return
    _group = group = _group or _first(None)
    stage = {"job": job.model_dump(mode="json", by_alias=True), "directory": str(directory.path), "source": source}
    with group.worker(job, processes, _others(nodes, processes), lost) as worker:
        group.store.set(f"order/{group.number}", json.dumps(stage | {"processes": processes}))
        group.number += 1
        try:
            yield worker
        except Exception as error:
            if not _is_consequence(error):
                group.watch.report(f"{error}")
                raise
            why = group.watch.reason()
            raise signals.Stopped(why) if why.endswith(STOPPED) else UserError(f"{why}.") from error
        except BaseException:
            group.watch.report(f"It {STOPPED}")
            raise


Execute = Callable[[Job, RunDirectory, str | None, Worker], object]


def follow(here: Launched, allow: Sequence[str], execute: Execute, number: int = 0) -> int:
    """Do what the first process says, until it lets this one go. Returns the code to exit with.

    execute: does a stage. number: of the order to begin with.
    """
    try:
        group = _Group(here, number)
        while "end" not in (order := group.awaited()):
            # What a config may call is never taken from elsewhere: `allow` is this process's own.
            job = Job.model_validate(order["job"] | {"allow": list(allow)})
            if here.local < order["processes"]:
                directory = RunDirectory(Path(order["directory"]))
                with group.worker(job, order["processes"], ["0.0"], lambda why: None) as worker:
                    _do(worker, group.watch, partial(execute, job, directory, order["source"], worker))
            group.number += 1
        group.watch.stop()
        group.store.set(f"left/{here.node}.{here.local}", "")
    except DistNetworkError:
        print(f"error: The first process of this run is not heard at {here.address}:{here.port}.", file=sys.stderr)
        return 1
    for process in group.started:
        process.wait()
    return int(order["end"])


def _do(worker: Worker, watch: _Watch, stage: Callable[[], object]) -> None:
    """Do another process's part of an order. Why it could not is for the first one to say."""
    who = f"Process {worker.rank} of {worker.size}"
    try:
        stage()
    except Exception as error:
        if not _is_consequence(error):
            watch.report(f"{who} failed: {error}")
            if not isinstance(error, UserError):
                sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        watch.report(f"{who} {STOPPED}")


def follow_as_started(execute: Execute) -> int:
    """Be one of those that `_start` started, which has given it its words. Returns the code to exit with."""
    # Ctrl-C in a terminal reaches every process, and the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    here, allow, number = (json.loads(word) for word in sys.argv[1:])
    try:
        with signals.heeded():
            return follow(Launched(**here), allow, execute, number)
    except KeyboardInterrupt:
        return signals.INTERRUPTED


def _is_consequence(error: Exception) -> bool:
    """Tell whether an error says only that another process is gone. Backends have no class of their own for it."""
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and any(name in str(error).lower() for name in ("gloo", "nccl"))
    )
