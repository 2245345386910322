"""How a command line becomes one whose jobs are queued, and what is said once they are."""

from collections.abc import Sequence
from pathlib import Path

from aetransfer.commands import command
from aetransfer.config.compose import composed
from aetransfer.errors import UserError
from aetransfer.sweeps.jobs import read_planned
from aetransfer.sweeps.queue import Queued, check_slurm

LAUNCHER = "hydra_plugins.aetransfer_slurm.SlurmLauncher"


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
        raise UserError("Only launcher=slurm, or a profile built on it, leaves jobs to a queue: choose that.")
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
