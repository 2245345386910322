"""What the nodes of every config are made of: numbers with their limits, and keys of which none may be misspelt.

Hydra is not imported here: an encoder is loaded, and its file refused, without it.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from aetransfer.config.other_names import todays, with_measures_targets

# Callbacks that only look change no number of a run, so a run with one and a run without it are the same run.
OURS = "aetransfer.training.callbacks."
LIGHTNINGS = "pytorch_lightning.callbacks."
# Of Lightning's those that log, print, draw progress, or write weights elsewhere. The others stop, save batches from
# failing, freeze, prune, average or schedule. Timer may stop a training, and LambdaCallback does whatever it is given.
LIGHTNINGS_LOOK = (
    "DeviceStatsMonitor",
    "LearningRateMonitor",
    "ModelCheckpoint",
    "ModelSummary",
    "OnExceptionCheckpoint",
    "RichModelSummary",
    "RichProgressBar",
    "ThroughputMonitor",
    "TQDMProgressBar",
)


def only_looks(target: str, said: Any = None) -> bool:
    """Tell whether a callback's `_target_` only looks. said: what its node says of that, None for nothing."""
    if said is not None:
        return said is True
    target = todays(target)
    known = target.startswith(LIGHTNINGS) and target.rpartition(".")[2] in LIGHTNINGS_LOOK
    return target.startswith(OURS) or known


# Of a value in a sentence: somebody else's file may have made a book of it.
LONGEST = 200


def wrong_value(place: str, value: Any, message: str) -> str:
    """Put a key, its value and what pydantic says of it into a sentence without a period."""
    requirement = re.sub(
        r"^(Input|List|String) |, (unable|got) .*| or (instance|object) .*| after validation.*", "", message
    )
    requirement = requirement.replace("a valid dictionary", "a group of keys")
    text = _yaml(value)
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    return f"{place}{'' if isinstance(value, dict) else f'={shown}'} {requirement}"


def _yaml(value: Any) -> str:
    """Write a value as one would on the command line."""
    if isinstance(value, list):
        return f"[{','.join(_yaml(item) for item in value)}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def no_bool(value: Any) -> Any:
    # Python counts True as 1, so that seed=true would quietly be seed=1.
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "Input should be a number")
    return value


def at_home(path: str | Path) -> Path:
    """Put the home directory in for a leading ~, which no shell does in a config or in .env."""
    # pathlib raises RuntimeError for ~name where nobody is called so: then it is a folder's name.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _as_names(value: Any) -> Any:
    """Take 3 or true for names, and a quoted text for YAML: Hydra's keys can't be quoted."""
    if isinstance(value, str):
        # A text that is no YAML is said to be no mapping.
        with suppress(yaml.YAMLError):
            value = yaml.safe_load(value)
    if not isinstance(value, dict):
        return value
    return {_as_name(key): _as_name(item) for key, item in value.items()}


def _as_name(value: Any) -> Any:
    return json.dumps(value) if value is None or isinstance(value, bool | int | float) else value


def _words(nodes: Any) -> Any:
    """Refuse names that are no words, and take null for no nodes."""
    for name in nodes if isinstance(nodes, dict) else ():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,79}", str(name)):
            raise ValueError(f"has {name}, which is no name: take letters, digits and _, and a letter first")
    return {} if nodes is None else nodes


# It becomes a part of directory names.
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=80)]

# What a user names becomes a part of files and of metrics' names.
ByWord = BeforeValidator(_words)

NameByName = Annotated[dict[str, str], BeforeValidator(_as_names)]

Place = Annotated[Path, AfterValidator(at_home)]

# 32 bits: larger ones overflow somewhere in torch, and none has a meaning.
PositiveInt = Annotated[int, BeforeValidator(no_bool), Field(gt=0, lt=2**31)]
NonNegativeInt = Annotated[int, BeforeValidator(no_bool), Field(ge=0, lt=2**31)]
PositiveFloat = Annotated[float, BeforeValidator(no_bool), Field(gt=0)]
NonNegativeFloat = Annotated[float, BeforeValidator(no_bool), Field(ge=0)]
Fraction = Annotated[float, BeforeValidator(no_bool), Field(gt=0, lt=1)]
# The noise of a VAE has 24 bits for it in its generator's seed (aetransfer.data.draws).
Seed = Annotated[int, BeforeValidator(no_bool), Field(ge=0, lt=2**24)]


def _batches(value: Any) -> Any:
    whole, fraction = type(value) is int and 0 < value < 2**31, type(value) is float and 0 < value <= 1
    if value is not None and not whole and not fraction:
        raise PydanticCustomError("batches", "should be a number of batches or a fraction of them, up to 1.0")
    # A digest takes 1 and 1.0 for the same number, and 1 is a single batch: all of them are null.
    return None if fraction and value == 1 else value


# 3 is three batches and 0.5 half of them, as to Lightning.
Batches = Annotated[int | float | None, BeforeValidator(_batches)]

# Far beyond what is trained here, and short of what takes a machine's memory by a slip or by somebody's malice.
Side = Annotated[int, BeforeValidator(no_bool), Field(gt=0, le=4096)]
Margin = Annotated[int, BeforeValidator(no_bool), Field(ge=0, le=4096)]
Width = Annotated[int, BeforeValidator(no_bool), Field(gt=0, le=2**16)]
Widths = Annotated[list[Width], Field(max_length=12)]


# How image files are read, see `aetransfer.data.reading.Reading`.
GreyLevel = Annotated[int, BeforeValidator(no_bool), Field(ge=0, le=255)]


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if not value[0] < value[1]:
        raise PydanticCustomError("range", "should be [low,high] with low < high")
    return value


Number = Annotated[float, BeforeValidator(no_bool)]
ValueRange = Annotated[tuple[Number, Number], AfterValidator(_rising)]


class Node(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=(), allow_inf_nan=False
    )

    # Keys that the class of `_target_` is not given.
    not_given: ClassVar[tuple[str, ...]] = ()

    def as_written(self) -> dict[str, Any]:
        """Return a node with `_target_` as what is called, and with what."""
        return self.model_dump(by_alias=True, exclude=set(self.not_given))


class Target(Node):
    """An object that is made by calling `_target_` with the other keys."""

    model_config = ConfigDict(extra="allow")
    target: Annotated[str, AfterValidator(todays)] = Field(alias="_target_")


class Callback(Target):
    """A callback. only_looks: true says that your own callback changes no number of a run."""

    not_given = ("only_looks",)

    @property
    def only_looks(self) -> bool:
        return only_looks(self.target, (self.model_extra or {}).get("only_looks"))

    @model_validator(mode="after")
    def _says_yes_or_no(self) -> Self:
        if not isinstance((self.model_extra or {}).get("only_looks", False), bool):
            raise ValueError("has only_looks, which should be true or false")
        return self


class ModelNode(Target):
    """A model. name: its name in names of runs and in tables; without one, that of its class. monitor, monitor_mode:
    the validation metric that chooses the best epoch, if not the model's own. views: for a model that asks for views,
    the augmentations that make a view of an input, in their order.
    """

    not_given = ("name", "monitor", "monitor_mode", "views")
    name: Name
    monitor: str | None = None
    monitor_mode: Literal["min", "max"] | None = None
    views: dict[str, Target | None] | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_called(cls, node: Any) -> Any:
        if isinstance(node, dict) and node.get("name") is None and isinstance(node.get("_target_"), str):
            return {**node, "name": node["_target_"].rpartition(".")[2].lower()}
        return node

    @model_validator(mode="after")
    def _has_no_optimizer(self) -> Self:
        if "optimizer" in (self.model_extra or {}):
            raise ValueError(
                "has optimizer, which is a group beside it now: optimizer=adam optimizer.lr=0.001 scheduler=cosine"
            )
        return self

    @model_validator(mode="after")
    def _has_a_direction_of_something(self) -> Self:
        if self.monitor_mode is not None and self.monitor is None:
            raise ValueError(f"has monitor_mode={self.monitor_mode}, but no monitor: set that too")
        return self


class MetricNode(Target):
    """A metric. words: what it is, with its unit; without them, the name of its class. better: higher or lower, if its
    class says neither.
    """

    not_given = ("words", "better")
    words: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    better: Literal["lower", "higher"] | None = None

    @model_validator(mode="after")
    def _fits_into_memory(self) -> Self:
        # A stranger's run is measured by its own metrics, which keep as much for each class and threshold.
        for key, value in (self.model_extra or {}).items():
            if key in ("num_classes", "num_labels", "num_outputs"):
                raise ValueError(f"has {key}, which the data say: leave it out")
            if isinstance(value, int) and value > 2**16:
                raise ValueError(f"has {key}={value}, and should have {2**16} at most")
        return self


class OptimizerNode(Target):
    """An optimiser. lr: peak learning rate; null: the optimiser's own. encoder_lr: the encoder's; null: the same."""

    not_given = ("encoder_lr",)
    lr: PositiveFloat | None = None
    encoder_lr: PositiveFloat | None = None
    weight_decay: NonNegativeFloat | None = None

    def as_written(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, exclude=set(self.not_given), exclude_none=True)


class SchedulerNode(Target):
    """A schedule of the learning rate. interval: it changes the rate after each step, or after each epoch."""

    not_given = ("interval",)
    interval: Literal["step", "epoch"] = "epoch"


# The `evaluation` group: its files combine, each is a measure by its name.
Measures = Annotated[dict[str, Target | None], BeforeValidator(with_measures_targets), ByWord]


def chosen(measures: Mapping[str, Target | None]) -> dict[str, Target]:
    """Return the node of each measure to take, by its name."""
    return {name: node for name, node in measures.items() if node is not None}
