"""Words that choose runs: `stage=transfer data=mnist,cifar10 encoder.latent_dim=64 name=*-s0-*`.

Values with commas mean any of them; several words must all hold.
"""

import difflib
import fnmatch
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from aetransfer.config.nodes import at_home
from aetransfer.config.other_names import todays_config
from aetransfer.errors import UserError
from aetransfer.files import read_json, read_yaml
from aetransfer.models.facts import ModelFacts, Part, facts_of
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import UNTESTED, is_untested
from aetransfer.store.lock import RunLock

# A table has no room for more, and a result.json may say anything.
LARGEST = 1e12

# What is in the store: the directories under `<output_dir>/runs`, read as they lie there, whole or damaged.
#
# Nothing here imports torch or checks a config against today's schema: runs of older versions are listed as well.


@dataclass(frozen=True)
class StoredRun:
    """A run directory's plain content; `damage` says why it can't be used, None where it can."""

    path: Path
    config: dict[str, Any]
    result: dict[str, Any]
    damage: str | None = None

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
            holder = RunLock(RunDirectory(self.path).locks).holder()
            return said if holder is not None and not holder.is_gone() else "interrupted"
        return said

    @property
    def stage(self) -> str:
        said = self.result.get("stage")
        return said if said in ("pretrain", "transfer") else "transfer" if self.config.get("transfer") else "pretrain"

    @cached_property
    def model(self) -> ModelFacts:
        """Return what the run says of its model."""
        return facts_of(self.result, self.config)

    @property
    def main_metric(self) -> str:
        """Return the test metric that runs of its model are compared by; empty where nobody knows."""
        return self.model.compared.on("test").metric if self.model.compared else ""

    def measured(self, part: Part = "test") -> str:
        """Return the best epoch's value of what runs of its model are compared by, `acc .756`; nothing without one."""
        if part == "test" and is_untested(self.result):
            return UNTESTED
        compared, metrics = self.model.compared if self.config else None, self.result.get("metrics")
        if compared is None or not isinstance(metrics, dict):
            return ""
        value, name = metrics.get(compared.on(part).metric), compared.metric.partition("/")[2]
        if not isinstance(value, int | float) or abs(value) > LARGEST:
            return ""
        return f"{name} {f'{value:.3f}'.replace('0.', '.', 1) if 0.001 <= abs(value) < 0.9995 else f'{value:.4g}'}"

    @property
    def source(self) -> str | None:
        """The run directory, checkpoint or encoder that this run started from."""
        source = self.result.get("source")
        return source if isinstance(source, str) else None

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.path.rglob("*") if path.is_file())

    @property
    def bytes(self) -> int:
        return sum(path.lstat().st_size for path in self.files)


def default_output_dir() -> Path:
    """Return the output directory of a command that names none, as configs/paths/default.yaml has it."""
    return at_home(os.environ.get("AETRANSFER_OUTPUT_DIR", "outputs"))


def runs_in(output_dir: Path) -> list[StoredRun]:
    """Return the runs of a store by name, the damaged ones included. Links that lead out of the store are not in it."""
    folder = output_dir / "runs"
    if not folder.is_dir():
        return []
    inside = folder.resolve()
    return [read(path) for path in sorted(folder.glob("[!.]*")) if path.is_dir() and path.resolve().parent == inside]


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


def run_called(name: str, runs: list[StoredRun]) -> StoredRun:
    """Return the one run that a name, or a part of it, or a path means. Raises UserError for none or several."""
    exact = [run for run in runs if run.name == name]
    if exact:
        return exact[0]
    path = at_home(name)
    if path.is_dir():
        same = [run for run in runs if run.path.samefile(path)]
        return same[0] if same else read(path)
    found = [run for run in runs if name in run.name]
    if not found:
        raise UserError(f"{name} is no run directory and no part of a run's name: see python -m aetransfer.runs list.")
    if len(found) > 1:
        shown = ", ".join(run.name for run in found[:5]) + (", ..." if len(found) > 5 else "")
        raise UserError(f"{name} is a part of {len(found)} names ({shown}): give more of it.")
    return found[0]


def started_from(source: StoredRun, runs: list[StoredRun]) -> list[StoredRun]:
    """Return the runs whose encoder comes from `source`."""
    place = source.path.resolve()
    carried = [(run, at_home(run.source).resolve()) for run in runs if run.source]
    return [run for run, path in carried if place in (path, *path.parents)]


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} holds no keys")
    return value


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())


ALIASES = {"arm": "transfer", "fold": "data.fold"}
OF_THE_RUN = ("stage", "status", "name")
SHORT = ("stage", "model", "data", "arm", "transfer", "status", "seed", "fold", "name")


@dataclass(frozen=True)
class Filter:
    """key: one of SHORT or a dotted key of the config. values: as written, any of which may hold."""

    key: str
    values: tuple[str, ...]

    @classmethod
    def of(cls, word: str) -> "Filter":
        """Read `key=value,value`. Commas inside brackets belong to a list."""
        key, _, text = word.partition("=")
        values = tuple(re.split(r",(?![^\[]*\])", text))
        if not key or not all(values):
            raise UserError(f"{word} is no filter: write key=value or key=value,value.")
        return cls(ALIASES.get(key, key), values)

    def holds(self, run: StoredRun) -> bool:
        if self.key == "name":
            return any(fnmatch.fnmatchcase(run.name, value) for value in self.values)
        if self.key == "status":
            return run.status in self.values
        if not run.config:
            return False
        if self.key == "stage":
            return run.stage in self.values
        value = _named(setting(run.config, self.key))
        return any(_same(value, text) for text in self.values)


def chosen(runs: list[StoredRun], words: list[str]) -> list[StoredRun]:
    """Return the runs for which all words hold. Raises UserError for a key that no run has."""
    filters = [Filter.of(word) for word in words]
    for wanted in filters:
        _check_key(wanted.key, runs)
    return [run for run in runs if all(wanted.holds(run) for wanted in filters)]


def setting(config: dict[str, Any], key: str) -> Any:
    """Return what a dotted key of a config, nested or flat, is set to, None where it is not there."""
    if key in config:
        return config[key]
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, dict):
            return None
        node = node.get(part)
    return node


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested config by dotted key."""
    values: dict[str, Any] = {}
    for key, value in node.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values


def _named(value: Any) -> Any:
    # data=mnist chooses a group's file, whose name is in it.
    return value.get("name", value) if isinstance(value, dict) else value


def _same(value: Any, text: str) -> bool:
    if value is None:
        return text in ("null", "all")
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    try:
        return text == value or bool(yaml.safe_load(text) == value)
    except yaml.YAMLError:
        return False


def _check_key(key: str, runs: list[StoredRun]) -> None:
    configs = [run.config for run in runs if run.config]
    if key in OF_THE_RUN or not configs:
        return
    known = dict.fromkeys(name for config in configs for name in flat(config))
    groups = {name.rpartition(".")[0] for name in known if name.endswith(".name")}
    top = {name for config in configs for name in config}
    if key in known or key in groups or (key in top and key in SHORT):
        return
    if any(name.startswith(f"{key}.") for name in known):
        inside = ", ".join(name for name in known if name.startswith(f"{key}."))
        raise UserError(f"{key} is a group of keys: filter by one of {inside}.")
    near = difflib.get_close_matches(key, [*SHORT, *known], n=1)
    hint = f" (did you mean {near[0]})" if near else ""
    raise UserError(f"{key} is no filter{hint}: there are {', '.join(SHORT)} and the config's dotted keys.")
