"""What a command line's overrides choose from: the jobs of a sweep, and choices that Hydra would stumble over."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError, model_validator

from aetransfer.config.commands import as_read, key_of, quoted
from aetransfer.config.compose import composed, options_of
from aetransfer.config.instantiate import sets_allow
from aetransfer.config.nodes import Node, PositiveInt, Seed
from aetransfer.config.other_names import moved_augment
from aetransfer.config.plugins import choices_of, groups_of
from aetransfer.config.schema import WEIGHTS_OF_TIMM
from aetransfer.config.sentences import sentence
from aetransfer.errors import UserError

# Groups of which several files make sense together: logger=[csv,tensorboard].
COMBINED = ("callbacks", "logger", "evaluation", "metrics", "experiment", "debug", "augment")
OPTIONAL = ("pretrain", "sweep", *COMBINED)
# What the command line calls the transforms of training data, and those that make views, and how Hydra has it.
TRANSFORMS = {
    "augment": "augment@data.augment",
    "pretrain.augment": "augment@pretrain.data.augment",
    "views": "augment@model.views",
    "pretrain.views": "augment@pretrain.model.views",
}
MODEL = "model"

# The names that a group can be set to.
Options = Callable[[str], list[str]]


def each_value_once(alternatives: list[list[str]]) -> Iterator[list[str]]:
    """Yield each value of each swept key once, the other keys at their first value.

    A sum instead of the product of the sweep, and yet every value is seen.
    """
    first = [values[0] for values in alternatives]
    yield first
    for place, values in enumerate(alternatives):
        for value in values[1:]:
            yield [*first[:place], value, *first[place + 1 :]]


def jobs_of(alternatives: list[list[str]]) -> list[list[str]]:
    """Return the overrides of each job of a sweep, in the order in which Hydra's sweeper numbers them."""
    # As Hydra has it, the last word on a key counts, at the place of its first.
    last = {values[0].partition("=")[0]: values for values in alternatives}
    return [list(choice) for choice in itertools.product(*last.values())]


@dataclass(frozen=True)
class Words:
    """A command line, taken apart. flags: what is no override, as Hydra takes it. folder: the further one of config
    files. informs: it only asks for help and the like.
    """

    config_name: str
    flags: list[str]
    overrides: list[str]
    folder: str | None
    multirun: bool
    asks_help: bool
    informs: bool

    def options_of(self, group: str) -> list[str]:
        """List the names that a group can be set to."""
        return options_of(group, self.config_name, self.overrides, self.folder)


def alternatives_of(words: Words, overrides: list[str]) -> list[list[str]]:
    """Return for each override the single-valued ones it stands for. Raises UserError for what can't be run."""
    config_name, groups = words.config_name, groups_of(words.config_name)
    alternatives: list[list[str]] = []
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except ValueError as error:
        # A number of thousands of digits, which Python does not read.
        raise UserError(f"The command line has a number that can't be read ({error}).") from error
    for override in parsed:
        line = override.input_line
        assert line is not None
        if override.is_sweep_override() and not words.multirun:
            if config_name != "train":
                raise UserError(f"{line} names several values, and {config_name} takes one: quote a name with a comma.")
            raise UserError(f"{line} is a sweep over several values: add -m to run them all.")
        if override.is_sweep_override():
            alternatives.append(_swept(override))
        else:
            _check_choice(override, groups, words.options_of)
            alternatives.append([line])
    return alternatives


def with_globs_listed(overrides: list[str], options: Options) -> list[str]:
    """Put the names that a glob stands for in its place: Hydra would count files that only others are made from."""
    listed = []
    for override in OverridesParser.create().parse_overrides(overrides):
        line = override.input_line
        assert line is not None
        value = override.value()
        if isinstance(value, Glob):
            names = value.filter(options(MODEL if override.key_or_group == "pretrain" else override.key_or_group))
            if not names:
                raise UserError(f"{line} gives no value to run.")
            line = f"{line.partition('=')[0]}={','.join(map(quoted, names))}"
            (line,) = with_source_chosen(line, options)
        listed.append(line)
    return listed


def with_params(overrides: list[str], params: list[str]) -> list[str]:
    """Put a config file's hydra.sweeper.params first, as Hydra does, with what the command line has on their keys."""
    given = {override.partition("=")[0]: override for override in overrides}
    keys = [param.partition("=")[0] for param in params]
    first = [given.get(key, param) for key, param in zip(keys, params, strict=True)]
    return [*first, *(override for override in overrides if override.partition("=")[0] not in keys)]


def with_source_chosen(word: str, options: Options = choices_of) -> list[str]:
    """Let `pretrain=NAME` stand for choosing the pretraining's model, `pretrain=PATH` for a finished one, and
    `pretrain=timm` for what timm has.

    Likewise `augment=NAME` and `pretrain.augment=NAME` for those of the data, `views=NAME` and `pretrain.views=NAME`
    for those of a model that learns from views. Raises UserError for a key of an earlier version.
    """
    key, _, value = word.partition("=")
    if key in TRANSFORMS:
        return [f"{TRANSFORMS[key]}={value}"]
    if (moved := moved_augment(word)) is not None:
        raise UserError(f"{moved}.")
    if key != "pretrain" or not value:
        return [word]
    values = value.split(",")
    if set(values) <= set(options(MODEL)):
        return [f"{MODEL}@pretrain={value}"]
    if value == WEIGHTS_OF_TIMM:
        return ["pretrain=given", f"pretrain.path={value}"]
    paths = [part for part in values if "/" in part or part.startswith((".", "~")) or Path(part).exists()]
    if not paths or set(values) <= set(options("pretrain")):
        return [word]
    if len(paths) < len(values):
        raise UserError(f"pretrain={value} mixes paths with named pretrainings: sweep over one kind at a time.")
    # Who writes quotes, or choice(...), has written as Hydra reads it.
    readable = value if as_read(value) is not None else ",".join(map(quoted, values))
    return ["pretrain=given", f"pretrain.path={readable}"]


def _swept(override: Override) -> list[str]:
    if not override.is_discrete_sweep():
        raise UserError(f"{override.input_line} has endlessly many values: list them, or use range(first,end).")
    if override.key_or_group in ("sweep", "launcher"):
        raise UserError(f"{override.input_line} names several: a sweep has one.")
    values = list(override.sweep_string_iterator())
    if not values:
        raise UserError(f"{override.input_line} gives no value to run.")
    return [f"{override.get_key_element()}={value}" for value in values]


def _check_choice(override: Override, groups: list[str], options: Options) -> None:
    """Raise UserError for what Hydra stumbles over, or merges into what nobody meant."""
    group, value, line = override.key_or_group, override.value(), override.input_line
    if not group:
        raise UserError(f"{line} has no key before its =.")
    if group not in groups or override.is_delete() or isinstance(value, str | dict):
        return
    if value is None and group in OPTIONAL:
        raise UserError(f"{line} chooses nothing: to leave {group} out, write ~{group}.")
    if not isinstance(value, list):
        raise UserError(f"{line} is no choice of {group}: there are {', '.join(options(group))}.")
    if group not in COMBINED:
        raise UserError(f"{line} merges several where {group} is one: choose one, or sweep over them with -m.")


# `sweep=NAME`: a file of configs/sweep stands for the overrides in it, which the command line may replace.
SEARCHES = "hydra/sweeper=aetransfer_optuna"

# Lists are left out: is [0,1] one value or two? Written as on the command line, it is clear.
Value = str | int | float | bool | None


class Space(Node):
    """Where a search draws a key's value from: between low and high, or one of the choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    choices: Annotated[list[Value], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.choices is None:
            if self.low is None or self.high is None or not self.low < self.high:
                raise ValueError("takes choices, or low and a greater high")
            if self.log and self.low <= 0:
                raise ValueError("has log: true, so low must be positive")
        elif self.low is not None or self.high is not None:
            raise ValueError("takes choices, or low and high, not both")
        return self


class SweepFile(Node):
    """params: swept keys. set: single values that belong to them. The rest is a search's: see configs/sweep/tune.yaml.

    trials: of each arm. batch: trials of each arm that are asked for at once. storage: a journal's path, or a
    database's URL; None for `<output_dir>/studies/studies.journal`.
    """

    params: dict[str, Value] = Field(default_factory=dict)
    set: dict[str, Value] = Field(default_factory=dict)
    space: dict[str, Space] = Field(default_factory=dict)
    trials: PositiveInt = 20
    batch: PositiveInt = 1
    seed: Seed = 0
    storage: str | None = None


class _Config(Node):
    sweep: SweepFile


@dataclass(frozen=True)
class Expansion:
    """overrides: of the command line and its sweep file. bounds: of each searched key, its outermost values."""

    overrides: list[str]
    bounds: list[list[str]]


def expanded(words: Words, overrides: list[str]) -> Expansion:
    """Add the overrides that a chosen sweep file stands for. A key that is set already is left alone."""
    chosen = [override for override in overrides if override.startswith("sweep=")]
    if not chosen:
        return Expansion(overrides, [])
    if not words.multirun:
        raise UserError(f"{chosen[-1]} is a sweep over several values: add -m to run them all.")
    own = [override for override in overrides if key_of(override).split(".")[0] == "sweep"]
    alternatives_of(words, own)
    file = sweep_file(composed(words.config_name, own, words.folder))
    if any(sets_allow(key) for key in (*file.set, *file.params, *file.space)):
        raise UserError(f"{chosen[-1]} sets allow, and no file may say whose code is run: set it on the command line.")
    given = {key_of(override) for override in overrides}
    more = [override_of(key, value) for key, value in {**file.set, **file.params}.items() if key not in given]
    if not file.space:
        return Expansion([*overrides, *more], [])
    bounds = [
        [override_of(key, value) for value in space.choices or (space.low, space.high)]
        for key, space in searched(file, overrides).items()
    ]
    return Expansion([*overrides, *more, SEARCHES], bounds)


def sweep_file(config: DictConfig) -> SweepFile:
    """Return a composed config's sweep. Raises UserError for a key or a value that no sweep has."""
    try:
        return _Config.model_validate({"sweep": OmegaConf.to_container(config.sweep, resolve=True)}).sweep
    except ValidationError as error:
        raise UserError(sentence(error, "train")) from error


def searched(file: SweepFile, overrides: list[str]) -> dict[str, Space]:
    """Return the space without what the command line has set. Raises UserError where nothing is left of it."""
    given = {key_of(override) for override in overrides}
    left = {key: space for key, space in file.space.items() if key not in given}
    if not left:
        raise UserError(f"Nothing is left to search: {', '.join(file.space)} are set on the command line.")
    return left


def override_of(key: str, value: Value) -> str:
    """Write a key and its value as on the command line."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"
