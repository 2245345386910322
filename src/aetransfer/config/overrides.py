"""What a command line asks for: read and checked as a whole, before anything heavy is imported."""

import os
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from aetransfer.config.choices import (
    Words,
    alternatives_of,
    each_value_once,
    expanded,
    jobs_of,
    override_of,
    with_globs_listed,
    with_params,
    with_source_chosen,
)
from aetransfer.config.commands import quoted
from aetransfer.config.compose import composed, plugins_named
from aetransfer.config.environment import CONFIG_DIR
from aetransfer.config.instantiate import sets_allow
from aetransfer.config.nodes import at_home
from aetransfer.config.plugins import plugins
from aetransfer.errors import UserError

# Hydra's own directories, of which there are none here, and what they are where nobody has set them.
UNSET = {
    "sweep.dir": ("multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}",),
    "sweep.subdir": (".", "${hydra.job.num}"),
    "run.dir": (".",),
    "output_subdir": (None,),
    "job.chdir": (None, False),
}


@dataclass
class Asked:
    """What the words come to. alternatives: for each override the single-valued ones it stands for. bounds: of each
    searched key, its outermost values. params: what hydra.sweeper.params of a file adds to a sweep.
    """

    words: Words
    overrides: list[str]
    alternatives: list[list[str]]
    bounds: list[list[str]]
    params: list[str] | None
    _composed: dict[tuple[str, ...], DictConfig] = field(default_factory=dict)

    @property
    def jobs(self) -> list[list[str]]:
        """Return the overrides of each job; a search has others."""
        return jobs_of(self.alternatives)

    def checked(self, check: Callable[[DictConfig, list[str]], Any]) -> list["Checked"]:
        """Compose and check every value once. Raises UserError for the first that can't run."""
        return [self._checked(choice, check) for choice in each_value_once([*self.alternatives, *self.bounds])]

    def _checked(self, choice: list[str], check: Callable[[DictConfig, list[str]], Any]) -> "Checked":
        words = self.words
        config = self._composed.pop(tuple(choice), None)
        if config is None:
            config = composed(words.config_name, choice, words.folder, with_hydra=True)
        _check_directories(config)
        if not words.multirun and config.hydra.mode == RunMode.MULTIRUN:
            raise UserError("hydra.mode=MULTIRUN runs a sweep: add -m in its place.")
        if words.multirun and _params(config, choice) != self.params:
            raise UserError("Only some of the sweep's jobs have these hydra.sweeper.params: choose one experiment.")
        with open_dict(config):
            del config["hydra"]
        return Checked(choice, config, check(config, choice))


@dataclass(frozen=True)
class Checked:
    """overrides: that make this config. meant: what the command's check made of it."""

    overrides: list[str]
    config: DictConfig
    meant: Any


def read_words(config_name: str, words: list[str]) -> Words:
    """Take a command line apart. Raises UserError for one that is none, or for a folder that is not there."""
    arguments = _arguments(words)
    folder = arguments.config_dir
    if folder is None and (named := os.environ.get(CONFIG_DIR)):
        folder = str(Path(named).absolute())
        if not Path(folder).is_dir():
            raise UserError(f"{CONFIG_DIR}={named} is no folder.")
        words = ["--config-dir", folder, *words]
    flags = [word for word in words if word not in arguments.overrides]
    informs = arguments.hydra_help or arguments.info or arguments.cfg or arguments.shell_completion
    asks = bool(arguments.help), bool(informs)
    return Words(config_name, flags, arguments.overrides, folder, arguments.multirun, *asks)


def read(words: Words) -> Asked:
    """Put in what words stand for, and list what they choose from. Raises UserError for what can't be run."""
    if words.multirun and words.config_name != "train":
        raise UserError(f"-m sweeps over trainings: {words.config_name} does one thing at a time.")
    sweep = expanded(words, _with_plugins(words, source_chosen(words, words.overrides)))
    overrides = source_chosen(words, sweep.overrides)
    params: list[str] | None = None
    whole: dict[tuple[str, ...], DictConfig] = {}
    if words.multirun:
        overrides = with_globs_listed(overrides, words.options_of)
        first = [values[0] for values in alternatives_of(words, overrides)]
        whole[tuple(first)] = composed(words.config_name, first, words.folder, with_hydra=True)
        params = _params(whole[tuple(first)], first)
        overrides = source_chosen(words, with_params(overrides, params))
        overrides = with_globs_listed(overrides, words.options_of)
    alternatives = alternatives_of(words, overrides)
    return Asked(words, overrides, alternatives, sweep.bounds, params, whole)


def source_chosen(words: Words, overrides: list[str]) -> list[str]:
    """Return overrides with pretrain=NAME and pretrain=PATH as Hydra takes them."""
    return [part for word in overrides for part in with_source_chosen(word, words.options_of)]


def _with_plugins(words: Words, overrides: list[str]) -> list[str]:
    """Allow the plugins whose options the command line itself names: what a file names, allows nothing."""
    if not plugins():
        return overrides
    listed = with_globs_listed(overrides, words.options_of) if words.multirun else overrides
    values = [value for each in alternatives_of(words, listed) for value in each]
    packages = plugins_named(values, words.config_name, words.folder)
    own = [word for word in overrides if sets_allow(word)]
    allowed = OverridesParser.create().parse_override(own[-1]).value() if own else []
    if not packages or not isinstance(allowed, list):
        return overrides
    allowed = ",".join(quoted(str(package)) for package in dict.fromkeys([*allowed, *packages]))
    return [*(word for word in overrides if word not in own), f"allow=[{allowed}]"]


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
