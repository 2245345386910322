"""One of the processes that do a run together, as Lightning and torch are told of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch.distributed
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Trainer
from torch.distributed import HashStore, Store  # type: ignore[attr-defined]  # public, but in no __all__


class AllThere(LightningEnvironment):
    """Lightning starts no process, and asks no cluster: those of the run are there, and know their places."""

    def __init__(self, node: int, local: int) -> None:
        super().__init__()
        self._node, self._local = node, local

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def node_rank(self) -> int:
        return self._node

    def local_rank(self) -> int:
        return self._local


@dataclass(frozen=True)
class Member:
    """Process `rank` of `size`, the `local`-th of its node. store: where they meet; its keys are used once."""

    rank: int = 0
    size: int = 1
    node: int = 0
    local: int = 0
    store: Store | None = None

    def environment(self) -> AllThere:
        return AllThere(self.node, self.local)

    @contextmanager
    def joined(self, trainer: Trainer) -> Iterator[None]:
        """Be in one process group with the others meanwhile, if the trainer's strategy uses one."""
        if not hasattr(trainer.strategy, "process_group_backend"):
            yield
            return
        backend = "nccl" if trainer.strategy.root_device.type == "cuda" else "gloo"
        store = HashStore() if self.store is None else self.store
        # Lightning takes a group that is there.
        torch.distributed.init_process_group(backend, store=store, rank=self.rank, world_size=self.size)
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()


ALONE = Member()
