"""The figures that fit what was varied, one for each setting of all that is on neither axis nor in the legend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from matplotlib.figure import Figure

from aetransfer.models.facts import Monitor
from aetransfer.report.comparison import LABEL_KEYS, labelled
from aetransfer.report.drawing import Bar, Line, draw_bars, draw_lines
from aetransfer.report.grouping import Group, label, means, noun_of_groups, replicate, same_setting

LATENT = "encoder.latent_dim"
TRANSPLANTED = "transfer.transplanted"
CARRIED = "layers carried over, counted from the input"
# A page with a hundred figures is read by nobody, and each takes a third of a second; results.csv has them all.
MOST_SETTINGS = 4
MOST_BARS = 24


@dataclass(frozen=True)
class Plot:
    """name: of its SVG and PDF files. caption: what it shows, in words."""

    name: str
    caption: str
    figure: Figure


def choose(groups: Sequence[Group], columns: Sequence[str], monitor: Monitor) -> tuple[list[Plot], list[str]]:
    """Draw what the varied keys ask for in a test metric; bars where neither labels nor the latent size was varied.

    Returns the plots, and what is not drawn and why, a sentence each.
    """
    metric, remark = monitor.metric, monitor.remark
    label_keys = [key for key in LABEL_KEYS if key in columns]
    drawn = [
        _for_each_setting(name, groups, columns, keys, partial(_against, axis, metric))
        for name, keys, axis in (
            ("label_efficiency", label_keys, Axis(labelled, "the number of labels, log axis", 10)),
            ("latent_size", [LATENT], Axis(_value_of(LATENT), "the latent size, log axis", 2, f"{LATENT} (log axis)")),
            ("transplants", [TRANSPLANTED], Axis(_value_of(TRANSPLANTED), "the layers carried over", None, CARRIED)),
        )
        if keys and set(keys) <= set(columns)
    ] or [_bars(groups, columns, metric)]
    drawn.append(_learning_curves(groups, columns, monitor.on("val").metric))
    plots = [replace(plot, caption=f"{plot.caption[:-1]}{remark}.") for those, _ in drawn for plot in those]
    return plots, [line for _, left_out in drawn for line in left_out]


@dataclass(frozen=True)
class Axis:
    """place: of a group, None for one that is a level beside the curves. log: the base, None for a linear axis."""

    place: Callable[[Group], float | None]
    words: str
    log: int | None
    label: str = ""


def _value_of(key: str) -> Callable[[Group], float | None]:
    return lambda group: float(group.setting[key]) if key in group.setting else None


def _against(axis: Axis, metric: str, groups: Sequence[Group], where: str) -> Plot:
    places = [place for group in groups if (place := axis.place(group)) is not None]
    levels = [
        Line(group.arm or metric, [min(places), max(places)], 2 * [summary.mean], None, [])
        for group in groups
        if axis.place(group) is None and places and (summary := group.summary(metric))
    ]
    label = axis.label or f"labelled training {noun_of_groups(groups)}"
    lines = [*_by_arm([group for group in groups if axis.place(group) is not None], metric, axis.place), *levels]
    figure = draw_lines(lines, label, groups[0].words(metric), where, log=axis.log)
    return Plot("", _caption(f"{metric} against {axis.words}", where), figure)


def _for_each_setting(
    name: str,
    groups: Sequence[Group],
    columns: Sequence[str],
    axis: Sequence[str],
    draw: Callable[[Sequence[Group], str], Plot],
) -> tuple[list[Plot], list[str]]:
    """Draw each setting of the columns that are on no axis, named after `name`."""
    rest = [column for column in columns if column not in ("transfer", *axis)]
    settings = []
    for group in groups:
        setting = {key: group.setting[key] for key in rest if key in group.setting}
        # A control that has no pretraining belongs to the setting of every pretraining.
        if len(setting) == len(rest) and setting not in settings:
            settings.append(setting)
    plots = []
    for number, setting in enumerate(settings[:MOST_SETTINGS]):
        inside = [group for group in groups if same_setting(group, Group(setting, []))]
        where = ", ".join(f"{key}={label(key, setting)}" for key in rest)
        plot = draw(inside, where)
        plots.append(replace(plot, name=name if len(settings) == 1 else f"{name}_{number + 1}"))
    hidden = len(settings) - len(plots)
    title = name.replace("_", " ").capitalize()
    return plots, [f"{title}: {hidden} further settings are in results.csv only."] if hidden > 0 else []


def _by_arm(groups: Sequence[Group], metric: str, place: Callable[[Group], float | None]) -> list[Line]:
    """Return a line an arm: means, with their intervals where all points have one, and every seed and fold as a dot."""
    lines = []
    for arm in dict.fromkeys(group.arm for group in groups):
        points = sorted(
            ((place(group) or 0.0, group) for group in groups if group.arm == arm and group.values(metric)),
            key=lambda point: point[0],
        )
        summaries = [summary for _, group in points if (summary := group.summary(metric))]
        bands = [summary.interval for summary in summaries if summary.interval is not None]
        lines.append(
            Line(
                arm=arm or metric,
                x=[x for x, _ in points],
                y=[summary.mean for summary in summaries],
                band=bands if len(bands) == len(points) else None,
                dots=[(x, value) for x, group in points for value in group.values(metric)],
            )
        )
    return [line for line in lines if line.x]


def _bars(groups: Sequence[Group], columns: Sequence[str], metric: str) -> tuple[list[Plot], list[str]]:
    shown = [(group, summary) for group in groups if (summary := group.summary(metric))]
    if not shown:
        return [], []
    named = [column for column in columns if column != "transfer"]
    bars = []
    for group, summary in shown[:MOST_BARS]:
        words = [group.arm] if group.arm else []
        words += [f"{key}={label(key, group.setting)}" for key in named]
        name = "\n".join(words) or metric
        bars.append(Bar(group.arm or "", name, summary.mean, summary.interval, group.values(metric)))
    folds = any(group.folds_of(group.replicates) for group, _ in shown)
    how = "the table's 95 % intervals" if folds else "95 % bootstrap intervals (3 seeds or more)"
    caption = f"{metric}: mean of each group, its seeds{' and folds' if folds else ''} as dots; whiskers are {how}."
    hidden = len(shown) - len(bars)
    left_out = [f"Bars: {hidden} further groups are in results.csv only."] if hidden else []
    return [Plot("bars", caption, draw_bars(bars, shown[0][0].words(metric)))], left_out


def _learning_curves(groups: Sequence[Group], columns: Sequence[str], metric: str) -> tuple[list[Plot], list[str]]:
    if not any(metric in row for group in groups for run in group.runs for row in run.history):
        return [], ["Learning curves: these runs have no history.json, so there are none."]

    def draw(groups: Sequence[Group], where: str) -> Plot:
        lines = [line for group in groups if (line := _curve(group, metric))]
        said = f"Learning curves: {metric} by epoch; bands go from the lowest seed to the highest"
        return Plot("", _caption(said, where), draw_lines(lines, "epoch", groups[0].words(metric), where))

    return _for_each_setting("learning_curves", groups, columns, [], draw)


def _curve(group: Group, metric: str) -> Line | None:
    """Return the mean over seeds up to the last validation that all of them have."""
    runs = [run for run in group.runs if any(metric in row for row in run.history)]
    if not runs:
        return None
    rows = [row for row in runs[0].history if metric in row]
    curves = [[(replicate(run), row[metric]) for row in run.history if metric in row] for run in runs]
    points = [list(means(values).values()) for values in zip(*curves, strict=False)]
    return Line(
        arm=group.arm or metric,
        x=[row.get("epoch", place) for place, row in enumerate(rows, start=1)][: len(points)],
        y=[sum(values) / len(values) for values in points],
        band=[(min(values), max(values)) for values in points] if len(points[0]) > 1 else None,
        dots=[],
    )


def _caption(text: str, where: str) -> str:
    return f"{text}{f' ({where})' if where else ''}."
