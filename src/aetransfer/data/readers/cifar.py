"""CIFAR-10 and CIFAR-100: the official pickled batches, else (CIFAR-10) class folders of images, else a download."""

from pathlib import Path

import torch

from aetransfer.data.examples import Examples, Split
from aetransfer.data.readers.folder import read_folder
from aetransfer.data.readers.idx import fetch
from aetransfer.errors import UserError


def read_cifar10(root: str, split: Split, cache_dir: str) -> Examples:
    """Read CIFAR-10: (50000 or 10000, 3, 32, 32). Raises UserError naming the file that is at fault."""
    folders = Path(root) / "cifar10"
    if not (Path(root) / "cifar-10-batches-py").exists() and folders.is_dir():
        return read_folder(str(folders), split, image_size=32, cache_dir=cache_dir)
    return _read_official(Path(root), "CIFAR10", split, f" or class folders {folders}/{{train,test}}/<class>/*.png")


def read_cifar100(root: str, split: Split) -> Examples:
    """Read CIFAR-100: (50000 or 10000, 3, 32, 32). Raises UserError naming the file that is at fault."""
    return _read_official(Path(root), "CIFAR100", split)


def _read_official(root: Path, dataset: str, split: Split, or_else: str = "") -> Examples:
    # Importing torchvision takes seconds, and class folders don't need it.
    from torchvision import datasets
    from torchvision.datasets.utils import check_integrity

    kind = getattr(datasets, dataset)
    folder = root / kind.base_folder
    if not folder.exists():
        fetch(dataset, root, folder, needs=f"the official batches in {folder}{or_else}")
    files = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
    for name, digest in files:
        # Unpickling runs code, so nothing is unpickled before its checksum is known to be the published one.
        if not (folder / name).is_file():
            raise UserError(f"{folder} lacks {name}: unpack the official archive again.")
        if not check_integrity(str(folder / name), digest):
            raise UserError(f"{folder / name} is corrupt: its MD5 is not {digest}. Unpack the official archive again.")
    official = kind(root, train=split == "train")
    images = torch.from_numpy(official.data).permute(0, 3, 1, 2).contiguous()
    return Examples(images, torch.tensor(official.targets), names=tuple(official.classes))
