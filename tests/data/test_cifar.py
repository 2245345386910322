"""CIFAR-10 and CIFAR-100: the official batches or class folders, nothing unpickled before its checksum is known."""

import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from aetransfer.data.examples import Examples
from aetransfer.data.readers.cifar import read_cifar10, read_cifar100
from aetransfer.errors import UserError
from tests.made import CIFAR10_NAMES, md5, names_in, real_data, write_cifar_batches, write_image

CIFAR10_FILES = [name for name, _ in (*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list)] + ["batches.meta"]


def read10(root: Path, split: str = "train") -> Examples:
    return read_cifar10(str(root), split, str(root / "cache"))


class Marker:
    """Whoever unpickles one of these creates the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.open, (str(self.path), os.O_CREAT)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_official_cifar10_batches_are_read_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    pixels, labels = write_cifar_batches(tmp_path, monkeypatch)[split]
    read = read10(tmp_path, split)
    np.testing.assert_array_equal(read.inputs.numpy(), pixels)
    np.testing.assert_array_equal(read.targets.numpy(), labels)
    assert read.names == CIFAR10_NAMES


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_official_cifar100_batches_are_read_with_their_fine_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    pixels, labels = write_cifar_batches(tmp_path, monkeypatch, "CIFAR100")[split]
    read = read_cifar100(str(tmp_path), split)
    np.testing.assert_array_equal(read.inputs.numpy(), pixels)
    np.testing.assert_array_equal(read.targets.numpy(), labels)
    assert len(read.names) == 100


def test_class_folders_give_the_same_images_labels_and_names_as_the_official_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_cifar_batches(tmp_path / "official", monkeypatch)
    for split, (pixels, labels) in written.items():
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            folder = tmp_path / "folders" / "cifar10" / split / CIFAR10_NAMES[label]
            write_image(folder / f"{number:04}.png", image.transpose(1, 2, 0))

    for split in written:
        official, folders = read10(tmp_path / "official", split), read10(tmp_path / "folders", split)
        by_class = official.targets.argsort(stable=True)
        np.testing.assert_array_equal(folders.inputs.numpy(), official.inputs[by_class].numpy())
        np.testing.assert_array_equal(folders.targets.numpy(), official.targets[by_class].numpy())
        assert folders.names == official.names


def test_the_official_batches_come_before_class_folders_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, _ = write_cifar_batches(tmp_path, monkeypatch)["train"]
    write_image(tmp_path / "cifar10" / "train" / "cat" / "0.png", np.zeros((32, 32, 3), np.uint8))
    np.testing.assert_array_equal(read10(tmp_path).inputs.numpy(), pixels)


@pytest.mark.parametrize("name", CIFAR10_FILES)
def test_a_changed_file_is_named_and_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_cifar_batches(tmp_path, monkeypatch)
    marker = tmp_path / "marker"
    changed = tmp_path / "cifar-10-batches-py" / name
    changed.write_bytes(pickle.dumps(Marker(marker)))
    os.close(pickle.loads(changed.read_bytes()))
    assert marker.exists(), "unpickling the file would have left the marker"
    marker.unlink()

    with pytest.raises(UserError) as caught:
        read10(tmp_path)
    assert f"{changed} is corrupt" in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("name", CIFAR10_FILES)
def test_a_missing_batch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_cifar_batches(tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / name).unlink()
    with pytest.raises(UserError, match=f"cifar-10-batches-py lacks {name}:"):
        read10(tmp_path)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny official archive, in the place of the one that torchvision downloads."""
    write_cifar_batches(tmp_path / "source", monkeypatch)
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        packed.add(tmp_path / "source" / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(path.read_bytes()))
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, max_hops: url)
    monkeypatch.setattr(
        "torchvision.datasets.utils._urlretrieve", lambda url, target: Path(target).write_bytes(path.read_bytes())
    )
    return path


@pytest.mark.short
def test_an_absent_cifar10_is_downloaded(tmp_path: Path, archive: Path) -> None:
    assert read10(tmp_path / "new").inputs.shape == (50, 3, 32, 32)
    archive.unlink()
    assert read10(tmp_path / "new", "test").inputs.shape == (10, 3, 32, 32)


def test_an_archive_with_a_wrong_checksum_is_refused_and_leaves_nothing_behind(tmp_path: Path, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"No CIFAR10 under .* corrupted.*data=digits or data=photo_digits"):
        read10(tmp_path / "new")
    assert names_in(tmp_path / "new") == set()


def test_without_a_network_everything_that_could_stand_in_for_cifar10_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing listens at the discard port.
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(UserError) as caught:
        read10(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"No CIFAR10 under {tmp_path}, and downloading it failed (")
    assert f"put the official batches in {tmp_path}/cifar-10-batches-py or class folders " in text
    assert f"class folders {tmp_path}/cifar10/{{train,test}}/<class>/*.png, point paths.data_dir" in text
    assert "data=digits or data=photo_digits, which are embedded" in text


@pytest.mark.real
def test_the_real_cifar10_has_as_many_images_of_each_class(tmp_path: Path) -> None:
    root = real_data()
    for split, each in (("train", 5000), ("test", 1000)):
        read = read_cifar10(root, split, str(tmp_path))
        assert read.inputs.shape == (10 * each, 3, 32, 32)
        assert read.targets.bincount().tolist() == [each] * 10
        assert read.names == CIFAR10_NAMES
