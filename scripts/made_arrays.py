"""Arrays in two layouts of today's data sets, made from scikit-learn's digits, which need no download.

    python scripts/made_arrays.py DIR

DIR/medmnist.npz: grey 28x28 images in the arrays of MedMNIST's files (train_images, train_labels, val_images, ...).
DIR/bands.npz: 12-band images of 16 bits, 24 high and 40 wide, as of a satellite: a digit somewhere before a smooth
background, each of the two with a spectrum of its own, and noise.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, zoom
from sklearn.datasets import load_digits

BANDS, HEIGHT, WIDTH = 12, 24, 40
SPLITS = {"train": slice(0, 1300), "val": slice(1300, 1437), "test": slice(1437, 1797)}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIR")
    folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    digits, classes = load_digits(return_X_y=True)
    order = rng.permutation(len(digits))
    digits, classes = digits[order].reshape(-1, 8, 8) / 16, classes[order]

    grey = (np.stack([zoom(digit, 3.5, order=1) for digit in digits]).clip(0, 1) * 255).astype(np.uint8)
    medmnist: dict[str, Any] = {f"{name}_images": grey[part] for name, part in SPLITS.items()}
    medmnist |= {f"{name}_labels": classes[part, None].astype(np.uint8) for name, part in SPLITS.items()}
    np.savez(folder / "medmnist.npz", **medmnist)

    of_digit, of_ground = (gaussian_filter(rng.random((2, BANDS)), (0, 1)) * 3000).round()
    images = np.empty((len(digits), BANDS, HEIGHT, WIDTH), np.uint16)
    for image, digit in zip(images, digits, strict=True):
        ground = gaussian_filter(rng.random((HEIGHT, WIDTH)), 4)
        ground = (ground - ground.min()) / np.ptp(ground)
        left = rng.integers(WIDTH - HEIGHT + 1)
        ink = np.zeros((HEIGHT, WIDTH))
        ink[:, left : left + HEIGHT] = zoom(digit, 3, order=1).clip(0, 1)
        bands = of_ground[:, None, None] * ground + of_digit[:, None, None] * ink
        image[:] = (bands + rng.normal(0, 400, bands.shape)).clip(0, 65535)
    arrays: dict[str, Any] = {f"{name}_images": images[part] for name, part in SPLITS.items()}
    arrays |= {f"{name}_labels": classes[part] for name, part in SPLITS.items()}
    np.savez(folder / "bands.npz", **arrays)


if __name__ == "__main__":
    main()
