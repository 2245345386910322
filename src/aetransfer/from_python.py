"""The commands in a script or a notebook: the same checks and runs, with values for lines and exceptions for exits.

Within a call this process is what a command's own would be. What of it is changed comes back as it was: the command
line, the environment, handlers of signals, logging, and Hydra, which the caller may use as well.
"""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from omegaconf import DictConfig, OmegaConf

from aetransfer import signals, train
from aetransfer.command_line import begin, run_single, run_sweep
from aetransfer.config.environment import check_names, load_environment
from aetransfer.config.overrides import Asked, Checked, read, read_words
from aetransfer.config.sentences import COMPLAINTS, said
from aetransfer.errors import UserError
from aetransfer.files import read_yaml
from aetransfer.store.directory import RunDirectory
from aetransfer.sweeps.jobs import read_jobs
from aetransfer.training.launched import launched

if TYPE_CHECKING:
    from pandas import DataFrame

GOES_ON = "The same call goes on where it stopped."


@dataclass(frozen=True)
class RunResult:
    """A finished run. path: its directory, which `load_encoder` takes. metrics: by name, such as test/acc.

    source: the directory of the pretraining, or the file, whose encoder it began with; None where it carried none.
    """

    path: Path
    metrics: dict[str, float]
    source: Path | None

    @property
    def config(self) -> DictConfig:
        """Return the run's config, all of it."""
        return OmegaConf.create(read_yaml(RunDirectory(self.path).config))


@dataclass(frozen=True)
class JobResult:
    """One job of a sweep. overrides: all that made it. run: None where it failed; error: why, in a sentence."""

    overrides: list[str]
    run: RunResult | None
    error: str | None


@dataclass(frozen=True)
class SweepResult:
    """A sweep's jobs in their order. path: its directory; the report is in its folder report, a search has none."""

    path: Path
    jobs: list[JobResult]

    @property
    def runs(self) -> list[RunResult]:
        """Return the runs of the jobs that did not fail."""
        return [job.run for job in self.jobs if job.run is not None]

    def table(self) -> "DataFrame":
        """Return the report's table: a row for each setting and metric. Raises UserError without a report."""
        from pandas import read_csv

        path = self.path / "report" / "results.csv"
        if not path.is_file():
            raise UserError(f"{path} does not exist: a search has no report, and prints a table of its own.")
        return read_csv(path)


def compose(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> DictConfig:
    """Return the whole config that overrides mean, checked: what a run of it would write as its config.yaml.

    overrides: as on the command line of `python -m aetransfer.train`. config_dir: the further folder of --config-dir.
    Nothing is read or trained, so digests of data are left open. Raises UserError for what could not be run.
    """
    with _called(overrides, config_dir) as asked:
        (checked,) = asked.checked(train.resolved)
        return OmegaConf.create(RunDirectory.as_written(checked.meant))


def run(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> RunResult:
    """Train one job, as `python -m aetransfer.train` does, or find it finished, and return its run.

    overrides, config_dir: as for `compose`. Raises UserError for what the caller can mend, KeyboardInterrupt where the
    run was stopped: the same call goes on.
    """
    with _called(overrides, config_dir) as asked:
        command = train.command()
        (checked,) = asked.checked(command.check)
        _check_alone(checked)
        path = run_single(command, asked)
    assert path is not None
    return _result(path)


def sweep(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> SweepResult:
    """Train a job for each choice of a sweep, as `python -m aetransfer.train -m` does, and print their table.

    overrides, config_dir: as for `compose`. A job that fails stops no other and says why in its result. Raises as
    `run`, before the first job begins where any of them could not be run.
    """
    with _called(overrides, config_dir, "--multirun") as asked:
        command = train.command()
        checked = asked.checked(command.check)
        _check_alone(*checked)
        directory = run_sweep(command, asked, checked)
    jobs = sorted(read_jobs(directory), key=lambda job: job.number)
    results = [JobResult(job.overrides, _result(Path(job.run)) if job.run else None, job.error) for job in jobs]
    return SweepResult(directory, results)


def _result(path: Path) -> RunResult:
    result = RunDirectory(path).result()
    assert result is not None
    source = result.get("source")
    return RunResult(path.absolute(), result["metrics"], Path(source).absolute() if source else None)


@contextmanager
def _called(overrides: Sequence[str], config_dir: str | Path | None, *flags: str) -> Iterator[Asked]:
    """Give what overrides ask for, to be checked and done meanwhile as by a command of a process of its own."""
    if isinstance(overrides, str) or not all(isinstance(word, str) for word in overrides):
        raise UserError("The overrides should be a list of texts, such as ['experiment=quickstart', 'seed=1'].")
    if options := [word for word in overrides if word.startswith("-")]:
        raise UserError(f"{options[0]} is no override: leave it out (config_dir= is for --config-dir, sweep for -m).")
    folder = [] if config_dir is None else ["--config-dir", str(config_dir)]
    words = [*folder, *flags, *overrides]
    with _process_kept(["aetransfer-train", *words]):
        begin()
        try:
            load_environment()
            check_names(words)
            with signals.heeded(None):
                asked = read(read_words("train", words))
                yield asked
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(GOES_ON) from stop
        except (UserError, *COMPLAINTS) as error:
            raise UserError(said(error, "train")) from error


def _check_alone(*jobs: Checked) -> None:
    """Raise UserError where a launcher has started several processes: the rest of a script is not for them to share."""
    here = launched(max(job.meant.trainer.num_nodes for job in jobs))
    if here is not None:
        raise UserError(
            f"{here.launcher} has started {here.size} of this script, and a call starts the processes of "
            "trainer.devices itself: start the script once, or use python -m aetransfer.train."
        )


@contextmanager
def _process_kept(command: list[str]) -> Iterator[None]:
    """Put the process back as it was: what it was called with, its environment, its logging, its Hydra.

    command: what stands for its command line meanwhile.
    """
    argv, environment, root = sys.argv, dict(os.environ), logging.getLogger()
    logging.getLogger("aetransfer")  # it may be made meanwhile, and has a level then
    handlers, levels = root.handlers[:], {logger: logger.level for logger in (root, *_loggers())}
    kept: dict[type, Any] = dict(Singleton._instances)
    attributes = {kind: dict(vars(each)) for kind, each in kept.items()}
    sys.argv = command
    # A command removes and closes the handlers that it finds.
    root.handlers.clear()
    GlobalHydra.instance().clear()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environment)
        root.handlers[:] = handlers
        for logger in (root, *_loggers()):
            logger.setLevel(levels.get(logger, logger.level))
        Singleton._instances |= kept
        for kind, each in kept.items():
            vars(each).update(attributes[kind])


def _loggers() -> list[logging.Logger]:
    return [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
