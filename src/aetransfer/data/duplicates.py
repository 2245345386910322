"""Images of one split that are in another one too: what was learnt by heart is then counted as understood."""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aetransfer.data.image_files import ImageFiles


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
