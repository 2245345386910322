"""Heatmaps, bars, reliability diagrams and scatter plots as PNG, in the report's style."""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO

import matplotlib as mpl
from matplotlib.figure import Figure
from torch import Tensor

from aetransfer.models.metrics import Reliability
from aetransfer.report.drawing import INK, OTHER, STYLE

DPI = 140
# Beyond that many classes figures in the cells could not be read.
MOST_NUMBERED = 20
CELL = 0.42  # inches
# Of a scatter plot, evenly spaced.
MOST_POINTS = 5000


def heatmap(
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    row_label: str,
    column_label: str,
    form: str = ".2f",
    highest: float = 1.0,
) -> bytes:
    """Draw values (rows x columns) from 0 to `highest`, NaN empty; written into their cells where these are few."""
    numbered = max(len(rows), len(columns)) <= MOST_NUMBERED
    size = CELL if numbered else 0.12
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        width = max(4.2, size * len(columns) + 2.2)
        figure = Figure(figsize=(width, max(3.2, size * len(rows) + 1.6)), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(values, cmap="Blues", vmin=0, vmax=highest, aspect="equal")
        if numbered:
            for row, line in enumerate(values):
                for column, value in enumerate(line):
                    colour = "white" if value > 0.6 * highest else INK
                    text = "–" if math.isnan(value) else f"{value:{form}}"
                    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7.5)
            axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
            axes.set_yticks(range(len(rows)), rows)
        axes.set(xlabel=column_label, ylabel=row_label)
        axes.set_title(title, fontsize=10, loc="left")
        figure.colorbar(image, shrink=0.8)
        return _png(figure)


def unit_bars(kl: Sequence[float], one: str = "an image") -> bytes:
    """Draw what each latent unit costs, in nats an image or what else one input is, the dearest first."""
    with mpl.rc_context(STYLE | {"axes.grid.axis": "y"}):
        figure = Figure(figsize=(5.6, 3.0), layout="constrained")
        axes = figure.subplots()
        axes.bar(range(1, len(kl) + 1), kl, width=1.0, color=OTHER)
        axes.set(xlabel="latent unit, by cost", ylabel=f"KL, nats {one}", xlim=(0.5, len(kl) + 0.5))
        return _png(figure)


def reliability_diagram(curves: dict[str, Reliability]) -> bytes:
    """Draw accuracy against confidence, a panel a curve; bars are bins, the diagonal is perfect calibration."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * len(curves), 3.6), layout="constrained")
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (name, curve) in zip(panels, curves.items(), strict=True):
            bins = len(curve.count)
            filled = [place for place in range(bins) if curve.count[place]]
            share = [curve.count[place] / sum(curve.count) for place in filled]
            axes.bar(
                [(place + 0.5) / bins for place in filled],
                [curve.accuracy[place] for place in filled],
                width=0.92 / bins,
                color=OTHER,
            )
            axes.scatter(
                [curve.confidence[place] for place in filled],
                [curve.accuracy[place] for place in filled],
                s=[8 + 160 * part for part in share],
                color="white",
                edgecolor=INK,
                zorder=3,
            )
            axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1)
            axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
            axes.set_title(f"{name}: ECE {curve.error:.4f}", fontsize=10, loc="left")
        return _png(figure)


def predicted_against_true(values: Mapping[str, tuple[Tensor, Tensor]], title: str) -> bytes:
    """Draw predicted over true, with the line of no error, and below how the errors are distributed: a column a value.

    values: true and predicted, (N,) each, by the value's name.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(3.6, 3.2 * len(values)), 5.4), layout="constrained")
        above, below = figure.subplots(2, len(values), squeeze=False, height_ratios=(3, 2))
        for place, (name, (wanted, predicted)) in enumerate(values.items()):
            axes, part = above[place], slice(None, None, -(-len(wanted) // MOST_POINTS))
            axes.scatter(wanted[part], predicted[part], s=9, alpha=0.6, color=OTHER, linewidth=0)
            ends = [wanted.min().item(), wanted.max().item()]
            axes.plot(ends, ends, color=INK, linestyle="--", linewidth=1)
            axes.set(xlabel="true", ylabel="predicted")
            axes.set_title(name if place else f"{title}: {name}", fontsize=10, loc="left")
            below[place].hist((predicted - wanted).numpy(), bins=30, color=OTHER)
            below[place].axvline(0, color=INK, linestyle="--", linewidth=1)
            below[place].set(xlabel="predicted − true", ylabel="examples")
        return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
