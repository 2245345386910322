"""The article's experiment on the real images, cut short: what the embedded digits can't show."""

import os

import pytest

from tests.integration.test_evaluate import numbers

DATA = os.environ.get("AETRANSFER_TEST_DATA")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(DATA is None, reason="AETRANSFER_TEST_DATA does not say where MNIST and CIFAR-10 are"),
]

# Test MSE on the 28x28 crop of the mean training image, which a decoder draws that has learnt nothing of its input.
MEAN_IMAGE = 0.0675


@pytest.fixture(autouse=True)
def real_images(monkeypatch):
    monkeypatch.setenv("AETRANSFER_DATA_DIR", DATA)


def test_an_mnist_encoder_travels_to_cifar10(run_train, run_evaluate):
    done = run_train("experiment=mnist_to_cifar10", "transfer=frozen", "pretrain.trainer.max_epochs=1",
                     "pretrain.trainer.limit_train_batches=60", "trainer.max_epochs=1",
                     "trainer.limit_train_batches=60", "logger=none")  # fmt: skip

    assert done.result["counts"]["train"] == 45_000
    assert done.result["counts"]["test"] == 10_000
    assert done.result["metrics"]["test/acc"] > 0.12
    assert numbers(run_evaluate(f"run={done.run}"))["test/acc"] == done.result["metrics"]["test/acc"]


def test_an_autoencoder_is_far_below_the_mean_image_within_three_hundred_steps(run_train):
    done = run_train("experiment=mnist_ae", "trainer.max_epochs=1", "trainer.limit_train_batches=300", "logger=none")

    assert done.result["metrics"]["test/mse"] < MEAN_IMAGE / 2
    assert (done.run / "reconstructions.png").is_file()
