"""Each arm beside its control, paired by seed and fold within equal other settings, and what that shows in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from statistics import fmean, median

from aetransfer.models.facts import Monitor
from aetransfer.report.grouping import Group, means, replicate, same_setting
from aetransfer.report.statistics import LEVEL, MOST_SEEDS, Paired, compare, holm, seeds_needed

SCRATCH = "scratch"
# What tells arms apart, so that no effect is averaged over it.
OF_AN_ARM = ("pretrain", "pretrain.data", "transfer", "transfer.transplanted")


@dataclass(frozen=True)
class Comparison:
    """group: an arm. monitor: the test metric. paired: None where no seed of its control is among the runs.

    scratch: the same against training from scratch, where the control is another. unpaired: seeds, or folds of them,
    without a partner.
    """

    group: Group
    monitor: Monitor
    control: str
    paired: Paired | None
    scratch: Paired | None
    unpaired: int

    @property
    def verdict(self) -> str:
        beside = ""
        if self.scratch is not None:
            known = "" if self.scratch.shown else " (not shown)"
            worse = self.scratch.sign * self.scratch.mean < 0
            beside = f"; {'worse' if worse else 'better'} than {SCRATCH} by {abs(self.scratch.mean):.3g}{known}"
        return verdict(self.paired, self.control) + beside


def compare_all(groups: Sequence[Group], monitor: Monitor) -> list[Comparison]:
    """Compare every arm with its control in a test metric."""
    return [_compare(group, group.control, groups, monitor) for group in groups if group.control is not None]


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
        return f"{'helps' if paired.sign * paired.mean > 0 else 'hurts'} relative to {control}"
    nothing = f"no difference shown at n = {paired.n}"
    if not paired.sd:
        same = "equal" if abs(paired.mean) <= 1e-7 else "differ by the same amount"
        return f"{nothing}: all {'folds' if paired.folds else 'seeds'} {same}, which leaves no spread to judge by"
    if paired.folds:  # further seeds are of the same data
        return f"{nothing} ({paired.folds} folds)"
    seeds = seeds_needed(paired.mean, paired.sd)
    return f"{nothing}: " + (f"about {seeds} seeds" if seeds else f"more than {MOST_SEEDS:,} seeds") + " might show it"


def pair(group: Group, others: Sequence[Group], monitor: Monitor) -> Paired | None:
    """Compare a group with others, which count as one, seed by seed; None where they share none."""
    ours, theirs = group.by_replicate(monitor.metric), _together(others).by_replicate(monitor.metric)
    shared = [each for each in ours if each in theirs]
    if not shared:
        return None
    arm, control = [ours[each] for each in shared], [theirs[each] for each in shared]
    return compare(arm, control, monitor.sign, group.folds_of(shared))


def _together(groups: Sequence[Group]) -> Group:
    return Group({}, [run for group in groups for run in group.runs])


def _compare(group: Group, control: str, groups: Sequence[Group], monitor: Monitor) -> Comparison:
    paired = pair(group, partners(group, control, groups), monitor)
    scratch = None if control == SCRATCH else pair(group, partners(group, SCRATCH, groups), monitor)
    unpaired = len(group.replicates) - (paired.n if paired else 0)
    return Comparison(group, monitor, control, paired, scratch, unpaired)


# What an arm is worth over all settings of a sweep.


@dataclass(frozen=True)
class Pooled:
    """paired: of the seeds' means over settings; None where no seed is in all of them. better: in how many of the
    settings the arm is ahead. p: Holm's, over the arms.
    """

    arms: list[Comparison]
    paired: Paired | None
    better: int
    p: float | None = None

    @property
    def first(self) -> Comparison:
        return self.arms[0]

    @property
    def verdict(self) -> str:
        if self.paired is None or not self.paired.shown:
            return verdict(self.paired, self.first.control)
        if self.p is not None and self.p >= 1 - LEVEL:
            return f"no difference shown at n = {self.paired.n} once corrected for the number of arms"
        return verdict(self.paired, self.first.control)


def pool(compared: Sequence[Comparison], groups: Sequence[Group]) -> list[Pooled]:
    """Pool the comparisons of each arm, of each pretext apart, over two settings or more.

    Settings share their seeds (first weights, validation split, label subset), so that a difference of 15 settings is
    no 15 differences. Settings are blocks: each seed's paired differences are averaged over them, and a paired t
    interval is taken over the seeds' means (the summary-statistics analysis of a two-way layout without interaction;
    Holmes and Friston 1998). It speaks of these settings. Over folds it has the correction of `Folds.interval`.
    p is corrected over arms by Holm (1979).
    """
    by_arm: dict[tuple[str, ...], list[Comparison]] = {}
    for each in compared:
        if each.paired is not None:
            by_arm.setdefault((*each.group.labels(OF_AN_ARM).values(), each.monitor.metric), []).append(each)
    pooled = [_pool(arms, groups) for arms in by_arm.values() if len(arms) > 1]
    corrected = holm([each.paired.p if each.paired else None for each in pooled])
    return [Pooled(each.arms, each.paired, each.better, p) for each, p in zip(pooled, corrected, strict=True)]


def _pool(arms: list[Comparison], groups: Sequence[Group]) -> Pooled:
    first, metric = arms[0], arms[0].monitor.metric
    sides = [
        (each.group.by_replicate(metric), _together(partners(each.group, each.control, groups)).by_replicate(metric))
        for each in arms
    ]
    shared = reduce(set.intersection, (set(ours) & set(theirs) for ours, theirs in sides))
    better = sum(each.paired is not None and each.paired.sign * each.paired.mean > 0 for each in arms)
    if not shared:
        return Pooled(arms, None, better)
    ordered = sorted(shared, key=lambda each: (each[0], each[1] or 0))
    arm, control = ([fmean(side[part][each] for side in sides) for each in ordered] for part in (0, 1))
    return Pooled(arms, compare(arm, control, first.monitor.sign, first.group.folds_of(ordered)), better)


# What a carried encoder saves: labels, and epochs.

# Keys that set how many labelled images a transfer is trained on.
LABEL_KEYS = ("data.labels_per_class", "data.train_fraction")
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
    return fmean(run.counts["train"] for run in group.runs)


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
