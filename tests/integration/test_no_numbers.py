"""A model whose weights are numbers and some of whose outputs are not: nothing that is measured looks like a number."""

import csv
import json
import math

import pytest
import torch

from aetransfer import predict
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.models.classifier import Classifier
from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.head import Head
from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_refused

CALLED = "The model's outputs for some images are NaN or infinite."
REFUSED = "The model's outputs are NaN or infinite for {} of {} inputs: nothing can be measured of them."


def numbers(done):
    lines = (line.split() for line in done.out.splitlines() if line.startswith(("val/", "test/")))
    return {name: float(value) for name, value in lines}


@pytest.fixture
def spoil(monkeypatch):
    """Let a method of a network have NaN for the first image of each batch of an evaluation; training is as it was."""

    def spoil(kind, method="forward", when=lambda model: True):
        original = getattr(kind, method)

        def outputs(self, *arguments):
            values = original(self, *arguments)
            spoilt = not self.training and when(self)
            return values.index_fill(0, torch.tensor([0]), torch.nan) if spoilt else values

        monkeypatch.setattr(kind, method, outputs)

    return spoil


def test_a_classifier_measured_over_nan_has_nan_and_says_so(finished, run_evaluate, spoil):
    spoil(Classifier)
    done = run_evaluate(f"run={finished}")

    assert done.code == 0
    assert len(numbers(done)) == 4 and all(math.isnan(value) for value in numbers(done).values())
    assert f"NaN: test/acc, test/f1, test/nll, test/ece. {CALLED}" in done.out


def test_a_pretraining_measured_over_nan_has_nan_and_says_so(finished_pretraining, run_evaluate, spoil):
    spoil(AutoEncoder, "decode")
    done = run_evaluate(f"run={finished_pretraining}", "split=val")

    assert math.isnan(numbers(done)["val/mse"])
    assert f"NaN: val/mse. {CALLED}" in done.out


@pytest.mark.parametrize("measure", ["classifier", "probes", "representation", "transferability"])
def test_a_measure_of_a_transfer_is_not_taken_of_nan(finished, run_evaluate, spoil, measure):
    spoil(*((Head, "forward") if measure == "classifier" else (Conv4, "body")))
    done = run_evaluate(f"run={finished}", f"evaluation={measure}")

    assert done.code == 1
    assert "error: The model's outputs are NaN or infinite for " in done.err and "Traceback" not in done.out


@pytest.mark.parametrize("measure", ["reconstruction", "fid"])
def test_a_measure_of_a_pretraining_is_not_taken_of_nan(finished_pretraining, run_evaluate, spoil, measure):
    spoil(AutoEncoder, "decode")
    done = run_evaluate(f"run={finished_pretraining}", f"evaluation={measure}")

    assert_refused(done, REFUSED.format(1, 250))


def test_no_class_is_predicted_from_nan(finished, command, spoil, tmp_path):
    spoil(Head)
    words = ("data=photo_digits", "data.batch_size=500", "batch_size=500", f"out={tmp_path / 'table.csv'}")
    done = command(predict.main, f"run={finished}", *words)

    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows[:2]] == ["", rows[1]["predicted"]] and rows[1]["predicted"]
    assert sum(not row["predicted"] for row in rows) == -(-len(rows) // 500)
    assert f"are NaN or infinite for {-(-len(rows) // 500)} of {len(rows)} images" in done.out


def test_an_epoch_whose_validation_is_nan_is_not_the_best(run_train, spoil):
    spoil(Classifier, when=lambda model: model.trainer.state.fn == "fit" and model.trainer.current_epoch == 0)
    done = run_train(*TINY, "transfer=scratch")

    first, second = json.loads((done.run / "history.json").read_text())
    assert math.isnan(first["val/acc"]) and not math.isnan(second["val/acc"])
    assert done.result["metrics"]["val/acc"] == second["val/acc"]
    assert "NaN after step 3: val/acc, val/f1, val/nll, val/ece" in (done.run / "train.log").read_text()
    assert "epoch 2, the best on validation" in (done.run / "report.html").read_text()


def test_a_run_that_is_never_validated_by_numbers_has_no_best_epoch(run_train, spoil):
    spoil(Classifier)
    done = run_train(*TINY, "transfer=scratch")

    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: val/acc is NaN or infinite after every epoch, so no epoch can")


def test_a_test_over_nan_leaves_a_run_with_nan_and_no_pictures_of_it(run_train, spoil):
    spoil(Classifier, when=lambda model: model.trainer.testing)
    done = run_train(*TINY[:-1], "transfer=scratch", "trainer.max_epochs=1")

    assert done.code == 0
    assert math.isnan(done.result["metrics"]["test/acc"])
    assert "The report by class is left out" in done.out + done.err
    assert not (done.run / "evaluation").exists()


def test_the_probe_of_codes_that_are_nan_is_nan(run_train, spoil, tmp_path):
    spoil(Conv4, "body")
    words = ("model=ae", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "logger=none", "callbacks=probe")
    done = run_train(*TINY_PRETRAINING, *words)

    assert done.code == 1
    (history,) = (tmp_path / "outputs" / "runs").glob("*/history.json")
    assert math.isnan(json.loads(history.read_text())[0]["val/probe_acc"])
    assert "NaN after step 2: val/mse, val/probe_acc." in done.out
