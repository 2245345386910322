"""The report's tables, as text: the same cells go to the terminal, into summary.md and onto the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from aetransfer.sweeps.comparison import Comparison
from aetransfer.sweeps.grouping import Group
from aetransfer.sweeps.numbers import NOTHING, decimals, duration, interval, spread
from aetransfer.sweeps.savings import epochs_to_match, label_savings
from aetransfer.sweeps.statistics import Summary, summarise

# What is reported first of a stage; more is better only of the first.
PRIMARY = ("test/acc", "test/mse", "test/neg_elbo")


@dataclass(frozen=True)
class TextTable:
    """texts: how many of the columns, from the left, are words rather than numbers."""

    header: list[str]
    rows: list[list[str]]
    texts: int


def metrics_of(groups: Sequence[Group]) -> list[str]:
    """List the groups' test metrics, the one that is reported first before the others."""
    names = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.tested))
    return sorted(names, key=lambda name: PRIMARY.index(name) if name in PRIMARY else len(PRIMARY))


def results(groups: Sequence[Group], columns: Sequence[str]) -> TextTable:
    """One row a group: the first metric with its interval and interquartile mean, the others, and n."""
    first, *others = metrics_of(groups) or ["metrics"]
    header = [*columns, first, "95 % CI", "IQM", *others, "n"]
    leading = [_summary(group, first) for group in groups]
    places = decimals([summary for summary in leading if summary])
    cells = [[spread(summary, places), *_robust(summary, places)] for summary in leading]
    for metric in others:
        summaries = [_summary(group, metric) for group in groups]
        digits = decimals([summary for summary in summaries if summary])
        for row, summary in zip(cells, summaries, strict=True):
            row.append(spread(summary, digits))
    rows = [[*group.labels(columns), *row, str(len(group.seeds))] for group, row in zip(groups, cells, strict=True)]
    return TextTable(header, rows, len(columns))


def overall(groups: Sequence[Group], metric: str) -> TextTable | None:
    """One row an arm over the settings that all arms have; None for a single setting or arm."""
    cells: dict[str, dict[str, list[float]]] = {}
    for group in groups:
        setting = repr(sorted((key, str(value)) for key, value in group.setting.items() if key != "transfer"))
        cells.setdefault(str(group.arm), {})[setting] = group.values(metric)
    shared = set.intersection(*(set(of_arm) for of_arm in cells.values()))
    if len(shared) < 2 or len(cells) < 2:
        return None
    summaries = {arm: summarise([of_arm[key] for key in sorted(shared)]) for arm, of_arm in cells.items()}
    # The spread between settings is not the uncertainty; the interval has it.
    places = max((_places(summary) for summary in summaries.values()), default=3)
    rows = [
        [arm, f"{summary.mean:.{places}f}", *_robust(summary, places), str(len(shared)), str(summary.n)]
        for arm, summary in summaries.items()
    ]
    return TextTable(["transfer", metric, "95 % CI", "IQM", "settings", "n"], rows, 1)


def comparisons(compared: Sequence[Comparison], columns: Sequence[str]) -> TextTable:
    """One row an arm and setting: the paired difference to its control, and the verdict."""
    settings = [column for column in columns if column != "transfer"]
    rows = []
    for comparison in compared:
        paired = comparison.paired
        verdict = comparison.verdict
        if comparison.unpaired and paired is not None:
            verdict += f" ({comparison.unpaired} without a partner left out)"
        names = [*comparison.group.labels(settings), f"{comparison.group.arm} – {comparison.control}", verdict]
        if paired is None:
            rows.append([*names, *[NOTHING] * 4, "0"])
            continue
        ratio = NOTHING if comparison.ratio is None else f"{comparison.ratio:.3f}"
        numbers = [f"{paired.mean:+.4f}", interval(paired.interval, 4, signed=True), f"{paired.better:.2f}", ratio]
        rows.append([*names, *numbers, str(paired.n)])
    header = [*settings, "arm – control", "verdict", "difference", "95 % CI", "P(better)", "transfer ratio", "n"]
    return TextTable(header, rows, len(settings) + 2)


def savings(groups: Sequence[Group], columns: Sequence[str], metric: str) -> TextTable | None:
    """One row a group: label savings and epochs to match scratch; None where the runs tell neither."""
    facts: dict[str, Sequence[object]] = {
        "label savings": [label_savings(group, groups, metric) for group in groups],
        "epochs to 95 % of scratch": [epochs_to_match(group, groups) for group in groups],
    }
    told = {heading: values for heading, values in facts.items() if any(values)}
    rows = [
        [*group.labels(columns), *(str(values[place] or NOTHING) for values in told.values())]
        for place, group in enumerate(groups)
        if any(values[place] for values in told.values())
    ]
    return TextTable([*columns, *told], rows, len(columns)) if rows else None


def costs(groups: Sequence[Group], columns: Sequence[str]) -> TextTable:
    """One row a group: seconds of a training and of the whole run, images a second, all means over the runs."""
    rows = []
    for group in groups:
        timings = [run.result["timing"] for run in group.runs]
        train, whole = (_mean(timings, key) for key in ("train_seconds", "seconds"))
        speed = _mean(timings, "images_per_second")
        epochs, parameters = (_count(group, key) for key in ("epochs", "trained_parameters"))
        rows.append(
            [
                *group.labels(columns),
                NOTHING if train is None else duration(train),
                NOTHING if whole is None else duration(whole),
                NOTHING if speed is None else f"{speed:,.0f}",
                epochs,
                parameters,
            ]
        )
    header = [*columns, "training", "whole run", "images/s", "epochs", "trained parameters"]
    return TextTable(header, rows, len(columns))


def _summary(group: Group, metric: str) -> Summary | None:
    values = group.values(metric)
    return summarise([values]) if values else None


def _robust(summary: Summary | None, places: int) -> list[str]:
    if summary is None:
        return [NOTHING, NOTHING]
    return [interval(summary.interval, places), f"{summary.iqm:.{places}f}"]


def _places(summary: Summary) -> int:
    half_width = None if summary.interval is None else (summary.interval[1] - summary.interval[0]) / 4
    return decimals([Summary(summary.n, summary.mean, half_width, summary.iqm, None)])


def _mean(timings: Sequence[dict[str, float]], key: str) -> float | None:
    values = [timing[key] for timing in timings if key in timing]
    return fmean(values) if values else None


def _count(group: Group, key: str) -> str:
    counts = sorted({run.result["counts"][key] for run in group.runs if key in run.result["counts"]})
    if not counts:
        return NOTHING
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,}–{counts[-1]:,}"
