"""Which of a sweep's jobs a Slurm cluster has, and what its queue says of them."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from aetransfer.config.commands import command
from aetransfer.config.compose import composed
from aetransfer.errors import UserError
from aetransfer.files import replace_file
from aetransfer.origin import pip_install
from aetransfer.sweeps.jobs import note_lost, read_planned


@dataclass(frozen=True)
class Queued:
    """jobs: Slurm's id of each queued job, by the job's number in the sweep. report: that of the job that reports."""

    jobs: dict[str, str]
    report: str | None = None


@dataclass(frozen=True)
class Standing:
    """state: Slurm's word, such as PENDING. reason: why a job waits."""

    state: str
    reason: str = ""


def note_queued(sweep: Path, queued: Queued) -> None:
    """Note what was queued, beside what an earlier batch of the sweep was."""
    before = read_queued(sweep)
    jobs = (before.jobs if before else {}) | queued.jobs
    replace_file(sweep / "queued.json", json.dumps(asdict(Queued(jobs, queued.report)), indent=2) + "\n")


def read_queued(sweep: Path) -> Queued | None:
    """Return what was queued; None for a sweep that no cluster has."""
    path = sweep / "queued.json"
    return Queued(**json.loads(path.read_text())) if path.is_file() else None


def conclude_queued(sweep: Path) -> None:
    """End a sweep whose jobs have all ended, one way or another: the job that a sweep's report depends on."""
    from aetransfer.report.files import conclude

    note_lost(sweep)
    conclude(sweep)


def check_slurm() -> None:
    """Raise UserError where no job can be queued from this machine."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "There is no sbatch on this machine: queue from a login node of the Slurm cluster, or run the sweep here "
            "with python -m aetransfer.train -m and launcher=local."
        )
    if find_spec("submitit") is None:
        raise UserError(f"launcher=slurm needs submitit: {pip_install('slurm')}.")


def standings(ids: Iterable[str]) -> dict[str, Standing]:
    """Ask Slurm about jobs: squeue for those it still has, sacct for the others. Empty where there is no Slurm."""
    wanted = sorted(ids)
    if not wanted or shutil.which("squeue") is None:
        return {}
    found = {job: standing for job, standing in _in_queue(wanted).items() if job in wanted}
    return found | _ended([job for job in wanted if job not in found])


def _in_queue(ids: list[str]) -> dict[str, Standing]:
    arrays = ",".join(sorted({job.partition("_")[0] for job in ids}))
    # squeue fails for a job that it has forgotten.
    asked = ["squeue", "--noheader", "--array", "--format=%i|%T|%r", f"--jobs={arrays}"]
    rows = subprocess.run(asked, capture_output=True, text=True).stdout.splitlines()
    return {job: Standing(state, reason) for job, state, reason in (row.split("|") for row in rows)}


def _ended(ids: list[str]) -> dict[str, Standing]:
    if not ids or shutil.which("sacct") is None:
        return {}
    from submitit.slurm.slurm import SlurmInfoWatcher

    watcher = SlurmInfoWatcher()
    for job in ids:
        watcher.register_job(job)
    watcher.update()
    # "CANCELLED by 1000"
    states = {job: watcher.get_state(job, mode="cache").partition(" ")[0] for job in ids}
    return {job: Standing(state) for job, state in states.items() if state != "UNKNOWN"}


# How a command line becomes one whose jobs are queued, and what is said once they are.

LAUNCHER = "hydra_plugins.aetransfer_launchers.SlurmLauncher"


def as_submitted(words: Sequence[str]) -> list[str]:
    """Make a command line that of a sweep on a cluster, unless it chooses a launcher itself."""
    chosen = any(word.startswith(("launcher=", "hydra/launcher=")) for word in words)
    return ["--multirun", *words, *([] if chosen else ["launcher=slurm"])]


def check_submittable(config_name: str, overrides: list[str], config_dir: str | None, *, search: bool) -> None:
    """Raise UserError for a sweep that can't be left to a cluster. overrides: those of any of its jobs."""
    if search:
        raise UserError(
            "A search asks for trials once earlier ones have ended, so its command must stay: run it with "
            "python -m aetransfer.train -m and launcher=slurm."
        )
    launcher = composed(config_name, overrides, config_dir, with_hydra=True).hydra.launcher
    if launcher._target_ != LAUNCHER:
        raise UserError("Only launcher=slurm, or a launcher file built on it, can queue jobs: choose one of them.")
    check_slurm()
    for key in launcher:
        if key != "submitit_folder":
            # A value of a wrong type, such as tasks_per_node=${trainer.devices} with devices=auto, shows when read.
            launcher[key]


def print_queued(sweep: Path, queued: Queued) -> None:
    """Say how to watch, cancel and report a sweep that goes on by itself."""
    total, waiting = len(read_planned(sweep)), list(queued.jobs.values())
    arrays = " ".join(dict.fromkeys(job.partition("_")[0] for job in waiting))
    print(f"queued: {len(waiting)} of {total} jobs" + (", the others have ended" if total > len(waiting) else ""))
    print(f"watch:  {command('runs', ['status', str(sweep)])}")
    print(f"cancel: scancel {arrays} {queued.report}, or one job: scancel {waiting[-1]}; the same command goes on")
    print(f"report: {sweep / 'report' / 'index.html'}, by job {queued.report} when all have ended")
    print(f"sweep:  {sweep}")
