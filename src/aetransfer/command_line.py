"""The front door of every command: checks the whole command line before anything heavy is imported, then hands over to
Hydra, and turns what goes wrong into one sentence and an exit code.
"""

import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stderr
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import hydra
from dotenv import find_dotenv, load_dotenv
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from aetransfer import logs
from aetransfer.config.choices import alternatives_of, each_value_once, jobs_of, with_path_of_pretraining
from aetransfer.config.compose import composed
from aetransfer.config.groups import config_directory
from aetransfer.config.nodes import at_home
from aetransfer.config.quoting import quoted
from aetransfer.config.sentences import COMPLAINTS, said
from aetransfer.config.sweep_file import expanded
from aetransfer.errors import UserError
from aetransfer.runs import stopping
from aetransfer.runs.finished import note_command_began
from aetransfer.runs.place import Place, led, place
from aetransfer.sweeps.jobs import note_lost, note_planned, read_jobs
from aetransfer.sweeps.queue import read_queued
from aetransfer.sweeps.status import note_process
from aetransfer.sweeps.submitting import as_submitted, check_submittable, print_queued
from aetransfer.sweeps.task import SweepTask

IDENTITY = "--identity"
# Where one's own config files are, unless --config-dir says so.
CONFIG_DIR = "AETRANSFER_CONFIG_DIR"
# The launcher that does a sweep's jobs in this process.
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def main(
    config_name: str,
    check: Callable[[DictConfig, list[str]], Any],
    task: Callable[[DictConfig, list[str]], Path | None],
    describe: Callable[[DictConfig, list[str]], None] | None = None,
    prepare: Callable[[Any], None] | None = None,
    submit: bool = False,
    goes_on: bool = True,
) -> None:
    """Run `task` on the config that the command line composes, or once for each choice of a sweep (-m).

    check: raises for a config that can't run; it sees every choice of a sweep before the first job starts. task: gets
    the config and the overrides that made it, and returns the run's directory. describe: takes its place, for every job
    of a sweep, where --identity is given. prepare: does once, before a sweep's jobs begin, what they share; it gets
    what `check` returned of each choice. submit: leave the jobs to a cluster and return. goes_on: whether the command
    goes on where it was cut off when it is given again; else it starts over. Exits with 1 after one sentence on
    standard error for what the user can mend, with a traceback for anything else, with 130 on Ctrl-C and the other
    signals that ask for a stop.
    """
    note_command_began()
    load_dotenv(find_dotenv(usecwd=True))
    # Hydra would print its own account of an error and exit; raised, it can be said in a sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    words = as_submitted(sys.argv[1:]) if submit else sys.argv[1:]
    described = describe if IDENTITY in words else None
    interrupted = stopping.GOES_ON if goes_on else stopping.STARTS_OVER
    try:
        with stopping.heeded(interrupted):
            words = [word for word in words if word != IDENTITY or described is None]
            _answer(config_name, words, check, task, described, prepare, submit)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(stopping.INTERRUPTED)
    except (UserError, *COMPLAINTS) as error:
        sys.exit(f"error: {said(error, config_name)}")


def _answer(
    config_name: str,
    words: list[str],
    check: Callable[[DictConfig, list[str]], Any],
    task: Callable[[DictConfig, list[str]], Path | None],
    described: Callable[[DictConfig, list[str]], None] | None,
    prepare: Callable[[Any], None] | None,
    submit: bool,
) -> None:
    words = [rewritten for word in words for rewritten in with_path_of_pretraining(word)]
    arguments = _arguments(words)
    if arguments.config_dir is None and os.environ.get(CONFIG_DIR):
        arguments.config_dir = str(at_home(os.environ[CONFIG_DIR]))
        if not Path(arguments.config_dir).is_dir():
            raise UserError(f"{CONFIG_DIR}={arguments.config_dir} is no folder.")
        words = ["--config-dir", arguments.config_dir, *words]
    if arguments.help or arguments.hydra_help or arguments.info or arguments.cfg or arguments.shell_completion:
        _launch(config_name, words, lambda config: None)
        return
    multirun, folder = arguments.multirun, arguments.config_dir
    if multirun and config_name != "train":
        raise UserError(f"-m sweeps over trainings: {config_name} does one thing at a time.")
    sweep = expanded(config_name, arguments.overrides, multirun, folder)
    alternatives = alternatives_of(config_name, sweep.overrides, multirun, folder)
    if described is not None:
        for choice in jobs_of(alternatives):
            described(composed(config_name, choice, folder), choice)
        return
    checked = []
    for choice in each_value_once([*alternatives, *sweep.bounds]):
        config = composed(config_name, choice, folder)
        checked.append(check(config, choice))
    if submit:
        check_submittable(config_name, choice, folder, search=bool(sweep.bounds))
    num_nodes = OmegaConf.select(config, "trainer.num_nodes", default=1)
    if multirun and (here := place(num_nodes)) is not None:
        _check_launcher(here, composed(config_name, choice, folder, with_hydra=True))
    # Hydra's own parser wants the overrides side by side.
    words = [*(word for word in words if word not in arguments.overrides), *sweep.overrides]
    with led(num_nodes, list(config.allow)) as followed:
        if followed is not None:
            # Of a signal, say, the first process says what is to be said.
            os._exit(followed)
        if multirun:
            if prepare is not None:
                for each in checked:
                    prepare(each)
            output_dir = at_home(config.paths.output_dir)
            # Which jobs a search has shows while it goes on.
            _sweep(config_name, words, task, output_dir, None if sweep.bounds else jobs_of(alternatives), submit)
        else:
            _single(config_name, words, task)


def _check_launcher(here: Place, config: DictConfig) -> None:
    """Raise UserError where jobs would start in processes of which those of this command, that wait, never hear."""
    if config.hydra.launcher._target_ != BASIC:
        chosen = config.hydra.runtime.choices
        name = chosen["hydra/launcher"] if chosen.launcher == "basic" else chosen.launcher
        raise UserError(
            f"launcher={name} starts processes for its jobs, but {here.launcher} has started {here.size} of this "
            "command, which share each job: choose launcher=basic, or start the command once."
        )


def _arguments(words: list[str]) -> Namespace:
    said = StringIO()
    try:
        with redirect_stderr(said):
            arguments = get_args_parser().parse_intermixed_args(words)
    except SystemExit as stop:
        if not stop.code:  # --version
            raise
        raise UserError(f"{said.getvalue().rpartition('error: ')[2].strip()} (see --help).") from stop
    if arguments.config_name or arguments.config_path:
        raise UserError(
            "The command has one config: to set much at once, write DIR/experiment/NAME.yaml and add "
            "--config-dir DIR experiment=NAME."
        )
    return arguments


def _launch(config_name: str, words: list[str], job: Callable[[DictConfig], object]) -> None:
    sys.argv[1:] = words
    try:
        hydra.main(version_base="1.3", config_path=str(config_directory()), config_name=config_name)(job)()
    except COMPLAINTS:
        raise
    except ValueError as error:
        # Flags that exclude each other; what a job raises never gets here.
        raise UserError(str(error)) from error


def _single(config_name: str, words: list[str], task: Callable[[DictConfig, list[str]], Path | None]) -> None:
    failure: list[Exception] = []

    def job(config: DictConfig) -> None:
        logs.to_terminal()
        try:
            task(config, list(HydraConfig.get().overrides.task))
        except Exception as error:
            # Hydra would print its own line before a sentence of ours.
            failure.append(error)

    _launch(config_name, words, job)
    if failure:
        raise failure[0]


def _sweep(
    config_name: str,
    words: list[str],
    task: Callable[[DictConfig, list[str]], Path | None],
    output_dir: Path,
    jobs: list[list[str]] | None,
    submit: bool,
) -> None:
    # The time to the microsecond: two sweeps of one second must not share a directory.
    directory = (output_dir / "sweeps" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")).absolute()
    note_planned(
        directory,
        [] if jobs is None else [[word for word in job if not word.startswith(("hydra.", "hydra/"))] for job in jobs],
    )
    note_process(directory)
    try:
        _launch(
            config_name,
            [*words, f"hydra.sweep.dir={quoted(str(directory))}"],
            SweepTask(config_name, task, directory, sys.argv[:], detached=submit),
        )
    except (UserError, *COMPLAINTS):
        # The launcher or the sweeper as a whole. What jobs have noted by then stays.
        if not (directory / "jobs").is_dir():
            shutil.rmtree(directory)
        raise
    except Exception as error:
        # Jobs don't raise: a launcher does that lost a worker. The other jobs are still worth a table.
        print(f"error: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", file=sys.stderr)
    if submit and (queued := read_queued(directory)) is not None:
        print_queued(directory, queued)
        return
    note_lost(directory)
    if jobs is not None:  # a search has a table of its own, without the test split
        # scipy and matplotlib take seconds to import, and a config error must not.
        from aetransfer.sweeps.conclude import conclude

        conclude(directory)
    if any(job.error for job in read_jobs(directory)):
        sys.exit(1)
