"""Signals of one length, out of recordings of any: cropped, padded, resampled or cut into windows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aetransfer.data.lazy import Lazy
from aetransfer.errors import UserError

Fit = Literal["crop_or_pad", "resample"]


@dataclass(frozen=True)
class Fitting:
    """How signals get one length. fit: crop_or_pad takes the first `length` samples and puts zeros behind fewer;
    resample draws a straight line between neighbouring samples, keeps the first and the last one, and has no filter
    against aliasing. window, stride: windows of so many samples, each `stride` (else `window`) samples after the one
    before; what remains at the end is left out.

    Raises UserError for keys that say nothing without another, and for two ways to one length.
    """

    length: int | None = None
    fit: Fit | None = None
    window: int | None = None
    stride: int | None = None

    @property
    def asked(self) -> bool:
        return self.length is not None or self.window is not None

    def __post_init__(self) -> None:
        length, window = self.length, self.window
        if length is not None and window is not None:
            raise UserError(f"data.length={length} and data.window={window} both say how long a signal is: choose one.")
        if self.fit is not None and length is None:
            raise UserError(f"data.fit={self.fit} says how signals get one length, and needs data.length=N.")
        if self.stride is not None and window is None:
            raise UserError(f"data.stride={self.stride} says how far windows are apart, and needs data.window=N.")


@dataclass(frozen=True)
class Signals:
    """lengths: (N,) int64, of each in samples. get: gives one by its number, (C, L). channels: C."""

    lengths: np.ndarray
    channels: int
    get: Callable[[int], np.ndarray]

    def __len__(self) -> int:
        return len(self.lengths)


def ragged(values: np.ndarray, lengths: np.ndarray) -> Signals:
    """Return signals that lie one behind another. values: (sum of lengths,) or (sum of lengths, C)."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows = values.reshape(len(values), -1)
    return Signals(lengths, rows.shape[1], lambda number: rows[starts[number] : starts[number + 1]].T)


def of_equal(lazy: Lazy) -> Signals:
    """Return signals (N, C, L) that have a length."""
    count, channels, length = lazy.shape
    return Signals(np.full(count, length), channels, lambda number: lazy.take(np.array([number]))[0])


def some(signals: Signals, rows: np.ndarray) -> Signals:
    return Signals(signals.lengths[rows], signals.channels, lambda number: signals.get(int(rows[number])))


def _lazy(signals: Signals, count: int, length: int, make: Callable[[int], np.ndarray]) -> Lazy:
    def take(rows: np.ndarray) -> np.ndarray:
        taken = np.zeros((len(rows), signals.channels, length), np.float32)
        with np.errstate(over="ignore"):  # infinite values are refused
            for place, row in enumerate(rows):
                made = make(int(row))
                taken[place, :, : made.shape[1]] = made
        return taken

    return Lazy((count, signals.channels, length), np.dtype(np.float32), take)


def fitted(signals: Signals, fitting: Fitting, at: str) -> tuple[Lazy, np.ndarray | None, str]:
    """Give signals one length.

    at: where they lie, for sentences. Returns them as (N, C, L) float32; of windows, the number of the signal of each;
    and a sentence that says what was done, empty for nothing. Raises UserError where they have several lengths and
    nothing says what to do, and where none is as long as a window.
    """
    if fitting.window is not None:
        return _windows(signals, fitting.window, fitting.stride or fitting.window, at)
    low, high = int(signals.lengths.min()), int(signals.lengths.max())
    if fitting.length is None:
        if low != high:
            raise UserError(
                f"{at} has signals of {low:,} to {high:,} samples: data.length={high} crops and pads them to one "
                "length (with data.fit=resample it stretches them), and data.window=N cuts windows out of them."
            )
        return _lazy(signals, len(signals), high, signals.get), None, ""
    length, fit = fitting.length, fitting.fit or "crop_or_pad"

    def make(number: int) -> np.ndarray:
        signal = signals.get(number)
        if fit == "crop_or_pad" or signal.shape[1] == length:
            return signal[:, :length]
        places = np.linspace(0, signal.shape[1] - 1, length)
        return np.stack([np.interp(places, np.arange(signal.shape[1]), channel) for channel in signal])

    return _lazy(signals, len(signals), length, make), None, _said(signals.lengths, length, fit)


def _said(lengths: np.ndarray, length: int, fit: Fit) -> str:
    longer, shorter = int((lengths > length).sum()), int((lengths < length).sum())
    if not longer and not shorter:
        return ""
    if fit == "resample":
        parts = [f"{longer + shorter:,} were resampled, linearly and without a filter"]
    else:
        parts = [f"{longer:,} were cut behind sample {length:,}"] if longer else []
        parts += [f"{shorter:,} were padded with zeros at the end"] if shorter else []
    return f"of {len(lengths):,} signals of {lengths.min():,} to {lengths.max():,} samples {' and '.join(parts)}."


def _windows(signals: Signals, window: int, stride: int, at: str) -> tuple[Lazy, np.ndarray, str]:
    counts = np.maximum(0, (signals.lengths - window) // stride + 1)
    owner = np.repeat(np.arange(len(signals)), counts)
    first = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    if not len(owner):
        longest = signals.lengths.max()
        raise UserError(f"{at}: no signal has data.window={window} samples, the longest has {longest:,}: lower it.")

    def make(number: int) -> np.ndarray:
        start = int(first[number]) * stride
        return signals.get(int(owner[number]))[:, start : start + window]

    short = int((counts == 0).sum())
    left_out = f"; {short:,} that are shorter were left out" if short else ""
    said = (
        f"{len(owner):,} windows of {window:,} samples, {stride:,} apart, were cut out of {len(signals) - short:,} "
        "signals"
        f"{left_out}."
    )
    return _lazy(signals, len(owner), window, make), owner, said
