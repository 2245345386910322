"""The report's tables, as text: the same cells go to the terminal, into summary.md and onto the page."""

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from statistics import fmean
from typing import Annotated

from pydantic import BaseModel, Field
from scipy.stats import spearmanr, weightedtau

from aetransfer.models.facts import Monitor
from aetransfer.printable import duration
from aetransfer.report.comparison import OF_AN_ARM, Comparison, Pooled, epochs_to_match, label_savings
from aetransfer.report.grouping import Group, noun_of_groups
from aetransfer.report.statistics import NOTHING, Paired, Summary, decimals, interval, spread, summarise
from aetransfer.store.run import StoredRun, written

log = logging.getLogger(__name__)

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

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, str]], texts: int, bold: Iterable[int] = ()) -> "TextTable":
        """Make a table of rows of cells by heading."""
        header = list(dict.fromkeys(heading for row in rows for heading in row))
        return cls(header, [[row.get(heading, NOTHING) for heading in header] for row in rows], texts, frozenset(bold))

    def without(self, headings: Iterable[str]) -> "TextTable":
        """Return it without some of its columns."""
        left_out = {self.header.index(heading) for heading in headings if heading in self.header}
        rows = [[cell for place, cell in enumerate(row) if place not in left_out] for row in (self.header, *self.rows)]
        return replace(self, header=rows[0], rows=rows[1:], texts=self.texts - sum(at < self.texts for at in left_out))

    def telling(self, *headings: str) -> "TextTable":
        """Return it without those of some columns that have nothing in any row."""
        places = {heading: self.header.index(heading) for heading in headings if heading in self.header}
        return self.without(
            heading for heading, place in places.items() if all(row[place] in ("", NOTHING) for row in self.rows)
        )


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
    first = {id(group): _first(group, metrics) for group in groups}
    leading = dict.fromkeys(first.values())
    summaries = {metric: [group.summary(metric) for group in groups] for metric in dict.fromkeys([*leading, *metrics])}
    places = {metric: decimals([each for each in summaries[metric] if each]) for metric in summaries}
    rows = []
    for place, group in enumerate(groups):
        own = first[id(group)]
        cells = {metric: spread(of[place], places[metric]) for metric, of in summaries.items()}
        first_cells = {metric: cells[metric] for metric in leading} | _robust(summaries[own][place], places[own])
        rows.append(group.labels(columns) | first_cells | cells | {"n": group.n})
    bold = [place for place, group in enumerate(groups) if any(group is each for each in best)]
    table = TextTable.of(rows, len(columns), bold)
    return _telling(table, max((len(group.replicates) for group in groups), default=0))


def _telling(table: TextTable, n: int) -> TextTable:
    """Leave out what says nothing: intervals where none has one, and what takes more seeds than there are."""
    return table.telling(CI, IQM, RATIO).without(heading for heading, least in LEAST.items() if n < least)


def _first(group: Group, metrics: Sequence[str]) -> str:
    """Return the metric that a group is compared by, or the first of all where it has none such."""
    compared = group.compared
    return compared.metric if compared and compared.metric in metrics else metrics[0]


def overall(pooled: Sequence[Pooled]) -> TextTable | None:
    """One row an arm and pretext: its effect over the settings, and what it and its control reach there on average."""
    if not pooled:
        return None
    told = [key for key in OF_AN_ARM if key != "transfer" and any(key in each.first.group.setting for each in pooled)]
    several = len({each.first.monitor.metric for each in pooled}) > 1
    rows = []
    for each in pooled:
        first, metric = each.first, each.first.monitor.metric
        summary = _pooled([comparison.group for comparison in each.arms], metric)
        places = _places(summary)
        robust = _robust(summary, places)
        rows.append(
            first.group.labels(told)
            | ({"metric": metric} if several else {})
            | {"arm – control": f"{first.group.arm} – {first.control}", "verdict": each.verdict}
            | effect(each.paired)
            | {"p (Holm)": NOTHING if each.p is None else f"{each.p:.2g}"}
            | {"settings ahead": f"{each.better} of {len(each.arms)}"}
            | {"mean" if several else metric: f"{summary.mean:.{places}f}"}
            | {f"its {heading}": cell for heading, cell in robust.items()}
            | {"n": str(each.paired.n if each.paired else 0)}
        )
    return TextTable.of(rows, len(told) + several + 2).telling(f"its {CI}")


def effect(paired: Paired | None) -> dict[str, str]:
    if paired is None:
        return {"difference": NOTHING, CI: NOTHING}
    return {"difference": f"{paired.mean:+.4f}", CI: interval(paired.interval, 4, signed=True)}


def comparisons(compared: Sequence[Comparison], columns: Sequence[str]) -> TextTable:
    """One row an arm and setting: the paired difference to its control, and the verdict.

    In which metric is said where they are not all of the same.
    """
    several = len({comparison.monitor.metric for comparison in compared}) > 1
    settings = [column for column in columns if column != "transfer"]
    rows = []
    for comparison in compared:
        paired, verdict = comparison.paired, comparison.verdict
        if comparison.unpaired and paired is not None:
            verdict += f" ({comparison.unpaired} without a partner left out)"
        rows.append(
            comparison.group.labels(settings)
            | ({"metric": comparison.monitor.metric} if several else {})
            | {"arm – control": f"{comparison.group.arm} – {comparison.control}", "verdict": verdict}
            | effect(paired)
            | {BETTER: f"{paired.better:.2f}" if paired else NOTHING}
            | {RATIO: f"{paired.ratio:.3f}" if paired and paired.ratio is not None else NOTHING}
            | {"n": f"{paired.n}{f' ({paired.folds} folds)' if paired.folds else ''}" if paired else "0"}
        )
    most = max((comparison.paired.n for comparison in compared if comparison.paired), default=0)
    return _telling(TextTable.of(rows, len(settings) + several + 2), most)


def savings(groups: Sequence[Group], columns: Sequence[str]) -> TextTable | None:
    """One row a group: label savings and epochs to match scratch, in the metric that it is compared by.

    None where the runs tell neither.
    """
    rows = []
    for group in groups:
        if group.compared is None:
            continue
        alike = [other for other in groups if other.compared == group.compared]
        labels = label_savings(group, alike, group.compared)
        epochs = epochs_to_match(group, alike, group.compared.on("val"))
        if labels or epochs:
            told = {"label savings": str(labels or NOTHING), "epochs to 95 % of scratch": epochs or NOTHING}
            rows.append(group.labels(columns) | told)
    table = TextTable.of(rows, len(columns))
    return table.telling("label savings", "epochs to 95 % of scratch") if rows else None


def costs(groups: Sequence[Group], columns: Sequence[str]) -> TextTable:
    """One row a group: seconds of a training and of the whole run, examples a second, all means over the runs."""
    rows = []
    for group in groups:
        timings = [run.facts.timing for run in group.runs]
        rows.append(
            group.labels(columns)
            | {"training": _mean((timing.train_seconds for timing in timings), duration)}
            | {"whole run": _mean((timing.seconds for timing in timings), duration)}
            | {f"{noun_of_groups(groups)}/s": _mean((timing.images_per_second for timing in timings), "{:,.0f}".format)}
            | {"epochs": _count(group, "epochs"), "trained parameters": _count(group, "trained_parameters")}
        )
    return TextTable.of(rows, len(columns))


def _pooled(groups: Sequence[Group], metric: str) -> Summary:
    """Summarise an arm over settings; without an interval where they are not all of the same folds."""
    found = [group.by_replicate(metric) for group in groups]
    folds = [group.folds_of(of) for group, of in zip(groups, found, strict=True)]
    alike = all(of == folds[0] for of in folds)
    summary = summarise([list(of.values()) for of in found], folds[0] if alike else None)
    return summary if alike else replace(summary, interval=None)


def _robust(summary: Summary | None, places: int) -> dict[str, str]:
    if summary is None:
        return {CI: NOTHING, IQM: NOTHING}
    return {CI: interval(summary.interval, places), IQM: f"{summary.iqm:.{places}f}"}


def _places(summary: Summary) -> int:
    half_width = None if summary.interval is None else (summary.interval[1] - summary.interval[0]) / 4
    return decimals([Summary(summary.n, summary.mean, half_width, summary.iqm, None)])


def _mean(values: Iterable[float | None], written: Callable[[float], str]) -> str:
    known = [value for value in values if value is not None]
    return written(fmean(known)) if known else NOTHING


def _count(group: Group, key: str) -> str:
    counts = sorted({run.counts[key] for run in group.runs if key in run.counts})
    return "–".join(f"{count:,}" for count in dict.fromkeys([*counts[:1], *counts[-1:]])) or NOTHING


# Whether transferability scores, taken before training, rank runs as their test metric does.

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
        scores = written(path, Written).bottleneck
    except (OSError, ValueError):
        log.warning("%s is damaged: its scores are left out.", path)
        return {}
    numbers = {name: score for name, score in scores.items() if isinstance(score, float) and math.isfinite(score)}
    for name in scores.keys() - numbers.keys():
        log.warning("%s: %s is no number and left out.", path, name)
    return numbers
