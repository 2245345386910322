"""The front door of every command: checks the whole command line before anything heavy is imported, then hands over to
Hydra, and turns what goes wrong into one sentence and an exit code.
"""

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from datetime import datetime
from io import StringIO
from pathlib import Path

import hydra
from dotenv import find_dotenv, load_dotenv
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig

from aetransfer import logs
from aetransfer.config.compose import composed
from aetransfer.config.groups import choices_of, config_directory, groups_of
from aetransfer.config.sentences import COMPLAINTS, sentence
from aetransfer.errors import UserError
from aetransfer.sweeps.jobs import SweepJob, note_job, read_jobs

INTERRUPTED = 130

# Groups of which several files make sense together: logger=[csv,tensorboard].
COMBINED = ("callbacks", "logger", "experiment", "debug")
OPTIONAL = ("pretrain", *COMBINED)


def main(
    config_name: str,
    check: Callable[[DictConfig, list[str]], object],
    task: Callable[[DictConfig, list[str]], Path | None],
) -> None:
    """Run `task` on the config that the command line composes, or once for each choice of a sweep (-m).

    check: raises for a config that can't run; it sees every choice of a sweep before the first job starts. task: gets
    the config and the overrides that made it, and returns the run's directory. Exits with 1 after one sentence on
    standard error for what the user can mend, with a traceback for anything else, with 130 on Ctrl-C.
    """
    load_dotenv(find_dotenv(usecwd=True))
    # Hydra would print its own account of an error and exit; raised, it can be said in a sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    words = sys.argv[1:]
    try:
        words = [rewritten for word in words for rewritten in _path_of_pretraining(word)]
        arguments = _arguments(words)
        if arguments.help or arguments.hydra_help or arguments.info or arguments.cfg or arguments.shell_completion:
            _launch(config_name, words, lambda config: None)
            return
        for choice in _choices(config_name, arguments):
            config = composed(config_name, choice, arguments.config_dir)
            check(config, choice)
        if arguments.multirun:
            _sweep(config_name, words, task, Path(config.paths.output_dir))
        else:
            _single(config_name, words, task)
    except KeyboardInterrupt:
        print("Interrupted: the same command goes on where it stopped.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (UserError, *COMPLAINTS) as error:
        sys.exit(f"error: {_said(error, config_name)}")


def _arguments(words: list[str]) -> Namespace:
    said = StringIO()
    try:
        with redirect_stderr(said):
            arguments = get_args_parser().parse_args(words)
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


def _said(error: Exception, config_name: str) -> str:
    """Say what the user can mend in one line that ends in one period, whatever a library's text had in it."""
    text = str(error) if isinstance(error, UserError) else sentence(error, config_name)
    return f"{' '.join(text.split()).rstrip('.')}."


def _launch(config_name: str, words: list[str], job: Callable[[DictConfig], None]) -> None:
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
    config_name: str, words: list[str], task: Callable[[DictConfig, list[str]], Path | None], output_dir: Path
) -> None:
    # The time to the microsecond: two sweeps of one second must not share a directory.
    directory = (output_dir / "sweeps" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")).absolute()

    def job(config: DictConfig) -> None:
        """Do one job and note how it ended. An error ends the job, not the sweep."""
        logs.to_terminal()
        settings = HydraConfig.get()
        run, error = None, None
        try:
            run = task(config, list(settings.overrides.task))
        except Exception as raised:
            mendable = isinstance(raised, (UserError, *COMPLAINTS))
            error = _said(raised, config_name) if mendable else f"{type(raised).__name__}: {raised}"
            print(f"error: {error}", file=sys.stderr)
            if not mendable:
                traceback.print_exception(raised)
        note_job(directory, SweepJob(settings.job.num, list(settings.overrides.task), str(run) if run else None, error))

    _launch(config_name, [*words, f"hydra.sweep.dir='{directory}'"], job)
    # scipy and matplotlib take seconds to import, and a config error must not.
    from aetransfer.sweeps.conclude import conclude

    conclude(directory)
    if any(job.error for job in read_jobs(directory)):
        sys.exit(1)


def _path_of_pretraining(word: str) -> list[str]:
    """Let `pretrain=PATH` stand for choosing the group's file `given` and setting its path."""
    key, _, value = word.partition("=")
    if key != "pretrain" or not value:
        return [word]
    values = value.split(",")
    options = choices_of("pretrain")
    paths = [part for part in values if "/" in part or part.startswith((".", "~")) or Path(part).exists()]
    if not paths or all(part in options for part in values):
        return [word]
    if len(paths) < len(values):
        raise UserError(f"pretrain={value} mixes paths with named pretrainings: sweep over one kind at a time.")
    return ["pretrain=given", f"pretrain.path={value}"]


def _choices(config_name: str, arguments: Namespace) -> Iterator[list[str]]:
    """Yield the command line with each value of each swept key once, the other keys at their first value.

    A sum instead of the product of the sweep, and yet every value is seen.
    """
    groups = groups_of(config_name)
    alternatives: list[list[str]] = []
    for override in OverridesParser.create().parse_overrides(arguments.overrides):
        line = override.input_line
        assert line is not None
        if override.is_sweep_override() and not arguments.multirun:
            raise UserError(f"{line} is a sweep over several values: add -m to run them all.")
        if override.is_sweep_override():
            alternatives.append(_swept(override, arguments.config_dir))
        else:
            _check_choice(override, groups)
            alternatives.append([line])
    first = [values[0] for values in alternatives]
    yield first
    for place, values in enumerate(alternatives):
        for value in values[1:]:
            yield [*first[:place], value, *first[place + 1 :]]


def _swept(override: Override, config_dir: str | None) -> list[str]:
    if not override.is_discrete_sweep():
        raise UserError(f"{override.input_line} has endlessly many values: list them, or use range(first,end).")
    swept = override.value()
    if isinstance(swept, Glob):
        values = swept.filter(choices_of(override.key_or_group, config_dir))
    else:
        values = list(override.sweep_string_iterator())
    if not values:
        raise UserError(f"{override.input_line} gives no value to run.")
    return [f"{override.get_key_element()}={value}" for value in values]


def _check_choice(override: Override, groups: list[str]) -> None:
    """Raise UserError for what Hydra stumbles over, or merges into what nobody meant."""
    group, value, line = override.key_or_group, override.value(), override.input_line
    if not group:
        raise UserError(f"{line} has no key before its =.")
    if group not in groups or override.is_delete() or isinstance(value, str | dict):
        return
    if value is None and group in OPTIONAL:
        raise UserError(f"{line} chooses nothing: to leave {group} out, write ~{group}.")
    if not isinstance(value, list):
        raise UserError(f"{line} is no choice of {group}: there are {', '.join(choices_of(group))}.")
    if group not in COMBINED:
        raise UserError(f"{line} merges several where {group} is one: choose one, or sweep over them with -m.")
