"""Anybody's images: DIR/{train,test}/<class>/* in any format Pillow reads, decoded once into a memory-mapped file.

The cache's name holds a fingerprint of every file's path, size and modification time, so a changed folder is decoded
again, and a start that finds its cache does not open a single image.
"""

import logging
from collections import Counter
from pathlib import Path

import torch

from aetransfer.data.class_folders import Listing, class_names_in, list_images
from aetransfer.data.decoding import decoded
from aetransfer.data.images import Images, Split
from aetransfer.data.reading import WHITE, Reading, remark, unused
from aetransfer.data.split import stratified_order
from aetransfer.errors import UserError

log = logging.getLogger(__name__)

# Where a folder has no test split, every fifth image of each class becomes it, the same ones for every seed.
TEST_SHARE = 0.2
# Those of which this process has said what is done: the final test need not repeat what its training began with.
_said_of: set[Path] = set()


def read_folder(
    root: str | None,
    split: Split,
    image_size: int,
    cache_dir: str,
    background: int | None = None,
    value_range: tuple[float, float] | None = None,
    frame: int | None = None,
) -> Images:
    """Read class folders as (N, 3, image_size, image_size); an image is cropped to a square about its centre first.

    background, value_range, frame: see `aetransfer.data.reading.Reading`. Without a value_range that of the training
    split is found, for all splits; without a background it is white.

    Raises UserError for a missing folder, an empty class, or a file that is not an image (named).
    """
    asked = Reading(WHITE if background is None else background, value_range, frame)
    if root is None:
        raise UserError(
            "data=image_folder needs data.root=DIR, a folder with train/<class>/* and, if any, test/<class>/*."
        )
    base = Path(root).resolve()
    says_so = split == "train" or base not in _said_of
    _said_of.add(base)
    has_test = (base / "test").is_dir()
    class_names = class_names_in(base / "train")
    # A test split that doesn't fit is better known now than after the training.
    if has_test and (different := set(class_names_in(base / "test")) ^ set(class_names)):
        raise UserError(f"{base}: train and test have different classes ({', '.join(sorted(different))}).")
    # So is an image of it that can't be decoded: whoever reads train has the test images decoded too. Who reads test
    # needs the range of the training images.
    parts: tuple[Split, ...] = ("train", "test")
    if has_test:
        listings = {part: list_images(base / part, class_names) for part in parts}
    else:
        whole = list_images(base / "train", class_names)
        listings = {part: _cut(whole, part) for part in parts}
        if says_so:
            count, of = len(listings["test"].files), len(whole.files)
            log.warning("%s has no test folder: %d of its %d images are set aside as test.", base, count, of)
    cache = Path(cache_dir)
    train = decoded(listings["train"], base / "train", image_size, cache, asked)
    test = decoded(listings["test"], base / "test", image_size, cache, train.reading)
    remarks = [
        f"{base / part}: {said}"
        for part, images in (("train", train), ("test", test))
        if (said := remark(images.counts, len(images.pixels), images.reading))
    ]
    remarks += unused(asked, Counter(train.counts) + Counter(test.counts))
    for said in remarks if says_so else ():
        log.info("%s.", said)
    return Images(
        (train if split == "train" else test).pixels,
        torch.from_numpy(listings[split].labels),
        class_names,
        train.reading,
        tuple(remarks),
    )


def _cut(whole: Listing, split: Split) -> Listing:
    parts = []
    for members in stratified_order(torch.from_numpy(whole.labels), seed=0):
        # A class of one image stays in train, where the validation cut refuses it by name.
        n_test = min(max(1, round(TEST_SHARE * len(members))), len(members) - 1)
        parts.append(members[:n_test] if split == "test" else members[n_test:])
    chosen = torch.cat(parts).sort().values.numpy()
    return Listing([whole.files[row] for row in chosen], whole.labels[chosen], f"{whole.fingerprint}-cut")
