"""A run as it lies in the store, whole or damaged, and what lists and reports ask about it.

Nothing here imports torch or checks a config against today's schema: runs of older versions are read as well.
"""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from aetransfer.config.other_names import todays_config
from aetransfer.config.shapes import noun_of, shape_in
from aetransfer.files import read_json, read_yaml
from aetransfer.models.facts import ModelFacts, Monitor, Part, facts_of
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import UNTESTED, is_untested
from aetransfer.store.lock import RunLock

log = logging.getLogger(__name__)

# A table has no room for more, and a result.json may say anything.
LARGEST = 1e12
# No mean can be taken of what is as good as infinite.
INFINITE = 1e100
Schema = TypeVar("Schema", bound=BaseModel)
HISTORY = TypeAdapter(list[dict[str, float]])


class Timing(BaseModel):
    seconds: float | None = None
    train_seconds: float | None = None
    images_per_second: float | None = None


class Code(BaseModel):
    commit: str
    dirty: bool


class Hardware(BaseModel):
    machine: str
    cpus: int
    threads: int
    gpus: list[str]


class Groups(BaseModel):
    """How many groups, such as subjects, stand behind each part of the data. called: what one is, in a word."""

    train: int = 0
    val: int = 0
    test: int = 0
    called: Annotated[str, Field(max_length=80)] = "group"


class Used(BaseModel):
    """Which data a run used. classes: 0 without labels. validation: "own", where the data have a split for that, or
    "cut" out of train by the seed. What older runs don't tell is as it always was then. tested_on: which
    part of the training split, where it is no test split. without: the classes of which a part has no example, of each
    part. groups: of data that have some.
    """

    used: str = ""
    notes: list[str] = []
    classes: int = 2
    validation: str = "cut"
    tested_on: str = ""
    without: dict[str, Annotated[list[str], Field(max_length=10_000)]] = {}
    groups: Groups | None = None


class Weights(BaseModel):
    """What a run says of the weights that others trained: see `aetransfer.transfer.foreign.Taken`."""

    said: str


class Facts(BaseModel):
    """What a report reads of a run's result.json. progress: how far it was when it was last heard of."""

    stage: Literal["pretrain", "transfer"]
    seed: int
    arm: str | None
    metrics: dict[str, float]
    counts: dict[str, float]
    timing: Timing
    data: Used = Used()
    command: list[str] = []
    overrides: list[str] = []
    config_dir: str | None = None
    untested: bool = False
    versions: dict[str, str] | None = None
    git: Code | None = None
    hardware: Hardware | None = None
    error: str | None = None
    progress: dict[str, float] = {}
    heartbeat: str | None = None
    source: str | None = None
    weights: Weights | None = None


@dataclass(frozen=True)
class StoredRun:
    """A run directory's plain content; `damage` says why it can't be used, None where it can."""

    path: Path
    config: dict[str, Any]
    result: dict[str, Any]
    damage: str | None = None

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def status(self) -> str:
        """Return result.json's word, or what it could not say any more: damaged, or cut off while it was running."""
        if self.damage:
            return "damaged"
        said = str(self.result["status"])
        if said == "running":
            holder = RunLock(self.directory.locks).holder()
            return said if holder is not None and not holder.is_gone() else "interrupted"
        return said

    @property
    def stage(self) -> str:
        said = self.result.get("stage")
        return said if said in ("pretrain", "transfer") else "transfer" if self.config.get("transfer") else "pretrain"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Return the config by dotted key; lists stay lists."""
        return flat(self.config)

    @cached_property
    def facts(self) -> Facts:
        """Return what the run says of itself, checked. Raises ValidationError where that is not what a run says."""
        return Facts.model_validate(self.result)

    @cached_property
    def model(self) -> ModelFacts:
        """Return what the run says of its model."""
        return facts_of(self.result, self.config)

    @property
    def shape(self) -> tuple[int, ...]:
        """What one of its inputs is, for words."""
        return shape_in(self.config)

    @property
    def noun(self) -> str:
        """What its inputs are called: images, signals, vectors."""
        return noun_of(self.shape)

    @property
    def source(self) -> str | None:
        """The run directory, checkpoint or encoder that this run started from."""
        source = self.result.get("source")
        return source if isinstance(source, str) else None

    @property
    def seed(self) -> int:
        return self.facts.seed

    @property
    def arm(self) -> str | None:
        return self.facts.arm

    @property
    def fold(self) -> int | None:
        """Return which of `folds` parts of the training split the run was tested on, None for the test split."""
        return self.settings.get("data.fold")

    @property
    def folds(self) -> int | None:
        return self.settings.get("data.folds")

    @property
    def control(self) -> str | None:
        """Return the arm that this one is compared with, None for a control itself."""
        return self.settings.get("transfer.control")

    @property
    def compared(self) -> Monitor | None:
        """Return by which test metric the run is compared with others, None where nobody knows."""
        return self.model.compared.on("test") if self.model.compared else None

    @property
    def tested(self) -> dict[str, float]:
        """Return the final metrics on the test split."""
        return {name: value for name, value in self.facts.metrics.items() if name.startswith("test/")}

    @property
    def counts(self) -> dict[str, float]:
        """Return examples by part, parameters, epochs, ...: what there is of them, whole numbers as such."""
        counts = {name: count for name, count in self.facts.counts.items() if isfinite(count)}
        return {name: int(count) if count.is_integer() else count for name, count in counts.items()}

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """Return a row of metrics an epoch; empty for a run that wrote none."""
        path = self.directory.history
        try:
            return HISTORY.validate_python(read_json(path)) if path.is_file() else []
        except (OSError, ValueError):
            log.warning("%s is damaged: the run has no curves here.", path)
            return []

    def measured(self, part: Part = "test") -> str:
        """Return the best epoch's value of what runs of its model are compared by, `acc .756`; nothing without one."""
        if part == "test" and is_untested(self.result):
            return UNTESTED
        compared, metrics = self.compared if self.config else None, self.result.get("metrics")
        if compared is None or not isinstance(metrics, dict):
            return ""
        value, name = metrics.get(compared.on(part).metric), compared.metric.partition("/")[2]
        if not isinstance(value, int | float) or abs(value) > LARGEST:
            return ""
        return f"{name} {f'{value:.3f}'.replace('0.', '.', 1) if 0.001 <= abs(value) < 0.9995 else f'{value:.4g}'}"

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.path.rglob("*") if path.is_file())

    @property
    def bytes(self) -> int:
        return sum(path.lstat().st_size for path in self.files)


def read(path: Path) -> StoredRun:
    """Read a run directory, whatever state it is in."""
    directory = RunDirectory(path)
    try:
        config = _mapping(todays_config(read_yaml(directory.config)), "config.yaml")
        str(config["model"]["name"])
    except FileNotFoundError:
        return StoredRun(path, {}, {}, "it has no config.yaml")
    except (OSError, ValueError, LookupError, TypeError) as error:
        return StoredRun(path, {}, {}, f"config.yaml can't be read: {_line(error)}")
    try:
        result = _mapping(read_json(directory.result_path), "result.json")
        str(result["status"])
    except FileNotFoundError:
        return StoredRun(path, config, {}, "it has no result.json")
    except (OSError, ValueError, LookupError) as error:
        return StoredRun(path, config, {}, f"result.json can't be read: {_line(error)}")
    return StoredRun(path, config, result)


def checked(run: StoredRun) -> StoredRun:
    """Return the run as damaged where it says finished, and result.json is not what a finished run leaves.

    Also where a test metric is NaN, infinite or as good as that: no mean can be taken of it.
    """
    if run.status != "finished":
        return run
    try:
        spoilt = [f"{name} is {value}" for name, value in run.tested.items() if not abs(value) < INFINITE]
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        return replace(run, damage=f"result.json: {where} is not what a finished run says")
    if spoilt:
        return replace(run, damage=f"{', '.join(spoilt)}: the model's outputs for some {run.noun} are no numbers")
    return run


def written(path: Path, schema: type[Schema]) -> Schema:
    """Return a JSON file of a run, checked. Raises OSError or ValueError; a link may lead anywhere, and is refused."""
    if path.is_symlink():
        raise ValueError("it is a link")
    return schema.model_validate(read_json(path))


def moved(path: str, store: Path) -> Path:
    """Return where a run lies: in the store, else where it was said to be, from the folder of that command."""
    inside = store / Path(path).name
    return inside if inside.is_dir() else Path(path)


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested config by dotted key."""
    values: dict[str, Any] = {}
    for key, value in node.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} holds no keys")
    return value


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())
