"""From the parts of a data set, as files have them, to the `Examples` of a split: what all readers of arrays share."""

import hashlib
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from aetransfer.data.examples import Examples, Split
from aetransfer.data.image_files import MEANING, ImageFiles
from aetransfer.data.lazy import MUCH, Cache, Lazy, joined, materialised
from aetransfer.data.meaning import Kind, PartName, meant
from aetransfer.data.reading import Reading
from aetransfer.errors import UserError

# What splits are called, in columns and in the names of arrays.
CALLED: dict[str, PartName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

PARTS: tuple[PartName, ...] = ("train", "val", "test")
# val is behind train, as its `validation`.
OF_SPLIT: dict[Split, tuple[PartName, ...]] = {"train": ("train", "val"), "test": ("test",)}


@dataclass(frozen=True)
class Part:
    """inputs: (N, *shape), uint8 or float32. targets: (N,) or (N, T) as the files have them. groups: (N,) likewise."""

    inputs: Lazy
    targets: np.ndarray | None = None
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Description:
    """What is said of all parts. at: where they lie. kind, names, columns: of the targets, see `meant`. grouped_by:
    what a group is, in a word. notes, reading: as of `Examples`. files: of pictures, by part.
    """

    at: str
    kind: Kind | None = None
    names: Sequence[str] = ()
    columns: Sequence[str] = ()
    grouped_by: str = "group"
    notes: Sequence[str] = ()
    reading: Reading | None = None
    files: Mapping[PartName, ImageFiles] | None = None

    @property
    def targets(self) -> str:
        """What the targets are called, for sentences."""
        return f"{self.at}: {', '.join(self.columns[:3])}{', ...' if len(self.columns) > 3 else ''}"


def rows_of_splits(words: np.ndarray | None, count: int, at: str) -> dict[PartName, np.ndarray]:
    """Return the positions of the examples of each split. words: (N,) what each is for; None for all in train.

    Raises UserError for words that are none of CALLED.
    """
    if words is None:
        return {"train": np.arange(count)}
    called = [str(word).casefold() for word in words]
    if unknown := sorted(set(called) - set(CALLED)):
        raise UserError(f"{at}: split has {unknown[0]!r:.40}, and takes train, val and test: correct it.")
    parts = np.array([CALLED[word] for word in called])
    return {part: np.flatnonzero(parts == part) for part in PARTS if (parts == part).any()}


def examples_of(
    parts: Mapping[PartName, Part],
    split: Split,
    described: Description,
    cache: Cache | None = None,
    made: Mapping[Split, np.ndarray] | None = None,
) -> Examples:
    """Return a split. cache: where its inputs are kept; made: the inputs of each split, where they are made already.

    All splits are made: what is wrong with the test examples is better known now than after the training. Raises
    UserError for parts that do not fit together, values that are no numbers, a group in two parts, a class without
    training examples, and a test split that is not there.
    """
    at = described.at
    _check_alike(parts, at)
    if made is None:
        assert cache is not None
        inputs_of = {each: [parts[name].inputs for name in OF_SPLIT[each] if name in parts] for each in OF_SPLIT}
        made = {each: materialised(joined(some), each, cache) for each, some in inputs_of.items() if some}
    if split == "test" and "test" not in parts:
        raise UserError(f"{at} has no test split: choose another split.")
    order = [name for name in PARTS if name in parts]
    notes = list(described.notes)
    targets, names = None, tuple[str, ...]()
    if parts["train"].targets is not None:
        given = {name: values for name in order if (values := parts[name].targets) is not None}
        found = meant(described.targets, given, described.kind, described.names, described.columns)
        targets, names = found.targets, found.names
        notes += [found.note] if found.note else []
    groups = _numbered(parts, order, described.grouped_by, at)
    count = len(parts["train"].inputs)
    if split == "train":
        sides = {name: made["test" if name == "test" else "train"] for name in order}
        sides["train"] = made["train"][:count]
        if "val" in sides:
            sides["val"] = made["train"][count:]
        notes += _duplicates(sides, described.files)
    inputs, among = made[split], [name for name in order if name in OF_SPLIT[split]]
    return Examples(
        torch.from_numpy(inputs),
        None if targets is None else torch.from_numpy(np.concatenate([targets[part] for part in among])),
        None if groups is None else torch.from_numpy(np.concatenate([groups[part] for part in among])),
        names,
        described.grouped_by,
        described.reading,
        tuple(notes),
        validation=torch.arange(count, len(inputs)) if split == "train" and "val" in parts else None,
        has_test="test" in parts,
    )


def _check_alike(parts: Mapping[PartName, Part], at: str) -> None:
    if "train" not in parts:
        raise UserError(f"{at} has no training examples, only {' and '.join(parts)}: add them.")
    first = parts["train"].inputs
    for name, part in parts.items():
        if not len(part.inputs):
            raise UserError(f"{at} has no {name} examples: it is empty there.")
        if part.inputs.shape[1:] != first.shape[1:] or part.inputs.dtype != first.dtype:
            raise UserError(
                f"{at}: the {name} inputs are {part.inputs.shape[1:]} of {part.inputs.dtype} each, and the train "
                f"inputs {first.shape[1:]} of {first.dtype}: give all the same."
            )
        if (part.targets is None) != (parts["train"].targets is None):
            raise UserError(f"{at}: train or {name} has targets and the other has none: give both.")
        for what, values in (("targets", part.targets), ("groups", part.groups)):
            if values is not None and len(values) != len(part.inputs):
                raise UserError(
                    f"{at} has {len(part.inputs):,} {name} inputs and {len(values):,} {what}: they are mixed up, give "
                    "one for each."
                )


def _numbered(
    parts: Mapping[PartName, Part], order: Sequence[PartName], grouped_by: str, at: str
) -> dict[PartName, np.ndarray] | None:
    """Number groups by what they are called: one group has one number, whatever others data.where leaves beside it.

    Raises UserError for one in two parts, and for a missing value.
    """
    given = {name: groups for name in order if (groups := parts[name].groups) is not None}
    if len(given) < len(order):
        return None
    for name, groups in given.items():
        missing = np.isnan(groups) if groups.dtype.kind == "f" else (groups == "") if groups.dtype.kind == "U" else None
        if missing is not None and missing.any():
            raise UserError(f"{at}: {int(missing.sum()):,} {name} examples have no {grouped_by}: fill it in.")
    for one, other in combinations(order, 2):
        if len(both := np.intersect1d(given[one], given[other])):
            raise UserError(
                f"{at}: {grouped_by} {both[0]} is in {one} and in {other}: give each {grouped_by} to one of them, or "
                "leave data.groups out."
            )
    names, places = np.unique(np.concatenate(list(given.values())), return_inverse=True)
    # 3 and 3.0 are one group: a column with an empty field elsewhere is of floats.
    called = [str(int(name) if names.dtype.kind == "f" and name == int(name) else name) for name in names]
    digests = [hashlib.sha256(name.encode()).digest() for name in called]
    numbers = np.array([int.from_bytes(digest[:8], "big") >> 1 for digest in digests], np.int64)[places.reshape(-1)]
    ends = np.cumsum([len(groups) for groups in given.values()])[:-1]
    return dict(zip(given, np.split(numbers, ends), strict=True))


def _duplicates(sides: Mapping[PartName, np.ndarray], files: Mapping[PartName, ImageFiles] | None) -> list[str]:
    """Say how many examples of one side are in another one too, or, of a single one, are there twice.

    files: of pictures; only those of a size that is in another split are looked at, which may be a memory map.
    """
    if files is None and sum(side.nbytes for side in sides.values()) > MUCH:
        return []
    noun, often = ("examples", {0}) if files is None else ("images", _sizes_of_several(files))
    seen: dict[PartName, dict[tuple[int, int], int]] = {}
    said = []
    for name, side in sides.items():
        sizes = files[name].sizes if files else [0] * len(side)
        keys = {
            row: (size, zlib.crc32(np.ascontiguousarray(side[row]).data))
            for row, size in enumerate(sizes)
            if size in often
        }
        for earlier, known in seen.items():
            found = [
                (known[key], row)
                for row, key in keys.items()
                if key in known and (sides[earlier][known[key]] == side[row]).all()
            ]
            if found:
                one, other = found[0]
                such = f"{files[name].names[other]}, which is {files[earlier].names[one]}" if files else ""
                said.append(
                    f"{len(found):,} of the {len(side):,} {MEANING[name]} {noun} are {MEANING[earlier]} {noun} too, "
                    f"such as {such or f'number {other:,}'}: {MEANING[name]} metrics are better for it than they "
                    "should be."
                )
        seen[name] = {key: row for row, key in reversed(keys.items())}
        again = len(keys) - len(seen[name])
        if len(sides) == 1 and again and files is None:
            said.append(
                f"{again:,} of the {len(side):,} examples are there twice: where one of two is tested on, metrics are "
                "better for it than they should be."
            )
    return said


def _sizes_of_several(files: Mapping[PartName, ImageFiles]) -> set[int]:
    counted = Counter(size for each in files.values() for size in set(each.sizes))
    return {size for size, count in counted.items() if count > 1}
