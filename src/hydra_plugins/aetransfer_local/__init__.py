"""The launcher `local`: submitit's, which by itself starts all jobs at once and ends at the first that dies.

Found by Hydra through the namespace package; submitit is imported when the launcher is used, not when it is found.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from aetransfer.errors import UserError
from aetransfer.origin import pip_install

WEEK = 7 * 24 * 60

ConfigStore.instance().store(
    group="hydra/launcher",
    name="aetransfer_local",
    node={
        "_target_": "hydra_plugins.aetransfer_local.ParallelLocalLauncher",
        "parallel_jobs": 2,
        "submitit_folder": "${hydra.sweep.dir}/.submitit/%j",
        "name": "aetransfer",
        # submitit would end a job after an hour.
        "timeout_min": WEEK,
    },
)


class ParallelLocalLauncher(Launcher):
    """Starts each job as a submitit job of its own, so many at a time."""

    def __init__(self, parallel_jobs: int, **settings: Any) -> None:
        self._parallel_jobs, self._settings = parallel_jobs, settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        try:
            from hydra_plugins.hydra_submitit_launcher.submitit_launcher import LocalLauncher
        except ImportError as error:
            raise UserError(f"launcher=local needs submitit: {pip_install('slurm')}.") from error
        self._one_job = LocalLauncher(**self._settings)
        self._one_job.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        pool = ThreadPoolExecutor(self._parallel_jobs)
        try:
            return list(pool.map(self._launch_one, job_overrides, count(initial_job_idx)))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _launch_one(self, overrides: Sequence[str], number: int) -> JobReturn:
        try:
            return self._one_job.launch([overrides], number)[0]
        except Exception as error:
            # A process that was killed; what a job itself raises is in its note.
            return JobReturn(overrides=list(overrides), status=JobStatus.FAILED, _return_value=error)
