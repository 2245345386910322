"""Images, vectors and signals that come with a package or are generated: the whole program runs without a download.

`digits` are 1,797 handwritten digits. `photo_digits` are the same digits blended into two photographs by the protocol
of MNIST-M (Ganin et al. 2016, section 4.1): |digit - photo patch| per channel. `diabetes` and `breast_cancer` are
measurements of patients that come with scikit-learn; `mnist1d` is generated.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_sample_images
from torch.nn import functional as F

from aetransfer.data.examples import Examples, Split
from aetransfer.data.split import stratified_order

SIZE = 32
TEST_PER_CLASS = 36
TEST_SHARE = 0.2
DIGIT_NAMES = tuple(str(digit) for digit in range(10))
# Test patches come from the right fifth of a photograph; the gap of one patch keeps the regions disjoint.
PHOTO_COLUMNS = {"train": (0, 480), "test": (512, 640)}


def read_digits(split: Split) -> Examples:
    """Read scikit-learn's digits scaled from 8x8 to 32x32: (1437 or 360, 1, 32, 32), the same split every time."""
    images, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(images).float().view(-1, 1, 8, 8) * (255 / 16)
    scaled = F.interpolate(small, size=(SIZE, SIZE), mode="bilinear").round().to(torch.uint8)
    targets = torch.from_numpy(labels).long()
    chosen = _of_split(targets, split, lambda count: TEST_PER_CLASS)
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


def _of_split(labels: torch.Tensor, split: Split, tests: Callable[[int], int]) -> torch.Tensor:
    """Return a split's positions. tests: says how many of a class's examples are tested on."""
    cut = [(members, tests(len(members))) for members in stratified_order(labels, seed=0)]
    return torch.cat([each[:count] if split == "test" else each[count:] for each, count in cut]).sort().values


def read_diabetes(split: Split) -> Examples:
    """Read 10 measurements of patients, in their units, and the progression of their diabetes a year later: (354 or 88,
    10). Efron et al. (2004). The split is the same every time.
    """
    data = load_diabetes(scaled=False)
    order = np.random.default_rng(0).permutation(len(data.data))
    test = round(TEST_SHARE * len(order))
    chosen = np.sort(order[:test] if split == "test" else order[test:])
    values = torch.from_numpy(data.target[chosen]).float()
    return Examples(torch.from_numpy(data.data[chosen]).float(), values, names=("progression",))


def read_breast_cancer(split: Split) -> Examples:
    """Read 30 measurements of cell nuclei and whether the tumour is malignant: (456 or 113, 30), 2 classes. Wolberg et
    al. (1995). The split is the same every time, a fifth of each class.
    """
    data = load_breast_cancer()
    labels = torch.from_numpy(data.target).long()
    chosen = _of_split(labels, split, lambda count: round(TEST_SHARE * count))
    values = torch.from_numpy(data.data).float()
    return Examples(values[chosen], labels[chosen], names=tuple(map(str, data.target_names)))


# MNIST-1D: signals of 40 samples on which networks differ. The recipe, its ten templates and all constants are those of
# Greydanus and Kobak (2020), "Scaling down deep learning with MNIST-1D", arXiv:2011.14439,
# https://github.com/greydanus/mnist1d. It reports a test accuracy of 32 % for logistic regression, 68 % for an MLP and
# 94 % for a convolutional network.
TRAIN, TEST = 4000, 1000
SEED = 42
LENGTH = 40
PADDING = (36, 60)
SCALE, SHEAR, TRANSLATION = 0.4, 0.75, 48
CORRELATED_NOISE, NOISE = 0.25, 0.02

# The height of a pen at 12 times.
TEMPLATES = np.array(
    [
        [5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5],
        [5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5],
        [5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5],
        [5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5],
        [5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5],
        [5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5],
        [5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5],
        [5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5],
    ]
)


def read_mnist1d(split: Split) -> Examples:
    """Generate MNIST-1D: (4000 or 1000, 1, 40), 10 classes, the same every time."""
    signals, labels = _generated()
    chosen = slice(TRAIN) if split == "train" else slice(TRAIN, None)
    return Examples(torch.from_numpy(signals[chosen]), torch.from_numpy(labels[chosen]), names=DIGIT_NAMES)


@cache
def _generated() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(SEED)
    heights = TEMPLATES - TEMPLATES.mean(1, keepdims=True)
    heights /= heights.std(1, keepdims=True)
    heights = (heights - heights[:, :1]) / 6  # a digit starts and ends at 0
    each = (TRAIN + TEST) // len(heights)
    signals = np.stack([_drawn(template, random) for template in heights for _ in range(each)])
    order = random.permutation(len(signals))
    signals = (signals - signals.mean()) / signals.std()
    labels = np.repeat(np.arange(len(heights)), each)
    return signals[order, None].astype(np.float32), labels[order]


def _drawn(template: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    low, high = PADDING
    size = len(template) + high
    # What is added tells a digit's zeros from the padding's.
    padded = np.concatenate([template + 1e-8, np.zeros(low + int(random.rand() * (high - low + 1)))])
    signal = _stretched(padded, size) * (1 + SCALE * (random.rand() - 0.5))
    signal = np.roll(signal, random.choice(TRANSLATION))
    noise = gaussian_filter1d(CORRELATED_NOISE * random.randn(size), 2)
    signal = np.where(signal != 0, signal, noise) + NOISE * random.randn(size)
    signal = signal - SHEAR * (random.rand() - 0.5) * np.linspace(-0.5, 0.5, size)
    return _stretched(signal, LENGTH)


def _stretched(signal: np.ndarray, size: int) -> np.ndarray:
    return np.interp(np.linspace(0, 1, size), np.linspace(0, 1, len(signal)), signal)
