"""The front door of every command: checks the whole command line before anything heavy is imported, then hands over to
Hydra, and turns what goes wrong into one sentence and an exit code.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from textwrap import fill
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from aetransfer import signals
from aetransfer.config.commands import config_dir, quoted
from aetransfer.config.compose import composed
from aetransfer.config.environment import check_names, load_environment
from aetransfer.config.nodes import at_home
from aetransfer.config.overrides import Asked, Checked, read, read_words, source_chosen
from aetransfer.config.plugins import config_directory
from aetransfer.config.sentences import COMPLAINTS, said
from aetransfer.errors import UserError
from aetransfer.store.finished import note_command_began
from aetransfer.sweeps.jobs import note_lost, note_planned, read_jobs
from aetransfer.sweeps.queue import as_submitted, check_submittable, print_queued, read_queued
from aetransfer.sweeps.status import note_process, shown
from aetransfer.sweeps.task import SweepTask, led
from aetransfer.training import logs
from aetransfer.training.launched import Launched, launched

IDENTITY = "--identity"
# So many jobs take seconds to compose.
MANY = 5
# The launcher that does a sweep's jobs in this process.
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
# Of a help text, in characters.
WIDTH = 80
# A key with what it is set to, or a group with the option that is chosen; and the sentence behind it.
ENTRY = re.compile(r"(?:  (?:# )?- (?P<group>\w+)|(?P<key>\w+)): (?P<value>.*?)\s+# (?P<sentence>.+)")


@dataclass(frozen=True)
class Command:
    """One of the program's commands: what it does with a config, from the command line or from Python.

    doc: what --help begins with. check: raises for a config that can't run; it sees every choice of a sweep before the
    first job starts. task: gets the config and the overrides that made it, and returns the run's directory. trial:
    takes its place in a search. describe: takes it, for every job of a sweep, where --identity is given. prepare: does
    once, before a sweep's jobs begin, what they share; it gets what `check` returned of each choice. goes_on: whether
    the command goes on where it was cut off when it is given again; else it starts over.
    """

    config_name: str
    doc: str
    check: Callable[[DictConfig, list[str]], Any]
    task: Callable[[DictConfig, list[str]], Path | None]
    trial: Callable[[DictConfig, list[str]], Path | None] | None = None
    describe: Callable[[DictConfig, list[str]], None] | None = None
    prepare: Callable[[Any], None] | None = None
    goes_on: bool = True


def main(command: Command, submit: bool = False) -> None:
    """Do a command with the words of this process's command line, once or for each choice of a sweep (-m).

    submit: leave the jobs to a cluster and return. Exits with 1 after one sentence on standard error for what the user
    can mend, with a traceback for anything else, with 130 on Ctrl-C and the other signals that ask for a stop.
    """
    begin()
    words = as_submitted(sys.argv[1:]) if submit else sys.argv[1:]
    interrupted = signals.GOES_ON if command.goes_on else signals.STARTS_OVER
    try:
        load_environment()
        check_names(words)
        with signals.heeded(interrupted):
            _answer(command, words, submit)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(signals.INTERRUPTED)
    except (UserError, *COMPLAINTS) as error:
        sys.exit(f"error: {said(error, command.config_name)}")


def begin() -> None:
    """Do what comes before anything that Hydra does."""
    note_command_began()
    # Hydra would print its own account of an error and exit; raised, it can be said in a sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"


def _answer(command: Command, line: list[str], submit: bool) -> None:
    described = command.describe if IDENTITY in line else None
    words = read_words(command.config_name, [word for word in line if word != IDENTITY or described is None])
    if words.folder is not None and config_dir() is None:
        # A command that is printed names it: others may paste it, whose environment does not.
        sys.argv[1:1] = ["--config-dir", words.folder]
    if words.asks_help:
        print(help_of(command.doc, command.config_name, words.options_of))
        return
    if words.informs:
        # Hydra's own parser wants the overrides side by side.
        _launch(command.config_name, [*words.flags, *source_chosen(words, words.overrides)], lambda config: None)
        return
    asked = read(words)
    if described is not None:
        for overrides in asked.jobs:
            described(composed(command.config_name, overrides, words.folder), overrides)
        return
    if words.multirun and not asked.bounds and len(asked.jobs) >= MANY:
        print(f"composing {len(asked.jobs)} jobs, then importing torch", flush=True)
    checked = asked.checked(command.check)
    last = checked[-1]
    if submit:
        check_submittable(command.config_name, last.overrides, words.folder, search=bool(asked.bounds))
    num_nodes = OmegaConf.select(last.config, "trainer.num_nodes", default=1)
    if words.multirun and (here := launched(num_nodes)) is not None:
        _check_launcher(here, composed(command.config_name, last.overrides, words.folder, with_hydra=True))
    with led(num_nodes, list(last.config.allow)) as followed:
        if followed is not None:
            # Of a signal, say, the first process says what is to be said.
            os._exit(followed)
        if not words.multirun:
            run_single(command, asked)
        else:
            directory = run_sweep(command, asked, checked, submit)
            # What is queued is done: why other jobs have ended is in the sweep's status.
            queued = submit and read_queued(directory) is not None
            if not queued and any(job.error for job in read_jobs(directory)):
                sys.exit(1)


def _check_launcher(here: Launched, config: DictConfig) -> None:
    """Raise UserError where jobs would start in processes of which those of this command, that wait, never hear."""
    if config.hydra.launcher._target_ != BASIC:
        chosen = config.hydra.runtime.choices
        name = chosen["hydra/launcher"] if chosen.launcher == "basic" else chosen.launcher
        raise UserError(
            f"launcher={name} starts processes for its jobs, but {here.launcher} has started {here.size} of this "
            "command, which share each job: choose launcher=basic, or start the command once."
        )


def _launch(config_name: str, words: list[str], job: Callable[[DictConfig], object]) -> None:
    sys.argv[1:] = words
    try:
        hydra.main(version_base="1.3", config_path=str(config_directory()), config_name=config_name)(job)()
    except COMPLAINTS:
        raise
    except ValueError as error:
        # Flags that exclude each other; what a job raises never gets here.
        raise UserError(str(error)) from error


def run_single(command: Command, asked: Asked) -> Path | None:
    """Do the command's task on its one job. Returns what that returned, and raises what it raised."""
    done: list[Path | None] = []
    failure: list[Exception] = []

    def job(config: DictConfig) -> None:
        logs.to_terminal()
        try:
            done.append(command.task(config, list(HydraConfig.get().overrides.task)))
        except Exception as error:
            # Hydra would print its own line before a sentence of ours.
            failure.append(error)

    _launch(command.config_name, [*asked.words.flags, *asked.overrides], job)
    if failure:
        raise failure[0]
    return done[0] if done else None


def run_sweep(command: Command, asked: Asked, checked: Sequence[Checked], submit: bool = False) -> Path:
    """Do the command's task, or its trial, on each job, and print their table. Returns the sweep's directory.

    What failed is in the jobs' notes there; where jobs are left to a cluster there are none yet.
    """
    if command.prepare is not None:
        for each in checked:
            command.prepare(each.meant)
    # Which jobs a search has shows while it goes on.
    searches = bool(asked.bounds)
    task = command.trial or command.task if searches else command.task
    jobs = [] if searches else asked.jobs
    # The time to the microsecond: two sweeps of one second must not share a directory.
    sweeps = at_home(checked[-1].config.paths.output_dir) / "sweeps"
    directory = (sweeps / datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")).absolute()
    note_planned(directory, [[word for word in job if not word.startswith(("hydra.", "hydra/"))] for job in jobs])
    note_process(directory)
    try:
        # A search shows its jobs itself, before it says what it came to.
        with nullcontext() if submit or searches else shown(directory):
            _launch(
                command.config_name,
                [*asked.words.flags, *asked.overrides, f"hydra.sweep.dir={quoted(str(directory))}"],
                SweepTask(command.config_name, task, directory, sys.argv[:], detached=submit, searches=searches),
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
        return directory
    note_lost(directory)
    if not searches:  # a search has a table of its own, without the test split
        # scipy and matplotlib take seconds to import, and a config error must not.
        from aetransfer.report.files import conclude

        conclude(directory)
    return directory


def help_of(doc: str, config_name: str, options_of: Callable[[str], list[str]]) -> str:
    """Return what --help says: the docstring, and for each key the sentence of the config file.

    doc: how the command is used, with examples. options_of: lists what a group can be set to.
    """
    lines = (config_directory() / f"{config_name}.yaml").read_text().splitlines()
    entries = [found for line in lines if (found := ENTRY.fullmatch(line))]
    groups, keys = [], []
    for each in entries:
        if group := each["group"]:
            default = "" if each["value"] == "null" else f" Default: {each['value']}."
            sentence = f"{each['sentence']}.{default} One of {', '.join(options_of(group))}."
            groups.append(_entry(f"{group}=NAME", sentence))
        else:
            value = "..." if each["value"] == "???" else each["value"]
            keys.append(_entry(f"{each['key']}={value}", each["sentence"]))
    more = "--cfg job prints the whole config. --hydra-help lists the flags of Hydra, which reads the command line."
    parts = [doc.strip(), ""]
    if groups:
        parts += ["Groups, each a choice of settings:", *groups, ""]
    return "\n".join([*parts, "Keys:", *keys, "", fill(more, WIDTH)])


def _entry(name: str, sentence: str) -> str:
    first = f"  {name:<20}" if len(name) < 20 else f"  {name}  "
    return fill(sentence, WIDTH, initial_indent=first, subsequent_indent=" " * 22, break_on_hyphens=False)
