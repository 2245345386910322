"""Digits in one dimension, generated: signals of 40 samples on which networks differ.

The recipe, its ten templates and all its constants are those of MNIST-1D: Greydanus and Kobak (2020), "Scaling down
deep learning with MNIST-1D", arXiv:2011.14439, https://github.com/greydanus/mnist1d. It reports a test accuracy of 32 %
for logistic regression, 68 % for an MLP and 94 % for a convolutional network.
"""

from functools import cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from aetransfer.data.examples import Examples, Split
from aetransfer.data.readers.embedded import DIGIT_NAMES

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
