"""What a command line's overrides choose from: the jobs of a sweep, and choices that Hydra would stumble over."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override

from aetransfer.config.compose import options_of
from aetransfer.config.groups import choices_of, groups_of
from aetransfer.config.old_names import moved_augment
from aetransfer.config.quoting import as_read, quoted
from aetransfer.config.schema import WEIGHTS_OF_TIMM
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


def alternatives_of(
    config_name: str, overrides: list[str], multirun: bool, config_dir: str | None = None
) -> list[list[str]]:
    """Return for each override the single-valued ones it stands for. Raises UserError for what can't be run."""
    groups = groups_of(config_name)
    alternatives: list[list[str]] = []
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except ValueError as error:
        # A number of thousands of digits, which Python does not read.
        raise UserError(f"The command line has a number that can't be read ({error}).") from error
    options = partial(options_of, config_name=config_name, overrides=overrides, config_dir=config_dir)
    for override in parsed:
        line = override.input_line
        assert line is not None
        if override.is_sweep_override() and not multirun:
            if config_name != "train":
                raise UserError(f"{line} names several values, and {config_name} takes one: quote a name with a comma.")
            raise UserError(f"{line} is a sweep over several values: add -m to run them all.")
        if override.is_sweep_override():
            alternatives.append(_swept(override))
        else:
            _check_choice(override, groups, options)
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
