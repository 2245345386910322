"""`sweep=NAME`: a file of configs/sweep stands for the overrides in it, which the command line may replace."""

import json
from typing import Annotated, Any, Self

from omegaconf import OmegaConf
from pydantic import Field, ValidationError, model_validator

from aetransfer.config.choices import alternatives_of
from aetransfer.config.compose import composed
from aetransfer.config.schema import Node, PositiveInt, Seed
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
    """params: swept keys. set: single values that belong to them. The rest is a search's: see configs/sweep/tune."""

    params: dict[str, Value] = Field(default_factory=dict)
    set: dict[str, Value] = Field(default_factory=dict)
    space: dict[str, Space] = Field(default_factory=dict)
    trials: PositiveInt = 20
    seed: Seed = 0
    storage: str | None = None
    name: str | None = None


class _Config(Node):
    sweep: SweepFile


def expanded(config_name: str, overrides: list[str], multirun: bool, config_dir: str | None = None) -> list[str]:
    """Return the overrides with those that a chosen sweep file stands for. A key that is set already is left alone."""
    chosen = [override for override in overrides if override.startswith("sweep=")]
    if not chosen:
        return overrides
    if not multirun:
        raise UserError(f"{chosen[-1]} is a sweep over several values: add -m to run them all.")
    own = [override for override in overrides if _key(override).split(".")[0] == "sweep"]
    alternatives_of(config_name, own, multirun, config_dir)
    file = _checked(OmegaConf.to_container(composed(config_name, own, config_dir).sweep, resolve=True))
    given = {_key(override) for override in overrides}
    words = {**file.set, **file.params}
    more = [f"{key}={_written(value)}" for key, value in words.items() if key not in given]
    if file.space and not any(_key(override) == "hydra/sweeper" for override in overrides):
        more.append(SEARCHES)
    return [*overrides, *more]


def _checked(node: Any) -> SweepFile:
    try:
        return _Config.model_validate({"sweep": node}).sweep
    except ValidationError as error:
        raise UserError(sentence(error, "train")) from error


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _written(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
