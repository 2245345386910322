"""`sweep=NAME`: a file of configs/sweep stands for the overrides in it, which the command line may replace."""

import json
from dataclasses import dataclass
from typing import Annotated, Self

from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError, model_validator

from aetransfer.config.choices import alternatives_of
from aetransfer.config.compose import composed
from aetransfer.config.instantiate import sets_allow
from aetransfer.config.nodes import Node, PositiveInt, Seed
from aetransfer.config.sentences import sentence
from aetransfer.errors import UserError

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


def expanded(config_name: str, overrides: list[str], multirun: bool, config_dir: str | None = None) -> Expansion:
    """Add the overrides that a chosen sweep file stands for. A key that is set already is left alone."""
    chosen = [override for override in overrides if override.startswith("sweep=")]
    if not chosen:
        return Expansion(overrides, [])
    if not multirun:
        raise UserError(f"{chosen[-1]} is a sweep over several values: add -m to run them all.")
    own = [override for override in overrides if _key(override).split(".")[0] == "sweep"]
    alternatives_of(config_name, own, multirun, config_dir)
    file = sweep_file(composed(config_name, own, config_dir))
    if any(sets_allow(key) for key in (*file.set, *file.params, *file.space)):
        raise UserError(f"{chosen[-1]} sets allow, and no file may say whose code is run: set it on the command line.")
    given = {_key(override) for override in overrides}
    words = {**file.set, **file.params}
    more = [override_of(key, value) for key, value in words.items() if key not in given]
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
    given = {_key(override) for override in overrides}
    left = {key: space for key, space in file.space.items() if key not in given}
    if not left:
        raise UserError(f"Nothing is left to search: {', '.join(file.space)} are set on the command line.")
    return left


def override_of(key: str, value: Value) -> str:
    """Write a key and its value as on the command line."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
