"""Images a second through the augmenting data path, against torchvision's DataLoader doing the same in one run.

    python benchmarks/data_path.py

Both draw batches of 128 from 50,000 CIFAR-10-sized images, with a random crop (pad 4) and flip for each image, as float
tensors in [0, 1]. They take turns, and the medians are compared, because a shared machine changes its speed.
"""

import statistics
import time
from collections.abc import Iterable
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from aetransfer.data.augmented import Augment
from aetransfer.data.batches import Epochs, Preparation, ResidentBatches

IMAGES, BATCH, ROUNDS = 50_000, 128, 5
# So many images of the slower loaders are timed; at thousands a second that takes seconds.
SLOW_IMAGES = 12_800


class PillowImages(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 does for an item: an array to Pillow, through the transforms, to a tensor."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = labels.tolist()
        self.transform = transforms.Compose(
            [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return SLOW_IMAGES

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index]


def images_per_second(loader: Iterable[Any]) -> float:
    started = time.perf_counter()
    seen = sum(len(labels) for _, labels, *_ in loader)
    return seen / (time.perf_counter() - started)


def main() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 10, (IMAGES,))
    ours = ResidentBatches(
        images,
        labels,
        prepare=Preparation(channels=3, pad=0),
        epochs=Epochs(IMAGES, shuffle=True, augment=Augment(crop_padding=4, flip=True), seed=0),
        epoch=lambda: 0,
        batch_size=BATCH,
        device=torch.device("cpu"),
    )
    pillow = PillowImages(images, labels)
    loaders: dict[str, Iterable[Any]] = {
        "aetransfer": ours,
        "torchvision, 0 workers": DataLoader(pillow, batch_size=BATCH, shuffle=True),
        "torchvision, 2 workers": DataLoader(pillow, batch_size=BATCH, shuffle=True, num_workers=2),
    }
    images_per_second(ours)  # the first pass touches every page
    rounds = [{name: images_per_second(loader) for name, loader in loaders.items()} for _ in range(ROUNDS)]
    for name in loaders:
        speeds = sorted(speed[name] for speed in rounds)
        print(f"{name:<24}{statistics.median(speeds):>10,.0f} images/s  ({speeds[0]:,.0f} to {speeds[-1]:,.0f})")
    ratios = [
        speed["aetransfer"] / max(value for name, value in speed.items() if name != "aetransfer") for speed in rounds
    ]
    print(f"ratio to the better of the two, median of {ROUNDS}: {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
