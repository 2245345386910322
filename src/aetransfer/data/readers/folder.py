"""Anybody's images: class folders, or a folder without labels, in any format Pillow reads, decoded once into a
memory-mapped file.

Which files count, `aetransfer.data.class_folders` says. The cache's name holds a fingerprint of every file's path, size
and modification time, so a changed folder is decoded again, and a start that finds its cache does not open a single
image.
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
import torch

from aetransfer.data.class_folders import FolderContents, Labels, Listing, list_folder
from aetransfer.data.decoding import ImageSize, decoded
from aetransfer.data.examples import Examples, Split
from aetransfer.data.image_files import ImageFiles
from aetransfer.data.reading import WHITE, Reading, remark, unused
from aetransfer.data.split import more_than_asked, share_of, stratified_order
from aetransfer.errors import UserError

# Images of one split that are in another one too: what was learnt by heart is then counted as understood.


@dataclass(frozen=True)
class Part:
    """name: the split's. files, and images (N, C, H, W) uint8, which may be a memory map: in the same order."""

    name: str
    files: ImageFiles
    images: np.ndarray


def duplicates(parts: Sequence[Part]) -> list[str]:
    """Say for each two splits how many images of the second are in the first too, with one of them.

    The same picture in files of the same size: only files whose size occurs in another split are looked at.
    """
    common = _sizes_of_several([part.files for part in parts])
    seen: list[tuple[Part, dict[tuple[int, int], int]]] = []
    said = []
    for part in parts:
        keys = {
            row: (size, zlib.crc32(part.images[row].data))
            for row, size in enumerate(part.files.sizes)
            if size in common
        }
        for earlier, known in seen:
            found = [
                (known[key], row)
                for row, key in keys.items()
                if key in known and np.array_equal(earlier.images[known[key]], part.images[row])
            ]
            if found:
                said.append(_said(earlier, part, found))
        seen.append((part, {key: row for row, key in reversed(keys.items())}))
    return said


def _sizes_of_several(splits: Sequence[ImageFiles]) -> set[int]:
    counted = Counter(size for files in splits for size in set(files.sizes))
    return {size for size, count in counted.items() if count > 1}


def _said(earlier: Part, part: Part, found: list[tuple[int, int]]) -> str:
    one, other = earlier.files.names[found[0][0]], part.files.names[found[0][1]]
    return (
        f"{len(found):,} of the {len(part.files):,} {part.name} images are {earlier.name} images too, such as {other}, "
        f"which is {one}: {part.name} metrics are better for it than they should be."
    )


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
    base, notes = contents.root, [*_left_out(contents), *contents.notes]
    train = contents.files["train"]
    val, test = (contents.files.get(part, ImageFiles()) for part in ("val", "test"))
    if not test and contents.class_names:
        train, test = _set_aside(train, contents.class_names)
        notes.append(_of_test(base, len(train), len(test)))
    files: dict[Split, ImageFiles] = {"train": train + val}
    if test:
        files["test"] = test
    elif split == "test":
        raise UserError(f"{base} has no test folder, and none of its images is set aside: choose another split.")
    # An image of the test split that can't be decoded is better known now than after the training: whoever reads train
    # has the test images decoded too. Who reads test needs the range of the training images.
    listings = {part: Listing.of(listed, contents.class_names) for part, listed in files.items()}
    asked, cache = Reading(WHITE if background is None else background, value_range, frame), Path(cache_dir)
    of_train = decoded(listings["train"], base / "train", image_size, cache, asked)
    images = {"train": of_train}
    if test:
        images["test"] = decoded(listings["test"], base / "test", image_size, cache, of_train.reading)
    for part, decoded_part in images.items():
        if said := remark(decoded_part.counts, len(decoded_part.pixels), of_train.reading):
            notes.append(f"{base / part}: {said}.")
    counts = sum((Counter(each.counts) for each in images.values()), Counter[str]())
    notes += [f"{said}." for said in unused(asked, counts)]
    if split == "train":
        pixels = of_train.pixels.numpy()
        sides = [Part("training", train, pixels[: len(train)]), Part("validation", val, pixels[len(train) :])]
        if test:
            sides.append(Part("test", test, images["test"].pixels.numpy()))
        notes += duplicates(sides)
    return Examples(
        images[split].pixels,
        torch.from_numpy(listings[split].labels) if contents.class_names else None,
        names=contents.class_names,
        reading=of_train.reading,
        notes=tuple(notes),
        validation=torch.arange(len(train), len(files["train"])) if val and split == "train" else None,
        has_test=bool(test),
    )


def _left_out(contents: FolderContents) -> list[str]:
    return [f"Left out in {contents.root.name}: {', '.join(contents.left_out)}."] if contents.left_out else []


def _set_aside(files: ImageFiles, class_names: Sequence[str]) -> tuple[ImageFiles, ImageFiles]:
    """Return what remains for training, and the test images."""
    is_test = np.zeros(len(files), bool)
    for members in stratified_order(torch.from_numpy(Listing.of(files, class_names).labels), seed=0):
        # A class of one image stays in train, where the validation cut of a classifier refuses it by name.
        is_test[members[: share_of(TEST_SHARE, len(members))].numpy()] = True
    return ImageFiles.of(compress(files, ~is_test)), ImageFiles.of(compress(files, is_test))


def _of_test(base: Path, train: int, test: int) -> str:
    why = more_than_asked(test, TEST_SHARE, train + test)
    return (
        f"{base.name} has no test folder: {test} of its {train + test} images are set aside as test"
        f"{f' ({why})' if why else ''}."
    )
