"""Real images that come with scikit-learn, so that the whole program runs without a download.

`digits` are 1,797 handwritten digits. `photo_digits` are the same digits blended into two photographs by the protocol
of MNIST-M (Ganin et al. 2016, section 4.1): |digit - photo patch| per channel.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_images
from torch.nn import functional as F

from aetransfer.data.examples import Examples, Split
from aetransfer.data.split import stratified_order

SIZE = 32
TEST_PER_CLASS = 36
DIGIT_NAMES = tuple(str(digit) for digit in range(10))
# Test patches come from the right fifth of a photograph; the gap of one patch keeps the regions disjoint.
PHOTO_COLUMNS = {"train": (0, 480), "test": (512, 640)}


def read_digits(split: Split) -> Examples:
    """Read scikit-learn's digits scaled from 8x8 to 32x32: (1437 or 360, 1, 32, 32), the same split every time."""
    images, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(images).float().view(-1, 1, 8, 8) * (255 / 16)
    scaled = F.interpolate(small, size=(SIZE, SIZE), mode="bilinear").round().to(torch.uint8)
    targets = torch.from_numpy(labels).long()
    test, train = _cut_test(targets)
    chosen = test if split == "test" else train
    return Examples(scaled[chosen], targets[chosen], names=DIGIT_NAMES)


def read_photo_digits(split: Split) -> Examples:
    """Read the digits blended into photographs: (1437 or 360, 3, 32, 32). Digits and photo regions don't overlap."""
    digits = read_digits(split)
    photos = np.stack(load_sample_images().images)  # (2, 427, 640, 3) uint8
    rng = np.random.default_rng(2016 if split == "train" else 2017)
    first, last = PHOTO_COLUMNS[split]
    which = rng.integers(len(photos), size=len(digits))
    top = rng.integers(photos.shape[1] - SIZE + 1, size=len(digits))
    left = rng.integers(first, last - SIZE + 1, size=len(digits))
    windows = np.lib.stride_tricks.sliding_window_view(photos, (SIZE, SIZE), axis=(1, 2))
    patches = torch.from_numpy(windows[which, top, left])  # (N, 3, 32, 32)
    blended = (digits.inputs.int() - patches.int()).abs().to(torch.uint8)
    return Examples(blended, digits.targets, names=DIGIT_NAMES)


def _cut_test(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    order = stratified_order(labels, seed=0)
    test = torch.cat([members[:TEST_PER_CLASS] for members in order])
    train = torch.cat([members[TEST_PER_CLASS:] for members in order])
    return test.sort().values, train.sort().values
