"""Anybody's arrays: .npz, .npy, a folder of .npy, .csv, .parquet.

Splits are told by the arrays' names, as MedMNIST (`train_images`, `val_labels`) and Keras (`x_train`, `y_test`) have
them, or by a column `split`. 8-bit images stay as they are; all other inputs become float32 in their own units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import filter as matching
from pathlib import Path
from typing import Any

import numpy as np

from aetransfer.data.array_files import Arrays, opened
from aetransfer.data.contents import files_of_arrays
from aetransfer.data.examples import Examples, Split
from aetransfer.data.lazy import Cache, Lazy, as_named, chosen, said_of
from aetransfer.data.meaning import Kind, PartName
from aetransfer.data.parts import CALLED, PARTS, Description, Part, examples_of, rows_of_splits
from aetransfer.data.signals import Fit, Fitting, Signals, fitted, of_equal, ragged, some
from aetransfer.data.targets import listed
from aetransfer.errors import UserError

# What inputs and targets are called where nothing says it.
INPUTS = ("inputs", "images", "signals", "x", "X", "data")
TARGETS = ("targets", "labels", "y", "Y")
LENGTHS = "lengths"
SPLIT = "split"


@dataclass(frozen=True)
class Keys:
    """The config's keys of what is read, and of how signals get one length."""

    inputs: str | list[str] | None
    targets: str | list[str] | None
    groups: str | None
    where: Mapping[str, Any]
    axes: str | None
    fitting: Fitting


def read_arrays(
    root: str | None,
    split: Split,
    cache_dir: str,
    inputs: str | list[str] | None = None,
    targets: str | list[str] | None = None,
    kind: Kind | None = None,
    groups: str | None = None,
    where: dict[str, Any] | None = None,
    axes: str | None = None,
    length: int | None = None,
    fit: Fit | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> Examples:
    """Read arrays as images (N, C, H, W), signals (N, C, L) or vectors (N, D).

    root: a file, or a folder of .npy files. inputs, targets: an array or column, or several. groups: one. where: only
    examples that have these values. axes: see `as_named`. length, fit, window, stride: see `Fitting`. Raises UserError
    for what can't be read, is ambiguous or does not fit together.
    """
    if root is None:
        raise UserError(
            "data=arrays needs data.root=PATH, a .npz, .npy, .csv or .parquet file, or a folder of .npy files."
        )
    keys = Keys(inputs, targets, groups, where or {}, axes, Fitting(length, fit, window, stride))
    base = Path(root)
    cache = Cache.of(base, files_of_arrays(base).fingerprint, keys, cache_dir)
    return _Reading(opened(base, cache), keys).examples(split, kind, cache)


class _Reading:
    """Of arrays, by what the config says of them."""

    def __init__(self, arrays: Arrays, keys: Keys) -> None:
        self.arrays, self.keys, self.at = arrays, keys, str(arrays.at)
        self.notes: list[str] = []
        # By the name of an array without its split, its name in each.
        self.splits: dict[str, dict[PartName, str]] = {}
        if not arrays.is_table:
            for name in arrays:
                for word, part in CALLED.items():
                    base = (
                        name.removeprefix(f"{word}_") if name.startswith(f"{word}_") else name.removesuffix(f"_{word}")
                    )
                    if base != name:
                        self.splits.setdefault(base, {})[part] = name
        self.inputs = self._inputs()
        self.targets = self._targets()

    def _inputs(self) -> list[str]:
        match self.keys.inputs:
            case str(pattern) if any(mark in pattern for mark in "*?[") and pattern not in self.arrays:
                if not (found := matching(list(self.arrays), pattern)):
                    raise UserError(f"{self.at} has no column like data.inputs={pattern}: it has {self._listed()}.")
                return found
            case str(name):
                return [name]
            case list(names) if names:
                return names
        if not self.arrays.is_table:
            if len(self.arrays) == 1:
                return list(self.arrays)
            return [self._usual(INPUTS, "data.inputs") or self._must("inputs")]
        targets = self.keys.targets
        taken = {SPLIT, self.keys.groups, *self.keys.where, *([targets] if isinstance(targets, str) else targets or [])}
        names = [name for name in self.arrays if name not in taken]
        if not names:
            raise UserError(f"{self.at} has no column besides {listed(sorted(map(str, taken)))}: name data.inputs.")
        self.notes.append(
            f"{self.arrays.at.name}: the inputs are its {len(names)} other columns, {listed(names, 'columns')}."
        )
        return names

    def _targets(self) -> list[str]:
        match self.keys.targets:
            case str(name):
                return [name]
            case list(names) if names:
                return names
        if self.arrays.is_table:
            return []
        found = self._usual([name for name in TARGETS if name not in self.inputs], "data.targets")
        return [found] if found else []

    def _usual(self, names: Sequence[str], key: str) -> str | None:
        found = [name for name in names if name in self.arrays or "train" in self.splits.get(name, {})]
        if len(found) > 1:
            raise UserError(f"{self.at} has {' and '.join(found)}: choose one with {key}.")
        return found[0] if found else None

    def _must(self, key: str) -> str:
        raise UserError(f"{self.at} has {self._listed()}: say which is what with data.{key}=NAME.")

    def _listed(self) -> str:
        return listed(list(self.arrays), "columns" if self.arrays.is_table else "arrays")

    def examples(self, split: Split, kind: Kind | None, cache: Cache) -> Examples:
        if kind is not None and not self.targets:
            self._must("targets")
        parts = {part: self._part(part) for part in self._parts()}
        grouped_by = self.keys.groups or ("recording" if self.keys.fitting.window is not None else "group")
        if self.keys.fitting.window is not None and self.keys.groups is None:
            # A recording is in one part.
            first = 0
            for name, part in parts.items():
                assert part.groups is not None
                parts[name] = Part(part.inputs, part.targets, part.groups + first)
                first += int(part.groups.max(initial=-1)) + 1
        described = Description(self.at, kind, self._names(), self.targets, grouped_by, self.notes)
        return examples_of(parts, split, described, cache)

    def _names(self) -> list[str]:
        """Return the names of the classes, values or labels, where an array beside them has them."""
        if len(self.targets) != 1 or self.arrays.is_table:
            return []
        (name,) = self.targets
        beside = self.arrays.get(f"{name}_names")
        if beside is None:
            return []
        if beside.ndim != 1 or beside.dtype.kind not in "US":
            raise UserError(f"{self.at}: {name}_names is {beside.shape} of {beside.dtype}: give names, (N,) of text.")
        return [str(each) if beside.dtype.kind == "U" else each.decode("utf-8", "replace") for each in beside]

    @property
    def _by_name(self) -> bool:
        """Whether arrays' names tell the splits."""
        return self.inputs[0] not in self.arrays and self.inputs[0] in self.splits

    def _parts(self) -> list[PartName]:
        if self._by_name:
            return [part for part in PARTS if part in self.splits[self.inputs[0]]]
        words = self.arrays.get(SPLIT)
        return list(rows_of_splits(words, 0 if words is None else len(words), self.at))

    def _of(self, name: str, part: PartName, key: str) -> np.ndarray:
        """Return an array of a part, all its rows."""
        if name in self.arrays:
            return self.arrays[name]
        in_parts = self.splits.get(name, {})
        return self.arrays.named(in_parts.get(part, name), key)

    def _part(self, part: PartName) -> Part:
        inputs, count = self._read_inputs(part)
        keep = np.ones(count, bool)
        if not self._by_name and SPLIT in self.arrays:
            words = self._row_of(SPLIT, part, "data.inputs", count)
            keep = np.isin(np.arange(count), rows_of_splits(words, count, self.at)[part])
        for name, value in self.keys.where.items():
            keep &= self._has(self._row_of(name, part, "data.where", count), name, value)
        if not keep.any():
            wanted = ", ".join(f"{name}={value}" for name, value in self.keys.where.items())
            raise UserError(f"{self.at} has no {part} examples with {wanted}: choose another value in data.where.")
        rows = np.flatnonzero(keep)
        targets = self._target_values(part, count)
        groups = None if self.keys.groups is None else self._row_of(self.keys.groups, part, "data.groups", count)
        made, owner = self._fit(inputs, rows, part)
        if owner is not None and groups is None:
            groups = np.arange(count)
        rows = rows if owner is None else rows[owner]
        return Part(made, None if targets is None else targets[rows], None if groups is None else groups[rows])

    def _row_of(self, name: str, part: PartName, key: str, count: int) -> np.ndarray:
        """Return an array of one value for each example."""
        values = self._of(name, part, key)
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if values.ndim != 1 or len(values) != count:
            raise UserError(
                f"{self.at}: {name} is {values.shape} for {count:,} {part} inputs, and {key} takes one value for each: "
                "they are mixed up, or it is another array."
            )
        return values

    def _has(self, values: np.ndarray, name: str, wanted: Any) -> np.ndarray:
        names = None if self.arrays.is_table else self.arrays.get(f"{name}_names")
        if isinstance(wanted, str) and names is not None and values.dtype.kind in "iu" and wanted in names.astype(str):
            wanted = int(np.flatnonzero(names.astype(str) == wanted)[0])
        if isinstance(wanted, str) or values.dtype.kind in "US":
            same = values.astype(str) == str(wanted)
        else:
            same = values == wanted
        if not same.any():
            known = [str(value) for value in np.unique(values)] if names is None else [str(each) for each in names]
            raise UserError(
                f"{self.at}: no {name} is {wanted}, which data.where asks for: it has {listed(known, 'values')}."
            )
        return np.asarray(same)

    def _target_values(self, part: PartName, count: int) -> np.ndarray | None:
        if not self.targets:
            return None
        columns = [self._of(name, part, "data.targets") for name in self.targets]
        for name, values in zip(self.targets, columns, strict=True):
            if len(values) != count:
                raise UserError(
                    f"{self.at} has {count:,} {part} inputs and {len(values):,} of {name}, the targets: they are mixed "
                    "up."
                )
        if len(columns) == 1:
            return columns[0]
        if any(values.ndim != 1 for values in columns):
            raise UserError(f"{self.at}: of several data.targets each has to be (N,), one value for each example.")
        return np.stack(columns, 1)

    def _read_inputs(self, part: PartName) -> tuple[Lazy | Signals, int]:
        """Return inputs as they become, and how many there are, of all rows."""
        columns = [self._of(name, part, "data.inputs") for name in self.inputs]
        for name, values in zip(self.inputs, columns, strict=True):
            if values.dtype.kind not in "biuf":
                such = f", such as {str(values.flat[0])!r:.40}" if values.size else ""
                raise UserError(
                    f"{self.at}: {name} holds text{such}, and inputs are numbers: name others with data.inputs, or "
                    "save numbers."
                )
            if values.ndim == 0 or not values.size:
                raise UserError(f"{self.at}: {name} is {values.shape}, which is empty: give one example at least.")
        lengths = self._lengths(part, columns)
        if lengths is not None:
            return ragged(columns[0], lengths), len(lengths)
        if len(columns) == 1 and not self.arrays.is_table:
            array, axes = columns[0], self.keys.axes
        else:
            if len({values.shape for values in columns}) > 1:
                shapes = ", ".join(f"{name} {values.shape}" for name, values in zip(self.inputs, columns, strict=True))
                raise UserError(f"{self.at}: data.inputs are of several shapes ({shapes}): give all the same.")
            array, axes = np.stack(columns, 1), self.keys.axes or {3: "NCL", 4: "NCHW"}.get(columns[0].ndim + 1)
        made = as_named(array, axes, f"{self.at}: {' '.join(self.inputs[:3])}")
        if part == "train":
            self.notes.append(said_of(array, self.arrays.at.name, made))
        return made, len(made)

    def _lengths(self, part: PartName, columns: Sequence[np.ndarray]) -> np.ndarray | None:
        """Return how long each signal is, of signals that lie one behind another."""
        if self.arrays.is_table or len(columns) > 1 or (LENGTHS not in self.arrays and LENGTHS not in self.splits):
            return None
        lengths = self._of(LENGTHS, part, LENGTHS)
        if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or not len(lengths) or lengths.min() < 1:
            raise UserError(
                f"{self.at}: {LENGTHS} is {lengths.shape} of {lengths.dtype}: give whole numbers of 1 or more."
            )
        if (total := int(lengths.sum())) != len(columns[0]) or columns[0].ndim > 2:
            raise UserError(
                f"{self.at}: {self.inputs[0]} is {columns[0].shape} and its {LENGTHS} sum up to {total:,}: give "
                "signals one behind another, (sum of lengths, channels)."
            )
        return lengths.astype(np.int64)

    def _fit(self, inputs: Lazy | Signals, rows: np.ndarray, part: PartName) -> tuple[Lazy, np.ndarray | None]:
        """Give signals one length; return, of windows, which of the rows each was cut out of."""
        fitting = self.keys.fitting
        if isinstance(inputs, Lazy) and not fitting.asked:
            return chosen(inputs, rows), None
        if isinstance(inputs, Lazy) and len(inputs.shape) != 3:
            key = "data.length" if fitting.window is None else "data.window"
            raise UserError(
                f"{self.at}: {key} is for signals, and the inputs are {inputs.shape}: say data.axes=NL, or drop it."
            )
        signals = some(inputs if isinstance(inputs, Signals) else of_equal(inputs), rows)
        made, owner, said = fitted(signals, fitting, self.at)
        self.notes += [f"{part}: {said}"] if said else []
        return made, owner
