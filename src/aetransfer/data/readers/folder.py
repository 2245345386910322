"""Anybody's images: class folders, or a folder without labels, in any format Pillow reads, decoded once into a
memory-mapped file.

Which files count, `aetransfer.data.image_files` says. The cache's name holds a fingerprint of every file's path, size
and modification time, so a changed folder is decoded again, and a start that finds its cache does not open a single
image.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from aetransfer.data.decoding import ImageSize, decoded
from aetransfer.data.examples import Examples, Split
from aetransfer.data.image_files import ImageFiles, Labels, list_folder
from aetransfer.data.lazy import of_array
from aetransfer.data.meaning import PartName
from aetransfer.data.parts import OF_SPLIT, Description, Part, examples_of
from aetransfer.data.reading import WHITE, Reading, remark, unused
from aetransfer.data.split import more_than_asked, share_of, stratified_order
from aetransfer.errors import UserError

# Where a folder has no test split, every fifth image of each class becomes it, the same ones for every seed.
TEST_SHARE = 0.2


def read_folder(
    root: str | None,
    split: Split,
    image_size: ImageSize,
    cache_dir: str,
    labels: Labels | None = None,
    background: int | None = None,
    value_range: tuple[float, float] | None = None,
    frame: int | None = None,
) -> Examples:
    """Read a folder as (N, 3, height, width); an image is cropped about its centre to the sides' ratio first.

    image_size: height and width, or both in one. labels: None for class folders; see `list_folder`. background,
    value_range, frame: see `aetransfer.data.reading.Reading`; without a value_range that of the training split is
    found, for all splits, and without a background it is white. The images of a val folder come behind those of train,
    as `validation`. Raises UserError as `list_folder`, for a file that is not an image (named), and for a test split
    where there is none: without labels none is set aside.
    """
    if root is None:
        raise UserError(
            "data=image_folder needs data.root=DIR, a folder with train/<class>/* and, if any, test/<class>/*."
        )
    contents = list_folder(root, labels or "classes")
    base, classes, files = contents.root, contents.class_names, contents.files
    notes = [f"Left out in {base.name}: {', '.join(contents.left_out)}."] if contents.left_out else []
    notes += contents.notes
    if "test" not in files and classes:
        files = files | _set_aside(files["train"], classes)
        train, test = len(files["train"]), len(files["test"])
        files = {part: listed for part, listed in files.items() if listed}
        why = more_than_asked(test, TEST_SHARE, train + test)
        notes.append(
            f"{base.name} has no test folder: {test} of its {train + test} images are set aside as test"
            f"{f' ({why})' if why else ''}."
        )
    if split == "test" and "test" not in files:
        raise UserError(f"{base} has no test folder, and none of its images is set aside: choose another split.")
    targets = {part: _labels(listed, classes) for part, listed in files.items()} if classes else {}
    described = Description(str(base), "classes", classes, notes=notes, files=files)
    where = {part: (base / part, f"{base / part}: ") for part in OF_SPLIT}
    asked = Reading(WHITE if background is None else background, value_range, frame)
    return read_pictures(files, where, split, image_size, cache_dir, asked, described, targets)


def read_pictures(
    files: Mapping[PartName, ImageFiles],
    where: Mapping[Split, tuple[Path, str]],
    split: Split,
    image_size: ImageSize,
    cache_dir: str,
    asked: Reading,
    described: Description,
    targets: Mapping[PartName, np.ndarray],
    groups: Mapping[PartName, np.ndarray] | None = None,
) -> Examples:
    """Decode the pictures of all splits and return one, with what was done to them in its notes.

    where: by which the cache, and a sentence, calls each split's pictures. A picture of the test split that can't be
    decoded is better known now than after the training, and who reads it needs the range of the training pictures.
    """
    made: dict[Split, np.ndarray] = {}
    counts: Counter[str] = Counter()
    notes, reading = [*described.notes], asked
    for name, among in OF_SPLIT.items():
        listed = sum((files[part] for part in among if part in files), ImageFiles())
        if not listed:
            continue
        pictures = decoded(listed, where[name][0], image_size, Path(cache_dir), reading)
        made[name], reading = pictures.pixels.numpy(), pictures.reading
        counts.update(pictures.counts)
        if said := remark(pictures.counts, len(listed), reading):
            notes.append(f"{where[name][1]}{said}.")
    notes += [f"{said}." for said in unused(asked, counts)]
    parts = {}
    for part, listed in files.items():
        first = len(files.get("train", ())) if part == "val" else 0
        pixels = made["test" if part == "test" else "train"][first : first + len(listed)]
        parts[part] = Part(of_array(pixels), targets.get(part), (groups or {}).get(part))
    return examples_of(parts, split, replace(described, notes=notes, reading=reading), made=made)


def _labels(files: ImageFiles, class_names: Sequence[str]) -> np.ndarray:
    label_of = {name: label for label, name in enumerate(class_names)}
    return np.array([label_of[name] for name in files.class_names], np.int64)


def _set_aside(files: ImageFiles, class_names: Sequence[str]) -> dict[PartName, ImageFiles]:
    """Return what remains for training, and the test images."""
    is_test = np.zeros(len(files), bool)
    for members in stratified_order(torch.from_numpy(_labels(files, class_names)), seed=0):
        # A class of one image stays in train, where the validation cut of a classifier refuses it by name.
        is_test[members[: share_of(TEST_SHARE, len(members))].numpy()] = True
    return {"train": files.at(np.flatnonzero(~is_test)), "test": files.at(np.flatnonzero(is_test))}
