"""An optimiser step over several batches is one over all of their images."""

import pytest
import torch

from tests.integration.conftest import TINY

# 138 images an epoch in steps of 96, and so of 42: one batch a step, or three of 32, of which the last step has two.
COMMON = (*TINY[2:4], "logger=none", "callbacks=none", "data.epoch_images=138", "trainer.max_epochs=2",
          "optimizer=sgd", "optimizer.lr=0.5", "augment=flip")  # fmt: skip
WHOLE = ("data.batch_size=96",)
IN_PARTS = ("data.batch_size=32", "trainer.accumulate_grad_batches=3")


@pytest.mark.parametrize(
    "words",
    [
        ("data=photo_digits", "transfer=scratch"),
        ("data=digits", "model=ae"),
        ("data=digits", "model=ae", "trainer.precision=bf16-mixed"),
    ],
    ids=["classifier", "autoencoder", "mixed_precision"],
)
def test_steps_over_three_batches_end_in_the_weights_of_steps_over_one_large_batch(run_train, words):
    whole, parts = (run_train(*COMMON, *words, *sizes) for sizes in (WHOLE, IN_PARTS))

    assert whole.result["counts"]["steps"] == parts.result["counts"]["steps"] == 4
    rounding = 2e-4 if "trainer.precision=bf16-mixed" in words else 1e-6
    for name, weights in whole.encoder.items():
        torch.testing.assert_close(parts.encoder[name], weights, rtol=0, atol=rounding)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_so_they_do_in_two_processes(run_train, tmp_path):
    words = (*COMMON, "data=digits", "model=ae", "trainer.log_every_n_steps=1")
    whole = run_train(*words, *WHOLE, "trainer=cpu")
    parts = run_train(*words, *IN_PARTS, "trainer=ddp_sim")

    assert parts.code == 0, parts.err
    for name, weights in whole.encoder.items():
        torch.testing.assert_close(parts.encoder[name], weights, rtol=0, atol=1e-6)
