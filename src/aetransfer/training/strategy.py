"""What Lightning is told of the processes of a run: which one this is, and for encoders that no single device can hold,
that weights, gradients and optimiser states are spread over them (FSDP). Checkpoints are whole, as from any other run.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import torch.distributed
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import FSDPStrategy, ParallelStrategy
from torch import nn
from torch.distributed import (  # type: ignore[attr-defined]  # public, but in no __all__
    HashStore,
    Store,
    all_gather_object,
)
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import CustomPolicy
from torch.optim import Optimizer

from aetransfer.transfer.exported import read_checkpoint

# Parameters of a layer from which on it is gathered by itself, when its turn comes; all others are gathered together.
LARGE_LAYER = 1_000_000


class Worker(LightningEnvironment):
    """Process `rank` of the `size` that execute a stage; by default the only one.

    store: where they meet; its keys are used once. Lightning starts no process, and asks no launcher for them.
    """

    def __init__(
        self, node: int = 0, local: int = 0, on_node: int = 1, nodes: int = 1, store: Store | None = None
    ) -> None:
        super().__init__()
        self.rank, self.size = node * on_node + local, on_node * nodes
        self._node, self._local, self._store = node, local, store

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def node_rank(self) -> int:
        return self._node

    def local_rank(self) -> int:
        return self._local

    @contextmanager
    def joined(self, trainer: Trainer) -> Iterator[None]:
        """Be in one process group with the others meanwhile, if the trainer's strategy uses one."""
        if not hasattr(trainer.strategy, "process_group_backend"):
            yield
            return
        backend = "nccl" if trainer.strategy.root_device.type == "cuda" else "gloo"
        # Lightning takes a group that is there.
        torch.distributed.init_process_group(
            backend, store=self._store or HashStore(), rank=self.rank, world_size=self.size
        )
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()


class Sharded(FSDPStrategy):
    """Lightning's strategy, on CPUs as well: it refuses them by its own class's name."""

    def __init__(self) -> None:
        # Whole modules can't be gathered at their turn: a VAE calls parts of its encoder.
        policy: Any = CustomPolicy(_is_large_layer)
        super().__init__(state_dict_type="full", auto_wrap_policy=policy)

    def _setup_model(self, model: nn.Module) -> nn.Module:
        # Lightning names a device by its index alone, and on a CPU there is none.
        if self.root_device.type == "cpu":
            return FullyShardedDataParallel(
                model, device_id=self.root_device, mixed_precision=self.mixed_precision_config, **self.kwargs
            )
        return super()._setup_model(model)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the optimiser's whole state. On a CPU each of Adam's moments is asked for by itself.

        torch gathers all of them into the same memory, one after another, and it is the copy from a GPU that keeps them
        apart: on a CPU the first moment would be saved with the values of the second.
        """
        names: list[set[str]] = [set()] * self.world_size
        all_gather_object(names, {name for state in optimizer.state.values() for name in state})
        if self.root_device.type != "cpu" or not any(names):
            return super().optimizer_state(optimizer)
        whole: dict[str, Any] = {}
        for name in sorted(set.union(*names)):
            one = copy(getattr(optimizer, "_optimizer", optimizer))
            one.state = defaultdict(
                dict, {key: {name: state[name]} for key, state in optimizer.state.items() if name in state}
            )
            part: dict[str, Any] = deepcopy(super().optimizer_state(one))
            for key, state in whole.get("state", {}).items():
                state |= part["state"].get(key, {})
            whole = whole or part
        return whole

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Write the whole state, which has been gathered, as any run's: the one before it is kept."""
        # Lightning's own, for the sake of checkpoints that are folders, knows of no such options.
        ParallelStrategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Load a whole checkpoint into the shards. Raises UserError for a file that holds more than weights."""
        # Lightning reads it without asking what it would run.
        read_checkpoint(Path(checkpoint_path))
        return super().load_checkpoint(checkpoint_path, weights_only)


def is_sharded(trainer: Trainer) -> bool:
    """Tell whether a process has whole weights only within a step, so that a callback can't use the model."""
    return isinstance(trainer.strategy, FSDPStrategy)


def _is_large_layer(module: nn.Module) -> bool:
    return sum(parameter.numel() for parameter in module.parameters(recurse=False)) >= LARGE_LAYER
