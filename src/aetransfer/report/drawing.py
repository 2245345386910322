"""Lines and bars, drawn alike: controls grey, arms in colours that colour-blind readers tell apart, names on the lines.

Colours are those of Okabe and Ito (2008), "Color Universal Design".
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, ScalarFormatter

COLOURS = {
    "frozen": "#D55E00",
    "finetune": "#0072B2",
    "linear_probe": "#009E73",
    "finetune_layerwise": "#CC79A7",
    "gradual": "#56B4E9",
    "shuffled": "#E69F00",
    "moments": "#8C6D00",
    "transplant": "#6A51A3",
    "transplant_frozen": "#A6761D",
}
# A control is told from the arms by its grey and its dashes, and the controls from each other by the dashes.
CONTROLS = {"scratch": ("#333333", "--"), "random_frozen": ("#808080", ":"), "random_linear_probe": ("#808080", "-.")}
# The two curves of one quantity in one run.
PARTS = {"train": ("#777777", "--"), "val": ("#0072B2", "-")}
OTHER = "#0072B2"
INK = "#1a1a1a"
STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#666666",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "pdf.fonttype": 42,
    # Names are no formulas.
    "text.parse_math": False,
    # What an SVG's ids are made from: without it, two equal figures differ.
    "svg.hashsalt": "aetransfer",
}
WIDTH = 5.6  # inches; on a page 400 pixels wide the letters are still 9 pixels high


@dataclass(frozen=True)
class Line:
    """band: (low, high) for each point, or None. dots: single (x, y)."""

    arm: str
    x: list[float]
    y: list[float]
    band: list[tuple[float, float]] | None
    dots: list[tuple[float, float]]


@dataclass(frozen=True)
class Bar:
    arm: str
    name: str
    mean: float
    interval: tuple[float, float] | None
    dots: list[float]


def draw_lines(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    title: str = "",
    *,
    log: int | None = None,
    marked: float | None = None,
    margins: dict[str, float] | None = None,
) -> Figure:
    """Draw lines with their names at their right ends.

    log: base of the x axis, None for a linear one of whole numbers. marked: the x that a thin upright line stands at.
    margins: where the axes end, in parts of the figure (left, right, bottom, top); None to find room for all that is
    written, which takes as long as to draw it.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout=None if margins else "constrained")
        axes = figure.subplots(gridspec_kw=margins)
        for line in lines:
            colour, dashes = look(line.arm)
            marker = "o" if log or len(line.x) == 1 else None
            axes.plot(line.x, line.y, color=colour, linestyle=dashes, linewidth=2, marker=marker)
            if line.band is not None:
                low, high = zip(*line.band, strict=True)
                axes.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
            if line.dots:
                x, y = zip(*line.dots, strict=True)
                axes.scatter(x, y, s=9, color=colour, alpha=0.45, linewidth=0)
        if marked is not None:
            axes.axvline(marked, color="#999999", linewidth=0.9)
        if log:
            _log_axis(axes, sorted({x for line in lines for x in line.x}), log)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel=x_label, ylabel=textwrap.fill(y_label, 36))
        axes.set_title(textwrap.fill(title, 70), fontsize=10, loc="left")
        _name_lines(axes, lines)
    return figure


def draw_bars(bars: Sequence[Bar], x_label: str) -> Figure:
    """Draw horizontal bars from zero, each with its seeds as dots and its mean in figures beside it."""
    names = ["\n".join(textwrap.fill(part, 34) for part in bar.name.split("\n")) for bar in bars]
    height = sum(0.3 + 0.17 * name.count("\n") for name in names)
    with mpl.rc_context(STYLE | {"axes.grid.axis": "x"}):
        figure = Figure(figsize=(WIDTH, height + 0.9), layout="constrained")
        axes = figure.subplots()
        highest = max(max(bar.dots) for bar in bars)
        # Of few seeds or folds an interval may be far wider than all that was measured: it goes on beyond the axis.
        ends = [max([*bar.dots, *(bar.interval or ())]) for bar in bars]
        furthest = min(max(ends), 1.4 * highest) if highest > 0 else highest
        for place, bar in enumerate(bars):
            colour, _ = look(bar.arm)
            control = bar.arm in CONTROLS
            axes.barh(
                place, bar.mean, height=0.62, color="white" if control else colour, alpha=1 if control else 0.75,
                edgecolor=colour, hatch="////" if control else None, linewidth=1.2,
            )  # fmt: skip
            if bar.interval is not None:
                axes.plot(bar.interval, [place, place], color=INK, linewidth=1.6)
            axes.scatter(bar.dots, [place] * len(bar.dots), s=11, color="white", edgecolor=INK, linewidth=0.8, zorder=3)
            axes.annotate(
                f"{bar.mean:#.4g}", (min(ends[place], furthest), place), xytext=(8, 0), textcoords="offset points",
                va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
        axes.set_yticks(range(len(bars)), names)
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.set_xlim(min(0.0, min(min(bar.dots) for bar in bars)), furthest * 1.16 if furthest > 0 else None)
        axes.set_xlabel(textwrap.fill(x_label, 48))
    return figure


def look(arm: str) -> tuple[str, str]:
    """Return the colour of an arm, or of a part of the data, and its line's dashes."""
    return CONTROLS.get(arm) or PARTS.get(arm) or (COLOURS.get(arm, OTHER), "-")


def rendered(figure: Figure) -> tuple[bytes, bytes]:
    """Return a figure as SVG and PDF, the same bytes for the same figure whenever it is drawn."""
    with mpl.rc_context(STYLE):
        svg, pdf = as_svg(figure), BytesIO()
        # Laying out costs as much as drawing, and is done.
        figure.set_layout_engine("none")
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    return svg, pdf.getvalue()


def as_svg(figure: Figure) -> bytes:
    with mpl.rc_context(STYLE):
        svg = BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()


def _log_axis(axes: Axes, values: list[float], base: int) -> None:
    axes.set_xscale("log", base=base)
    # The measured places as ticks, but for those that would run into each other.
    nearest = (values[-1] / values[0]) ** 0.14
    shown: list[float] = []
    for value in reversed(values):
        if not shown or shown[-1] > value * nearest:
            shown.append(value)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())


def _name_lines(axes: Axes, lines: Sequence[Line]) -> None:
    """Write each line's name beside its end, far enough from the next name to be read."""
    low, high = axes.get_ylim()
    # A name is as high as a fourteenth of the axis.
    places = _apart([line.y[-1] for line in lines], (high - low) / 14)
    for line, place in zip(lines, places, strict=True):
        end = (line.x[-1], line.y[-1])
        colour, dashes = look(line.arm)
        axes.annotate(
            "\n".join(textwrap.wrap(line.arm, 24)),
            end,
            xytext=(1.05, place),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linestyle": dashes, "linewidth": 0.9, "relpos": (0, 0.5)},
            annotation_clip=False,
        )
    axes.set_ylim(low, high)


def _apart(wanted: Sequence[float], distance: float) -> list[float]:
    """Return places in the same order, at least a distance from each other and near where they are wanted."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places = list(wanted)
    for before, index in pairwise(order):
        places[index] = max(places[index], places[before] + distance)
    # What was pushed up as one heap goes back down by half of its excess.
    excess = max((places[index] - wanted[index] for index in order), default=0.0)
    return [place - excess / 2 for place in places]
