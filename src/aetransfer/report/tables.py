"""The report's tables, as text: the same cells go to the terminal, into summary.md and onto the page."""

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from statistics import fmean
from typing import Annotated

from pydantic import BaseModel, Field
from scipy.stats import spearmanr, weightedtau

from aetransfer.files import read_json
from aetransfer.models.facts import Monitor, Part
from aetransfer.printable import duration
from aetransfer.report.comparison import OF_AN_ARM, Comparison, Pooled, epochs_to_match, label_savings
from aetransfer.report.grouping import Group, noun_of_groups
from aetransfer.report.statistics import NOTHING, Paired, Summary, decimals, interval, spread, summarise
from aetransfer.store.run import StoredRun

CI, IQM, BETTER, RATIO = "95 % CI", "IQM", "P(better)", "transfer ratio"
# Of fewer values the interquartile mean is the mean, and a share of seeds is one of two numbers.
LEAST = {IQM: 4, BETTER: 3}


@dataclass(frozen=True)
class TextTable:
    """texts: how many of the columns, from the left, are words rather than numbers. bold: places of the best rows."""

    header: list[str]
    rows: list[list[str]]
    texts: int
    bold: frozenset[int] = frozenset()

    def without(self, headings: Iterable[str]) -> "TextTable":
        """Return it without some of its columns, such as those that say nothing."""
        left_out = {self.header.index(heading) for heading in headings}
        rows = [[cell for place, cell in enumerate(row) if place not in left_out] for row in (self.header, *self.rows)]
        return replace(self, header=rows[0], rows=rows[1:], texts=self.texts - sum(at < self.texts for at in left_out))


def markdown_of(table: TextTable) -> Iterator[str]:
    """Yield a table's lines."""
    yield f"| {' | '.join(map(_cell, table.header))} |"
    yield f"|{'|'.join('---' if place < table.texts else '---:' for place in range(len(table.header)))}|"
    for place, row in enumerate(table.rows):
        cells = [f"**{_cell(cell)}**" if place in table.bold else _cell(cell) for cell in row]
        yield f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return escaped(text).replace("|", "\\|")


def escaped(text: str) -> str:
    """Keep a run's own words, such as an error with < in it, from being read as markup."""
    return re.sub(r"([*_`\[])", r"\\\1", escape(" ".join(text.split()), quote=False))


def compared_by(groups: Sequence[Group]) -> list[Monitor]:
    """List by which test metrics the groups are compared, each with those that have the same."""
    return list(dict.fromkeys(group.compared for group in groups if group.compared is not None))


def metrics_of(groups: Sequence[Group]) -> list[str]:
    """List the groups' test metrics, those by which they are compared before the others."""
    names = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.tested))
    first = [compared.metric for compared in compared_by(groups)]
    return sorted(names, key=lambda name: first.index(name) if name in first else len(first))


def results(groups: Sequence[Group], columns: Sequence[str], best: Sequence[Group] = ()) -> TextTable:
    """One row a group: its first metric with interval and interquartile mean, the others, and n. best: in bold.

    Groups that are compared by different metrics share the columns, and each has its own metric's interval.
    """
    metrics = metrics_of(groups) or ["metrics"]
    leading = list(dict.fromkeys(_first(group, metrics) for group in groups))
    others = [metric for metric in metrics if metric not in leading]
    summaries = {metric: [group.summary(metric) for group in groups] for metric in (*leading, *others)}
    places = {metric: decimals([each for each in summaries[metric] if each]) for metric in summaries}
    rows = []
    for place, group in enumerate(groups):
        first = _first(group, metrics)
        cells = {metric: spread(summaries[metric][place], places[metric]) for metric in summaries}
        robust = _robust(summaries[first][place], places[first])
        shown = [*(cells[metric] for metric in leading), *robust, *(cells[metric] for metric in others)]
        rows.append([*group.labels(columns), *shown, group.n])
    bold = frozenset(place for place, group in enumerate(groups) if any(group is each for each in best))
    table = TextTable([*columns, *leading, CI, IQM, *others, "n"], rows, len(columns), bold)
    return _telling(table, max((len(group.replicates) for group in groups), default=0))


def _telling(table: TextTable, n: int) -> TextTable:
    """Leave out what says nothing: intervals where none has one, and what takes more seeds than there are."""
    empty = [heading for heading in (CI, IQM, RATIO) if heading in table.header and _is_empty(table, heading)]
    few = [heading for heading, least in LEAST.items() if heading in table.header and n < least]
    return table.without(dict.fromkeys([*empty, *few]))


def _is_empty(table: TextTable, heading: str) -> bool:
    return all(row[table.header.index(heading)] == NOTHING for row in table.rows)


def _first(group: Group, metrics: Sequence[str]) -> str:
    """Return the metric that a group is compared by, or the first of all where it has none such."""
    compared = group.compared
    return compared.metric if compared and compared.metric in metrics else metrics[0]


def overall(pooled: Sequence[Pooled]) -> TextTable | None:
    """One row an arm and pretext: its effect over the settings, and what it and its control reach there on average."""
    if not pooled:
        return None
    told = [key for key in OF_AN_ARM if key != "transfer" and any(key in each.first.group.setting for each in pooled)]
    metrics = {each.first.monitor.metric for each in pooled}
    rows = []
    for each in pooled:
        first, paired, metric = each.first, each.paired, each.first.monitor.metric
        summary = _pooled([comparison.group for comparison in each.arms], metric)
        places = _places(summary)
        names = [*first.group.labels(told), *([metric] if len(metrics) > 1 else [])]
        effect = [NOTHING, NOTHING] if paired is None else _effect(paired)
        reached = [f"{summary.mean:.{places}f}", *_robust(summary, places)]
        wins, p = f"{each.better} of {len(each.arms)}", NOTHING if each.p is None else f"{each.p:.2g}"
        arm = f"{first.group.arm} – {first.control}"
        rows.append([*names, arm, each.verdict, *effect, p, wins, *reached, str(paired.n if paired else 0)])
    header = [
        *told,
        *(["metric"] if len(metrics) > 1 else []),
        *("arm – control", "verdict", "difference", CI, "p (Holm)", "settings ahead"),
        *(metrics.pop() if len(metrics) == 1 else "mean", "its 95 % CI", "its IQM", "n"),
    ]
    table = TextTable(header, rows, header.index("difference"))
    return table.without([heading for heading in ("its 95 % CI",) if _is_empty(table, heading)])


def _effect(paired: Paired) -> list[str]:
    return [f"{paired.mean:+.4f}", interval(paired.interval, 4, signed=True)]


def comparisons(compared: Sequence[Comparison], columns: Sequence[str]) -> TextTable:
    """One row an arm and setting: the paired difference to its control, and the verdict.

    In which metric is said where they are not all of the same.
    """
    metrics = {comparison.monitor.metric for comparison in compared}
    settings = [column for column in columns if column != "transfer"]
    rows = []
    for comparison in compared:
        paired = comparison.paired
        verdict = comparison.verdict
        if comparison.unpaired and paired is not None:
            verdict += f" ({comparison.unpaired} without a partner left out)"
        named = [comparison.monitor.metric] if len(metrics) > 1 else []
        names = [*comparison.group.labels(settings), *named, f"{comparison.group.arm} – {comparison.control}", verdict]
        if paired is None:
            rows.append([*names, *[NOTHING] * 4, "0"])
            continue
        ratio = NOTHING if comparison.ratio is None else f"{comparison.ratio:.3f}"
        numbers = [*_effect(paired), f"{paired.better:.2f}", ratio]
        rows.append([*names, *numbers, f"{paired.n}{f' ({paired.folds} folds)' if paired.folds else ''}"])
    header = [
        *settings,
        *(["metric"] if len(metrics) > 1 else []),
        "arm – control",
        "verdict",
        *("difference", CI, BETTER, RATIO, "n"),
    ]
    most = max((comparison.paired.n for comparison in compared if comparison.paired), default=0)
    return _telling(TextTable(header, rows, header.index("difference")), most)


def savings(groups: Sequence[Group], columns: Sequence[str]) -> TextTable | None:
    """One row a group: label savings and epochs to match scratch, in the metric that it is compared by.

    None where the runs tell neither.
    """
    facts: dict[str, Sequence[object]] = {
        "label savings": [_of_alike(label_savings, group, groups, "test") for group in groups],
        "epochs to 95 % of scratch": [_of_alike(epochs_to_match, group, groups, "val") for group in groups],
    }
    told = {heading: values for heading, values in facts.items() if any(values)}
    rows = [
        [*group.labels(columns), *(str(values[place] or NOTHING) for values in told.values())]
        for place, group in enumerate(groups)
        if any(values[place] for values in told.values())
    ]
    return TextTable([*columns, *told], rows, len(columns)) if rows else None


def costs(groups: Sequence[Group], columns: Sequence[str]) -> TextTable:
    """One row a group: seconds of a training and of the whole run, examples a second, all means over the runs."""
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
    header = [*columns, "training", "whole run", f"{noun_of_groups(groups)}/s", "epochs", "trained parameters"]
    return TextTable(header, rows, len(columns))


def _of_alike(
    ask: Callable[[Group, Sequence[Group], Monitor], object], group: Group, groups: Sequence[Group], part: Part
) -> object:
    """Ask about a group among those that are compared by the same metric."""
    if group.compared is None:
        return None
    return ask(group, [other for other in groups if other.compared == group.compared], group.compared.on(part))


def _pooled(groups: Sequence[Group], metric: str) -> Summary:
    """Summarise an arm over settings; without an interval where they are not all of the same folds."""
    found = [group.by_replicate(metric) for group in groups]
    folds = [group.folds_of(of) for group, of in zip(groups, found, strict=True)]
    alike = all(of == folds[0] for of in folds)
    summary = summarise([list(of.values()) for of in found], folds[0] if alike else None)
    return summary if alike else replace(summary, interval=None)


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
    counts = sorted({run.counts[key] for run in group.runs if key in run.counts})
    if not counts:
        return NOTHING
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,}–{counts[-1]:,}"


# Whether transferability scores, taken before training, rank runs as their test metric does.

log = logging.getLogger(__name__)

# Two runs are always in order, one way or the other.
FEWEST_SCORED = 3


class Written(BaseModel):
    """What a report reads of evaluation/transferability.json, in which NaN and infinity are words."""

    bottleneck: Annotated[dict[str, float | str], Field(max_length=20)]


def rank_correlations(groups: Sequence[Group], monitor: Monitor) -> TextTable | None:
    """One row an arm and score: rank correlations, over runs, of the score with how good the test metric is.

    The scores are those of evaluation/transferability.json. Weighted Kendall counts mistakes among the best for more
    (Vigna 2015; You et al. 2021). None where no arm has three runs with a score.
    """
    by_arm: dict[str, list[tuple[dict[str, float], float]]] = {}
    for group in groups:
        for run in group.runs:
            scores = _scores(run)
            if scores and monitor.metric in run.tested:
                by_arm.setdefault(str(group.arm), []).append((scores, monitor.sign * run.tested[monitor.metric]))
    rows = []
    for arm, measured in by_arm.items():
        for name in dict.fromkeys(name for scores, _ in measured for name in scores):
            scored = [scores[name] for scores, _ in measured if name in scores]
            reached = [value for scores, value in measured if name in scores]
            if len(scored) >= FEWEST_SCORED:
                rows.append([arm, name, *_correlations(scored, reached), str(len(scored))])
    return TextTable(["transfer", "score", "Spearman", "weighted Kendall", "n"], rows, 2) if rows else None


def _correlations(scored: list[float], reached: list[float]) -> list[str]:
    if len(set(scored)) == 1 or len(set(reached)) == 1:
        return [NOTHING, NOTHING]
    return [f"{spearmanr(scored, reached).statistic:+.2f}", f"{weightedtau(scored, reached).statistic:+.2f}"]


def _scores(run: StoredRun) -> dict[str, float]:
    """Return those scores of a run that are numbers."""
    path = run.directory.path / "evaluation" / "transferability.json"
    if not path.is_file():
        return {}
    try:
        if path.is_symlink():
            raise ValueError("it is a link")
        written = Written.model_validate(read_json(path)).bottleneck
    except (OSError, ValueError):
        log.warning("%s is damaged: its scores are left out.", path)
        return {}
    numbers = {name: score for name, score in written.items() if isinstance(score, float) and math.isfinite(score)}
    for name in written.keys() - numbers.keys():
        log.warning("%s: %s is no number and left out.", path, name)
    return numbers
