"""Tiny data sets in every format that the readers take, and the way to the real ones."""

import gzip
import hashlib
import math
import os
import pickle
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F

from aetransfer.data.augmentation import Augmentation
from aetransfer.data.batches import Batch
from aetransfer.data.examples import Examples
from aetransfer.models.classifier import Classifier
from aetransfer.models.optimisation import Optimisation
from aetransfer.networks.encoder import Encoder

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def make_images(count: int, *, channels: int = 1, size: int = 8, classes: int = 4, seed: int = 0) -> Examples:
    """Noise, whose labels go round the classes: any two images differ."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, channels, size, size), generator=generator, dtype=torch.uint8)
    return Examples(pixels, torch.arange(count) % classes, names=tuple(f"class{n}" for n in range(classes)))


def read_waves(split: str, shape: Sequence[int] = (2, 40), count: int = 96, offset: float = 50.0) -> Examples:
    """Floats of any shape, far from 0 and each channel of a unit of its own, in two classes that a mean does not tell."""
    drawn = torch.Generator().manual_seed({"train": 0, "test": 1}[split])
    classes = torch.arange(count) % 2
    places = torch.linspace(0, 6, math.prod(shape)).expand(count, -1)
    waves = torch.sin(places * (1 + classes[:, None]) + 6 * torch.rand(count, 1, generator=drawn))
    noise = 0.1 * torch.randn(count, math.prod(shape), generator=drawn)
    units = 10.0 ** torch.arange(shape[0]).remainder(4).view(-1, *(1 for _ in shape[1:]))
    return Examples((waves + noise).view(count, *shape) * units + offset, classes, names=("slow", "fast"))


def idx_bytes(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def idx_arrays(n_train: int, n_test: int, *, side: int = 28, seed: int = 0) -> dict[str, np.ndarray]:
    """The four arrays of a tiny MNIST by file name: noise, whose labels go round the ten digits."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for prefix, count in (("train", n_train), ("t10k", n_test)):
        arrays[f"{prefix}-images-idx3-ubyte"] = rng.integers(256, size=(count, side, side), dtype=np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte"] = np.arange(count, dtype=np.uint8) % 10
    return arrays


def write_idx(folder: Path, n_train: int = 20, n_test: int = 10, *, gz: bool = False) -> dict[str, np.ndarray]:
    """Write a tiny MNIST into `folder`, raw or gzipped. Returns the arrays by file name, without .gz."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = idx_arrays(n_train, n_test)
    for name, array in arrays.items():
        content = idx_bytes(array)
        (folder / (f"{name}.gz" if gz else name)).write_bytes(gzip.compress(content) if gz else content)
    return arrays


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write (H, W), (H, W, 3) or (H, W, 4) pixels in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def png_of_16_bits(values: np.ndarray, transparent: tuple[int, ...] = ()) -> bytes:
    """A PNG of (H, W) grey, (H, W, 2) grey and alpha, (H, W, 3) or (H, W, 4) values from 0 to 65535: Pillow writes none
    but the first. transparent: the colour that counts as transparent, one value a channel.
    """

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, *channels = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels[0] if channels else 1]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)),
            chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b"",
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def write_class_folder(root: Path, counts: Mapping[str, int], *, size: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """Write root/<class>/<number>.png, noise. Returns the (H, W, 3) pixels by path below root, in reading order."""
    rng = np.random.default_rng(seed)
    written = {}
    for name, count in sorted(counts.items()):
        for number in range(count):
            pixels = rng.integers(256, size=(size, size, 3), dtype=np.uint8)
            write_image(root / name / f"{number:04}.png", pixels)
            written[f"{name}/{number:04}.png"] = pixels
    return written


def write_cifar_batches(
    root: Path, monkeypatch: pytest.MonkeyPatch, dataset: str = "CIFAR10", per_file: int = 10
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write tiny official batches under `root` and make torchvision expect their checksums.

    Ten images a file are one of each class of CIFAR-10. Returns (N, 3, 32, 32) pixels and (N,) labels of "train" and
    "test".
    """
    from torchvision import datasets

    kind = getattr(datasets, dataset)
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = CIFAR10_NAMES if dataset == "CIFAR10" else tuple(f"fine{n:02}" for n in range(100))
    label_key = "labels" if dataset == "CIFAR10" else "fine_labels"
    written = {}
    for split, attribute in (("train", "train_list"), ("test", "test_list")):
        pixels, labels, checksums = [], [], []
        for name, _ in getattr(kind, attribute):
            batch = rng.integers(256, size=(per_file, 3, 32, 32), dtype=np.uint8)
            targets = rng.permutation(per_file) % len(names)
            entry = {"data": batch.reshape(per_file, 3072), label_key: targets.tolist()}
            checksums.append([name, write_pickle(folder / name, entry)])
            pixels.append(batch)
            labels.append(targets)
        monkeypatch.setattr(kind, attribute, checksums)
        written[split] = np.concatenate(pixels), np.concatenate(labels)
    meta = {**kind.meta, "md5": write_pickle(folder / kind.meta["filename"], {kind.meta["key"]: list(names)})}
    monkeypatch.setattr(kind, "meta", meta)
    return written


def write_pickle(path: Path, content: object) -> str:
    """Pickle `content` into a file. Returns the file's MD5."""
    path.write_bytes(pickle.dumps(content))
    return md5(path.read_bytes())


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stack(images: Iterable[np.ndarray]) -> torch.Tensor:
    """(H, W, 3) pixels to one (N, 3, H, W) tensor."""
    return torch.from_numpy(np.stack(list(images)).transpose(0, 3, 1, 2))


def real_data() -> str:
    """The folder of the real MNIST and CIFAR-10; skips the test where none is named."""
    folder = os.environ.get("AETRANSFER_TEST_DATA")
    if not folder:
        pytest.skip("AETRANSFER_TEST_DATA does not name a folder with the real MNIST and CIFAR-10")
    return folder


class DropoutEncoder(Encoder):
    """An encoder of somebody's, which draws from torch's global generator."""

    def __init__(self, *, input_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=input_shape[0] * 64)

    def body(self, normalised: Tensor) -> Tensor:
        return F.dropout(F.adaptive_avg_pool2d(normalised, 8).flatten(1), 0.5, self.training)


class TokenEncoder(Encoder):
    """An encoder of somebody's that has layers within layers: a class token of its own, and attention."""

    def __init__(self, *, input_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=8)
        channels, size, _ = input_shape
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.patches = nn.Conv2d(channels, 8, size // 4, stride=size // 4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def body(self, normalised: Tensor) -> Tensor:
        patches = self.patches(normalised).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(patches), 1, 8), patches], 1)
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return attended[:, 0]


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.Dropout(0.1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return (maps + self.inner(maps)).relu()


class ResidualEncoder(Encoder):
    """An encoder of somebody's, whose layers are a stem, two residual blocks and the bottleneck."""

    def __init__(self, *, input_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=4)
        self.stem = nn.Sequential(nn.Conv2d(input_shape[0], 4, 4, stride=4), nn.BatchNorm2d(4), nn.ReLU())
        self.first, self.second = Residual(4), Residual(4)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def body(self, normalised: Tensor) -> Tensor:
        return self.pool(self.second(self.first(self.stem(normalised)))).flatten(1)

    def layers_from_input(self) -> list[list[nn.Module]]:
        return [[self.stem], [self.first], [self.second], [self.bottleneck]]


class Unlayered(ResidualEncoder):
    """The same, with a block that is in no layer."""

    def layers_from_input(self) -> list[list[nn.Module]]:
        return [[self.stem], [self.first], [self.bottleneck]]


class Watcher(Callback):
    """A callback of somebody's: it writes down what it was built with where its first place says, an epoch a line."""

    def __init__(self, every: int = 1, places: Iterable[Mapping[str, str]] = ()) -> None:
        self.every, self.places = every, places

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for place in self.places:
            with Path(place["file"]).open("a") as file:
                file.write(f"{place['text']}\n")


def optimised(model, kind=torch.optim.Adam, schedule=None, lr=1e-3, encoder_lr=None, **keys):
    """Let a model be optimised as a config would have it."""
    scheduler = None if schedule is None else partial(schedule)
    model.optimisation = Optimisation(partial(kind, **keys), lr, encoder_lr or lr, scheduler, "step")
    return model


def trainer_of(steps, epoch_steps=None):
    """What a schedule and a gradual arm ask of a Trainer."""
    in_epoch = epoch_steps or steps
    return SimpleNamespace(estimated_stepping_batches=steps, accumulate_grad_batches=1, num_training_batches=in_epoch)


class Gamma(Augmentation):
    """An augmentation of somebody's own: a power of each image."""

    numbers = 1

    def __init__(self, most: float = 2.0) -> None:
        self.most = most

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        return inputs ** (self.most ** (2 * drawn[:, 0] - 1)).to(inputs).view(-1, 1, 1, 1)


class Speckle(nn.Module):
    """As a library has it: it draws from torch's own generator, and holds a tensor."""

    def __init__(self, amount: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("amount", torch.tensor(amount))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.amount * torch.randn_like(inputs)


class Broken(Augmentation):
    """Divides by nothing."""

    numbers = 0

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        return inputs / 0


class Unmixed(Classifier):
    """A task that writes a step, and does not say what it makes of mixed examples."""

    def step(self, batch: Batch) -> dict[str, Tensor]:
        return super().step(batch)


def in_order(*groups: Tensor) -> list[list[int]]:
    """Number groups by when they first appear in any of these."""
    numbers: dict[int, int] = {}
    return [[numbers.setdefault(group, len(numbers)) for group in each.tolist()] for each in groups]
