"""What the targets of arrays and tables are: classes, values or labels."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from aetransfer.data.targets import listed
from aetransfer.errors import UserError

Kind = Literal["classes", "values", "labels"]
PartName = Literal["train", "val", "test"]

# Whole decimal numbers that are more than these at least are no numbers of classes.
MOST_CLASSES = 100


class Meant(NamedTuple):
    """targets: by part, as `Examples` has them: int64 (N,), float32 (N,) or (N, T), or bool (N, T). names: of the
    classes, values or labels. note: what was made of them, a sentence; empty where the config says it.
    """

    targets: dict[PartName, np.ndarray]
    names: tuple[str, ...]
    note: str


def meant(
    called: str, given: Mapping[PartName, np.ndarray], kind: Kind | None, names: Sequence[str], columns: Sequence[str]
) -> Meant:
    """Say what targets are.

    called: where they stand, for sentences. given: (N,), (N, 1) or (N, T) by part, as they are in the files, train
    first. kind: None for what is unambiguous. names: of the classes, or of the T, where the file has them, else empty.
    columns: of the T, empty for one array. Raises UserError for what is ambiguous, for text where values are asked,
    missing values, and a class of other parts that the training examples don't have.
    """
    for values in given.values():
        if values.ndim not in (1, 2) or not values.size:
            raise UserError(f"{called} is {values.shape}: give (N,), or (N, T) of T values or labels.")
    # MedMNIST has classes as (N, 1).
    given = {part: values.reshape(len(values), -1) for part, values in given.items()}
    width = next(iter(given.values())).shape[1]
    if any(values.shape[1] != width for values in given.values()):
        raise UserError(
            f"{called} has {width} values each in one part and another number in another: give all as many."
        )
    for part, values in given.items():
        _check_there(called, part, values)
    everything = np.concatenate(list(given.values()))
    one_of_names = bool(names) and width == 1 and everything.dtype.kind in "iu"
    note = ""
    if kind is None:
        kind = "classes" if one_of_names else _unambiguous(called, everything)
        note = f"{called}: taken for {kind}, because {_because(everything, one_of_names)}; data.kind says otherwise."
    if kind == "classes":
        return _classes(called, given, names, columns, note)
    taken = (_values if kind == "values" else _labels)(called, given)
    return Meant(taken, _of_columns(called, names, columns, width), note)


def _check_there(called: str, part: str, values: np.ndarray) -> None:
    if values.dtype.kind == "f":
        missing = ~np.isfinite(values).all(1)
    elif values.dtype.kind == "U":
        missing = (values == "").any(1)
    else:
        return
    if missing.any():
        raise UserError(
            f"{called} has {int(missing.sum()):,} missing or infinite values among its {part} examples, the first in "
            f"example {int(missing.argmax()):,} (the first is 0): leave those examples out, or fill them in."
        )


def _is_text(values: np.ndarray) -> bool:
    return values.dtype.kind in "US"


def _is_whole(values: np.ndarray) -> bool:
    return values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.round(values)).all()))


def _is_binary(values: np.ndarray) -> bool:
    return values.dtype.kind == "b" or (not _is_text(values) and bool(np.isin(values, (0, 1)).all()))


def _counts_from_zero(values: np.ndarray) -> bool:
    """Tell whether these are 0, 1, ... without a gap, each two times and more on average."""
    different = np.unique(values)
    return 2 <= len(different) <= len(values) / 2 and bool((different == np.arange(len(different))).all())


def _unambiguous(called: str, values: np.ndarray) -> Kind:
    if values.shape[1] == 1:
        if _is_text(values) or values.dtype.kind == "b":
            return "classes"
        if values.dtype.kind in "iu" and _counts_from_zero(values):
            return "classes"
        if values.dtype.kind == "f" and not (_is_whole(values) and len(np.unique(values)) <= MOST_CLASSES):
            return "values"
        kinds = "data.kind=classes or data.kind=values"
        what = f"{len(np.unique(values)):,} whole numbers from {values.min():g} to {values.max():g}"
        raise UserError(f"{called} is {what}, which may be classes or values: set {kinds}.")
    if _is_text(values):
        raise UserError(f"{called} is text of {values.shape[1]} columns: name one of them, or columns of numbers.")
    if not _is_binary(values):
        return "values"
    if values.dtype.kind == "f":
        raise UserError(
            f"{called} is 0 and 1 as decimal numbers, which may be labels or values: set data.kind=labels or "
            "data.kind=values."
        )
    if (values.sum(1) == 1).all():
        raise UserError(
            f"{called} is 0 and 1, with one 1 in each example, which may be classes or labels: set data.kind=classes "
            "or data.kind=labels."
        )
    return "labels"


def _because(values: np.ndarray, one_of_names: bool) -> str:
    if one_of_names:
        return "the file has names for them"
    if _is_text(values):
        return "it is text"
    if values.dtype.kind == "b":
        return "it is true and false"
    if values.shape[1] == 1 and values.dtype.kind in "iu":
        return f"it is the whole numbers 0 to {int(values.max())}"
    if values.dtype.kind == "f":
        return "it is decimal numbers"
    return "each is 0 or 1" if _is_binary(values) else f"it is {values.shape[1]} numbers each"


def _numbers(called: str, values: np.ndarray, kind: Kind) -> np.ndarray:
    if _is_text(values):
        raise UserError(
            f"{called} is text, such as {str(values.flat[0])!r:.40}, and data.kind={kind} takes numbers: set "
            "data.kind=classes, or correct the file."
        )
    return values


def _values(called: str, given: Mapping[PartName, np.ndarray]) -> dict[PartName, np.ndarray]:
    taken = {}
    for part, values in given.items():
        with np.errstate(over="ignore"):
            single = _numbers(called, values, "values").astype(np.float32)
        if not np.isfinite(single).all():
            raise UserError(f"{called} has values up to {np.abs(values).max():g}, beyond float32: give other units.")
        taken[part] = single
    return taken


def _labels(called: str, given: Mapping[PartName, np.ndarray]) -> dict[PartName, np.ndarray]:
    for values in given.values():
        if not _is_binary(_numbers(called, values, "labels")):
            wrong = values[~np.isin(values, (0, 1))][0]
            raise UserError(
                f"{called} has {wrong:g}, and labels are 0 or 1: set data.kind=values, or correct the file."
            )
    return {part: values.astype(bool) for part, values in given.items()}


def _of_columns(called: str, names: Sequence[str], columns: Sequence[str], width: int) -> tuple[str, ...]:
    names = names or (columns if len(columns) == width else ())
    if names and len(names) != width:
        raise UserError(f"{called} has {width} values each, and the file has {len(names)} names: give one for each.")
    return tuple(names)


def _classes(
    called: str, given: Mapping[PartName, np.ndarray], names: Sequence[str], columns: Sequence[str], note: str
) -> Meant:
    width = next(iter(given.values())).shape[1]
    if width > 1:
        for values in given.values():
            if not _is_binary(values) or not (values.sum(1) == 1).all():
                raise UserError(
                    f"{called} is {width} values each, and a class is one: name one column, or give 0 and 1 with one "
                    "1 in each example."
                )
        one_hot = {part: values.argmax(1).astype(np.int64) for part, values in given.items()}
        return Meant(one_hot, _of_columns(called, names, columns, width) or tuple(map(str, range(width))), note)
    flat = {part: values[:, 0] for part, values in given.items()}
    if not all(_is_text(values) or values.dtype.kind == "b" or _is_whole(values) for values in flat.values()):
        raise UserError(
            f"{called} is decimal numbers, and data.kind=classes takes whole ones or text: set data.kind=values."
        )
    if names and all(values.dtype.kind in "iu" for values in flat.values()):
        high = max(int(values.max()) for values in flat.values())
        low = min(int(values.min()) for values in flat.values())
        if low < 0 or high >= len(names):
            raise UserError(f"{called} goes from {low} to {high}, and the file names {len(names)} classes: correct it.")
        return Meant({part: values.astype(np.int64) for part, values in flat.items()}, tuple(names), note)
    train = np.concatenate([values for part, values in flat.items() if part != "test"])
    known = list(np.unique(train))
    if names:
        known.sort(key=lambda value: list(names).index(_word(value)) if _word(value) in names else len(names))
    words = tuple(_word(value) for value in known)
    for part, values in flat.items():
        if unknown := sorted({_word(value) for value in np.unique(values)} - set(words)):
            raise UserError(
                f"{called}: the {part} examples have the class {unknown[0]}, which no training example has: training "
                f"has {listed(words)}."
            )
    label_of = {value: label for label, value in enumerate(known)}
    labels = {part: np.array([label_of[value] for value in values], np.int64) for part, values in flat.items()}
    return Meant(labels, words, note)


def _word(value: np.generic) -> str:
    plain = value.item()
    if isinstance(plain, bytes):
        return plain.decode("utf-8", "backslashreplace")
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return str(plain)
