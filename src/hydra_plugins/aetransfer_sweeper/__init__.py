"""Hydra's basic sweeper, which composes no job twice: the front door has seen every value before the sweep begins.

Hydra's own composes each job of a sweep once to see that it can be, and again to run it. A sweep whose runs are all
finished spends most of its time on that.
"""

from collections.abc import Sequence

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
        """Do nothing: see above."""
