"""One job of a sweep, as a launcher is given it: something that can be sent to another process, and never raises."""

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from aetransfer.config.sentences import COMPLAINTS, said
from aetransfer.errors import UserError
from aetransfer.store.lock import Claim
from aetransfer.sweeps.jobs import SweepJob, log_of, note_job
from aetransfer.training import logs
from aetransfer.training.launched import launched


@dataclass(frozen=True)
class SweepTask:
    """One job, as a launcher is given it: it can be sent to another process, notes how it ended, and never raises.

    What the job prints goes to its own log. command: what the user typed. detached: a launcher that can queue jobs
    shall not wait for them. searches: its jobs are the trials of a search. parent: the process that launches them.
    """

    config_name: str
    task: Callable[[DictConfig, list[str]], Path | None]
    sweep: Path
    command: list[str]
    detached: bool = False
    searches: bool = False
    parent: Claim = field(default_factory=Claim.mine)

    def __call__(self, config: DictConfig) -> SweepJob:
        # A launcher that gives a job several processes calls this in each of them.
        with led(config.trainer.num_nodes, list(config.allow)) as followed:
            if followed is not None:
                return SweepJob(HydraConfig.get().job.num, list(HydraConfig.get().overrides.task), None, None)
            with logs.printed_to(log_of(self.sweep, HydraConfig.get().job.num), for_good=self.parent != Claim.mine()):
                return self._do(config)

    def _do(self, config: DictConfig) -> SweepJob:
        # A worker process has words of its own there, of which a run's record must know nothing.
        sys.argv[:] = self.command
        logs.to_terminal()
        settings = HydraConfig.get()
        overrides = list(settings.overrides.task)
        run, error, began, seconds = None, None, time.time(), None
        try:
            run = self.task(config, overrides)
        except Exception as raised:
            mendable = isinstance(raised, (UserError, *COMPLAINTS))
            error = said(raised, self.config_name) if mendable else f"{type(raised).__name__}: {raised}"
            print(f"error: {error}", file=sys.stderr)
            if not mendable:
                traceback.print_exception(raised)
        if run is None or (run / "result.json").stat().st_mtime >= began:
            seconds = round(time.time() - began, 1)
        noted = SweepJob(settings.job.num, overrides, str(run) if run else None, error, seconds)
        note_job(self.sweep, noted)
        return noted


@contextmanager
def led(num_nodes: int, allow: Sequence[str]) -> Iterator[int | None]:
    """Let the first of a command's processes do what is done meanwhile, for which None is yielded.

    The others have followed it by then and done their part; they get the code to exit with. num_nodes, allow: as the
    config has them.
    """
    here = launched(num_nodes)
    if here is None:
        yield None
        return
    # torch takes seconds to import, and only now there is somebody to follow.
    from aetransfer.training import processes, stages

    if not here.is_first:
        yield processes.follow(here, allow, stages.execute)
        return
    with processes.leading(here):
        yield None
