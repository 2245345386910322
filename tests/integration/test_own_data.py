"""Data of somebody's own in the forms that they have them in: a Dataset, a LightningDataModule."""

import importlib
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aetransfer import batch_size, predict
from aetransfer.data import contents
from aetransfer.data.augmented import Augment
from aetransfer.data.own_batches import OwnDataModule
from aetransfer.training.callbacks import resume
from tests.integration.conftest import assert_refused
from tests.integration.test_evaluate import numbers
from tests.integration.test_resume import assert_same, cut_and_resumed

LAB = '''
import random

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset


class Bars(Dataset):
    """Bars that lie or stand, grey on black."""

    classes = ["lying", "standing"]

    def __init__(self, train, count=40, size=16, flips=False, floats=True):
        generator = torch.Generator().manual_seed(int(train))
        self.images = torch.randint(40, (count, 1, size, size), generator=generator, dtype=torch.uint8)
        for number, place in enumerate(torch.randint(size, (count,), generator=generator)):
            bar = (0, place) if number % 2 == 0 else (0, slice(None), place)
            self.images[number][bar] = 255
        self.flips, self.floats = flips, floats

    def __len__(self):
        return len(self.images)

    def __getitem__(self, number):
        image = self.images[number]
        if self.flips:
            draws = torch.rand(1).item(), np.random.rand(), random.random()
            image = image.flip(2) if sum(draws) > 1.5 else image
        return image / 255 if self.floats else image, number % 2


class BarsModule(LightningDataModule):
    classes = ("lying", "standing")

    def __init__(self, batch_size, workers=0, count=40, labels=True):
        super().__init__()
        self.batch_size, self.workers, self.count, self.labels = batch_size, workers, count, labels

    def setup(self, stage):
        bars = Bars(train=stage == "fit", flips=stage == "fit", count=self.count)
        self.bars = bars if self.labels else [(image,) for image, _ in bars]
        self.others = Bars(train=False, count=20)

    def train_dataloader(self):
        return DataLoader(self.bars, self.batch_size, shuffle=True, num_workers=self.workers)

    def val_dataloader(self):
        others = self.others if self.labels else [(image,) for image, _ in self.others]
        return DataLoader(others, self.batch_size)

    def test_dataloader(self):
        return DataLoader(self.bars, 7)


class Hooked(BarsModule):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch


class Trained(LightningDataModule):
    def train_dataloader(self):
        return DataLoader(Bars(train=True), 8)


class Unseeded(BarsModule):
    def train_dataloader(self):
        return DataLoader(self.bars, self.batch_size, shuffle=True, generator=torch.Generator().manual_seed(next(COUNT)))


class Streamed(BarsModule):
    def train_dataloader(self):
        return (batch for batch in super().train_dataloader())


class Untested(BarsModule):
    test_dataloader = LightningDataModule.test_dataloader


COUNT = iter(range(1000))
'''
SMALL = ("encoder.widths=[4,4]", "encoder.latent_dim=4", "trainer.max_epochs=2", "logger=none", "callbacks=none",
         "trainer.accelerator=cpu", "trainer.progress=false", "allow=[bars_lab]")  # fmt: skip
MODULE = "{_target_: bars_lab.BarsModule, batch_size: '${..batch_size}'}"


@pytest.fixture(autouse=True)
def lab(tmp_path, monkeypatch):
    """Somebody's module, on a machine that knows nothing of it yet."""
    (tmp_path / "bars_lab.py").write_text(LAB)
    monkeypatch.syspath_prepend(tmp_path)
    contents._known.clear()


@pytest.fixture
def train(run_train, write_config):
    def call(*words, reader=MODULE, **keys):
        more = "".join(f"{key}: {value}\n" for key, value in ({"batch_size": 8} | keys).items())
        made = write_config(
            **{"data/bars": f"defaults: [_base]\nname: bars\nchannels: 1\nimage_size: 16\nreader: {reader}\n{more}"}
        )
        return run_train(*made, "data=bars", *SMALL, *words)

    return call


def test_a_dataset_is_trained_on_as_any_other_data(train, run_evaluate):
    reader = "{_target_: bars_lab.Bars, count: 60}"
    done = train("transfer=scratch", reader=reader)

    assert done.code == 0, done.err
    assert done.result["data"]["used"] == "Used: 54 train, 6 val, 60 test images of 2 classes."
    assert train("transfer=scratch", reader=reader).run == done.run
    again = run_evaluate(f"run={done.run}", "allow=[bars_lab]")
    assert numbers(again)["test/acc"] == done.result["metrics"]["test/acc"]


@pytest.mark.parametrize(
    ("reader", "sentence"),
    [
        (
            "{_target_: bars_lab.Bars, size: 8}",
            "The train images are 8x8, but data.image_size=16: correct it.",
        ),
        (
            "{_target_: bars_lab.Bars, flips: true}",
            "is another one when it is asked for again: leave what is random to data.augment.",
        ),
        ("{_target_: bars_lab.Bars, cuont: 8}", "bars_lab.Bars takes no cuont (did you mean count)."),
        (
            "{_target_: torchvision.datasets.MNIST, root: .}",
            "_target_: torchvision.datasets.MNIST is outside the packages that the reader of a config may come from "
            "(aetransfer.data, bars_lab): if it is yours, add allow=[torchvision] to the command line.",
        ),
    ],
)
def test_what_is_wrong_with_a_dataset_is_said_before_training(train, reader, sentence):
    done = train("model=ae", reader=reader)
    assert done.code == 1
    assert done.err.startswith("error: ") and done.err.endswith(f"{sentence}\n") and done.err.count("\n") == 1


def test_a_data_module_is_pretrained_on_transferred_to_and_measured(train, run_evaluate, command, tmp_path):
    done = train("data@pretrain.data=bars", "transfer=finetune", "pretrain.trainer.max_epochs=1")

    assert done.code == 0, done.err
    assert done.result["data"] == {
        "used": "Used: 40 train, 20 val, 40 test images of 2 classes.",
        "notes": [
            "Training batches are made by BarsModule; statistics and measures are of one pass through its loaders.",
            "Validation: the data's own 20 images for every seed; data.val_fraction does not apply.",
        ],
        "classes": 2,
        "validation": "own",
    }
    assert (done.result["counts"]["train"], done.result["counts"]["steps"]) == (40, 10)
    for run in (done.run, Path(done.result["source"])):
        result = json.loads((run / "result.json").read_text())
        again = numbers(run_evaluate(f"run={run}", "allow=[bars_lab]"))
        assert again == {name: value for name, value in result["metrics"].items() if name.startswith("test")}
    measured = run_evaluate(f"run={done.run}", "allow=[bars_lab]", "evaluation=probes")
    assert measured.code == 0, measured.err

    out = tmp_path / "classes.csv"
    words = ("--config-dir", str(tmp_path / "configs"), "data=bars", "split=test", "allow=[bars_lab]")
    assert command(predict.main, f"run={done.run}", f"out={out}", *words).code == 0
    assert len(out.read_text().splitlines()) == 41


def test_a_data_module_without_labels_is_pretrained_on(train):
    done = train("model=ae", reader=MODULE.replace("}'}", "}', labels: false}"))
    assert done.code == 0, done.err
    assert done.result["data"]["used"] == "Used: 40 train, 20 val, 40 test images without labels."
    assert_refused(
        train("transfer=scratch", reader=MODULE.replace("}'}", "}', labels: false}")),
        "bars has no labels, and a classifier tells two classes or more apart: choose other data.",
    )


def test_a_data_module_without_a_test_split_is_not_tested(train):
    done = train("transfer=scratch", reader=MODULE.replace("BarsModule", "Untested"))
    assert done.code == 0, done.err
    assert not any(name.startswith("test/") for name in done.result["metrics"])
    assert done.result["data"]["used"] == "Used: 40 train, 20 val images of 2 classes, no test split."


@pytest.mark.slow
def test_other_batches_are_another_run_and_the_same_ones_are_not_trained_on_again(train):
    first = train("model=ae")
    assert train("model=ae").run == first.run
    assert train("model=ae", "++data.reader.count=42").run != first.run


@pytest.mark.parametrize("step", [2, 5, 7])
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_on_a_data_module_that_is_cut_off_ends_in_the_same_bits(
    train, interrupted_at, monkeypatch, tmp_path, step, workers
):
    monkeypatch.setattr(resume, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    words = ("model=ae", f"++data.reader.workers={workers}")
    whole = train(*words)
    assert whole.code == 0, whole.err

    resumed = cut_and_resumed(train, interrupted_at, monkeypatch, tmp_path / "cut", words, step)

    assert_same(resumed, whole)
    # Ctrl-C came before that step was saved.
    assert f"BarsModule makes the batches of this epoch again, up to number {(step - 1) % 5}.\n" in resumed.out


def test_steps_of_several_batches_count_each_alike(train):
    done = train("model=ae", "trainer.accumulate_grad_batches=2")
    assert done.code == 0, done.err
    assert done.result["counts"]["steps"] == 6


@pytest.mark.parametrize(
    ("reader", "words", "sentence"),
    [
        ("BarsModule", ["data.labels_per_class=4"], "data.labels_per_class is set, but BarsModule makes its own batches: leave it out."),
        ("BarsModule", ["data.train_fraction=0.5"], "data.train_fraction is set, but BarsModule makes its own batches: leave it out."),
        ("BarsModule", ["data.epoch_images=9"], "data.epoch_images is set, but BarsModule makes its own batches: leave it out."),
        ("BarsModule", ["augment=flip"], "data.augment is set, but BarsModule makes its own batches: leave it out."),
        ("BarsModule", ["data.reader.batch_size=16"], "BarsModule makes batches of 16, but data.batch_size=8: give both the same."),
        ("BarsModule", ["+data.reader.worker=2"], "bars_lab.BarsModule takes no worker (did you mean workers)."),
        ("BarsModule", ["data.image_size=32"], "The train images are 16x16, but data.image_size=32: correct it."),
        ("Hooked", [], "Hooked defines on_after_batch_transfer, which is not called here: let its data set do what that does."),
        ("Trained", ["~data.reader.batch_size"], "Trained has no val_dataloader, which the best epoch is chosen by: give it one."),
        ("Unseeded", [], "Unseeded gives other training images for the same seed, so that no run could be found again: let it draw from the generators of torch, NumPy or Python, and not seed them itself."),
        ("Streamed", [], "The train loader of Streamed has no length, which schedules need: give it one."),
    ],
)  # fmt: skip
def test_what_a_data_module_can_not_do_is_said_before_training(train, reader, words, sentence):
    assert_refused(train("transfer=scratch", *words, reader=MODULE.replace("BarsModule", reader)), sentence)


@pytest.mark.slow
def test_processes_do_not_share_a_data_module(train):
    done = train("model=ae", "trainer.devices=2", "trainer.strategy=ddp")
    assert done.code == 1
    assert "error: BarsModule makes its own batches, which 2 processes can't share: take one.\n" in done.err


def test_the_largest_batch_of_a_data_module_is_its_own_affair(train, command, write_config, tmp_path):
    train("model=ae", "--identity")
    done = command(batch_size.main, "--config-dir", str(tmp_path / "configs"), "data=bars", "model=ae", *SMALL)
    assert_refused(done, "bars makes its own batches, which can't be made larger from here.")


def test_a_training_step_sees_floats_of_the_modules_own_images(train, monkeypatch):
    from aetransfer.data.own_batches import OwnBatches

    seen = []
    original = OwnBatches.__iter__

    def watched(self):
        for batch in original(self):
            seen.append(batch)
            yield batch

    monkeypatch.setattr(OwnBatches, "__iter__", watched)
    done = train("model=ae", pad=2)
    assert done.code == 0, done.err
    assert [len(batch[0]) for batch in seen] == [8] * 10
    images = torch.cat([batch[0] for batch in seen])
    assert images.dtype == torch.float32 and images.shape == (80, 1, 20, 20)
    assert images.max() == 1 and not images[:, :, :2].any()
    assert not torch.equal(images[:40], images[40:])


def test_the_padding_of_a_modules_images_is_no_part_of_what_is_reconstructed():
    module = importlib.import_module("bars_lab").BarsModule
    settings = {"shape": (1, 16, 16), "pad": 2, "batch_size": 8, "val_fraction": 0.1, "max_memory_gb": 1.0}
    settings |= {"labels_per_class": None, "train_fraction": None, "epoch_images": None, "workers": 1, "seed": 0}
    data = OwnDataModule(partial(module, 8), augment=Augment(), **settings)
    data.setup("fit")
    data.trainer = SimpleNamespace(
        current_epoch=0, accumulate_grad_batches=1, num_training_batches=5, fit_loop=SimpleNamespace(batch_idx=-1),
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )  # fmt: skip
    batch = next(iter(data.train_dataloader()))

    assert batch.inputs.shape == (8, 1, 20, 20)
    assert batch.content(batch.inputs).shape == (8, 1, 16, 16)
    assert torch.equal(torch.nn.functional.pad(batch.content(batch.inputs), (2, 2, 2, 2)), batch.inputs)
