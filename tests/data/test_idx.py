"""MNIST and Fashion-MNIST as IDX files: read where sound, refused by name where not, downloaded where absent."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from socketserver import BaseRequestHandler

import numpy as np
import pytest
import torch
from torchvision import datasets

from aetransfer.data.readers import idx
from aetransfer.data.readers.idx import read_fashion_mnist, read_mnist
from aetransfer.errors import UserError
from tests.made import IDX_FILES, idx_bytes, md5, names_in, real_data, write_idx

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = IDX_FILES
UNREACHABLE = "http://127.0.0.1:9/"  # the discard port, where nothing listens


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "MNIST" / "raw"


@pytest.fixture
def official_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny MNIST have the official size."""
    monkeypatch.setattr(idx, "OFFICIAL_COUNT", {"train": 20, "test": 10})


def swap(first: Path, second: Path) -> None:
    first_content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(first_content)


def refused(root: Path, split: str = "train") -> str:
    with pytest.raises(UserError) as caught:
        read_mnist(str(root), split)
    return str(caught.value)


@pytest.mark.parametrize("gz", [False, True], ids=["raw", "gzipped"])
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_what_was_written_is_read_raw_or_gzipped(tmp_path: Path, raw: Path, split: str, prefix: str, gz: bool) -> None:
    written = write_idx(raw, gz=gz)
    read = read_mnist(str(tmp_path), split)
    np.testing.assert_array_equal(read.inputs.squeeze(1).numpy(), written[f"{prefix}-images-idx3-ubyte"])
    np.testing.assert_array_equal(read.targets.numpy(), written[f"{prefix}-labels-idx1-ubyte"])
    assert read.inputs.shape[1:] == (1, 28, 28)
    assert read.names == tuple("0123456789")


def test_a_raw_file_may_stand_beside_gzipped_siblings(tmp_path: Path, raw: Path) -> None:
    written = write_idx(raw, gz=True)
    (raw / TRAIN_LABELS).write_bytes(gzip.decompress((raw / f"{TRAIN_LABELS}.gz").read_bytes()))
    (raw / f"{TRAIN_LABELS}.gz").unlink()
    np.testing.assert_array_equal(read_mnist(str(tmp_path), "train").targets.numpy(), written[TRAIN_LABELS])


def test_fashion_mnist_has_the_format_of_mnist_and_names_of_its_own(tmp_path: Path) -> None:
    written = write_idx(tmp_path / "FashionMNIST" / "raw")
    read = read_fashion_mnist(str(tmp_path), "test")
    np.testing.assert_array_equal(read.inputs.squeeze(1).numpy(), written[TEST_IMAGES])
    assert read.names == tuple(datasets.FashionMNIST.classes)


@pytest.mark.parametrize("name", IDX_FILES)
def test_a_missing_file_is_named(tmp_path: Path, raw: Path, name: str) -> None:
    write_idx(raw)
    (raw / name).unlink()
    message = refused(tmp_path)
    assert f"{raw} lacks {name}:" in message
    assert not any(other in message for other in IDX_FILES if other != name)


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TRAIN_LABELS])
@pytest.mark.parametrize("left", [0, 5, 15, -1], ids=["empty", "half a header", "no more than a header", "a byte less"])
def test_a_truncated_file_is_named(tmp_path: Path, raw: Path, name: str, left: int) -> None:
    write_idx(raw)
    (raw / name).write_bytes((raw / name).read_bytes()[:left])
    assert f"{raw / name} is truncated" in refused(tmp_path)


def test_a_file_with_bytes_to_spare_is_named(tmp_path: Path, raw: Path) -> None:
    write_idx(raw)
    (raw / TEST_IMAGES).write_bytes((raw / TEST_IMAGES).read_bytes() + b"\0")
    assert f"{raw / TEST_IMAGES} is truncated or damaged" in refused(tmp_path, "test")


def test_images_in_the_place_of_labels_are_named(tmp_path: Path, raw: Path) -> None:
    write_idx(raw)
    swap(raw / TRAIN_IMAGES, raw / TRAIN_LABELS)
    message = refused(tmp_path)
    assert f"{raw / TRAIN_IMAGES} is not what its name says" in message
    assert "2049 instead of 2051" in message


@pytest.mark.parametrize("split", ["train", "test"])
def test_train_and_t10k_files_in_each_others_place_are_named(
    tmp_path: Path, raw: Path, official_sizes: None, split: str
) -> None:
    write_idx(raw)
    swap(raw / TRAIN_IMAGES, raw / TEST_IMAGES)
    swap(raw / TRAIN_LABELS, raw / TEST_LABELS)
    message = refused(tmp_path, split)
    assert str(raw / (TRAIN_IMAGES if split == "train" else TEST_IMAGES)) in message
    assert "swapped" in message


def test_images_that_are_not_as_many_as_their_labels_are_named_with_them(tmp_path: Path, raw: Path) -> None:
    write_idx(raw)
    swap(raw / TRAIN_LABELS, raw / TEST_LABELS)
    message = refused(tmp_path)
    assert f"{raw / TRAIN_IMAGES} holds 20 images" in message
    assert f"{raw / TRAIN_LABELS} 10 labels" in message


def test_a_label_that_no_class_has_is_named(tmp_path: Path, raw: Path) -> None:
    labels = write_idx(raw)[TRAIN_LABELS]
    labels[7] = 10
    (raw / TRAIN_LABELS).write_bytes(idx_bytes(labels))
    assert f"{raw / TRAIN_LABELS} holds label 10, but MNIST has 10 classes" in refused(tmp_path)


@pytest.mark.parametrize("gz", [False, True], ids=["raw", "gzipped"])
@pytest.mark.parametrize("name", [TEST_IMAGES, TEST_LABELS])
def test_a_truncated_test_file_is_named_where_the_training_images_are_read(
    tmp_path: Path, raw: Path, name: str, gz: bool
) -> None:
    write_idx(raw, gz=gz)
    path = raw / (f"{name}.gz" if gz else name)
    path.write_bytes(path.read_bytes()[:-1])
    assert str(path) in refused(tmp_path, "train")


@pytest.mark.parametrize("name", [TEST_IMAGES, TEST_LABELS])
def test_a_corrupt_test_file_is_named_where_the_training_images_are_read(
    tmp_path: Path, raw: Path, official_sizes: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    expect(write_idx(raw), monkeypatch)
    content = bytearray((raw / name).read_bytes())
    content[-1] ^= 1
    (raw / name).write_bytes(content)
    assert f"{raw / name} is corrupt" in refused(tmp_path, "train")


def test_the_training_images_in_the_place_of_the_test_images_are_named(
    tmp_path: Path, raw: Path, official_sizes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect(write_idx(raw), monkeypatch)
    for test, train in ((TEST_IMAGES, TRAIN_IMAGES), (TEST_LABELS, TRAIN_LABELS)):
        (raw / test).write_bytes((raw / train).read_bytes())
    assert f"{raw / TEST_IMAGES} holds 20 images: the train and the t10k files are swapped" in refused(
        tmp_path, "train"
    )


def test_test_images_of_another_size_than_the_training_images_are_named(tmp_path: Path, raw: Path) -> None:
    write_idx(raw)
    (raw / TEST_IMAGES).write_bytes(idx_bytes(np.zeros((10, 14, 14))))
    assert f"{raw}: the train images are 28x28 and the t10k images 14x14" in refused(tmp_path, "train")


@pytest.mark.parametrize("damage", ["cut", "a wrong byte", "a wrong block", "not gzip"])
def test_a_corrupt_gzip_file_is_named(tmp_path: Path, raw: Path, damage: str) -> None:
    write_idx(raw, gz=True)
    path = raw / f"{TRAIN_IMAGES}.gz"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "a wrong byte":
        content[len(content) // 2] ^= 0xFF
    elif damage == "a wrong block":
        content[10] ^= 0xFF  # the first after gzip's header
    else:
        content[:2] = b"PK"
    path.write_bytes(content)
    assert f"{path} can't be read" in refused(tmp_path)


def expect(written: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "MNIST_MD5", {name: md5(idx_bytes(array)) for name, array in written.items()})


@pytest.mark.parametrize("gz", [False, True], ids=["raw", "gzipped"])
@pytest.mark.parametrize("name", [TRAIN_IMAGES, TRAIN_LABELS])
def test_one_changed_byte_in_a_file_of_official_size_is_noticed(
    tmp_path: Path, raw: Path, official_sizes: None, monkeypatch: pytest.MonkeyPatch, name: str, gz: bool
) -> None:
    written = write_idx(raw, gz=gz)
    expect(written, monkeypatch)
    read_mnist(str(tmp_path), "train")

    content = bytearray(idx_bytes(written[name]))
    content[-1] ^= 1
    path = raw / (f"{name}.gz" if gz else name)
    path.write_bytes(gzip.compress(content) if gz else content)
    assert f"{path} is corrupt: MD5 {md5(content)} instead of {md5(idx_bytes(written[name]))}" in refused(tmp_path)


@pytest.mark.parametrize("raw_beside", [False, True], ids=["gzipped", "beside the raw file"])
@pytest.mark.parametrize("name", IDX_FILES)
def test_a_gzipped_fashion_mnist_file_of_official_size_is_held_against_its_published_checksum(
    tmp_path: Path, official_sizes: None, monkeypatch: pytest.MonkeyPatch, name: str, raw_beside: bool
) -> None:
    folder = tmp_path / "FashionMNIST" / "raw"
    written = write_idx(folder, gz=True)
    published = {f"{each}.gz": md5((folder / f"{each}.gz").read_bytes()) for each in IDX_FILES}
    monkeypatch.setattr(idx, "FASHION_MD5", published)
    read_fashion_mnist(str(tmp_path), "train")

    content = bytearray(idx_bytes(written[name]))
    if raw_beside:
        (folder / name).write_bytes(content)
    content[-1] ^= 1
    path = folder / f"{name}.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(UserError) as caught:
        read_fashion_mnist(str(tmp_path), "train")
    assert f"{path} is corrupt: MD5 {md5(path.read_bytes())} instead of {published[path.name]}" in str(caught.value)


def test_a_changed_raw_fashion_mnist_file_is_not_read_where_its_gz_lies_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "FashionMNIST" / "raw"
    written = write_idx(folder, gz=True)
    for name, array in written.items():
        (folder / name).write_bytes(idx_bytes(np.zeros_like(array)))
    read = read_fashion_mnist(str(tmp_path), "train")
    np.testing.assert_array_equal(read.inputs.squeeze(1).numpy(), written[TRAIN_IMAGES])


def test_the_published_checksums_of_fashion_mnist_are_those_that_torchvision_downloads_by() -> None:
    assert dict(datasets.FashionMNIST.resources) == idx.FASHION_MD5


def test_files_of_another_size_are_anybodys_own_and_need_no_published_checksum(tmp_path: Path, raw: Path) -> None:
    write_idx(raw, n_train=30)
    assert len(read_mnist(str(tmp_path), "train")) == 30


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Nonsense(BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(1024)
        self.request.sendall(b"I am no web server\r\n\r\n")


@contextmanager
def serving(handler: Callable[..., BaseRequestHandler]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for kind in (datasets.MNIST, datasets.FashionMNIST):
        monkeypatch.setattr(kind, "mirrors", [UNREACHABLE])


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None) -> Iterator[Path]:
    """A folder with a tiny gzipped MNIST that torchvision downloads from, and whose checksums it expects."""
    folder = tmp_path / "mirror"
    write_idx(folder, gz=True)
    checksums = [(f"{name}.gz", md5((folder / f"{name}.gz").read_bytes())) for name in IDX_FILES]
    monkeypatch.setattr(datasets.MNIST, "resources", checksums)
    with serving(partial(Files, directory=str(folder))) as address:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        yield folder


@pytest.mark.parametrize("read", [read_mnist, read_fashion_mnist])
def test_without_data_or_network_it_says_what_to_put_where_and_what_needs_neither(
    tmp_path: Path, offline: None, read: Callable[..., object]
) -> None:
    with pytest.raises(UserError) as caught:
        read(str(tmp_path), "train")
    message = str(caught.value)
    dataset = "MNIST" if read is read_mnist else "FashionMNIST"
    assert f"No {dataset} under {tmp_path}" in message
    assert f"put {TRAIN_IMAGES}[.gz] and its three siblings in {tmp_path / dataset / 'raw'}" in message
    assert "AETRANSFER_DATA_DIR" in message
    assert "data=digits" in message
    assert "\n" not in message


def test_an_absent_mnist_is_downloaded_once(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_mnist(str(tmp_path / "new"), "train")
    monkeypatch.setattr(datasets.MNIST, "mirrors", [UNREACHABLE])
    second = read_mnist(str(tmp_path / "new"), "train")
    assert len(first) == 20
    torch.testing.assert_close(second.inputs, first.inputs, rtol=0, atol=0)


def test_a_download_with_a_wrong_checksum_is_refused_and_leaves_nothing_behind(tmp_path: Path, mirror: Path) -> None:
    sound = (mirror / f"{TEST_LABELS}.gz").read_bytes()
    (mirror / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(10))))
    message = refused(tmp_path / "new")
    assert f"No MNIST under {tmp_path / 'new'}" in message
    assert f"{TEST_LABELS}.gz" in message
    assert names_in(tmp_path / "new") == set()

    (mirror / f"{TEST_LABELS}.gz").write_bytes(sound)
    assert len(read_mnist(str(tmp_path / "new"), "test")) == 10


def test_a_download_from_what_is_no_web_server_is_a_message(
    tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Nonsense) as address:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        assert "I am no web server" in refused(tmp_path)


@pytest.mark.real
def test_the_real_mnist_has_its_published_counts() -> None:
    counts = {
        "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    }
    for split, expected in counts.items():
        read = read_mnist(real_data(), split)
        assert read.inputs.shape == (sum(expected), 1, 28, 28)
        assert read.targets.bincount().tolist() == expected
