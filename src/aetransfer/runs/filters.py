"""Words that choose runs: `stage=transfer data=mnist,cifar10 encoder.latent_dim=64 name=*-s0-*`.

Values with commas mean any of them; several words must all hold.
"""

import difflib
import fnmatch
import re
from dataclasses import dataclass
from typing import Any

import yaml

from aetransfer.errors import UserError
from aetransfer.runs.store import StoredRun

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
    """Return what a dotted key of a config is set to, None where it is not there."""
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
