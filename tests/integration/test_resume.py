"""Runs that were cut off: whatever the moment, what they end in is what an undisturbed run ends in, bit for bit."""

import json
import os
import subprocess
import sys

import pytest
import torch

from aetransfer.training import stages
from aetransfer.training.callbacks import resume
from tests.integration.conftest import TINY, TINY_PRETRAINING, with_encoder

SHORT = ("trainer.limit_train_batches=4", "logger=none", "callbacks=none")
PRETRAINING = (*TINY_PRETRAINING, *SHORT)


@pytest.fixture
def checkpoint_at_every_step(monkeypatch):
    monkeypatch.setattr(resume, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)


def cut_and_resumed(run_train, interrupted_at, monkeypatch, elsewhere, words, step):
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(elsewhere))
    with interrupted_at(step=step):
        assert run_train(*words).code == 130
    return run_train(*words)


def assert_same(resumed, whole):
    assert resumed.result["metrics"] == whole.result["metrics"]
    assert resumed.result["counts"] == whole.result["counts"]
    assert (resumed.run / "encoder.safetensors").read_bytes() == (whole.run / "encoder.safetensors").read_bytes()
    assert (resumed.run / "history.json").read_text() == (whole.run / "history.json").read_text()
    last, expected = (
        torch.load(done.run / "checkpoints" / "last.ckpt", weights_only=True) for done in (resumed, whole)
    )
    assert last["global_step"] == expected["global_step"]
    for left, right in zip(last["optimizer_states"], expected["optimizer_states"], strict=True):
        assert all(
            torch.equal(left["state"][key][name], value)
            for key, state in right["state"].items()
            for name, value in state.items()
        )


@pytest.mark.parametrize("step", (4, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 2, 5, 8))))
def test_a_run_cut_at_any_step_ends_in_the_same_bits(
    run_train, interrupted_at, monkeypatch, tmp_path, checkpoint_at_every_step, step
):
    words = (*PRETRAINING, "model=vae", "model.kl_warmup_epochs=1")
    whole = run_train(*words)

    resumed = cut_and_resumed(run_train, interrupted_at, monkeypatch, tmp_path / "cut", words, step)

    assert_same(resumed, whole)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("transfer=scratch", "augment=[strong,mixup]"), id="augmented_and_mixed"),
        pytest.param(
            ("transfer=scratch", "augment=flip", "+data.augment.noise._target_=tests.made.Speckle", "allow=[tests]"),
            id="augmented_by_a_library",
            marks=pytest.mark.slow,
        ),
        pytest.param(("transfer=gradual", "trainer.max_epochs=3"), id="gradual"),
        pytest.param(("transfer=frozen", "encoder.batch_norm=true"), id="batch_norm", marks=pytest.mark.slow),
        pytest.param(("transfer=scratch", "data.max_memory_gb=0"), id="streamed", marks=pytest.mark.slow),
        pytest.param(
            ("transfer=scratch", "trainer.accumulate_grad_batches=2"), id="accumulating", marks=pytest.mark.slow
        ),
        pytest.param(
            ("transfer=scratch", "data.epoch_images=200", "data.labels_per_class=3"),
            id="chosen_epoch_length",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_transfer_cut_within_an_epoch_ends_in_the_same_bits(
    run_train, interrupted_at, monkeypatch, tmp_path, checkpoint_at_every_step, words
):
    words = (*TINY[:4], "pretrain.trainer.max_epochs=1", "pretrain.trainer.limit_train_batches=1", "trainer.max_epochs=2",
             *SHORT, *words)  # fmt: skip
    whole = run_train(*words)

    resumed = cut_and_resumed(run_train, interrupted_at, monkeypatch, tmp_path / "cut", words, step=3)

    assert "Resuming from" in resumed.out
    assert_same(resumed, whole)


@pytest.mark.slow
def test_an_encoder_that_draws_random_numbers_of_its_own_goes_on_drawing_where_it_was(
    run_train, interrupted_at, monkeypatch, tmp_path, checkpoint_at_every_step
):
    words = with_encoder("DropoutEncoder", *PRETRAINING, "model=ae")
    whole = run_train(*words)
    assert whole.code == 0, whole.err

    resumed = cut_and_resumed(run_train, interrupted_at, monkeypatch, tmp_path / "cut", words, step=3)

    assert_same(resumed, whole)


def test_a_checkpoint_is_written_within_an_epoch(run_train, interrupted_at, tmp_path, checkpoint_at_every_step):
    with interrupted_at(step=3):
        run_train(*PRETRAINING, "model=ae")

    (run,) = (path for path in (tmp_path / "outputs" / "runs").glob("[!.]*") if path.name[0] != ".")
    # Ctrl-C came before the third step's checkpoint.
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
    assert json.loads((run / "result.json").read_text())["status"] == "interrupted"


def test_a_run_that_stopped_early_and_was_killed_before_its_test_does_not_train_on(run_train, monkeypatch, tmp_path):
    words = (*TINY_PRETRAINING, "model=ae", "trainer.max_epochs=50", "trainer.limit_train_batches=1", "logger=none",
             "optimizer.lr=1e-9", "callbacks=early_stopping", "callbacks.early_stopping.patience=2")  # fmt: skip
    whole = run_train(*words)

    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "cut"))
    with monkeypatch.context() as patch:
        patch.setattr(stages, "write_encoder", killed)
        assert run_train(*words).code == 130
    assert_same(run_train(*words), whole)


def killed(*_):
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_is_killed_at_several_moments_ends_in_the_same_bits(run_train, monkeypatch, tmp_path):
    words = (*TINY_PRETRAINING, "model=ae", "trainer.max_epochs=8", "trainer.limit_train_batches=20", "logger=none")
    whole = run_train(*words)

    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "cut"))
    for epoch in (1, 4, 7):
        process = subprocess.Popen(
            [sys.executable, "-m", "aetransfer.train", *words], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert any(f"epoch {epoch}/8" in line for line in process.stdout)
        process.kill()
        process.wait()
    assert_same(run_train(*words), whole)
