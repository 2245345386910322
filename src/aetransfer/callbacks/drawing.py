"""Sheets of small images with their names written beside them: pixels stay pixels, letters can be read."""

from collections.abc import Sequence
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


def sheet(
    images: Tensor, columns: int, *, rows: Sequence[str] = (), heads: Sequence[str] = (), captions: Sequence[str] = ()
) -> Image.Image:
    """Lay images out in rows.

    images: (N, 1 or 3, H, W) in [0, 1]. rows: what is written left of each row. heads: above each column. captions:
    below each image, of as many lines all.
    """
    cells = _cells(images)
    count, height, width, _ = cells.shape
    lines = 1 + captions[0].count("\n") if captions else 0
    left = max((round(_font().getlength(_plain(name))) for name in rows), default=-2 * GAP) + 2 * GAP
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
            write(_cut(_plain(line), across), middle, y + height + (number + 0.5) * LINE, "mm")
    for row, name in enumerate(rows):
        write(_plain(name), left - GAP, top + GAP + row * down + height / 2, "rm")
    for column, name in enumerate(heads):
        write(_plain(name), left + GAP + column * across + (across - GAP) / 2, GAP / 2 + LINE / 2, "mm")
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


def _cells(images: Tensor) -> np.ndarray:
    """Return (N, height, width, 3) uint8, enlarged or reduced to what a sheet shows."""
    colour = images.detach().float().cpu().clamp(0, 1).expand(-1, 3, -1, -1)
    side = max(colour.shape[2:])
    if side > LARGEST:
        colour = F.interpolate(colour, scale_factor=LARGEST / side, mode="area")
    elif side < SMALLEST:
        colour = F.interpolate(colour, scale_factor=-(-SMALLEST // side), mode="nearest")
    return (colour * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _plain(text: str) -> str:
    return printable(text).replace("\n", " ")


def _cut(text: str, width: int) -> str:
    """Shorten what is wider than so many pixels."""
    while text and _font().getlength(text) > width:
        text = text.rstrip("…")[:-1] + "…"
        if text == "…":
            break
    return text
