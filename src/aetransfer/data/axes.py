"""Which axis of an array is what: examples, channels, height and width, samples of a signal, entries of a vector."""

import numpy as np

from aetransfer.data.lazy import Lazy, of_array
from aetransfer.errors import UserError

# What an axis is: example, channel, height, width, length of a signal, and entry of a vector.
AXES = ("ND", "NL", "NCL", "NLC", "NHW", "NHWC", "NCHW")
FEW_CHANNELS = (1, 3, 4)


def as_named(array: np.ndarray, axes: str | None, name: str) -> Lazy:
    """Return an array as images (N, C, H, W), signals (N, C, L) or vectors (N, D), float32 unless 8-bit images."""
    axes = axes or _unambiguous(array, name)
    if axes not in AXES:
        raise UserError(f"data.axes={axes} names no order of axes that is known: choose among {', '.join(AXES)}.")
    if len(axes) != array.ndim:
        raise UserError(f"{name} is {array.shape}, and data.axes={axes} is for {len(axes)} axes: correct it.")
    if "C" not in axes and axes != "ND":
        array, axes = array[:, None], f"NC{axes[1:]}"
    target = next(order for order in ("NCHW", "NCL", "ND") if set(order) == set(axes))
    array = array.transpose([axes.index(axis) for axis in target])
    is_pixels = array.dtype == np.uint8 and target == "NCHW"
    if (is_pixels or array.dtype == np.float32) and array.dtype.isnative and array.flags.c_contiguous:
        return of_array(array)
    dtype = np.dtype(np.uint8 if is_pixels else np.float32)

    def take(rows: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # infinite values are refused
            return array[rows].astype(dtype)

    return Lazy(array.shape, dtype, take)


def _unambiguous(array: np.ndarray, name: str) -> str:
    if array.ndim == 1:
        raise UserError(f"{name} is {array.shape}: give one row for each example, (N, ...).")
    if array.ndim == 2:
        return "ND"
    if array.dtype == np.uint8 and array.ndim == 3:
        return "NHW"
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] in FEW_CHANNELS:
        return "NHWC"
    fits = [axes for axes in AXES if len(axes) == array.ndim]
    if not fits:
        raise UserError(f"{name} is {array.shape}: give at most four axes, images (N, C, H, W) for instance.")
    raise UserError(
        f"{name} is {array.shape} of {array.dtype}: say what its axes are with data.axes, {' or '.join(fits)}."
    )


def said_of(array: np.ndarray, name: str, made: Lazy) -> str:
    what = {2: "vectors", 3: "signals", 4: "images"}[len(made.shape)]
    if made.dtype == np.uint8:
        return f"{name}: {what} of 8 bits, {made.shape[1:]} each."
    some_rows = made.take(np.unique(np.linspace(0, len(made) - 1, min(len(made), 1000)).astype(np.int64)))
    rounded = array.dtype.kind in "iuf" and array.dtype.itemsize > 4
    return (
        f"{name}: {what}, {made.shape[1:]} each, of {array.dtype} from {some_rows.min():g} to {some_rows.max():g}"
        f"{' in a thousand of them' if len(made) > 1000 else ''}, kept in their own units"
        f"{', rounded to float32' if rounded else ''}."
    )
