"""How inputs are looked at: a small picture of each, and sheets of these with names beside them.

Images are shown, and pixels stay pixels; signals and vectors are drawn, on one scale in all pictures of a run, that of
some validation examples, so that epochs can be compared.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning import Trainer
from torch import Tensor
from torch.nn import functional as F

from aetransfer.data.module import data_of
from aetransfer.networks.encoder import Encoder
from aetransfer.printable import printable
from aetransfer.training.callbacks.board import fixed_inputs

# Sides, in pixels of the sheet: images that are smaller are enlarged by a whole number, larger ones are averaged.
SMALLEST, LARGEST = 56, 128
GAP = 4
LINE = 16
INK = (26, 26, 26)
PAPER = (255, 255, 255)
# Behind lines, so that a sheet's gaps tell panels apart.
PANEL = "#f4f4f4"
DPI = 100
# A pixel that is off by so much is white in an error map: the same in each epoch, so that maps can be compared. Of
# images that are no pixels in [0, 1], so many standard deviations of their channel.
WORST, WORST_DEVIATION = 0.5, 2.0
# Of a drawn panel, in pixels of a sheet; a lane is one channel's part of it.
WIDTH, HEIGHT, LANE = 160, 72, 26
# More are not told apart.
MOST_LANES, MOST_FEATURES = 8, 64
# Examples and numbers that the scale is taken from.
EXAMPLES, NUMBERS = 100, 2**22
UNDER, ZERO = "#a8a8a8", "#d0d0d0"
# Of Okabe and Ito, as in the reports' figures.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D00", "#6A51A3")


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

    def write(text: str, x: float, y: float, anchor: str, width: float = math.inf) -> None:
        draw.text((x, y), _one_line(text, width), INK, font=_font(), anchor=anchor)

    for place, cell in enumerate(cells):
        row, column = divmod(place, columns)
        x, y = left + GAP + column * across, top + GAP + row * down
        paper.paste(Image.fromarray(cell), (x + (across - GAP - width) // 2, y))
        for number, line in enumerate(captions[place].split("\n") if captions else ()):
            write(line, x + (across - GAP) / 2, y + height + (number + 0.5) * LINE, "mm", across)
    for row, name in enumerate(rows):
        write(name, left - GAP, top + GAP + row * down + height / 2, "rm")
    for column, name in enumerate(heads):
        write(name, left + GAP + column * across + (across - GAP) / 2, GAP / 2 + LINE / 2, "mm")
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


def _one_line(text: str, width: float = math.inf) -> str:
    text = printable(text).replace("\n", " ")
    if _font().getlength(text) <= width:
        return text
    while text and _font().getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


class View(ABC):
    """drawn: whether its pictures are lines, and have the size that they are shown at. note: what a reader of them must
    know, empty where they say it themselves.
    """

    drawn: ClassVar[bool] = False
    note: str = ""

    @abstractmethod
    def pictures(self, inputs: Tensor) -> Tensor:
        """Show inputs (N, *shape), without padding: (N, 3, H, W) in [0, 1] on the CPU."""

    @abstractmethod
    def difference(self, first: Tensor, second: Tensor) -> Tensor:
        """Show how two of (N, *shape) differ: as a map of each pixel, or the second drawn over the first."""

    def noted(self, picture: Image.Image, words: str = "") -> Image.Image:
        """Write above a picture what must be known of it; `words`: what the second of a difference is to the first."""
        said = [text for text in (words if self.drawn else "", self.note) if text]
        return beside([picture], ["; ".join(said)]) if said else picture


class Pixels(View):
    """Images of pixels in [0, 1]. Of other channels than 1 or 3 the mean is shown, in grey."""

    worst = f"{WORST:g}"

    def __init__(self, channels: int) -> None:
        self.mixes = channels not in (1, 3)
        self.note = f"mean of {channels} channels" if self.mixes else ""

    def pictures(self, inputs: Tensor) -> Tensor:
        shown = inputs.detach().float().cpu()
        return (shown.mean(1, keepdim=True) if self.mixes else shown).expand(-1, 3, -1, -1)

    def difference(self, first: Tensor, second: Tensor) -> Tensor:
        return heat((first - second).detach().float().cpu().abs().mean(1, keepdim=True) / WORST)


class FloatImages(View):
    """Images of any range, scaled by that of the examples but for the half per cent that is brightest or darkest."""

    worst = f"{WORST_DEVIATION:g} deviations"

    def __init__(self, encoder: Encoder, examples: Tensor) -> None:
        self.encoder = encoder
        self.channels = encoder.input_shape[0]
        low, high = np.quantile(self._shown(examples).numpy(), [0.005, 0.995])
        self.low, self.high = float(low), float(max(high, low + 1e-12))
        of = "values" if self.channels in (1, 3) else f"mean of {self.channels} standardised channels,"
        self.note = f"{of} from {self.low:.3g} (black) to {self.high:.3g} (white)"

    def _shown(self, inputs: Tensor) -> Tensor:
        if self.channels not in (1, 3):
            inputs = self.encoder.normalise(inputs).mean(1, keepdim=True)
        return inputs.detach().float().cpu()

    def pictures(self, inputs: Tensor) -> Tensor:
        scaled = (self._shown(inputs) - self.low) / (self.high - self.low)
        return scaled.clamp(0, 1).expand(-1, 3, -1, -1)

    def difference(self, first: Tensor, second: Tensor) -> Tensor:
        error = self.encoder.in_loss_units(first - second).detach().float().cpu()
        return heat(error.abs().mean(1, keepdim=True) / WORST_DEVIATION)


class Signals(View):
    """(C, L) as lines, a lane a channel from the top, each scaled by its own range in the examples."""

    drawn = True

    def __init__(self, examples: Tensor, width: int = WIDTH, height: int = HEIGHT) -> None:
        channels = examples.shape[1]
        self.lanes = torch.arange(min(channels, MOST_LANES)) * channels // min(channels, MOST_LANES)
        self.width, self.height = width, max(height, LANE * len(self.lanes) if height == HEIGHT else 0)
        shown = examples[:, self.lanes].detach().float().cpu()
        self.low, self.high = shown.amin((0, 2)).numpy(), shown.amax((0, 2)).numpy()
        if channels == 1:
            self.note = f"values from {self.low[0]:.3g} (bottom) to {self.high[0]:.3g} (top)"
        else:
            some = f"{len(self.lanes)} of {channels}" if len(self.lanes) < channels else str(channels)
            self.note = f"{some} channels from the top, each by its own range"

    def pictures(self, inputs: Tensor) -> Tensor:
        return draw([self._lines(each) for each in self._of(inputs)], self.width, self.height)

    def difference(self, first: Tensor, second: Tensor) -> Tensor:
        both = zip(self._of(first), self._of(second), strict=True)
        return draw([self._lines(one, UNDER, 2.4) + self._lines(other) for one, other in both], self.width, self.height)

    def _of(self, inputs: Tensor) -> np.ndarray:
        return inputs[:, self.lanes.to(inputs.device)].detach().float().cpu().numpy()

    def _lines(self, signal: np.ndarray, colour: str | None = None, thick: float = 1.2) -> list[Stroke]:
        high = self.height / len(signal)
        strokes = []
        for lane, values in enumerate(signal):
            spread = max(self.high[lane] - self.low[lane], 1e-12)
            x, y = thinned(values, self.width)
            share = np.clip((y - self.low[lane]) / spread, -0.06, 1.06)
            points = np.stack([2 + x * (self.width - 4), lane * high + high * (0.92 - 0.84 * share)], 1)
            strokes.append(Stroke(points, colour or COLOURS[lane % len(COLOURS)], thick))
        return strokes


class Vectors(View):
    """(D,) as bars from the mean, in standard deviations of each feature; what is laid over them as dashes."""

    drawn = True

    def __init__(self, encoder: Encoder, examples: Tensor, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.encoder, self.width, self.height = encoder, width, height
        features = examples.shape[1]
        self.chosen = torch.arange(min(features, MOST_FEATURES)) * features // min(features, MOST_FEATURES)
        self.most = max(1.0, float(np.quantile(np.abs(self._of(examples)), 0.995)))
        some = f"{MOST_FEATURES} of {features}" if features > MOST_FEATURES else str(features)
        self.note = f"{some} features as deviations from their mean, up to ±{self.most:.2g} σ"

    def pictures(self, inputs: Tensor) -> Tensor:
        return draw([self._bars(each, COLOURS[0]) for each in self._of(inputs)], self.width, self.height)

    def difference(self, first: Tensor, second: Tensor) -> Tensor:
        both = zip(self._of(first), self._of(second), strict=True)
        return draw([self._bars(one, UNDER) + self._dashes(other) for one, other in both], self.width, self.height)

    def _of(self, inputs: Tensor) -> np.ndarray:
        standardised = self.encoder.normalise(inputs.float())
        return standardised[:, self.chosen.to(inputs.device)].detach().cpu().numpy()

    def _places(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return where each feature stands and how high its value is, and the room that it has."""
        room = (self.width - 4) / len(vector)
        y = self.height * (0.5 - 0.46 * np.clip(vector / self.most, -1.06, 1.06))
        return 2 + room * (np.arange(len(vector)) + 0.5), y, room

    def _bars(self, vector: np.ndarray, colour: str) -> list[Stroke]:
        x, y, room = self._places(vector)
        middle = np.array([[0, self.height / 2], [self.width, self.height / 2]])
        foot = np.full_like(y, self.height / 2)
        bars = np.stack([np.stack([x, foot], 1), np.stack([x, y], 1)], 1)
        return [*(Stroke(bar, colour, 0.7 * room) for bar in bars), Stroke(middle, ZERO, 1)]

    def _dashes(self, vector: np.ndarray) -> list[Stroke]:
        x, y, room = self._places(vector)
        half = max(0.45 * room, 1.0)
        dashes = np.stack([np.stack([x - half, y], 1), np.stack([x + half, y], 1)], 1)
        return [Stroke(dash, COLOURS[1], 2) for dash in dashes]


def thinned(values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where (L,) values stand, from 0 to 1, and the values; of many, the lowest and highest of `most` parts."""
    if len(values) <= 2 * most:
        return np.linspace(0, 1, len(values)) if len(values) > 1 else np.array([0.5]), values
    starts = np.arange(most) * len(values) // most
    extremes = [np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)]
    return np.repeat(np.linspace(0, 1, most), 2), np.stack(extremes, 1).reshape(-1)


def view_of(trainer: Trainer, model: Any, width: int = WIDTH, height: int = HEIGHT) -> View | None:
    """Return how a model's inputs are looked at; None for shapes of which there is no picture.

    width, height: of what is drawn, in pixels.
    """
    encoder: Encoder = model.encoder
    shape = encoder.input_shape
    if len(shape) == 3 and encoder.takes_pixels:
        return Pixels(shape[0])
    if not 1 <= len(shape) <= 3:
        return None
    count = min(EXAMPLES, max(1, NUMBERS // math.prod(shape)), data_of(trainer).count("val"))
    examples = fixed_inputs(trainer, "val", count, model)
    if len(shape) == 3:
        return FloatImages(encoder, examples)
    return Signals(examples, width, height) if len(shape) == 2 else Vectors(encoder, examples, width, height)
