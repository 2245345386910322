"""Learning curves of one run, from history.json: training and validation of one quantity in one chart."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from aetransfer.html.picture import data_uri
from aetransfer.models.facts import ModelFacts
from aetransfer.run_page.words import OF_CALLBACKS
from aetransfer.sweeps.drawing import Line, as_svg, draw_lines

Rows = Sequence[dict[str, float]]

# A real run has a few; a history that somebody made up may have thousands.
MOST_CHARTS = 12
MOST_POINTS = 500
# Room for numbers such as 0.00025 on the left, and for `all weights` on the right.
MARGINS = {"left": 0.17, "right": 0.78, "bottom": 0.14, "top": 0.96}
# They go with accuracy and cross-entropy, and each chart takes a tenth of a second: TensorBoard has them.
LEFT_OUT = ("f1", "ece")
RATE = "optimizer/lr/"


@dataclass(frozen=True)
class Chart:
    data_uri: Markup
    caption: str


def charts(rows: Rows, best: float | None, model: ModelFacts) -> list[Chart]:
    """Draw each quantity by epoch, and the learning rates.

    best: the epoch that was kept, marked by a line. model: what says which quantities come first, and what they are.
    """
    quantities = dict.fromkeys(
        name.partition("/")[2] for row in rows for name in row if name.startswith(("train/", "val/"))
    )
    shown = [name for name in quantities if name not in LEFT_OUT or f"val/{name}" == model.monitor]
    declared = list(model.metrics)
    ordered = sorted(shown, key=lambda name: declared.index(name) if name in declared else len(declared))
    drawn = [chart for quantity in ordered[:MOST_CHARTS] if (chart := _quantity(quantity, rows, best, model))]
    rates = _rates(rows)
    return [*drawn, *([_drawn(rates, "learning rate", "Learning rate, after the epoch", None)] if rates else [])]


def _quantity(quantity: str, rows: Rows, best: float | None, model: ModelFacts) -> Chart | None:
    lines = [line for part in ("train", "val") if (line := _line(part, f"{part}/{quantity}", rows))]
    if not lines:
        return None
    parts = [line.arm for line in lines]
    words = model.words(quantity) or OF_CALLBACKS.get(quantity, quantity)
    caption = f"{' and '.join(f'{part}/{quantity}' for part in parts)}: {words}"
    return _drawn(lines, quantity, caption, best)


def _rates(rows: Rows) -> list[Line]:
    """Return a line for each rate; groups of parameters that share theirs share a line."""
    sharing: dict[tuple[float, ...], list[str]] = {}
    for name in dict.fromkeys(name for row in rows for name in row if name.startswith(RATE)):
        sharing.setdefault(tuple(row.get(name, math.nan) for row in rows), []).append(name)
    lines = []
    for names in list(sharing.values())[:MOST_CHARTS]:
        first, others = names[0].removeprefix(RATE), len(names) - 1
        shown = "all weights" if len(sharing) == 1 else f"{first} + {others} more" if others else first
        if line := _line(shown, names[0], rows):
            lines.append(line)
    return lines


def _line(shown: str, name: str, rows: Rows) -> Line | None:
    points = [
        (row["epoch"], row[name])
        for row in rows
        if "epoch" in row and name in row and math.isfinite(row[name]) and abs(row[name]) < 1e100
    ]
    points = points[:: math.ceil(len(points) / MOST_POINTS) or 1]
    return Line(shown, [x for x, _ in points], [y for _, y in points], None, []) if points else None


def _drawn(lines: Iterable[Line], label: str, caption: str, best: float | None) -> Chart:
    figure = draw_lines(list(lines), "epoch", label, marked=best, margins=MARGINS)
    return Chart(data_uri(as_svg(figure), "svg+xml"), f"{caption}.")
