"""Each arm beside its control, paired by seed and fold within equal other settings, and what that shows in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from aetransfer.models.facts import Monitor
from aetransfer.report.grouping import Group, means, replicate, same_setting
from aetransfer.report.statistics import MOST_SEEDS, Paired, compare, seeds_needed


@dataclass(frozen=True)
class Comparison:
    """group: an arm. monitor: the test metric. paired: None where no seed of its control is among the runs.

    unpaired: seeds, or folds of them, without a partner.
    """

    group: Group
    monitor: Monitor
    control: str
    paired: Paired | None
    ratio: float | None
    unpaired: int

    @property
    def verdict(self) -> str:
        return verdict(self.paired, self.control)


def compare_all(groups: Sequence[Group], monitor: Monitor) -> list[Comparison]:
    """Compare every arm with its control in a test metric."""
    return [_compare(group, groups, monitor) for group in groups if group.control is not None]


def partners(group: Group, arm: str, groups: Sequence[Group]) -> list[Group]:
    """Return the groups of `arm` whose settings are those of `group`."""
    return [other for other in groups if other.arm == arm and same_setting(group, other)]


def verdict(paired: Paired | None, control: str) -> str:
    """Say what a comparison shows, and where it shows nothing, what would."""
    if paired is None:
        return f"not compared: no run of {control} with its seeds"
    if paired.n == 1:
        return "one seed: nothing can be said"
    if paired.shown:
        return "helps" if paired.sign * paired.mean > 0 else "hurts"
    nothing = f"no difference shown at n = {paired.n}"
    if not paired.sd:
        same = "equal" if abs(paired.mean) <= 1e-7 else "differ by the same amount"
        return f"{nothing}: all {'folds' if paired.folds else 'seeds'} {same}, which leaves no spread to judge by"
    if paired.folds:  # further seeds are of the same data
        return f"{nothing} ({paired.folds} folds)"
    seeds = seeds_needed(paired.mean, paired.sd)
    return (
        f"{nothing}: " + (f"about {seeds} seeds" if seeds else f"more than {MOST_SEEDS:,} seeds") + " would settle it"
    )


def _compare(group: Group, groups: Sequence[Group], monitor: Monitor) -> Comparison:
    assert group.control is not None
    controls = [run for other in partners(group, group.control, groups) for run in other.runs]
    ours, theirs = group.by_replicate(monitor.metric), Group({}, controls).by_replicate(monitor.metric)
    shared = [each for each in ours if each in theirs]
    unpaired = len(group.replicates) - len(shared)
    if not shared:
        return Comparison(group, monitor, group.control, None, None, unpaired)
    arm, control = [ours[each] for each in shared], [theirs[each] for each in shared]
    # A quantity that may be negative, such as a log density, has no ratio.
    ratio = sum(arm) / sum(control) if sum(control) and min(*arm, *control) >= 0 else None
    paired = compare(arm, control, monitor.sign, group.folds_of(shared))
    return Comparison(group, monitor, group.control, paired, ratio, unpaired)


# What a carried encoder saves: labels, and epochs.

# Keys that set how many labelled images a transfer is trained on.
LABEL_KEYS = ("data.labels_per_class", "data.train_fraction")
SCRATCH = "scratch"
SHARE = 0.95


@dataclass(frozen=True)
class LabelSavings:
    """factor: labels the control needs over labels the arm has. bound: '', or '>' or '<' beyond what was measured."""

    factor: float
    bound: str

    def __str__(self) -> str:
        return f"{self.bound}{' ' if self.bound else ''}{self.factor:.2g}" + (
            " (beyond the range measured)" if self.bound else ""
        )


def label_savings(group: Group, groups: Sequence[Group], monitor: Monitor) -> LabelSavings | None:
    """Ask the control's label-efficiency curve how many labels it needs to be as good as the arm.

    None where the control was not run on two amounts of labels or more, all else being equal.
    """
    metric, sign = monitor.metric, monitor.sign
    if group.control is None or not group.values(metric):
        return None
    curve = [
        (labelled(other), sign * fmean(other.values(metric)))
        for other in groups
        if other.arm == group.control and _same_but_labels(group, other) and other.values(metric)
    ]
    if len({labels for labels, _ in curve}) < 2:
        return None
    labels, bound = labels_for(sorted(curve), sign * fmean(group.values(metric)))
    return LabelSavings(labels / labelled(group), bound)


def labels_for(curve: Sequence[tuple[float, float]], wanted: float) -> tuple[float, str]:
    """Return the fewest labels with which a curve reaches a value, linear between its points in log(labels).

    curve: (labels, value) with labels rising, two points or more, of which more is better; noise may let values fall.
    Beyond its ends: the end, and on which side of it.
    """
    if wanted <= curve[0][1]:
        return curve[0][0], "<" if wanted < curve[0][1] else ""
    for (few, low), (many, high) in pairwise(curve):
        if high >= wanted:  # the first that is, so low < wanted
            share = (wanted - low) / (high - low)
            return math.exp(math.log(few) + share * (math.log(many) - math.log(few))), ""
    return curve[-1][0], ">"


def labelled(group: Group) -> float:
    """Return the mean number of images that a group's runs were trained on."""
    return fmean(run.result["counts"]["train"] for run in group.runs)


def epochs_to_match(group: Group, groups: Sequence[Group], monitor: Monitor) -> str | None:
    """Say after how many epochs an arm has 95 % of what training from scratch ends with, in a validation metric.

    Where less is better, 95 % is a value that is larger by as much. The median over seeds. None without scratch runs of
    the same setting, where no run has a history, or for values of which there are no shares, being negative.
    """
    metric, sign = monitor.metric, monitor.sign
    finals = means(
        (replicate(run), run.history[-1][metric])
        for other in partners(group, SCRATCH, groups)
        for run in other.runs
        if run.history and math.isfinite(run.history[-1].get(metric, math.nan))
    )
    if not finals or not any(run.history for run in group.runs):
        return None
    if sign < 0 and fmean(finals.values()) <= 0:
        return None
    threshold = SHARE**sign * fmean(finals.values())
    reached = means(
        (replicate(run), _first_epoch(run.history, monitor, threshold)) for run in group.runs if run.history
    )
    middle = median(reached.values())
    if math.isinf(middle):
        return f"not reached in {sum(map(math.isinf, reached.values()))} of {len(reached)}"
    return f"{middle:g}"


def _first_epoch(history: Sequence[dict[str, float]], monitor: Monitor, threshold: float) -> float:
    """Return infinity for a run that never gets there: it takes longer than all that do."""
    sign = monitor.sign
    there = (row["epoch"] for row in history if sign * row.get(monitor.metric, -sign * math.inf) >= sign * threshold)
    return next(there, math.inf)


def _same_but_labels(one: Group, other: Group) -> bool:
    rest = {key: value for key, value in other.setting.items() if key not in LABEL_KEYS}
    return same_setting(one, Group(rest, other.runs))
