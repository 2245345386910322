"""A disk that is full, read-only or gone: one sentence with the path, and whatever was good stays."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aetransfer.files import PARTIAL
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.store.directory import damage
from tests.integration.conftest import TINY_PRETRAINING, assert_is_one_sentence
from tests.integration.test_resume import assert_same
from tests.made import write_class_folder

PRETRAINING = (*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=4", "logger=none", "callbacks=none")

pytestmark = pytest.mark.slow


def mounted(*words):
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a disk takes root on Linux")
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A disk of two megabytes that holds the outputs."""
    disk = tmp_path / "outputs"
    disk.mkdir()
    mounted("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk))
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def whole(run_train, monkeypatch, tmp_path):
    def undisturbed(*words):
        monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "whole"))
        run = run_train(*words)
        monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "outputs"))
        return run

    return undisturbed


@pytest.fixture
def before_call(monkeypatch):
    """Let something happen once, before the n-th call of a function."""

    def at(owner, name, number, happen):
        original, made = getattr(owner, name), []

        def counted(*arguments, **named):
            made.append(1)
            if len(made) == number:
                happen()
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, counted)

    return at


def fill(disk, leave=0):
    """Take all the space of a disk but so many bytes."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - leave))


def the_run(outputs):
    (run,) = (outputs / "runs").glob("[!.]*")
    return run


def partial_files(outputs):
    return [path for path in outputs.rglob(".*") if PARTIAL.fullmatch(path.name)]


def test_a_full_disk_ends_a_checkpoint_in_one_sentence_and_keeps_the_one_before(
    run_train, whole, small_disk, before_call
):
    expected = whole(*PRETRAINING)
    # Room for history and records, not for a checkpoint.
    before_call(AutoEncoder, "training_step", 6, lambda: fill(small_disk, leave=20_000))

    done = run_train(*PRETRAINING)

    run = the_run(small_disk)
    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert f"error: {run}/checkpoints/" in done.err
    assert "can't be written (No space left on device), it takes " in done.err and " bytes: make room" in done.err
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4
    assert [damage(path) for path in (run / "checkpoints").iterdir()] == [None, None]
    assert partial_files(small_disk) == []
    assert json.loads((run / "result.json").read_text())["status"] == "failed"

    (small_disk / "filler").unlink()
    assert_same(run_train(*PRETRAINING), expected)


@pytest.mark.parametrize("logger", ["none", "tensorboard"])
def test_a_disk_without_any_room_ends_logging_in_one_sentence(run_train, whole, small_disk, before_call, logger):
    words = (*PRETRAINING, f"logger={logger}", "trainer.log_every_n_steps=1")
    expected = whole(*words)
    before_call(AutoEncoder, "training_step", 6, lambda: fill(small_disk))

    done = run_train(*words)

    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert f"{the_run(small_disk)}" in done.err
    assert "No space left on device" in done.err and " bytes" in done.err
    assert partial_files(small_disk) == []

    (small_disk / "filler").unlink()
    assert_same(run_train(*words), expected)


def test_results_that_find_no_room_are_not_half_written(run_train, whole, small_disk, before_call):
    from aetransfer.training import stages

    expected = whole(*PRETRAINING)
    before_call(stages, "write_encoder", 1, lambda: fill(small_disk))

    done = run_train(*PRETRAINING)

    run = the_run(small_disk)
    assert_is_one_sentence(done.err)
    assert f"{run}/encoder.safetensors can't be written (No space left on device)" in done.err
    assert not (run / "encoder.safetensors").exists()
    assert partial_files(small_disk) == []

    (small_disk / "filler").unlink()
    assert_same(run_train(*PRETRAINING), expected)


def test_a_disk_that_is_full_at_the_start_is_said(run_train, small_disk):
    fill(small_disk)

    done = run_train(*PRETRAINING)

    assert_is_one_sentence(done.err)
    assert "No space left on device" in done.err and str(small_disk) in done.err


def test_a_run_that_becomes_read_only_ends_and_nothing_is_touched(run_train, whole, small_disk, before_call):
    expected = whole(*PRETRAINING)
    files = []

    def lock_up():
        # Over it: a disk with a file that is open for writing doesn't become read-only.
        mounted("--bind", str(small_disk), str(small_disk))
        mounted("-o", "remount,bind,ro", str(small_disk))
        files.extend(
            (path, path.read_bytes()) for path in small_disk.rglob("*") if path.is_file() and path.name != "train.log"
        )

    before_call(AutoEncoder, "training_step", 6, lock_up)

    done = run_train(*PRETRAINING)

    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert f"error: {the_run(small_disk)}/" in done.err and "(Read-only file system)" in done.err
    assert files and [path for path, content in files if path.read_bytes() != content] == []

    subprocess.run(["umount", str(small_disk)], check=True)
    assert_same(run_train(*PRETRAINING), expected)


def test_a_full_disk_for_decoded_images_is_said_and_leaves_no_part_of_them(run_train, tmp_path):
    cache, images = tmp_path / "cache", tmp_path / "images"
    cache.mkdir()
    mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(cache))
    try:
        write_class_folder(images / "train", {"cat": 40, "dog": 40}, size=64)
        write_class_folder(images / "test", {"cat": 4, "dog": 4}, size=64)
        words = (
            *("data=image_folder", f"data.root={images}", f"paths.cache_dir={cache}", "data.image_size=96", "model=ae"),
            *("encoder.widths=[4,8,8,8]", "trainer.max_epochs=1", "trainer.limit_train_batches=1", "logger=none"),
            "callbacks=none",
        )

        done = run_train(*words)

        assert done.code == 1
        assert_is_one_sentence(done.err)
        assert done.err.startswith(f"error: {cache}/images-train-")
        assert ".npy can't be written (No space left on device), it takes 2,211,840 bytes: make room" in done.err
        assert not [path.name for path in cache.iterdir() if not path.name.startswith("checksums-")]

        subprocess.run(["mount", "-o", "remount,size=8m", str(cache)], check=True)
        assert run_train(*words).code == 0
        assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".npy", ".npy"]
    finally:
        subprocess.run(["umount", "-l", str(cache)], check=True)


def test_a_store_that_can_not_be_written_is_refused_at_the_start(run_train, small_disk):
    mounted("-o", "remount,ro", str(small_disk))

    done = run_train(*PRETRAINING)

    assert_is_one_sentence(done.err)
    assert done.err == f"error: paths.output_dir={small_disk} can't be written (Read-only file system).\n"


@pytest.mark.parametrize("removed", ["the run", "the store"])
def test_a_run_that_is_removed_while_it_is_done_ends_and_is_not_made_again(run_train, tmp_path, before_call, removed):
    outputs = tmp_path / "outputs"
    (tmp_path / "mine").write_text("stays")
    gone: list[Path] = []

    def remove():
        gone.append(the_run(outputs))
        shutil.rmtree(gone[0] if removed == "the run" else outputs)

    before_call(AutoEncoder, "training_step", 6, remove)

    done = run_train(*PRETRAINING)

    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert done.err.startswith(f"error: {gone[0]} was removed while the run was being done")
    assert not gone[0].exists()
    assert removed == "the run" or not outputs.exists()
    assert (tmp_path / "mine").read_text() == "stays"
    assert run_train(*PRETRAINING).code == 0
