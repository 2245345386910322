"""What only shows once something is built or read: said in one sentence before anything is trained."""

import sqlite3
import sys

import pytest
import torch
from PIL import Image
from torchvision import datasets

from aetransfer.origin import pip_install
from aetransfer.training import stages
from aetransfer.training.callbacks.curves import ContinuedCSVLogger
from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_is_one_sentence, assert_refused, job_of
from tests.made import write_idx

# Nothing listens at the discard port, so that this is what no network looks like, at once.
UNREACHABLE = "http://127.0.0.1:9/"


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("+callbacks.mine={_target_: aetransfer.training.callbacks.mine.Mine}", "_target_: aetransfer.training.callbacks.mine.Mine can't be imported (No module named 'aetransfer.training.callbacks.mine'): correct its name."),
        ("data.classes=12", "photo_digits has 10 classes, but data.classes=12: correct it."),
        ("data.image_size=16", "The source's encoder takes 32x32 images, but photo_digits gives 16x16 images: set pretrain.data.pad or data.pad so that both agree."),
        ("data.labels_per_class=4000", "data.labels_per_class=4000, but class '0' has 128 training images beside 14 for validation: lower it or data.val_fraction."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_transfer_is_said_before_its_pretraining(run_train, tmp_path, word, sentence):
    assert_refused(run_train(*TINY, "transfer=frozen", "callbacks=default", word), sentence)
    assert not (tmp_path / "outputs").exists()


def test_an_output_directory_that_can_not_be_written_is_refused(run_train, tmp_path):
    (tmp_path / "taken").touch()
    done = run_train("model=ae", "data=digits", "debug=fast_dev_run", f"paths.output_dir={tmp_path}/taken")

    assert_refused(done, f"paths.output_dir={tmp_path}/taken can't be written (Not a directory).")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    job = job_of(*TINY, "transfer=scratch", f"paths.output_dir={tmp_path_factory.mktemp('outputs')}")
    return stages.run(job, []).directory


def test_a_run_that_does_not_exist_or_has_not_finished_is_not_evaluated(run_evaluate, finished_run, tmp_path):
    assert_refused(run_evaluate(f"run={tmp_path}/run"), f"{tmp_path}/run is no run directory: it has no config.yaml.")

    result = finished_run.result()
    finished_run.write_result(result | {"status": "interrupted"})
    try:
        done = run_evaluate(f"run={finished_run.path}")
    finally:
        finished_run.write_result(result)
    assert_refused(done, f"{finished_run.path} has not finished: the command that began it goes on where it stopped.")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data=digits", "data.pad=2"], "The run takes 32x32 images, but digits gives 36x36 images: set data.pad or data.image_size to fit."),
        (["data=image_folder", "data.root={}"], "The run's classes are 0, 1, 2, 3, 4, 5, ... (10 classes), those of image_folder cat, dog, emu: choose other data, or say which of the run's classes each one is with 'classes={cat: ..., dog: ..., emu: ...}'."),
    ],
)  # fmt: skip
def test_a_run_is_not_evaluated_on_data_of_another_shape(run_evaluate, finished_run, tmp_path, words, sentence):
    write_image_folder(tmp_path / "images")
    words = [word.format(tmp_path / "images") for word in words]

    assert_refused(run_evaluate(f"run={finished_run.path}", *words), sentence)


def write_image_folder(root):
    for split in ("train", "test"):
        for name in ("cat", "dog", "emu"):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (32, 32)).save(root / split / name / f"{number}.png")


def test_a_test_file_that_is_damaged_is_refused_before_any_training(run_train, tmp_path):
    raw, images = tmp_path / "data" / "MNIST" / "raw", tmp_path / "images"
    write_idx(raw, 200, 20)
    path = raw / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    assert_refused(
        run_train("data=mnist", "model=ae", *TINY_PRETRAINING[1:]),
        f"{path} is truncated or damaged: 15695 bytes instead of 15696 bytes. Replace it.",
    )

    write_image_folder(images)
    broken = images / "test" / "dog" / "1.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    done = run_train("data=image_folder", f"data.root={images}", "model=ae", *TINY_PRETRAINING[1:])
    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert done.err.startswith(f"error: {broken} can't be read as an image (")
    assert not list(tmp_path.glob("outputs/**/*.ckpt"))


def test_a_gpu_where_there_is_none_is_refused_before_a_transfer_pretrains(run_train, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    assert_refused(
        run_train(*TINY, "transfer=frozen", "trainer=gpu"),
        "trainer.accelerator=gpu with devices=1 is not to be had on this machine (No supported gpu backend found!): "
        "choose auto or cpu.",
    )
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(("logger", "name"), [("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger")])
def test_a_logger_that_is_not_installed_is_answered_with_how_to_get_it(run_train, tmp_path, monkeypatch, logger, name):
    monkeypatch.setitem(sys.modules, logger, None)
    monkeypatch.setitem(sys.modules, "aetransfer.training.stages", None)  # which would import torch

    assert_refused(
        run_train(*TINY, f"logger={logger}"),
        f"pytorch_lightning.loggers.{name} needs {logger}: {pip_install(logger)}.",
    )


class ServiceError(Exception):
    """Of a logger's client, which knows neither ValueError nor ImportError."""


def test_what_a_loggers_service_refuses_is_said_in_a_sentence(run_train, monkeypatch):
    def refuse(self, **keys):
        raise ServiceError("The store is of another version.\nUpgrade it.")

    monkeypatch.setattr(ContinuedCSVLogger, "__init__", refuse)

    assert_refused(
        run_train(*TINY, "transfer=scratch", "logger=csv"),
        "aetransfer.training.callbacks.curves.ContinuedCSVLogger: The store is of another version. Upgrade it.",
    )


def test_what_a_loggers_service_refuses_when_training_begins_is_said_in_a_sentence(run_train, monkeypatch):
    kind = type("UsageError", (Exception,), {"__module__": "wandb.errors.errors"})

    def refuse(self):
        raise kind("No API key configured.") from kind()

    monkeypatch.setattr(ContinuedCSVLogger, "experiment", property(refuse))

    assert_refused(
        run_train(*TINY, "transfer=scratch", "logger=csv"),
        "wandb can't be logged to (No API key configured): mend that, or choose another logger.",
    )


def test_a_database_of_a_logger_finds_its_folder_when_a_transfer_is_rehearsed(run_train, tmp_path, monkeypatch):
    original = ContinuedCSVLogger.__init__

    def begin(self, **keys):
        sqlite3.connect(tmp_path / "outputs" / "mlflow.db").close()
        original(self, **keys)

    monkeypatch.setattr(ContinuedCSVLogger, "__init__", begin)
    done = run_train(*TINY, "transfer=frozen", "logger=csv")

    assert done.code == 0, done.err


def test_data_that_is_neither_there_nor_to_be_downloaded_is_refused_with_where_to_put_it(
    run_train, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets.MNIST, "mirrors", [UNREACHABLE])
    (tmp_path / "data").mkdir()
    done = run_train("model=ae", "data=mnist")

    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert done.err.startswith(f"error: No MNIST under {tmp_path}/data, and downloading it failed (")
    assert f"train-images-idx3-ubyte[.gz] and its three siblings in {tmp_path}/data/MNIST/raw" in done.err
    assert not list(tmp_path.glob("outputs/**/*.ckpt"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["optimizer=sgd", "optimizer.momentum=0"],
            "optimizer: Nesterov momentum requires a momentum and zero dampening.",
        ),
        (["scheduler.final_factor=2"], "scheduler: final_factor=2 should be from 0 to 1."),
        (
            ["model.monitor=val/accuracy"],
            "model.monitor=val/accuracy is none of the classifier's metrics (val/acc, val/f1, val/nll, val/ece): if a callback logs it, say which way is better with model.monitor_mode=min or max.",
        ),
        (["model.monitor=test/acc"], "model.monitor=test/acc is no validation metric: write val/NAME."),
    ],
)
def test_what_an_optimiser_a_schedule_or_a_model_refuses_is_said_before_the_pretraining(
    run_train, tmp_path, words, said
):
    assert_refused(run_train(*TINY, "transfer=finetune", *words), said)
    assert not list(tmp_path.glob("outputs/runs/*/checkpoints"))


def test_another_metric_chooses_the_epoch_and_compares_runs(run_train):
    done = run_train(*TINY, "transfer=scratch", "model.monitor=val/nll", "trainer.max_epochs=2")
    best = torch.load(done.run / "checkpoints" / "best.ckpt", weights_only=True)["callbacks"]

    assert done.result["model"]["monitor"] == "val/nll" and done.result["model"]["monitor_mode"] == "min"
    assert any("'monitor': 'val/nll', 'mode': 'min'" in name for name in best)
