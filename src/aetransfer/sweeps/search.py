"""A search's arms, and what it came to: the best setting of each by its validation metric, and how to measure it."""

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from aetransfer.config.choices import Space, SweepFile, override_of, searched
from aetransfer.config.commands import command, config_dir
from aetransfer.config.nodes import at_home
from aetransfer.config.schema import Job
from aetransfer.models.facts import Monitor
from aetransfer.store.identity import run_name
from aetransfer.store.listing import print_table, say
from aetransfer.store.lock import Claim
from aetransfer.sweeps.jobs import causes, labels, read_jobs, read_planned

# One arm's Optuna study, in a storage that several processes may share.
#
# A trial counts once it finished or failed, or while a living process is at it. One whose process is gone is asked for
# again with the same parameters, which lead to the same run directory and so to where it stopped.

# Of a process that is not of this machine one can't see whether it lives.
GONE_AFTER = timedelta(days=1)


def storage_at(place: str | None, output_dir: Path) -> BaseStorage:
    """Open a database by its URL, or a journal by its path; None: the journal of an output directory."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if place is not None and "://" in place:
        return RDBStorage(place)
    path = at_home(place) if place else output_dir / "studies" / "studies.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))


class ArmStudy:
    """Asks for an arm's trials until there are as many as it is due."""

    def __init__(self, name: str, monitor: Monitor, file: SweepFile, space: dict[str, Space], storage: BaseStorage):
        self.name, self.monitor = name, monitor
        self._due, self._seed, self._space = file.trials, file.seed, space
        self._study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize" if monitor.mode == "max" else "minimize",
            load_if_exists=True,
        )
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if not _alive(trial):
                self.ask_again(trial)

    def ask(self) -> Trial | None:
        """Return the next trial, None where the arm has its trials."""
        if len(self.counted()) >= self._due:
            return None
        trial = self._study.ask()
        trial.set_user_attr("process", asdict(Claim.mine()))
        # Two processes may both have asked for the last one: the earlier number has it.
        if sum(other.number < trial.number for other in self.counted()) >= self._due:
            trial.set_user_attr("surplus", True)
            self._study.tell(trial, state=TrialState.FAIL)
            return None
        # Seeded by the trial: a resumed search, or a second process, must not draw the first one's numbers again.
        seed = zlib.crc32(f"{self._seed} {self.name} {trial.number}".encode())
        self._study.sampler = TPESampler(seed=seed, multivariate=False)
        for key, space in self._space.items():
            _suggest(trial, key, space)
        return trial

    def tell(self, trial: Trial, value: float | None) -> None:
        """Say what came of a trial. None or a number that is not finite: it failed."""
        failed = value is None or not math.isfinite(value)
        self._study.tell(trial, None if failed else value, TrialState.FAIL if failed else None)

    def ask_again(self, trial: Trial | FrozenTrial) -> None:
        """Give up an interrupted trial and queue its parameters."""
        try:
            self._study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            return  # another process was first
        self._study.enqueue_trial(trial.params, user_attrs={"again": trial.number})

    def counted(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials that count, those in `states` where any are given."""
        trials = self._study.get_trials(deepcopy=False)
        again = {trial.user_attrs.get("again") for trial in trials}
        wanted = states or (TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING)
        return [
            trial
            for trial in trials
            if trial.state in wanted and trial.number not in again and "surplus" not in trial.user_attrs
        ]

    def best(self) -> FrozenTrial | None:
        """Return the trial with the best validation metric, the earliest of equals."""
        finished = self.counted(TrialState.COMPLETE)
        return min(finished, key=lambda trial: -self.monitor.sign * (trial.value or 0.0), default=None)


def setting_of(trial: Trial | FrozenTrial) -> list[str]:
    """Return a trial's parameters as overrides, which come after its arm's.

    To four digits: a storage may change the last bit, and a trial that is asked for again must mean the same run.
    """
    return [
        override_of(key, float(f"{value:.4g}") if isinstance(value, float) else value)
        for key, value in trial.params.items()
    ]


def _suggest(trial: Trial, key: str, space: Space) -> None:
    if space.choices is not None:
        trial.suggest_categorical(key, space.choices)
        return
    assert space.low is not None and space.high is not None
    if space.integer:
        trial.suggest_int(key, int(space.low), int(space.high), log=space.log)
    else:
        trial.suggest_float(key, space.low, space.high, log=space.log)


def _alive(trial: FrozenTrial) -> bool:
    noted = trial.user_attrs.get("process")
    if isinstance(noted, dict):  # a process may have died before it noted itself
        claim, mine = Claim(**noted), Claim.mine()
        if claim.machine == mine.machine:
            return not claim.is_gone()
        if claim.host == mine.host and claim.boot != mine.boot:
            return False
    assert trial.datetime_start is not None
    return datetime.now() - trial.datetime_start < GONE_AFTER


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
    said = labels({number: arm.overrides for number, arm in enumerate(arms)})
    states = (TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING)
    counts = [[str(len(arm.study.counted(state))) for state in states] for arm in arms]
    named = ["all"] if len(arms) == 1 else [said[number] for number in range(len(arms))]
    rows = [(name, *_best(arm), *count) for name, arm, count in zip(named, arms, counts, strict=True)]
    print_table(("arm", "best", "setting", "finished", "failed", "running"), rows)
    trials = labels(read_planned(sweep))
    failed = [(trials[job.number], job.error) for job in read_jobs(sweep) if job.error]
    say(*(f"failed: {entry}" for entry in causes(failed)))
    say(*(f"best: {_command(arm)}" for arm in arms if arm.study.best() is not None))
    say(f"sweep: {sweep}")


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
