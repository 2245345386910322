"""A run isn't continued on other data than it was begun on; what has changed is named."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from aetransfer.data.fingerprint import fingerprint
from aetransfer.data.folder import read_folder
from aetransfer.data.images import Images
from aetransfer.errors import UserError
from aetransfer.models.autoencoder import AutoEncoder
from tests.integration.conftest import assert_is_one_sentence, assert_refused
from tests.integration.test_resume import assert_same
from tests.made import make_images, write_class_folder, write_idx, write_image

SMALL = ("model=ae", "encoder.widths=[4,8,8,8]", "encoder.latent_dim=8", "trainer.max_epochs=2", "logger=none",
         "callbacks=none", "data.batch_size=8", "data.augment.crop_padding=0")  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 20), ("test", 4)):
        write_class_folder(tmp_path / "images" / split, {"cat": count, "dog": count}, size=32)
    return tmp_path / "images"


@pytest.fixture
def cut(run_train, monkeypatch):
    """Begin a run and have it stopped after its second step."""

    def begin(*words):
        original, made = AutoEncoder.training_step, []

        def step(self, *arguments):
            made.append(1)
            if len(made) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(AutoEncoder, "training_step", step)
            assert run_train(*words).code == 130

    return begin


def words_for(folder):
    return (*SMALL, "data=image_folder", f"data.root={folder}", f"paths.cache_dir={folder.parent}/cache")


def the_run(tmp_path):
    (run,) = (tmp_path / "outputs" / "runs").glob("[!.]*")
    return run


def test_a_changed_image_is_named_and_the_run_refused_or_begun_afresh(run_train, cut, folder, tmp_path):
    words = words_for(folder)
    cut(*words)
    run = the_run(tmp_path)
    image = folder / "train" / "dog" / "0003.png"
    size = image.stat().st_size
    write_image(image, np.zeros((32, 32, 3), np.uint8))

    sentence = (
        f"{run.name} was begun on other data (in {folder} train/dog/0003.png has {image.stat().st_size:,} bytes instead "
        f"of {size:,}): put them back, or rerun=true begins {run.name} afresh."
    )
    assert_refused(run_train(*words), sentence)

    afresh = run_train(*words, "rerun=true")
    assert afresh.code == 0, afresh.err
    assert run.with_name(f"{run.name}~1").is_dir()
    assert "Resuming" not in afresh.out


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_image_that_is_missing_is_named(run_train, cut, folder, tmp_path, split):
    words = words_for(folder)
    cut(*words)
    (folder / split / "cat" / "0001.png").unlink()

    done = run_train(*words)

    assert_is_one_sentence(done.err)
    assert f"was begun on other data (in {folder} {split}/cat/0001.png is missing)" in done.err


def test_an_image_that_is_truncated_is_named(run_train, cut, folder):
    words = words_for(folder)
    cut(*words)
    image = folder / "train" / "cat" / "0001.png"
    image.write_bytes(image.read_bytes()[:100])

    done = run_train(*words)

    assert_is_one_sentence(done.err)
    assert str(image) in done.err


def test_a_data_set_that_was_copied_anew_is_the_same(run_train, cut, folder, tmp_path, monkeypatch):
    words = words_for(folder)
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "whole"))
    whole = run_train(*words)
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "outputs"))
    cut(*words)
    # As onto the disk of another machine: the same bytes, other times.
    shutil.move(folder, tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere", folder, copy_function=shutil.copyfile)

    resumed = run_train(*words)

    assert "Resuming from" in resumed.out
    assert_same(resumed, whole)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"])
def test_a_file_of_mnist_that_changed_is_named(run_train, cut, tmp_path, name):
    raw = tmp_path / "data" / "MNIST" / "raw"
    write_idx(raw, 200, 20)
    words = (*SMALL, "data=mnist", "trainer.accelerator=cpu")
    cut(*words)
    content = (raw / name).read_bytes()
    (raw / name).write_bytes(content[:-1])
    truncated = run_train(*words)
    (raw / name).unlink()
    missing = run_train(*words)

    for done in (truncated, missing):
        assert_is_one_sentence(done.err)
        assert name in done.err

    (raw / name).write_bytes(content)
    assert run_train(*words).code == 0


def test_pixels_that_changed_in_a_file_of_the_same_size_are_noticed(run_train, cut, tmp_path):
    raw = tmp_path / "data" / "MNIST" / "raw"
    write_idx(raw, 200, 20)
    words = (*SMALL, "data=mnist", "trainer.accelerator=cpu")
    cut(*words)
    path = raw / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    done = run_train(*words)

    assert_is_one_sentence(done.err)
    assert "MNIST/raw/train-images-idx3-ubyte was changed" in done.err


@pytest.mark.parametrize("test_folder", [True, False], ids=["in_test", "set_aside_of_train"])
def test_a_test_image_that_was_replaced_by_one_of_the_same_size_is_named(run_train, cut, tmp_path, test_folder):
    folder, rng, pixels = tmp_path / "images", np.random.default_rng(0), {}
    for split in ("train", "test") if test_folder else ("train",):
        for number in range(20):
            path = f"{split}/{'cat' if number % 2 else 'dog'}/{number:02}.bmp"
            pixels[path] = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
            write_image(folder / path, pixels[path])
    tested = read_folder(str(folder), "test", 32, str(tmp_path / "cache")).images[0].numpy().transpose(1, 2, 0)
    (path,) = [path for path, image in pixels.items() if np.array_equal(image, tested)]
    words = words_for(folder)
    cut(*words)
    write_image(folder / path, 255 - tested)

    done = run_train(*words)

    assert_is_one_sentence(done.err)
    assert f"was begun on other data (in {folder} {path} was changed)" in done.err
    write_image(folder / path, tested)
    assert "Resuming from" in run_train(*words).out


def test_a_test_file_of_fashion_mnist_that_changed_is_named(run_train, cut, tmp_path):
    """Unlike MNIST's, its raw files have no checksums that everybody knows."""
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    write_idx(raw, 200, 20)
    words = (*SMALL, "data=fashion_mnist", "trainer.accelerator=cpu")
    cut(*words)
    path = raw / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"~")

    done = run_train(*words)

    assert_is_one_sentence(done.err)
    assert "FashionMNIST/raw/t10k-images-idx3-ubyte was changed" in done.err


def test_a_test_image_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write_class_folder(tmp_path / "test", {"cat": 3})

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"/test/cat/.* can't be read \(Permission denied\)"):
        fingerprint("aetransfer.data.folder.read_folder", str(tmp_path), make_images(4))


def test_files_of_a_large_data_set_are_not_read_for_it(tmp_path, monkeypatch):
    from aetransfer.data import fingerprint as module

    write_class_folder(tmp_path / "train", {"cat": 3})
    taken = fingerprint("aetransfer.data.folder.read_folder", str(tmp_path), make_images(4))
    assert taken.contents is not None
    monkeypatch.setattr(module, "SMALL_FILES", 2)

    large = fingerprint("aetransfer.data.folder.read_folder", str(tmp_path), make_images(4))

    assert large.contents is None
    assert taken.changed_in(large) == large.changed_in(taken) == []


def test_a_large_data_set_is_looked_at_in_evenly_spaced_images(monkeypatch):
    from aetransfer.data import fingerprint as module

    images = make_images(100)
    monkeypatch.setattr(module, "MOST_BYTES", images.images.numel() // 4)
    changed = images.images.clone()
    changed[4] += 1

    def checksum(pixels):
        return fingerprint("mine.read", None, Images(pixels, images.labels, images.class_names)).images

    assert checksum(changed) != checksum(images.images)
    changed[4] -= 1
    assert checksum(torch.tensor(changed.tolist(), dtype=torch.uint8)) == checksum(images.images)
