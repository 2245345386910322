"""A search's arms, and what it came to: the best setting of each by its validation metric, and how to measure it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import TrialState
from rich.table import Table

from aetransfer.commands import command, config_dir
from aetransfer.config.schema import Job
from aetransfer.config.sweep_file import SweepFile, searched
from aetransfer.console import console
from aetransfer.models.facts import Monitor
from aetransfer.runs.identity import run_name
from aetransfer.sweeps.jobs import read_jobs
from aetransfer.sweeps.study import ArmStudy, setting_of, storage_at

MEASURED_SEEDS = 3
NOT_MEASURED = ("sweep=", "sweep.", "seed=", "launcher=")


@dataclass(frozen=True)
class Arm:
    """One combination of what is swept beside the search. overrides: all of the command line's. seed: its runs'."""

    overrides: list[str]
    seed: int
    study: ArmStudy


def open_arms(
    jobs: list[tuple[list[str], Job]],
    monitor_for: Callable[[Job], Monitor],
    file: SweepFile,
    arguments: list[str],
    output_dir: Path,
) -> list[Arm]:
    """Open each job's study, named by what decides its numbers: the job's identity and the space.

    monitor_for: says by which validation metric a job's trials are compared.
    """
    space = searched(file, arguments)
    storage = storage_at(file.storage, output_dir)
    shape = json.dumps({key: node.model_dump() for key, node in space.items()}, sort_keys=True)
    suffix = hashlib.sha256(shape.encode()).hexdigest()[:6]
    return [
        Arm(overrides, job.seed, ArmStudy(f"{run_name(job)}-{suffix}", monitor_for(job), file, space, storage))
        for overrides, job in jobs
    ]


def print_search(arms: Sequence[Arm], sweep: Path) -> None:
    """Print a row for each arm, why trials failed, and the command that runs each arm's best setting on other seeds."""
    out = console()
    out.print(_table(arms))
    for job in read_jobs(sweep):
        if job.error is not None:
            out.print(f"failed: {' '.join(job.overrides)}: {job.error}", markup=False, soft_wrap=True)
    for arm in arms:
        if arm.study.best() is not None:
            out.print(f"best: {_command(arm)}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"sweep: {sweep}", markup=False, soft_wrap=True)


def _table(arms: Sequence[Arm]) -> Table:
    table = Table()
    for heading in ("arm", "best", "setting"):
        table.add_column(heading)
    for heading in ("finished", "failed", "running"):
        table.add_column(heading, justify="right")
    everywhere = set.intersection(*(set(arm.overrides) for arm in arms))
    for arm in arms:
        swept = " ".join(word for word in arm.overrides if word not in everywhere) or "all"
        states = (TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING)
        table.add_row(swept, *_best(arm), *(str(len(arm.study.counted(state))) for state in states))
    return table


def _best(arm: Arm) -> tuple[str, str]:
    best = arm.study.best()
    if best is None:
        return "", ""
    setting = " ".join(word.rpartition(".optimizer.")[2] for word in setting_of(best))
    return f"{arm.study.monitor.metric} {best.value:.4g}", setting


def _command(arm: Arm) -> str:
    best = arm.study.best()
    assert best is not None
    kept = [word for word in arm.overrides if not word.startswith(NOT_MEASURED)]
    # The seed that chose the setting flatters it.
    seeds = [str(seed) for seed in range(MEASURED_SEEDS + 1) if seed != arm.seed][:MEASURED_SEEDS]
    words = [*kept, *setting_of(best), f"seed={','.join(seeds)}"]
    return command("train", ["-m", *words], config_dir())
