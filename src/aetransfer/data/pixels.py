"""What one sees in an image file, as 8-bit colour: upright, on a background, scaled by the range of its data set."""

import sys
from dataclasses import dataclass
from io import SEEK_SET
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from aetransfer.data.reading import CLIPPED, DEEP, FRAMES, LEAST_OF_8_BITS, TRANSPARENT, TURNED, Range, Reading

ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Their further frames are no pictures of their own: a photograph's preview, gain map or other eye; layers.
ONE_PICTURE = ("MPO", "PSD")
# What Pillow keeps of 16-bit colour is the upper byte of each value; read in the other byte order, it is the lower one.
OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
# TIFF's tags, and what they say.
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
SAMPLE_FORMAT, UNSIGNED = 339, 1
PLANES, SEPARATE = 284, 2
BITS = 258


class UnusableError(ValueError):
    """What is wrong with an image, as a sentence that lacks its subject, the name of the file."""


@dataclass(frozen=True)
class Extremes:
    """Of an image with more than 8 bits. fractions: all is from 0 to 1, and not only 0 and 1."""

    low: float
    high: float
    fractions: bool

    def fit(self, value_range: Range) -> bool:
        """Tell whether the range can be that of this image: fractions on a scale of bytes would be black."""
        return not self.fractions or value_range[1] < LEAST_OF_8_BITS


class Shown(NamedTuple):
    """image: RGB. marks: what was done, of `aetransfer.data.reading`."""

    image: Image.Image
    marks: frozenset[str]


class _Samples(NamedTuple):
    """values: (H, W) or (H, W, 3) of more than 8 bits. alpha: (H, W) uint8 or None."""

    values: np.ndarray
    alpha: np.ndarray | None


class _LowerBytes(NamedTuple):
    """image: the lower bytes of colour. grey: it is of grey with alpha, and each pixel both bytes of both."""

    image: Image.Image
    grey: bool


def show(image: Image.Image, reading: Reading) -> Shown | Extremes:
    """Return what one sees in an opened image, or its extremes where the reading still has to be decided by them.

    Raises UnusableError for several frames of which none is chosen, values that are no numbers or have no known range,
    and Pillow's DecompressionBombError for an image that would fill the memory.
    """
    marks = set()
    _check_size(image)
    if _at_frame(image, reading.frame):
        _check_size(image)
        marks.add(FRAMES)
    lower = _lower_bytes(image)  # once the image itself is loaded, its file may be closed
    turned = _orientation(image) in ORIENTATIONS  # a TIFF is turned, and forgets it, as it is loaded
    if turned:
        marks.add(TURNED)
    samples = _colour_of_16_bits(image, lower, turned) if lower is not None else _more_than_8_bits(image, turned)
    if samples is None:
        upright = _upright(image, turned)
    else:
        extremes = _extremes(samples.values)
        if not reading.decided:
            return extremes
        marks.add(DEEP)
        value_range = _range_of(reading, extremes)
        if extremes.low < value_range[0] or extremes.high > value_range[1]:
            marks.add(CLIPPED)
        upright = Image.fromarray(_to_8_bits(samples.values, value_range))
        if samples.alpha is not None:
            upright.putalpha(Image.fromarray(samples.alpha))
    if not upright.has_transparency_data:
        return Shown(upright.convert("RGB"), frozenset(marks))
    colour = (upright.convert("LA") if upright.mode == "La" else upright).convert("RGBA")
    if colour.getchannel("A").getextrema() != (255, 255):
        marks.add(TRANSPARENT)
    canvas = Image.new("RGBA", colour.size, (reading.background,) * 3 + (255,))
    canvas.alpha_composite(colour)
    return Shown(canvas.convert("RGB"), frozenset(marks))


def _check_size(image: Image.Image) -> None:
    # Pillow itself only warns up to twice its limit.
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")


def _at_frame(image: Image.Image, frame: int | None) -> bool:
    """Go to the chosen frame and tell whether there are several. Whoever hands over an opened image may have chosen."""
    if image.format in ONE_PICTURE or image.tell():
        return False
    count = getattr(image, "n_frames", 1)
    if count == 1:
        return False
    if frame is None:
        raise UnusableError(
            f"has {count} frames or pages: choose one with data.frame (frame of embed and predict; 0 is the first), or "
            "split the file"
        )
    if frame >= count:
        raise UnusableError(f"has {count} frames or pages, and frame={frame} counts from 0: choose a lower one")
    image.seek(frame)
    return True


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # what broken EXIF data make Pillow stumble over is anybody's guess; every viewer ignores them
        return 1


def _upright(image: Image.Image, turned: bool) -> Image.Image:
    if not turned:
        return image
    image.load()
    # What is no TIFF still says how it is to be turned.
    turn = ORIENTATIONS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _more_than_8_bits(image: Image.Image, turned: bool) -> _Samples | None:
    """Return a grey image's values where a byte does not hold them, upright."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return None
    values = np.asarray(_upright(image, turned))
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        if values.dtype != np.uint16:
            raise UnusableError("says that 0 is white, and not what is black: save it with 0 as black")
        values = 65535 - values
    if values.dtype == np.int32 and tags and UNSIGNED in _tuple(tags.get(SAMPLE_FORMAT, UNSIGNED)):
        values = values.view(np.uint32)
    return _Samples(values, _key_alpha(values, image.info.get("transparency")))


def _lower_bytes(image: Image.Image) -> _LowerBytes | None:
    """Return what Pillow leaves out of 16-bit colour, None for the rest."""
    if image.mode not in ("RGB", "RGBA"):
        return None  # of CMYK the upper bytes are enough: the full scale of ink is known
    raw = _raw_mode(image)
    layout, deep, order = raw.partition(";16")
    tags: Any = getattr(image, "tag_v2", {})
    separate = max(_tuple(tags.get(BITS, 1))) > 8 and (not deep or tags.get(PLANES) == SEPARATE)
    if not deep and not separate:
        return None
    grey = layout == "LA" and image.mode == "RGBA"
    if grey:
        other = "RGBA"  # four bytes a pixel, read as if each was a channel
    elif layout in ("RGB", "RGBX", "RGBA") and order in OTHER_BYTE and not separate:
        other = f"{layout};16{OTHER_BYTE[order]}"
    else:
        raise UnusableError(
            f"holds colour of more than 8 bits in a form that can't be read whole ({raw}): save it as a PNG"
        )
    lower = _with_raw_mode(_reopened(image), other)
    lower.load()
    return _LowerBytes(lower, grey)


def _colour_of_16_bits(image: Image.Image, lower: _LowerBytes, turned: bool) -> _Samples:
    """Return the values of 16-bit colour, upright."""
    below = np.asarray(_upright(lower.image, turned))
    if lower.grey:
        return _Samples(below[..., 0].astype(np.uint16) << 8 | below[..., 1], below[..., 2])
    above = np.asarray(_upright(image, turned))
    values = above[..., :3].astype(np.uint16) << 8 | below[..., :3]
    alpha = above[..., 3] if above.shape[2] == 4 else _key_alpha(values, image.info.get("transparency"))
    return _Samples(values, alpha)


def _raw_mode(image: Image.Image) -> str:
    """Return how the file lays out its pixels, in Pillow's words; empty for an image that is decoded already."""
    tiles = getattr(image, "tile", [])
    args = tiles[0].args if tiles else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _with_raw_mode(image: Image.Image, raw: str) -> Image.Image:
    """Have an image that is not loaded yet read in another layout of as many bits."""
    opened: Any = image
    opened.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in opened.tile
    ]
    return image


def _reopened(image: Image.Image) -> Image.Image:
    file: Any = getattr(image, "fp", None)
    file.seek(0, SEEK_SET)
    other = Image.open(file, formats=[image.format] if image.format else None)
    other.seek(image.tell())
    return other


def _key_alpha(values: np.ndarray, key: Any) -> np.ndarray | None:
    """Return the alpha of a PNG that calls one value, or colour, transparent."""
    if key is None:
        return None
    same = values == np.asarray(key)
    return np.where(same.all(2) if same.ndim == 3 else same, 0, 255).astype(np.uint8)


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _extremes(values: np.ndarray) -> Extremes:
    low, high = values.min().item(), values.max().item()
    if values.dtype.kind != "f":
        return Extremes(low, high, fractions=False)
    if not np.isfinite([low, high]).all():  # the least of values with a NaN among them is NaN
        raise UnusableError("holds values that are no numbers (NaN or infinite): replace or remove it")
    fractions = low >= 0 and high <= 1 and bool(((values > 0) & (values < 1)).any())
    return Extremes(low, high, fractions)


def _range_of(reading: Reading, extremes: Extremes) -> Range:
    if reading.value_range is None:
        raise UnusableError(
            "has more than 8 bits, and no training image had, so that it is not known what is black and what is white: "
            "set data.value_range (value_range of embed and predict) to [low,high]"
        )
    low, high = reading.value_range
    if reading.found and not extremes.fit(reading.value_range):
        raise UnusableError(
            f"holds fractions from 0 to 1, and {low:g} is black and {high:g} white: scale it, or set data.value_range "
            "(value_range of embed and predict)"
        )
    return low, high


def _to_8_bits(values: np.ndarray, value_range: Range) -> np.ndarray:
    low, high = value_range
    scaled = values.astype(np.float32)
    scaled -= low
    scaled *= 255 / (high - low)
    return scaled.round().clip(0, 255).astype(np.uint8)
