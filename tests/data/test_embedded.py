"""The embedded digits and photo digits: what they hold, and that train and test share neither digit nor photograph."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_images

from aetransfer.data.examples import Examples
from aetransfer.data.readers.embedded import read_digits, read_photo_digits

Reader = Callable[[str], Examples]


@pytest.mark.parametrize(("read", "channels"), [(read_digits, 1), (read_photo_digits, 3)])
@pytest.mark.parametrize(("split", "count"), [("train", 1437), ("test", 360)])
def test_every_split_has_its_stated_size(read: Reader, channels: int, split: str, count: int) -> None:
    images = read(split)
    assert images.inputs.shape == (count, channels, 32, 32)
    assert images.names == tuple("0123456789")


def test_the_test_split_has_as_many_of_each_digit_and_train_has_the_others() -> None:
    train, test = read_digits("train").targets.bincount(), read_digits("test").targets.bincount()
    assert test.tolist() == [36] * 10
    assert (train + test).tolist() == np.bincount(load_digits().target).tolist()


@pytest.mark.parametrize("read", [read_digits, read_photo_digits])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_second_reading_is_the_same_to_the_pixel(read: Reader, split: str) -> None:
    first, second = read(split), read(split)
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.targets, second.targets)


def test_no_digit_is_in_both_splits_and_none_is_lost() -> None:
    train, test = (set(map(bytes, read_digits(split).inputs.numpy())) for split in ("train", "test"))
    assert len(train | test) == 1437 + 360


def test_a_digit_fills_the_range_of_a_byte() -> None:
    pixels = read_digits("train").inputs
    assert pixels.min() == 0
    assert pixels.max() == 255


def test_the_digits_are_upright_and_carry_their_own_labels() -> None:
    """Shrunk again, an image is nearest to a digit of scikit-learn's that has its label."""
    originals = load_digits()
    images = read_digits("test")
    shrunk = torch.nn.functional.avg_pool2d(images.inputs.float(), 4).flatten(1)
    nearest = torch.cdist(shrunk, torch.from_numpy(originals.data).float() * 255 / 16).argmin(1)
    assert np.array_equal(originals.target[nearest.numpy()], images.targets.numpy())


def test_a_photo_digit_has_the_label_and_place_of_its_digit() -> None:
    for split in ("train", "test"):
        assert torch.equal(read_photo_digits(split).targets, read_digits(split).targets)


def find_patches(image: np.ndarray, digit: np.ndarray, photos: np.ndarray) -> list[tuple[int, int, int]]:
    """Find all (photo, top, left) of the 32x32 patches with |digit - patch| == image. photos: (N, H, W, 3)."""
    corners = photos[:, :-31, :-31].astype(int)
    fits = (np.abs(int(digit[0, 0, 0]) - corners) == image[:, 0, 0]).all(-1)
    found = []
    for which, top, left in np.argwhere(fits).tolist():
        patch = photos[which, top : top + 32, left : left + 32].transpose(2, 0, 1).astype(int)
        if np.array_equal(np.abs(digit.astype(int) - patch), image):
            found.append((which, top, left))
    return found


def test_photo_digits_are_digit_minus_patch_and_the_patches_of_train_and_test_are_apart() -> None:
    photos = np.stack(load_sample_images().images)
    lefts: dict[str, list[int]] = {}
    for split in ("train", "test"):
        digits, blended = read_digits(split).inputs.numpy(), read_photo_digits(split).inputs.numpy()
        patches = [find_patches(blended[row], digits[row], photos) for row in range(0, len(digits), 40)]
        assert all(patches), "an image is no |digit - patch|"
        assert {which for found in patches for which, _, _ in found} == {0, 1}
        lefts[split] = [left for found in patches for _, _, left in found]
    assert max(lefts["train"]) + 32 <= min(lefts["test"])
