"""Each arm beside its control, paired by seed and fold within equal other settings, and what that shows in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from aetransfer.models.facts import Monitor
from aetransfer.sweeps.grouping import Group, same_setting
from aetransfer.sweeps.statistics import MOST_SEEDS, Paired, compare, seeds_needed


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
