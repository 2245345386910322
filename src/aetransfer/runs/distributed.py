"""Several processes for one run. Lightning would have each child run the whole command again, sweep included, so that
ranks may train different configurations; here a child is told the one run directory it belongs to.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch.distributed
from pytorch_lightning.strategies.launchers import subprocess_script as launcher

from aetransfer.runs.directory import RunDirectory

# Lightning's private name for what it runs as a child under Hydra; there is no public way to say it.
CHILD_COMMAND = "_hydra_subprocess_cmd"
# What Lightning sets for the children of one fit, and would read again at the next.
SET_BY_LIGHTNING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


@contextmanager
def children(directory: RunDirectory, source: str | None, allow: Sequence[str]) -> Iterator[None]:
    """Let the processes that Lightning starts meanwhile be `python -m aetransfer.rank` on this run."""
    rank = [sys.executable, "-m", "aetransfer.rank"]
    command = [*rank, str(directory.path), json.dumps(list(allow)), *([source] if source else [])]
    before = {name: os.environ.get(name) for name in SET_BY_LIGHTNING}
    original = getattr(launcher, CHILD_COMMAND)
    setattr(launcher, CHILD_COMMAND, lambda local_rank: (command, str(Path.cwd())))
    try:
        yield
    finally:
        setattr(launcher, CHILD_COMMAND, original)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
