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
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from aetransfer import logs
from aetransfer.config.choices import (
    alternatives_of,
    each_value_once,
    jobs_of,
    with_globs_listed,
    with_params,
    with_source_chosen,
)
from aetransfer.config.compose import composed, options_of
from aetransfer.config.groups import config_directory
from aetransfer.config.instantiate import sets_allow
from aetransfer.config.nodes import at_home
from aetransfer.config.quoting import quoted
from aetransfer.config.sentences import COMPLAINTS, said
from aetransfer.config.sweep_file import expanded, override_of
from aetransfer.environment import CONFIG_DIR, check_names, load_environment
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
# Hydra's own directories, of which there are none here, and what they are where nobody has set them.
UNSET = {
    "sweep.dir": ("multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}",),
    "sweep.subdir": (".", "${hydra.job.num}"),
    "run.dir": (".",),
    "output_subdir": (None,),
    "job.chdir": (None, False),
}
# The launcher that does a sweep's jobs in this process.
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def main(
    config_name: str,
    check: Callable[[DictConfig, list[str]], Any],
    task: Callable[[DictConfig, list[str]], Path | None],
    trial: Callable[[DictConfig, list[str]], Path | None] | None = None,
    describe: Callable[[DictConfig, list[str]], None] | None = None,
    prepare: Callable[[Any], None] | None = None,
    submit: bool = False,
    goes_on: bool = True,
) -> None:
    """Run `task` on the config that the command line composes, or once for each choice of a sweep (-m).

    check: raises for a config that can't run; it sees every choice of a sweep before the first job starts. task: gets
    the config and the overrides that made it, and returns the run's directory. trial: takes its place in a search.
    describe: takes it, for every job of a sweep, where --identity is given. prepare: does once, before a sweep's jobs
    begin, what they share; it gets what `check` returned of each choice. submit: leave the jobs to a cluster and
    return. goes_on: whether the command goes on where it was cut off when it is given again; else it starts over. Exits
    with 1 after one sentence on standard error for what the user can mend, with a traceback for anything else, with 130
    on Ctrl-C and the other signals that ask for a stop.
    """
    note_command_began()
    # Hydra would print its own account of an error and exit; raised, it can be said in a sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    words = as_submitted(sys.argv[1:]) if submit else sys.argv[1:]
    described = describe if IDENTITY in words else None
    interrupted = stopping.GOES_ON if goes_on else stopping.STARTS_OVER
    try:
        load_environment()
        check_names(words)
        with stopping.heeded(interrupted):
            words = [word for word in words if word != IDENTITY or described is None]
            _answer(config_name, words, check, task, trial or task, described, prepare, submit)
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
    trial: Callable[[DictConfig, list[str]], Path | None],
    described: Callable[[DictConfig, list[str]], None] | None,
    prepare: Callable[[Any], None] | None,
    submit: bool,
) -> None:
    arguments = _arguments(words)
    folder = arguments.config_dir
    if folder is None and (named := os.environ.get(CONFIG_DIR)):
        folder = str(Path(named).absolute())
        if not Path(folder).is_dir():
            raise UserError(f"{CONFIG_DIR}={named} is no folder.")
        words = ["--config-dir", folder, *words]
        # A command that is printed names it: others may paste it, whose environment does not.
        sys.argv[1:1] = ["--config-dir", folder]
    options = partial(options_of, config_name=config_name, overrides=arguments.overrides, config_dir=folder)
    overrides = [part for word in arguments.overrides for part in with_source_chosen(word, options)]
    flags = [word for word in words if word not in arguments.overrides]
    if arguments.help or arguments.hydra_help or arguments.info or arguments.cfg or arguments.shell_completion:
        # Hydra's own parser wants the overrides side by side.
        _launch(config_name, [*flags, *overrides], lambda config: None)
        return
    multirun = arguments.multirun
    if multirun and config_name != "train":
        raise UserError(f"-m sweeps over trainings: {config_name} does one thing at a time.")
    sweep = expanded(config_name, overrides, multirun, folder)
    overrides = [part for word in sweep.overrides for part in with_source_chosen(word, options)]
    params: list[str] | None = None
    whole: dict[tuple[str, ...], DictConfig] = {}
    if multirun:
        overrides = with_globs_listed(overrides, options)
        first = [values[0] for values in alternatives_of(config_name, overrides, multirun, folder)]
        whole[tuple(first)] = composed(config_name, first, folder, with_hydra=True)
        params = _params(whole[tuple(first)], first)
        overrides = [part for word in with_params(overrides, params) for part in with_source_chosen(word, options)]
        overrides = with_globs_listed(overrides, options)
    alternatives = alternatives_of(config_name, overrides, multirun, folder)
    if described is not None:
        for choice in jobs_of(alternatives):
            described(composed(config_name, choice, folder), choice)
        return
    checked = []
    for choice in each_value_once([*alternatives, *sweep.bounds]):
        config = whole.pop(tuple(choice), None) or composed(config_name, choice, folder, with_hydra=True)
        _check_directories(config)
        if not multirun and config.hydra.mode == RunMode.MULTIRUN:
            raise UserError("hydra.mode=MULTIRUN runs a sweep: add -m in its place.")
        if multirun and _params(config, choice) != params:
            raise UserError("Only some of the sweep's jobs have these hydra.sweeper.params: choose one experiment.")
        with open_dict(config):
            del config["hydra"]
        checked.append(check(config, choice))
    if submit:
        check_submittable(config_name, choice, folder, search=bool(sweep.bounds))
    num_nodes = OmegaConf.select(config, "trainer.num_nodes", default=1)
    if multirun and (here := place(num_nodes)) is not None:
        _check_launcher(here, composed(config_name, choice, folder, with_hydra=True))
    words = [*flags, *overrides]
    with led(num_nodes, list(config.allow)) as followed:
        if followed is not None:
            # Of a signal, say, the first process says what is to be said.
            os._exit(followed)
        if multirun:
            if prepare is not None:
                for each in checked:
                    prepare(each)
            output_dir = at_home(config.paths.output_dir)
            if sweep.bounds:
                # Which jobs a search has shows while it goes on.
                _sweep(config_name, words, trial, output_dir, None, submit)
            else:
                _sweep(config_name, words, task, output_dir, jobs_of(alternatives), submit)
        else:
            _single(config_name, words, task)


def _params(config: DictConfig, overrides: list[str]) -> list[str]:
    """Return what a config file has under hydra.sweeper.params, written as on the command line."""
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    if any(sets_allow(key) for key in params) and not any(map(sets_allow, overrides)):
        raise UserError(
            "hydra.sweeper.params sets allow, and no file may say whose code is run: set it on the command line."
        )
    return [override_of(str(key), value) for key, value in params.items()]


def _check_directories(config: DictConfig) -> None:
    """Raise UserError for a directory of Hydra's: what it would hold has a place of its own, which nothing moves."""
    hydra = OmegaConf.to_container(config.hydra, resolve=False)
    for key, unset in UNSET.items():
        value: Any = hydra
        for part in key.split("."):
            value = value[part]
        if value not in unset:
            store = at_home(config.paths.output_dir)
            raise UserError(
                f"{override_of(f'hydra.{key}', value)} has no meaning here, where runs go to {store / 'runs'} and "
                f"sweeps to {store / 'sweeps'}, each into a directory of its own: leave it out, or set "
                "paths.output_dir."
            )


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
            SweepTask(config_name, task, directory, sys.argv[:], detached=submit, searches=jobs is None),
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
