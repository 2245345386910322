"""How image files become bytes: the same for every file of a data set, and for what its encoder is shown later.

Orientation is applied, transparency is put on a background, more than 8 bits are scaled by one range: never by one
of an image's own. Nothing here knows of torch, so that a command line can be checked without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Range = tuple[float, float]

WHITE = 255
# What can be true of a file, and is counted.
DEEP, CLIPPED, TRANSPARENT, TURNED, FRAMES = "deep", "clipped", "transparent", "turned", "frames"

# The full scales of 1, 8, 10, 12, 14 and 16 bits; 1 is that of fractions too.
FULL_SCALES = (1, 255, 1023, 4095, 16383, 65535)
# Values between 1 and this are of no full scale: that of 8 bits would make them all but black.
LEAST_OF_8_BITS = 16


@dataclass(frozen=True)
class Reading:
    """background: grey level, 0 to 255, behind transparent pixels.
    value_range: what becomes 0 and 255 of images with more than 8 bits; those of 8 bits stay as they are.
    frame: the one that is taken of files with several, 0 is the first; without it they are refused.
    found: the range, or that no image needed one, was found in the training split and not stated by the user.
    """

    background: int = WHITE
    value_range: Range | None = None
    frame: int | None = None
    found: bool = False

    @property
    def decided(self) -> bool:
        """Whether it is known what to do with more than 8 bits: scale by the range, or refuse for want of one."""
        return self.found or self.value_range is not None

    def plain(self) -> dict[str, Any]:
        """Return what is stored with an encoder."""
        return {
            "background": self.background,
            "value_range": list(self.value_range) if self.value_range else None,
            "frame": self.frame,
        }


# Of an encoder that says nothing: images of 8 bits are as they were, others are refused.
UNSTATED = Reading(found=True)


def reading_of(plain: Mapping[str, Any]) -> Reading:
    """Return what was stored, by an older program perhaps nothing. Raises ValueError for what `plain` never gives."""
    background, value_range, frame = plain.get("background", WHITE), plain.get("value_range"), plain.get("frame")
    if not _is_int(background) or not 0 <= background <= WHITE:
        raise ValueError(f"background is {background!r}")
    if not (frame is None or (_is_int(frame) and frame >= 0)):
        raise ValueError(f"frame is {frame!r}")
    match value_range:
        case None:
            return Reading(background, None, frame, found=True)
        case [int() | float() as low, int() | float() as high] if low < high:
            return Reading(background, (low, high), frame, found=True)
    raise ValueError(f"value_range is {value_range!r}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def full_range(low: float, high: float) -> Range:
    """Return the range of images whose values go from `low` to `high`: the smallest full scale that holds them.

    What no full scale holds, negative or larger values, has the range from the lowest (0, if all are above) to the
    highest.
    """
    if low < 0 or high > FULL_SCALES[-1] or FULL_SCALES[0] < high < LEAST_OF_8_BITS:
        return min(low, 0), high
    return 0, next(scale for scale in FULL_SCALES if high <= scale)


def remark(counts: Mapping[str, int], images: int, reading: Reading) -> str:
    """Say in one line what was done with so many of the images; empty where all are of the usual kind."""
    low, high = reading.value_range or (0, 0)
    said = {
        DEEP: f"of more than 8 bits ({low:g} became black, {high:g} white)",
        CLIPPED: "of them with values outside that range, which were clipped",
        TRANSPARENT: f"transparent (put on grey level {reading.background} of 255)",
        TURNED: "turned upright by their EXIF data",
        FRAMES: f"of several frames or pages (number {reading.frame} was taken)",
    }
    parts = [f"{counts[mark]:,} {what}" for mark, what in said.items() if counts.get(mark)]
    return f"{images:,} image(s), {', '.join(parts)}" if parts else ""


def other_range(data: Reading | None, encoder: Reading) -> str | None:
    """Say where a data set's range is another than the one that an encoder was trained with."""
    if data is None or data.value_range in (None, encoder.value_range):
        return None
    low, high = data.value_range or (0, 0)
    trained = "{:g} was black and {:g} white".format(*encoder.value_range) if encoder.value_range else "none was needed"
    return (
        f"In these data {low:g} is black and {high:g} white; in the encoder's training {trained}: data.value_range "
        "says how they are read"
    )


def unused(reading: Reading, counts: Mapping[str, int]) -> list[str]:
    """Name the settings that were stated and met no image that they are for."""
    said = []
    if reading.value_range is not None and not reading.found and not counts.get(DEEP):
        low, high = reading.value_range
        said.append(f"data.value_range=[{low:g},{high:g}] was not used: no image has more than 8 bits")
    if reading.frame is not None and not counts.get(FRAMES):
        said.append(f"data.frame={reading.frame} was not used: no file has several frames or pages")
    return said
