"""The launchers `local` (so many processes at a time on this machine) and `slurm` (a sweep as one job array).

A job's config is composed when it is launched, so that a file edited meanwhile changes no job that waits. Found by
Hydra through the namespace package; submitit is imported when a cluster is used.
"""

import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any

from hydra import version
from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from aetransfer import signals
from aetransfer.config.compose import checked
from aetransfer.config.schema import Job
from aetransfer.errors import UserError
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import is_finished, is_left_to_test
from aetransfer.store.identity import identified
from aetransfer.sweeps.queue import Queued, check_slurm, conclude_queued, note_queued
from aetransfer.sweeps.task import SweepTask
from aetransfer.transfer.resolve import resolve

if TYPE_CHECKING:
    import submitit

POLL = 0.1  # seconds
# What a job's process has to save its state in, once it was asked to stop.
LEAVING = 60.0
RUN_SENT = "from hydra_plugins.aetransfer_launchers import run_sent; run_sent()"

# What submitit calls the same for every kind of cluster; all else is Slurm's.
OF_ANY_CLUSTER = ("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node")
# The report needs none of these.
OF_TRAINING = ("nodes", "tasks_per_node", "cpus_per_task", "gpus_per_node", "mem_gb", "timeout_min")
REPORT = {"nodes": 1, "tasks_per_node": 1, "cpus_per_task": 1, "mem_gb": 4, "timeout_min": 60}


@dataclass
class SlurmQueue:
    """What a job may ask of the cluster: types alone, for configs/launcher/slurm.yaml sets and explains each."""

    name: str = MISSING
    partition: str | None = MISSING
    account: str | None = MISSING
    qos: str | None = MISSING
    constraint: str | None = MISSING
    timeout_min: int = MISSING
    mem_gb: float | None = MISSING
    cpus_per_task: int | None = MISSING
    gpus_per_node: int | None = MISSING
    nodes: int = MISSING
    tasks_per_node: int = MISSING
    array_parallelism: int = MISSING
    signal_delay_s: int = MISSING
    max_num_timeout: int = MISSING
    setup: list[str] | None = MISSING
    srun_args: list[str] | None = MISSING
    additional_parameters: dict[str, str | int | float | bool | None] = MISSING
    report: dict[str, str | int | float | bool | None] = MISSING
    submitit_folder: str = MISSING
    _target_: str = "hydra_plugins.aetransfer_launchers.SlurmLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="aetransfer_slurm", node=SlurmQueue)
ConfigStore.instance().store(
    group="hydra/launcher",
    name="aetransfer_local",
    node={"_target_": "hydra_plugins.aetransfer_launchers.LocalLauncher", "parallel_jobs": 2},
)


class _Launcher(Launcher):
    """What both launchers share: they compose a job here, and another process runs it."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        assert isinstance(task_function, SweepTask)
        self._context, self._task, self._config = hydra_context, task_function, config

    def _job(self, overrides: list[str], number: int) -> "LaunchedJob":
        config = self._context.config_loader.load_sweep_config(self._config, overrides)
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        # What the environment says now counts, wherever and whenever the job begins.
        OmegaConf.resolve(config)
        return LaunchedJob(self._context, self._task, config, overrides, Singleton.get_state())


class LocalLauncher(_Launcher):
    """Starts a process for each job, so many at a time. One that is killed takes no other with it."""

    def __init__(self, parallel_jobs: int) -> None:
        self._parallel_jobs = parallel_jobs

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        running: list[subprocess.Popen[bytes]] = []
        try:
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                job = self._job(list(overrides), number)
                while len(running) >= self._parallel_jobs:
                    time.sleep(POLL)
                    running = [process for process in running if process.poll() is None]
                running.append(_started(job))
            for process in running:
                process.wait()
        except BaseException:
            _stop(running)
            raise
        # What became of a job is in its note; a process that was killed has left none.
        return [JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED) for overrides in job_overrides]


def _started(job: "LaunchedJob") -> subprocess.Popen[bytes]:
    # Ctrl-C reaches all processes of a terminal. This one alone answers it, and asks the others to stop.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen([sys.executable, "-c", RUN_SENT], stdin=subprocess.PIPE)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as sent:  # one that was killed at once
        sent.write(pickle.dumps(sys.path) + pickle.dumps(replace(job, singletons=None)))
    return process


def run_sent() -> None:
    """Run the job that another process sends to this one, which does nothing else."""
    sys.path[:] = pickle.load(sys.stdin.buffer)
    job: LaunchedJob = pickle.load(sys.stdin.buffer)
    setup_globals()
    version.setbase("1.3")
    try:
        with signals.heeded(None):
            job.run()
    except KeyboardInterrupt:
        sys.exit(signals.INTERRUPTED)


def _stop(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let the jobs save where they are and end."""
    for process in running:
        process.terminate()
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LEAVING)
        process.kill()


class SlurmLauncher(_Launcher):
    """Queues what is not finished, and waits for it unless the sweep is to go on by itself."""

    def __init__(self, submitit_folder: str, report: dict[str, Any], **settings: Any) -> None:
        self._folder, self._report, self._settings = submitit_folder, _plain(report), _plain(settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        check_slurm()
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        jobs = [self._job(list(overrides), number) for number, overrides in enumerate(job_overrides, initial_job_idx)]
        waiting = []
        for job in jobs:
            if job.answers_at_once():
                job.run()
            else:
                waiting.append(job)
        if waiting:
            self._queue(waiting)
        return [JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED) for job in jobs]

    def _queue(self, jobs: list["LaunchedJob"]) -> None:
        """Queue jobs, and wait for them unless the sweep is to go on by itself. An error leaves none there."""
        executor = _executor(self._folder, self._settings)
        queued: list[submitit.Job[None]] = []
        try:
            with _refusals_said():
                queued += executor.submit_array(jobs)
                report = self._queue_report(queued[0]) if self._task.detached else None
            numbers = [str(job.config.hydra.job.num) for job in jobs]
            ids = {number: job.job_id for number, job in zip(numbers, queued, strict=True)}
            note_queued(self._task.sweep, Queued(ids, report))
            for waited in [] if self._task.detached else queued:
                # How it ended stands in its note; one that was cancelled has none, and is noted as lost.
                waited.wait()
        except BaseException:
            for left in queued:
                left.cancel(check=False)
            raise

    def _queue_report(self, job: "submitit.Job[None]") -> str:
        """Queue the job that reports when all of the array that `job` is of have ended, whatever became of them."""
        settings = {key: value for key, value in self._settings.items() if key not in OF_TRAINING} | REPORT
        known = SlurmQueue.__annotations__
        settings |= {key: value for key, value in self._report.items() if key in known}
        others = {key: value for key, value in self._report.items() if key not in known}
        others["dependency"] = f"afterany:{job.job_id.partition('_')[0]}"
        settings["additional_parameters"] = self._settings["additional_parameters"] | others
        return _executor(self._folder, settings).submit(conclude_queued, self._task.sweep).job_id


@dataclass(frozen=True)
class LaunchedJob:
    """One job of a sweep, as it is taken to another process; to a node of a cluster again when it was preempted."""

    context: HydraContext
    task: SweepTask
    config: DictConfig
    overrides: list[str]
    singletons: dict[Any, Any] | None

    def __call__(self) -> None:
        assert self.singletons is not None
        Singleton.set_state(self.singletons)
        setup_globals()
        error = self.run()
        if error is not None:
            # It is noted already. Raised, it makes Slurm call the job failed, and mail what it mails then.
            raise RuntimeError(error)

    def run(self) -> str | None:
        """Do the job in this process. Returns why it failed, None where it did not."""
        returned = run_job(
            hydra_context=self.context,
            task_function=self.task,
            config=self.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        return returned.return_value.error

    def checkpoint(self) -> Any:
        """Return what submitit shall run after a requeue: the same, for a run knows how far it is."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def answers_at_once(self) -> bool:
        """Tell whether the job is finished, or can't be run, as with two choices that only together don't fit."""
        config = self.config.copy()
        with open_dict(config):
            del config["hydra"]
        try:
            job = resolve(checked(config, Job), self.overrides)
        except UserError:
            return True
        try:
            directory = RunDirectory.of(identified(job, fetch=False))
        except UserError:
            # A login node may not have the data.
            return False
        # A test is work for a node as well.
        work_left = not self.task.searches and is_left_to_test(directory, job)
        return not job.rerun and not work_left and is_finished(directory)


def _executor(folder: str, settings: dict[str, Any]) -> "submitit.AutoExecutor":
    import submitit

    given = {key: value for key, value in settings.items() if value is not None}
    executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=given.pop("max_num_timeout"))
    executor.update_parameters(
        **{key if key in OF_ANY_CLUSTER else f"slurm_{key}": value for key, value in given.items()}
    )
    return executor


@contextmanager
def _refusals_said() -> Iterator[None]:
    """Turn what sbatch refuses into a sentence; submitit would print it as it is, and raise."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with redirect_stderr(StringIO()):
            yield
    except (FailedJobError, FailedSubmissionError) as error:
        said = " ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines())
        raise UserError(f"Nothing was queued, for sbatch refused it ({said}): see hydra.launcher and sinfo.") from error


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with dicts and lists where OmegaConf's own were."""
    plain: Any = OmegaConf.to_container(OmegaConf.create(node))
    return plain
