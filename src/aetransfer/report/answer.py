"""The answer of a sweep in whole sentences: the arm that validation chose, its test value, and scratch beside it.

Two uncertainties are told apart. Seeds vary weights, order and label subset; their variance of a mean over n seeds is
s^2 / n. The test set is the same for all of them, so that its variance does not fall with n: of a share p of N examples
it is p (1 - p) / N (Bouthillier et al. 2021, "Accounting for Variance in Machine Learning Benchmarks"). The two are
added. Predictions are not stored, so that the test part of a difference is the sum of both shares' variances, as for
independent errors; where both arms err on the same examples it is smaller (McNemar 1947, Dietterich 1998).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite, sqrt
from statistics import fmean

from scipy import stats

from aetransfer.config.commands import again, allowed, command, quoted
from aetransfer.config.shapes import noun_of, shape_in
from aetransfer.models.facts import Monitor
from aetransfer.report.comparison import SCRATCH, Pooled, pair
from aetransfer.report.grouping import Group, label, means, noun_of_groups, replicate
from aetransfer.report.statistics import LEVEL, POWER, Paired, Summary, decimals, interval, share_variance, sum_interval
from aetransfer.store.run import Facts, StoredRun

# More than any data set has: anybody may have written it.
MOST_EXAMPLES = 10**12
# Keys of `data` that make no other task of a run. Arms on different tasks are not ranked against each other.
CHOSEN_OF_DATA = ("data.batch_size", "data.augment", "data.epoch_images")


@dataclass(frozen=True)
class Answer:
    """task: which data and labels it is about, empty where a report has one. sentences: what was chosen and measured.

    meaning: what follows for pretraining. command: that uses the model.
    """

    task: str
    sentences: list[str]
    meaning: list[str]
    command: str
    best: Group


def answers(groups: Sequence[Group], monitor: Monitor, pooled: Sequence[Pooled]) -> list[Answer]:
    """Return an answer a task; none where no run says how good it was on validation."""
    by_task: dict[str, list[Group]] = {}
    for group in groups:
        # The data that it learns from, as far as they were varied.
        task = _named(group, [key for key in group.setting if _is_of_task(key)])
        by_task.setdefault(task, []).append(group)
    return [answer for task, those in by_task.items() if (answer := _answer(task, those, monitor, pooled))]


def validated(run: StoredRun, monitor: Monitor) -> float | None:
    """Return what a run had on validation at the epoch that was kept, None for what is no number."""
    value = run.facts.metrics.get(monitor.on("val").metric)
    return value if value is not None and isfinite(value) else None


def best_of(groups: Sequence[Group], monitor: Monitor) -> Group | None:
    """Return the group that is best on validation, never on test; None where none was validated."""
    scored = [(score, group) for group in groups if (score := _validation(group, monitor)) is not None]
    return max(scored, key=lambda each: monitor.sign * each[0])[1] if scored else None


def tested(group: Group) -> int:
    """Return how many test examples stand behind a mean: a fold's are others than the next one's; 0 if not known."""
    counts = {run.fold: run.counts.get("test", 0) for run in group.runs}
    count = sum(counts.values()) if None not in counts else fmean(counts.values())
    return int(count) if 0 <= count < MOST_EXAMPLES else 0


def is_share(group: Group, monitor: Monitor) -> bool:
    """Tell whether a metric is the share of test examples that are right."""
    if monitor.metric != "test/acc" or not group.runs[0].model.does("classify"):
        return False
    cut = any(run.settings.get("trainer.limit_test_batches") is not None for run in group.runs)
    return not cut and all(0 <= value <= 1 for value in group.values(monitor.metric))


def _answer(task: str, groups: Sequence[Group], monitor: Monitor, pooled: Sequence[Pooled]) -> Answer | None:
    best = best_of([group for group in groups if group.values(monitor.metric)], monitor)
    if best is None:
        return None
    setting = _named(best, [key for key in best.setting if key != "transfer" and not _is_of_task(key)])
    name = best.arm or monitor.metric
    first = (
        f"Best on validation: {name}{f' with {setting}' if setting else ''}" if best.arm or setting else "Validation"
    )
    chosen = _validation(best, monitor)
    sentences = [f"{first} ({monitor.on('val').metric} {chosen:.3f}).", _value(best, monitor)]
    beside, meaning = _beside_scratch(best, groups, monitor, pooled) if best.arm is not None else ([], [])
    return Answer(task, [*sentences, *beside], meaning, _use(best, monitor), best)


def _validation(group: Group, monitor: Monitor) -> float | None:
    found = means((replicate(run), value) for run in group.runs if (value := validated(run, monitor)) is not None)
    return fmean(found.values()) if found else None


def _value(group: Group, monitor: Monitor) -> str:
    """Say what a group reaches on test, and how sure that is."""
    values = list(group.by_replicate(monitor.metric).values())
    summary = group.summary(monitor.metric)
    assert summary is not None
    share, count = is_share(group, monitor), tested(group)
    places = 3 if share else decimals([summary])
    n = len(values)
    said = f"Its {monitor.metric} is {summary.mean:.{places}f}{monitor.remark}"
    if folds := group.folds_of(group.by_replicate(monitor.metric)):
        return f"{said}, 95 % interval {_within(summary.interval, share, places)} over {folds.measured} folds."
    seeds = [(summary.sd**2 / n, n - 1)] if summary.sd else []
    test = [(share_variance(summary.mean, count), count - 1)] if share and count > 1 else []
    if not seeds and not test:
        return f"{said} (n = {n})."
    of = [*([_over(n)] if n > 1 else []), *([f"{count:,} test {noun_of_groups([group])}"] if test else [])]
    bounds = _within(sum_interval(summary.mean, [*seeds, *test]), share, places)
    alone = "" if seeds else " alone: one seed has no spread" if n == 1 else " alone: all seeds are equal"
    return f"{said}, 95 % interval {bounds} from {' and '.join(of)}{alone}{_unknown(group, bool(test))}."


def _within(bounds: tuple[float, float] | None, share: bool, places: int) -> str:
    """Write an interval; that of a share stays between 0 and 1."""
    if bounds is not None and share:
        bounds = max(bounds[0], 0.0), min(bounds[1], 1.0)
    return interval(bounds, places)


def _unknown(group: Group, tested: bool) -> str:
    """Say what an interval leaves out: the binomial formula is for examples that have nothing to do with each other."""
    if not tested:
        return "; what the size of the test set adds is not known for this metric"
    behind = Facts.model_validate(group.runs[0].result).data.groups
    if behind is None or not behind.test:
        return ""
    return (
        f"; it is wider in truth, for these are of {behind.test:,} groups ({behind.called}), whose examples are alike"
    )


def _beside_scratch(
    best: Group, groups: Sequence[Group], monitor: Monitor, pooled: Sequence[Pooled]
) -> tuple[list[str], list[str]]:
    """Say how the best arm, or the best that carries an encoder, stands to training from scratch, and what it means."""
    scratch = best_of([group for group in groups if group.arm == SCRATCH], monitor)
    carrying = best if best.control else best_of([group for group in groups if group.control], monitor)
    if scratch is None:
        return [], [f"No run from {SCRATCH} to compare it with: add transfer={SCRATCH}."]
    if carrying is None:
        if best is scratch:
            return [], ["Nothing was carried over in these runs."]
        carrying = best
    paired = pair(carrying, [scratch], monitor)
    if paired is None:
        return [], [f"No seed of it was also trained from {SCRATCH}, so there is no difference to give."]
    own = _named(scratch, [key for key in scratch.setting if scratch.setting[key] != carrying.setting.get(key)])
    own = own.replace(f"transfer={SCRATCH}", "").strip(" ,")
    said = _difference(carrying, scratch, paired, monitor)
    subject = "" if carrying is best else f"The best arm that carries an encoder is {_short(carrying)}. "
    lead = f"{subject}Against training from {SCRATCH}{f' at its best ({own})' if own else ''}"
    meaning = _meaning(carrying, scratch, paired, monitor)
    for each in pooled:
        # An effect over several tasks answers none of them.
        of_task = {id(group) for group in groups} >= {id(comparison.group) for comparison in each.arms}
        if each.first.control == SCRATCH and of_task and any(arm.group is carrying for arm in each.arms):
            over_all = _over_settings(each)
            meaning = [*meaning, over_all[-1]] if paired.shown else over_all
    return [f"{lead}: {said}."], meaning


def _difference(arm: Group, scratch: Group, paired: Paired, monitor: Monitor) -> str:
    count = tested(arm)
    if not is_share(arm, monitor) or not count:
        places = decimals([Summary(paired.n, paired.mean, paired.sd, paired.mean, None)])
        over = f", 95 % interval {interval(paired.interval, places, signed=True)}" if paired.interval else ""
        return f"{paired.mean:+.{places}f} in {monitor.metric}{monitor.remark}{over} ({_of(paired)})"
    of = abs(paired.mean) * count
    of_all = f"{of:,.{0 if of >= 10 else 1}f} of {count:,} test {noun_of_groups([arm])}"
    said = f"{100 * paired.mean:+.1f} points, which is {of_all}"
    intervals = [f"{_points(paired.interval)} over {_of(paired)}"] if paired.interval else []
    if not paired.folds:
        whole = _with_test_set(paired, _test_variance(arm, scratch, monitor))
        intervals.append(f"{_points(whole)} with the size of the test set")
    return f"{said}; 95 % interval {', '.join(intervals)}" if intervals else said


def _meaning(arm: Group, scratch: Group, paired: Paired, monitor: Monitor) -> list[str]:
    """Say what to do."""
    if paired.n == 1:
        return ["One seed shows nothing about pretraining: add seeds, such as seed=0,1,2."]
    noun, count = noun_of_groups([arm]), tested(arm)
    carried = "Pretraining" if arm.control else f"The arm {arm.arm}"
    variance = _test_variance(arm, scratch, monitor) if is_share(arm, monitor) and count and not paired.folds else None
    if paired.shown:
        helps = paired.sign * paired.mean > 0
        said = [f"{carried} {'helps' if helps else 'hurts'} relative to {SCRATCH}."]
        whole = _with_test_set(paired, variance) if variance else None
        if whole and whole[0] <= 0 <= whole[1]:
            said.append(f"That is shown on these {count:,} test {noun}; {count:,} others could say otherwise.")
        return said
    said = [
        f"{carried} is not shown to help. Training from {SCRATCH} is simpler, and as good as far as these runs tell."
    ]
    quantile = float(stats.norm.ppf((1 + LEVEL) / 2))
    if variance is None or abs(paired.mean) >= quantile * sqrt(variance):
        return said
    least = 100 * quantile * sqrt(variance)
    few = (
        f"The test set is too small for the question: {count:,} {noun} tell only differences above {least:.1f} points "
    )
    few += f"from chance. More seeds do not help, as they are tested on the same {noun}."
    if abs(paired.mean) * count >= 1:
        wanted = ceil(variance * count * ((quantile + float(stats.norm.ppf(POWER))) / paired.mean) ** 2)
        few += (
            f" A difference of this size needs about {_rounded(wanted):,}, or fewer if both arms fail on the same ones."
        )
    return [*said, few]


def _over_settings(pooled: Pooled) -> list[str]:
    """Say what an arm is worth over all settings, which shows more than the best of them."""
    first, paired = pooled.first, pooled.paired
    said = f"Over {len(pooled.arms)} settings {first.group.arm} is ahead of {first.control} in {pooled.better}"
    if paired is None or paired.interval is None:
        return [f"{said}, and their seeds allow no interval."]
    share = is_share(first.group, first.monitor)
    effect = f"{100 * paired.mean:+.1f} points" if share else f"{paired.mean:+.4g} in {first.monitor.metric}"
    bounds = _points(paired.interval) if share else interval(paired.interval, 4, signed=True)
    corrected = "" if pooled.p is None else f", p = {pooled.p:.2g}"
    said = f"{said}, by {effect} on average; 95 % interval {bounds} over {_of(paired)}{corrected}."
    if not (paired.shown and pooled.p is not None and pooled.p < 1 - LEVEL):
        return [f"Pretraining is not shown to help. Training from {SCRATCH} is simpler.", said]
    count = tested(first.group)
    same = (
        f" All were tested on the same {count:,} {noun_of_groups([first.group])}." if count and not paired.folds else ""
    )
    helps = "helps" if paired.sign * paired.mean > 0 else "hurts"
    return [f"Pretraining {helps} relative to {SCRATCH}.", f"{said}{same}"]


def _test_variance(arm: Group, scratch: Group, monitor: Monitor) -> float:
    count = tested(arm)
    return sum(share_variance(fmean(group.values(monitor.metric)), count) for group in (arm, scratch))


def _with_test_set(paired: Paired, variance: float) -> tuple[float, float]:
    seeds = [(paired.sd**2 / paired.n, paired.n - 1)] if paired.sd else []
    return sum_interval(paired.mean, [*seeds, (variance, 10**6)])


def _use(group: Group, monitor: Monitor) -> str:
    """Return the command that applies the run of a group that is best on validation; how to make it if it is gone."""
    run = max(
        group.runs, key=lambda run: monitor.sign * value if (value := validated(run, monitor)) is not None else -1e300
    )
    directory = run.directory
    if not directory.path.is_dir():
        return again(run.result)
    shape, floats = shape_in(run.config), run.settings.get("data.floats")
    files = noun_of(shape) == "images" and shape[0] in (1, 3) and not floats
    inputs = "images=FOLDER" if files else "inputs=FILE.npy"
    use, out = ("embed", "features.npz") if run.stage == "pretrain" else ("predict", "predictions.csv")
    words = [f"run={quoted(str(directory.path))}", *allowed(run.result), inputs, f"out={out}"]
    return command(use, words)


def _is_of_task(key: str) -> bool:
    return key.partition(".")[0] == "data" and not key.startswith(CHOSEN_OF_DATA)


def _named(group: Group, keys: Sequence[str]) -> str:
    return ", ".join(f"{key}={label(key, group.setting)}" for key in keys)


def _short(group: Group) -> str:
    return _named(group, [key for key in group.setting if not _is_of_task(key)]).replace("transfer=", "")


def _of(paired: Paired) -> str:
    return f"{paired.folds} folds" if paired.folds else _over(paired.n)


def _over(seeds: int) -> str:
    return f"{seeds} {'seed' if seeds == 1 else 'seeds'}"


def _points(bounds: tuple[float, float] | None) -> str:
    assert bounds is not None
    return f"{100 * bounds[0]:+.1f} to {100 * bounds[1]:+.1f}"


def _rounded(count: int) -> int:
    """Round up to two digits: no more is known of it."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return ceil(count / step) * step
