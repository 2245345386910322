"""Runs that differ in nothing but seed and fold are one group; what groups differ in becomes the report's columns.

Columns have the keys that a user types (`transfer`, `data`, `encoder.latent_dim`). A key that only follows another, as
the number of classes follows the data set, is no column.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from aetransfer.config.nodes import only_looks
from aetransfer.config.schema import Training
from aetransfer.models.facts import Monitor
from aetransfer.report.statistics import Folds, Summary, summarise
from aetransfer.store.identity import HARDWARE
from aetransfer.store.run import StoredRun

# The order in which arms are listed.

# Controls first, each next to what is compared with it.
ORDER = (
    *("scratch", "random_frozen", "random_linear_probe"),
    *("linear_probe", "frozen", "finetune", "finetune_layerwise", "gradual", "shuffled", "moments"),
    *("transplant", "transplant_frozen"),
)


def rank(arm: str) -> tuple[int, str]:
    """Return what arms are sorted by; an arm unknown here comes last."""
    return (ORDER.index(arm) if arm in ORDER else len(ORDER), arm)


# The key of a config that a choice of a group sets, and the word that makes the choice.
CHOICES = {
    "data.name": "data",
    "pretrain.data.name": "pretrain.data",
    "pretrain.model.name": "pretrain",
    "pretrain.path": "pretrain",
    "encoder._target_": "encoder",
    "model.name": "model",
    "transfer.name": "transfer",
}
# What may follow from a choice. An arm sets how the classifier is built and trained, never what it is trained on: runs
# on different data or of different sizes are not compared, even where an arm happens to go with each.
FOLLOWERS = {
    "data": ("",),
    "pretrain.data": ("pretrain.",),
    "pretrain": ("pretrain.",),
    "encoder": ("encoder.",),
    "model": ("",),
    "transfer": ("transfer.", "head", "model.", "callbacks."),
}
# Beside aetransfer.store.identity's reasons: seeds and folds are what a group is averaged over, and the encoder of a
# pretraining is its transfer's.
IGNORED = (
    *("seed", "allow", "evaluation", "rerun", "reuse", "pretrain.seed", "pretrain.digest", "pretrain.rerun"),
    *("data.fold", "pretrain.data.fold"),
)
IGNORED_BELOW = ("paths.", "logger.", "evaluation.", "pretrain.encoder.")
MACHINE = ("data.workers", "data.max_memory_gb", "data.root", "data.reader.root", "data.reader.cache_dir")
TRAINER = {f"trainer.{key}" for key in (*Training.model_fields, *HARDWARE)}
EVERYTHING = "all"

# Seed and fold: what a run is paired with its control by. No fold where the test split is tested on.
Replicate = tuple[int, int | None]


@dataclass(frozen=True)
class Group:
    """runs: those of the seeds and folds, in order. setting: what was varied, by column; a key that has no meaning here
    is absent (a control has no pretraining)."""

    setting: dict[str, Any]
    runs: list[StoredRun]

    @property
    def arm(self) -> str | None:
        return self.runs[0].arm

    @property
    def control(self) -> str | None:
        return self.runs[0].control

    @property
    def compared(self) -> Monitor | None:
        return self.runs[0].compared

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(run.seed for run in self.runs))

    @property
    def replicates(self) -> list[Replicate]:
        return list(dict.fromkeys(map(replicate, self.runs)))

    @property
    def n(self) -> str:
        """Say over how many seeds, and folds, its numbers go."""
        folds = self.folds_of(self.replicates)
        return f"{len(self.replicates)}{f' ({folds.measured} folds)' if folds else ''}"

    def by_replicate(self, metric: str) -> dict[Replicate, float]:
        """Return a metric's value for each seed and fold that has one."""
        return means((replicate(run), run.tested[metric]) for run in self.runs if metric in run.tested)

    def values(self, metric: str) -> list[float]:
        return list(self.by_replicate(metric).values())

    def folds_of(self, replicates: Iterable[Replicate]) -> Folds | None:
        """Return the folds that these are of, None for one fold or none: then only the seed differs."""
        of = tuple(fold for _, fold in replicates if fold is not None)
        count = next((run.folds for run in self.runs if run.folds), None)
        return Folds(count, of) if count and len(set(of)) > 1 else None

    def summary(self, metric: str) -> Summary | None:
        """Summarise a test metric, None where no run has it."""
        found = self.by_replicate(metric)
        return summarise([list(found.values())], self.folds_of(found)) if found else None

    def words(self, metric: str) -> str:
        """Name a metric as its model does, in words with a unit; its name where there are none."""
        words = self.runs[0].model.words(metric.partition("/")[2])
        return f"{metric}: {words}" if words else metric

    def labels(self, columns: Iterable[str]) -> dict[str, str]:
        return {column: label(column, self.setting) for column in columns}


def noun_of_groups(groups: Sequence[Group]) -> str:
    """Say what the inputs of runs are: images, signals, vectors; examples where they differ."""
    nouns = {run.noun for group in groups for run in group.runs}
    return nouns.pop() if len(nouns) == 1 else "examples"


def group_runs(runs: list[StoredRun]) -> tuple[list[str], list[Group]]:
    """Return the columns, the arm's last, and the groups in the order of their values."""
    settings = settings_of(runs)
    columns = varied(settings)
    if runs and "transfer" in settings[0] and "transfer" not in columns:
        columns.append("transfer")
    grouped: dict[str, Group] = {}
    for run, decided in zip(runs, settings, strict=True):
        setting = {key: decided[key] for key in columns if key in decided}
        grouped.setdefault(repr(setting), Group(setting, [])).runs.append(run)
    groups = sorted(grouped.values(), key=lambda group: [_order(column, group.setting) for column in columns])
    for group in groups:
        group.runs.sort(key=lambda run: (run.seed, run.fold or 0, run.name))
    return columns, groups


def replicate(run: StoredRun) -> Replicate:
    return run.seed, run.fold


def means(values: Iterable[tuple[Replicate, float]]) -> dict[Replicate, float]:
    """Average the values of each seed and fold: runs that share its images, and its control, are no further ones."""
    found: dict[Replicate, list[float]] = {}
    for each, value in values:
        found.setdefault(each, []).append(value)
    return {each: fmean(those) for each, those in found.items()}


def same_setting(one: Group, other: Group, but: str = "transfer") -> bool:
    """Tell whether two groups agree in all that both have a value for, but one key."""
    return all(one.setting[key] == other.setting[key] for key in one.setting if key in other.setting and key != but)


def label(column: str, setting: dict[str, Any]) -> str:
    """Write a setting's value as a user would."""
    if column not in setting:
        return "–"
    value = setting[column]
    if value is None:
        return EVERYTHING if column in ("data.labels_per_class", "data.train_fraction") else "none"
    return str(value)


def decisive_settings(run: StoredRun) -> dict[str, Any]:
    """Return what decides a run's numbers, but its seed, by the user's keys."""
    not_decisive = (*IGNORED_BELOW, *_prefixes_that_look(run.settings))
    decided: dict[str, Any] = {}
    for key, value in run.settings.items():
        if value is None and key in ("transfer", "transfer.transplanted", "pretrain", "head"):
            continue
        if key.startswith("pretrain.") and run.stage == "transfer" and run.control is None:
            continue  # a control's config may name a pretraining that it does not use
        if key in IGNORED or key.startswith(not_decisive) or key.endswith(MACHINE):
            continue
        if key.startswith("trainer.") and key not in TRAINER:
            continue
        name = CHOICES.get(key, key.removesuffix("._target_") if key.startswith(("callbacks.", "head.")) else key)
        decided[name] = value.rpartition(".")[2] if key in ("encoder._target_", "head._target_") else value
        if name in ("data", "pretrain.data"):
            decided[name.removesuffix("data") + "augment"] = _transforms(run.settings, f"{name}.augment.")
    # Of runs from before there were folds as well.
    return {"data.folds": None, "data.test_fraction": None} | decided


def _transforms(config: dict[str, Any], prefix: str) -> str:
    """Name what images went through, in its order."""
    below = [key for key, value in config.items() if key.startswith(prefix) and value is not None]
    return " + ".join(dict.fromkeys(key.removeprefix(prefix).partition(".")[0] for key in below)) or "none"


def settings_of(runs: Sequence[StoredRun]) -> list[dict[str, Any]]:
    """Return each run's `decisive_settings`, with its data by their place where that says as much as their digest."""
    settings = [decisive_settings(run) for run in runs]
    for data in ("data", "pretrain.data"):
        digest = f"{data}.digest"
        using = [(decided, run.settings) for decided, run in zip(settings, runs, strict=True) if data in decided]
        places: dict[str | None, str | None] = {}
        for decided, config in using:
            # Runs from before there was a digest are of data that nobody knows.
            place = config.get(f"{data}.root") or config.get(f"{data}.reader.root")
            places.setdefault(decided.setdefault(digest, None), place)
        if len(places) > 1 and None not in places.values() and len(set(places.values())) == len(places):
            for decided, _ in using:
                decided[f"{data}.root"] = places[decided.pop(digest)]
    return settings


def varied(settings: list[dict[str, Any]]) -> list[str]:
    """Return the keys that differ, without those that follow from others; the arm's key last."""
    keys = list(dict.fromkeys(key for decided in settings for key in decided))
    differing = [key for key in keys if _differs(key, settings)]
    choices = [key for key in dict.fromkeys(CHOICES.values()) if key in differing]
    columns = list(choices)
    for key in differing:
        if key not in choices and not _follows(key, choices, settings) and not _mirrors(key, columns, settings):
            columns.append(key)
    return sorted(columns, key=lambda key: key == "transfer")


def _prefixes_that_look(config: dict[str, Any]) -> tuple[str, ...]:
    """Return what the keys of callbacks begin with that only look."""
    nodes = {key.removesuffix("_target_"): value for key, value in config.items() if key.endswith("._target_")}
    return tuple(
        node
        for node, target in nodes.items()
        if node.startswith("callbacks.") and only_looks(str(target), config.get(f"{node}only_looks"))
    )


def _differs(key: str, settings: list[dict[str, Any]]) -> bool:
    values = {repr(decided[key]) for decided in settings if key in decided}
    # A callback is there or not; any other absent key has no meaning for that run, or was unknown to its version.
    present = sum(key in decided for decided in settings)
    return len(values) > 1 or (key.startswith("callbacks.") and key.count(".") == 1 and present < len(settings))


def _follows(key: str, choices: list[str], settings: list[dict[str, Any]]) -> bool:
    """Tell whether the choices that may set a key leave it no value of its own."""
    owners = [choice for choice in choices if key.startswith(FOLLOWERS[choice])]
    if not owners:
        return False
    values: dict[str, set[str]] = {}
    for decided in settings:
        chosen = repr([decided.get(owner) for owner in owners])
        values.setdefault(chosen, set()).add(repr(decided.get(key)))
    return all(len(different) == 1 for different in values.values())


def _mirrors(key: str, columns: list[str], settings: list[dict[str, Any]]) -> bool:
    """Tell whether a key repeats a column of the same last word, as one that is interpolated from it does."""
    alike = [column for column in columns if column.rpartition(".")[2] == key.rpartition(".")[2]]
    return any(
        all(decided.get(key, decided.get(column)) == decided.get(column) for decided in settings) for column in alike
    )


def _order(column: str, setting: dict[str, Any]) -> tuple[int, float, tuple[int, str]]:
    """Sort numbers by size, a missing limit after all limits, arms in their own order, all else by its letters."""
    value = setting.get(column)
    if column not in setting:
        return (0, 0.0, (0, ""))
    if isinstance(value, int | float):
        return (1, float(value), (0, ""))
    return (2, 0.0, rank(str(value)) if column == "transfer" else (0, label(column, setting)))
