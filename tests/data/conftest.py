"""Class folders to read, with and without decoding; and hypothesis without a deadline.

How long an example takes says nothing on a machine that trains beside the tests.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from aetransfer.data import decoding
from aetransfer.data.examples import Examples
from aetransfer.data.readers.folder import read_folder
from tests.made import write_class_folder

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "pets"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def pets(root: Path) -> dict[str, np.ndarray]:
    """Seven cats and five dogs to train on, two of each to test on. Returns the training images' pixels by path."""
    written = write_class_folder(root / "train", {"cat": 7, "dog": 5})
    write_class_folder(root / "test", {"cat": 2, "dog": 2}, seed=1)
    return written


def read(root: Path, split: str = "train", image_size: int = 8) -> Examples:
    return read_folder(str(root), split, image_size, str(root.parent / "cache"))


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(path: str, **how: object) -> np.ndarray:
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr(decoding, "_decode", decode)
