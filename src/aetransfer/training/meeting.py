"""Where the processes of a run meet: torch's key-value store, which the first of them or torchrun keeps.

The first process puts each stage there as an Order, and the process group of that stage meets there too.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # public, but in no __all__

from aetransfer.config.schema import Job
from aetransfer.errors import UserError
from aetransfer.store.directory import RunDirectory
from aetransfer.training.member import Member
from aetransfer.training.place import Place
from aetransfer.training.watch import STARTING

POLL = 0.1
PATIENCE = timedelta(seconds=STARTING)


@dataclass(frozen=True)
class Order:
    """One stage to execute: `processes` on each node do `job` in `directory`."""

    number: int
    job: Job
    directory: RunDirectory
    source: str | None
    processes: int

    def member(self, store: Store, node: int, local: int) -> Member:
        size = self.processes * self.job.trainer.num_nodes
        return Member(node * self.processes + local, size, node, local, PrefixStore(f"group/{self.number}", store))

    def as_text(self) -> str:
        return json.dumps(
            {
                "job": self.job.model_dump(mode="json", by_alias=True),
                "directory": str(self.directory.path),
                "source": self.source,
                "processes": self.processes,
            }
        )

    @classmethod
    def of(cls, number: int, content: dict[str, Any], allow: Sequence[str]) -> "Order":
        """Read an order. What a config may call is never taken from elsewhere: `allow` is this process's own."""
        job = Job.model_validate(content["job"] | {"allow": list(allow)})
        return cls(number, job, RunDirectory(Path(content["directory"])), content["source"], content["processes"])


def listening(here: Place | None) -> Store:
    if here is not None and here.has_store:
        return connected(here.address, here.port, prefix_of(here))
    try:
        # Those that are started here need not be heard from outside this machine.
        listening = socket.create_server(("127.0.0.1", 0) if here is None else ("", here.port))
    except OSError as error:
        assert here is not None
        raise UserError(
            f"Port {here.port}, where the processes of this run would meet, is taken ({error.strerror}): set "
            "MASTER_PORT to one that is free."
        ) from error
    port, descriptor = listening.getsockname()[1], listening.detach()
    store = partial(TCPStore, "127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=descriptor)
    try:
        return store()
    except NotImplementedError:  # the libuv backend of torch 2.6 takes no socket that listens already
        return store(use_libuv=False)


def connected(host: str, port: int, prefix: str | None) -> Store:
    store = TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=PATIENCE)
    return store if prefix is None else PrefixStore(prefix, store)


def address(here: Place | None, store: Store | None) -> tuple[str, int]:
    if here is not None:
        return here.address, here.port
    assert isinstance(store, TCPStore)
    return store.host, store.port


def prefix_of(here: Place) -> str | None:
    """Name a part of torchrun's store, which lives on when it starts all processes again."""
    return f"aetransfer/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}" if here.has_store else None


def start(host: str, port: int, node: int, local: int, order: Order) -> subprocess.Popen[bytes]:
    words = [host, str(port), str(node), str(local), str(order.number), json.dumps(order.job.allow)]
    environment = {**os.environ, "RANK": str(local), "OMP_NUM_THREADS": str(threads(order.processes))}
    return subprocess.Popen([sys.executable, "-m", "aetransfer.rank", *words], env=environment)


def threads(processes: int) -> int:
    """Share the cores out among the processes of a machine, unless OMP_NUM_THREADS says how many threads each has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("OMP_NUM_THREADS", max(1, cores // processes)))


def is_consequence(error: Exception) -> bool:
    """Tell whether an error says only that another process is gone. Backends have no class of their own for it."""
    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and any(name in str(error).lower() for name in ("gloo", "nccl"))
    )
