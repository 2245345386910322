"""Sheets of small images with their names written beside them: pixels stay pixels, letters can be read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from aetransfer.printable import printable

# Sides, in pixels of the sheet: images that are smaller are enlarged by a whole number, larger ones are averaged.
SMALLEST, LARGEST = 56, 128
GAP = 4
LINE = 16
INK = (26, 26, 26)
PAPER = (255, 255, 255)
# Behind lines, so that a sheet's gaps tell panels apart.
PANEL = "#f4f4f4"
DPI = 100


@dataclass(frozen=True)
class Stroke:
    """A line through points (K, 2) in pixels from a panel's upper left corner, as thick as `width` pixels."""

    points: np.ndarray
    colour: str
    width: float


@cache
def _font() -> ImageFont.FreeTypeFont:
    # Matplotlib's own: Pillow's knows few letters beyond ASCII, and class names may have others.
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 12)


def heat(values: Tensor) -> Tensor:
    """Colour (..., 1, H, W) in [0, 1] from black over red and yellow to white: (..., 3, H, W)."""
    return torch.cat([2 * values, 2 * values - 0.5, 2 * values - 1], -3).clamp(0, 1)


def signed(values: Tensor, most: float) -> Tensor:
    """Map [-most, most] to [0, 1]: zero is mid-grey."""
    return (0.5 + 0.5 * values / most).clamp(0, 1)


def draw(panels: Sequence[Sequence[Stroke]], width: int, height: int) -> Tensor:
    """Draw strokes, the last ones on top, onto panels of their own: (N, 3, height, width) in [0, 1]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    # All of them in one figure, which a panel each would be a hundred times as slow as.
    across = math.ceil(math.sqrt(len(panels)))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(across * width / DPI, down * height / DPI), dpi=DPI, facecolor=PANEL)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, across * width), ylim=(down * height, 0))
    axes.set_axis_off()
    placed = [
        (stroke, (place % across * width, place // across * height))
        for place, panel in enumerate(panels)
        for stroke in panel
    ]
    lines = [np.clip(stroke.points, 0, (width, height)) + corner for stroke, corner in placed]
    colours, widths = [stroke.colour for stroke, _ in placed], [stroke.width * 72 / DPI for stroke, _ in placed]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=widths, capstyle="butt"), autolim=False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3])
    cells = pixels.unflatten(0, (down, height)).unflatten(2, (across, width)).permute(0, 2, 4, 1, 3)
    return cells.flatten(0, 1)[: len(panels)].float() / 255


def sheet(
    images: Tensor,
    columns: int,
    *,
    rows: Sequence[str] = (),
    heads: Sequence[str] = (),
    captions: Sequence[str] = (),
    drawn: bool = False,
) -> Image.Image:
    """Lay images out in rows.

    images: (N, 1 or 3, H, W) in [0, 1]. rows: what is written left of each row. heads: above each column. captions:
    below each image, of as many lines all. drawn: they are no pixels to be seen, and stay as large as they are.
    """
    cells = _cells(images, resizes=not drawn)
    count, height, width, _ = cells.shape
    lines = 1 + captions[0].count("\n") if captions else 0
    left = max((round(_font().getlength(_one_line(name))) for name in rows), default=-2 * GAP) + 2 * GAP
    top = LINE if heads else 0
    # A caption is worth a little more room than the smallest image.
    across = max(width, 92 if captions else 0) + GAP
    down = height + GAP + (lines * LINE + 2 * GAP if lines else 0)
    paper = Image.new("RGB", (left + columns * across + GAP, top + -(-count // columns) * down + GAP), PAPER)
    draw = ImageDraw.Draw(paper)

    def write(text: str, x: float, y: float, anchor: str) -> None:
        draw.text((x, y), text, INK, font=_font(), anchor=anchor)

    for place, cell in enumerate(cells):
        row, column = divmod(place, columns)
        x, y = left + GAP + column * across, top + GAP + row * down
        paper.paste(Image.fromarray(cell), (x + (across - GAP - width) // 2, y))
        for number, line in enumerate(captions[place].split("\n") if captions else ()):
            middle = x + (across - GAP) / 2
            write(_cut(_one_line(line), across), middle, y + height + (number + 0.5) * LINE, "mm")
    for row, name in enumerate(rows):
        write(_one_line(name), left - GAP, top + GAP + row * down + height / 2, "rm")
    for column, name in enumerate(heads):
        write(_one_line(name), left + GAP + column * across + (across - GAP) / 2, GAP / 2 + LINE / 2, "mm")
    return paper


def beside(pictures: Sequence[Image.Image], heads: Sequence[str]) -> Image.Image:
    """Put pictures beside each other, each below its head."""
    wide = [
        max(each.width, round(_font().getlength(head)) + 4 * GAP) for each, head in zip(pictures, heads, strict=True)
    ]
    paper = Image.new("RGB", (sum(wide), max(each.height for each in pictures) + LINE), PAPER)
    draw, x = ImageDraw.Draw(paper), 0
    for each, head, width in zip(pictures, heads, wide, strict=True):
        draw.text((x + 2 * GAP, LINE / 2), head, INK, font=_font(), anchor="lm")
        paper.paste(each, (x, LINE))
        x += width
    return paper


def _cells(images: Tensor, resizes: bool) -> np.ndarray:
    """Return (N, height, width, 3) uint8, enlarged or reduced to what a sheet shows."""
    colour = images.detach().float().cpu().clamp(0, 1).expand(-1, 3, -1, -1)
    side = max(colour.shape[2:])
    if resizes and side > LARGEST:
        # Of images that are far longer than high a line of pixels is left.
        size = [max(1, length * LARGEST // side) for length in colour.shape[2:]]
        colour = F.interpolate(colour, size=size, mode="area")
    elif resizes and side < SMALLEST:
        colour = F.interpolate(colour, scale_factor=-(-SMALLEST // side), mode="nearest")
    return (colour * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _one_line(text: str) -> str:
    return printable(text).replace("\n", " ")


def _cut(text: str, width: int) -> str:
    while text and _font().getlength(text) > width:
        text = text.rstrip("…")[:-1] + "…"
        if text == "…":
            break
    return text
