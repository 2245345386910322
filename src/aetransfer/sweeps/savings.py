"""What a carried encoder saves: labels, and epochs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from aetransfer.sweeps.comparison import partners
from aetransfer.sweeps.grouping import Group, same_setting, seed_means

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


def label_savings(group: Group, groups: Sequence[Group], metric: str) -> LabelSavings | None:
    """Ask the control's label-efficiency curve how many labels it needs for the arm's accuracy.

    None where the control was not run on two amounts of labels or more, all else being equal.
    """
    if group.control is None or not group.values(metric):
        return None
    curve = [
        (labelled(other), fmean(other.values(metric)))
        for other in groups
        if other.arm == group.control and _same_but_labels(group, other) and other.values(metric)
    ]
    if len({labels for labels, _ in curve}) < 2:
        return None
    labels, bound = labels_for(sorted(curve), fmean(group.values(metric)))
    return LabelSavings(labels / labelled(group), bound)


def labels_for(curve: Sequence[tuple[float, float]], accuracy: float) -> tuple[float, str]:
    """Return the fewest labels with which a curve reaches an accuracy, linear between its points in log(labels).

    curve: (labels, accuracy) with labels rising, two points or more; noise may let accuracy fall. Beyond its ends: the
    end, and on which side of it.
    """
    if accuracy <= curve[0][1]:
        return curve[0][0], "<" if accuracy < curve[0][1] else ""
    for (few, low), (many, high) in pairwise(curve):
        if high >= accuracy:  # the first that is, so low < accuracy
            share = (accuracy - low) / (high - low)
            return math.exp(math.log(few) + share * (math.log(many) - math.log(few))), ""
    return curve[-1][0], ">"


def labelled(group: Group) -> float:
    """Return the mean number of images that a group's runs were trained on."""
    return fmean(run.result["counts"]["train"] for run in group.runs)


def epochs_to_match(group: Group, groups: Sequence[Group], metric: str = "val/acc") -> str | None:
    """Say after how many epochs an arm has 95 % of what training from scratch ends with, on the validation split.

    The median over seeds. None without scratch runs of the same setting, or where no run has a history.
    """
    finals = seed_means(
        (run.seed, run.history[-1][metric])
        for other in partners(group, SCRATCH, groups)
        for run in other.runs
        if run.history and math.isfinite(run.history[-1].get(metric, math.nan))
    )
    if not finals or not any(run.history for run in group.runs):
        return None
    threshold = SHARE * fmean(finals.values())
    reached = seed_means((run.seed, _first_epoch(run.history, metric, threshold)) for run in group.runs if run.history)
    middle = median(reached.values())
    if math.isinf(middle):
        return f"not reached in {sum(map(math.isinf, reached.values()))} of {len(reached)}"
    return f"{middle:g}"


def _first_epoch(history: Sequence[dict[str, float]], metric: str, threshold: float) -> float:
    """Return infinity for a run that never gets there: it takes longer than all that do."""
    return next((row["epoch"] for row in history if row.get(metric, -math.inf) >= threshold), math.inf)


def _same_but_labels(one: Group, other: Group) -> bool:
    rest = {key: value for key, value in other.setting.items() if key not in LABEL_KEYS}
    return same_setting(one, Group(rest, other.runs))
