"""Hydra's basic sweeper, which composes no job twice: the front door has seen every value before the sweep begins.

Hydra's own composes each job of a sweep once to see that it can be, and again to run it. A sweep whose runs are all
finished spends most of its time on that.
"""

from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="aetransfer_basic",
    node={
        "_target_": "hydra_plugins.aetransfer_sweeper.CheckedSweeper",
        "max_batch_size": None,
        "params": None,
    },
)


class CheckedSweeper(BasicSweeper):
    """Takes a batch's jobs as they are."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Check nothing, see above; take away the copy of the command line that Hydra has just written, keys and all.

        The sweep's own notes have the jobs, without their secrets.
        """
        assert self.config is not None
        (Path(self.config.hydra.sweep.dir) / "multirun.yaml").unlink(missing_ok=True)
