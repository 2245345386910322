"""The other processes' side of a run: they do what the first one says, stage after stage, and leave with it."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.distributed import DistNetworkError

from aetransfer import signals
from aetransfer.errors import UserError
from aetransfer.training.meeting import POLL, Order, address, connected, is_consequence, prefix_of, start
from aetransfer.training.place import Place
from aetransfer.training.watch import STOPPED, Watch, report


def follow(here: Place, allow: Sequence[str]) -> int:
    """Do what the first process says, until it lets this one go. Returns the code to exit with."""
    follower = Follower(*address(here, None), prefix_of(here), here.node, here.local, here.on_node == 1, allow)
    try:
        code = follower.follow()
    except DistNetworkError:
        print(f"error: The first process of this run is not heard at {here.address}:{here.port}.", file=sys.stderr)
        return 1
    follower.store.add("left", 1)
    return code


@dataclass
class Follower:
    """Another process's side. starts: it starts the further processes of its node. first: the order it begins with."""

    host: str
    port: int
    prefix: str | None
    node: int
    local: int
    starts: bool
    allow: Sequence[str]
    first: int = 0
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def follow(self) -> int:
        """Do orders until there are none, and return the code to exit with. Raises DistNetworkError for no leader."""
        self.store = connected(self.host, self.port, self.prefix)
        watch = Watch(connected(self.host, self.port, self.prefix), f"{self.node}.{self.local}", self.started)
        watch.start()
        number = self.first
        while "end" not in (content := self._wait_for(number)):
            order = Order.of(number, content, self.allow)
            if self.local < order.processes:
                self._start_others(order)
                with watch.over(number, ["0.0"], lambda sentence: None):
                    self._execute(order)
            number += 1
        watch.stop()
        for process in self.started:
            process.wait()
        return int(content["end"])

    def _wait_for(self, number: int) -> dict[str, Any]:
        key = f"order/{number}"
        # Whether a signal that came here ends the run is for the first process to say.
        with signals.deferred():
            while not self.store.check([key]):
                time.sleep(POLL)
        return json.loads(self.store.get(key))

    def _start_others(self, order: Order) -> None:
        if self.starts:
            locals_ = range(1 + len(self.started), order.processes)
            self.started += [start(self.host, self.port, self.node, local, order) for local in locals_]

    def _execute(self, order: Order) -> None:
        # It imports what may import this.
        from aetransfer.training.stages import execute

        member = order.member(connected(self.host, self.port, self.prefix), self.node, self.local)
        try:
            execute(order.job, order.directory, order.source, member)
        except Exception as error:
            if not is_consequence(error):
                report(self.store, order.number, f"Process {member.rank} of {member.size} failed: {error}")
                if not isinstance(error, UserError):
                    sys.excepthook(type(error), error, error.__traceback__)
        except BaseException:
            report(self.store, order.number, f"Process {member.rank} of {member.size} {STOPPED}")
