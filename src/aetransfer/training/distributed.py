"""Several processes for one run: the first leads, the others do what it says, stage after stage, and leave with it.

The first process alone holds locks, writes and decides. What all must do together, the training of a stage, it
announces as an Order in a store that torch's processes meet in anyway. Where no launcher started the others, it starts
`python -m aetransfer.rank` itself. Lightning would have each child run the whole command again, sweep included.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch.distributed import Store  # type: ignore[attr-defined]  # public, but in no __all__

from aetransfer import signals
from aetransfer.config.schema import Job, Pretraining
from aetransfer.errors import UserError
from aetransfer.store.directory import RunDirectory
from aetransfer.training.meeting import (
    POLL,
    Order,
    address,
    connected,
    is_consequence,
    listening,
    prefix_of,
    start,
    threads,
)
from aetransfer.training.member import ALONE, AllThere, Member
from aetransfer.training.place import Place, place
from aetransfer.training.watch import STOPPED, Watch, failure, report

# What the others have to leave in, once they are let go.
LEAVING = 30.0


@dataclass
class _Lead:
    """The first process's side. here: its place, None where it starts the others itself."""

    here: Place | None
    store: Store | None = None
    watch: Watch | None = None
    orders: int = 0
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def open(self) -> Store:
        if self.store is None:
            self.store = listening(self.here)
            self.watch = Watch(connected(*address(self.here, self.store), self._prefix()), "0.0", self.started)
            self.watch.start()
        return self.store

    def _prefix(self) -> str | None:
        return None if self.here is None else prefix_of(self.here)

    def announce(self, order: Order) -> None:
        store = self.open()
        starts = self.here is None or self.here.on_node == 1
        if starts and len(self.started) < order.processes - 1:
            locals_ = range(1 + len(self.started), order.processes)
            host, port = address(self.here, store)
            self.started += [start(host, port, 0, local, order) for local in locals_]
        store.set(f"order/{order.number}", order.as_text())
        self.orders += 1

    def dismiss(self, code: int) -> None:
        """Let the others go, who exit with `code`."""
        if self.store is None:
            return
        assert self.watch is not None
        self.watch.stop()
        self.store.set(f"order/{self.orders}", json.dumps({"end": code}))
        others, until = 0 if self.here is None else self.here.size - 1, time.monotonic() + LEAVING
        while time.monotonic() < until:
            if self.store.add("left", 0) >= others and all(process.poll() is not None for process in self.started):
                break
            time.sleep(POLL)
        for process in self.started:
            process.kill()
            process.wait()


_current: _Lead | None = None


@contextmanager
def leading(here: Place | None = None) -> Iterator[None]:
    """Have other processes at hand meanwhile, and let them go at the end; within another such block, do nothing."""
    global _current
    if _current is not None:
        yield
        return
    _current = _Lead(here)
    code = 1
    try:
        if here is not None:
            _current.open()
        yield
        code = 0
    except (KeyboardInterrupt, signals.Stopped):
        code = signals.INTERRUPTED
        raise
    finally:
        _current.dismiss(code)
        _current = None


def check(job: Job) -> None:
    """Raise UserError where a job asks for other processes than a launcher started, or for what they can't share."""
    if job.trainer.strategy == "fsdp" and job.trainer.gradient_clip_val is not None:
        raise UserError(
            "trainer.strategy=fsdp can't clip by the norm of gradients that no process has: leave "
            "trainer.gradient_clip_val out."
        )
    processes, here = _processes(job), place(job.trainer.num_nodes)
    _check_batches(job, processes * job.trainer.num_nodes)
    if here is None:
        if job.trainer.num_nodes > 1:
            raise UserError(
                f"trainer.num_nodes={job.trainer.num_nodes}, but this is the only process: start the command on each "
                "node, by srun, by torchrun, or with NODE_RANK, MASTER_ADDR and MASTER_PORT set."
            )
        return
    if here.nodes != job.trainer.num_nodes or here.on_node not in (1, processes):
        raise UserError(
            f"{here.launcher} started {here.on_node} processes on {here.nodes} nodes, but the config asks for "
            f"trainer.devices={processes} on trainer.num_nodes={job.trainer.num_nodes}: let both agree."
        )


def _check_batches(job: Job, size: int) -> None:
    batches = {"data.batch_size": job.data.batch_size}
    if job.transfer is not None and job.transfer.carries and isinstance(job.pretrain, Pretraining):
        batches["pretrain.data.batch_size"] = job.pretrain.data.batch_size
    for key, images in batches.items():
        if images % size:
            raise UserError(f"{key}={images} is shared by {size} processes: choose a multiple of {size}.")


@contextmanager
def called(job: Job, directory: RunDirectory, source: str | None, lost: Callable[[str], None]) -> Iterator[Member]:
    """Have all processes of a job execute this stage; the block is the first one's part of it.

    lost: told why, should this process have to be ended because the others are gone and it waits for them in vain.
    Raises UserError where another process failed, Stopped where a signal reached that one alone.
    """
    processes = _processes(job)
    if processes * job.trainer.num_nodes == 1:
        yield ALONE
        return
    assert _current is not None
    lead, store = _current, _current.open()
    order = Order(lead.orders, job, directory, source, processes)
    member = order.member(connected(*address(lead.here, store), lead._prefix()), 0, 0)
    with _threads_shared(processes if lead.here is None else 1):
        lead.announce(order)
        assert lead.watch is not None
        others = [f"{node}.{local}" for node in range(job.trainer.num_nodes) for local in range(processes)][1:]
        with lead.watch.over(order.number, others, lost):
            try:
                yield member
            except Exception as error:
                if not is_consequence(error):
                    report(store, order.number, f"{error}")
                    raise
                why = failure(store, order.number, lead.started)
                raise signals.Stopped(why) if why.endswith(STOPPED) else UserError(f"{why}.") from error
            except BaseException:
                report(store, order.number, f"It {STOPPED}")
                raise


def _processes(job: Job) -> int:
    """Return how many processes a job has on each node: one a device."""
    trainer = job.trainer
    if trainer.devices != "auto":
        return trainer.devices
    plugins: list[Any] = [AllThere(0, 0)]
    return Trainer(
        accelerator=trainer.accelerator, devices="auto", plugins=plugins, logger=False, enable_checkpointing=False
    ).num_devices


@contextmanager
def _threads_shared(processes: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if processes > 1:
        torch.set_num_threads(min(before, threads(processes)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
