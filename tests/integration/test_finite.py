"""Training that diverges ends with the step it happened at, and the last good state stays."""

import json

import pytest
import torch

from aetransfer.models.autoencoder import AutoEncoder
from tests.integration.conftest import TINY_PRETRAINING, assert_refused

PRETRAINING = (*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=4", "logger=none", "callbacks=none")
ADVICE = "lower optimizer.lr or set trainer.gradient_clip_val, the last checkpoint is from before it."


@pytest.fixture
def spoilt_at(monkeypatch):
    """Spoil the loss of the n-th step."""

    def at(number, spoil):
        original, made = AutoEncoder.training_step, []

        def step(self, *arguments):
            made.append(1)
            loss = original(self, *arguments)
            return spoil(self, loss) if len(made) == number else loss

        monkeypatch.setattr(AutoEncoder, "training_step", step)

    return at


def the_run(tmp_path):
    (run,) = (tmp_path / "outputs" / "runs").glob("[!.]*")
    return run


def checkpoint(run, name):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_at_its_step_and_the_good_states_stay(
    run_train, tmp_path, spoilt_at, factor
):
    spoilt_at(7, lambda model, loss: loss * factor)

    done = run_train(*PRETRAINING)

    assert_refused(done, f"The loss is NaN or infinite at step 7: {ADVICE}")
    run = the_run(tmp_path)
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "failed" and "at step 7" in result["error"]
    for name in ("last", "best"):
        kept = checkpoint(run, name)
        assert kept["global_step"] == 4
        assert all(weight.isfinite().all() for weight in kept["state_dict"].values())


def test_a_weight_that_is_no_number_is_never_kept(run_train, tmp_path, spoilt_at):
    def spoil(model, loss):
        # As a gradient that overflows would: the loss is a number, what comes of it is not.
        next(model.parameters()).register_hook(lambda gradient: gradient * float("nan"))
        return loss

    spoilt_at(8, spoil)

    assert_refused(run_train(*PRETRAINING), f"A weight is NaN or infinite after step 8: {ADVICE}")
    assert checkpoint(the_run(tmp_path), "last")["global_step"] == 4
    assert checkpoint(the_run(tmp_path), "best")["global_step"] == 4


def test_a_learning_rate_that_explodes_says_so(run_train):
    done = run_train(*PRETRAINING, "optimizer.lr=1e30", "trainer.max_epochs=4")

    assert done.code == 1
    assert "NaN or infinite" in done.err
