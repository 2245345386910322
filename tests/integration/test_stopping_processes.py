"""A signal that stops a run of two processes, wherever it comes and whichever of them it reaches: they stop as one."""

import os
import subprocess
import sys

import pytest

from aetransfer import signals
from tests.integration.conftest import TINY_PRETRAINING, Done
from tests.integration.test_resume import assert_same
from tests.integration.test_stopping import assert_stopped, last_step, the_run, whole_run

# STOP says when (training, validation or test), who sends (rank 0 or 1), what, and to whom (itself, or all as Ctrl-C in
# a terminal does).
STOPPER = """
import os, signal
from pytorch_lightning import Callback
from aetransfer.training.callbacks import resume

class Stopper(Callback):
    def __init__(self):
        if "STOP" in os.environ:
            resume.PATIENCE_WITH_VALIDATION = 0.0

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        self.look("training", trainer, batch_idx)

    def on_validation_batch_start(self, trainer, model, batch, batch_idx, dataloader_idx=0):
        if trainer.state.fn == "fit" and trainer.current_epoch == 1:
            self.look("validation", trainer, batch_idx)

    def on_test_batch_start(self, trainer, model, batch, batch_idx, dataloader_idx=0):
        self.look("test", trainer, batch_idx)

    def look(self, when, trainer, batch_idx):
        if os.environ.get("STOP", "").startswith(f"{when} {trainer.global_rank} ") and batch_idx == 2:
            _, _, sent, whom = os.environ["STOP"].split()
            send = os.kill if whom == "itself" else os.killpg
            send(os.getpid() if whom == "itself" else os.getpgrp(), signal.Signals[sent])
"""
# Each epoch has 12 steps and, of 143 images, 18 batches of validation; processes agree at every tenth.
WORDS = (
    *TINY_PRETRAINING, "model=ae", "logger=none", "callbacks=none", "data.batch_size=8",
    "trainer.limit_train_batches=12", "trainer=ddp_sim", "allow=[stopper]", "+callbacks.stopper._target_=stopper.Stopper",
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def train_in_two(tmp_path, monkeypatch):
    """Run the words in a process group of its own; what is left of the group when the first process has ended fails."""
    (tmp_path / "stopper.py").write_text(STOPPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)

    def train(**environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "aetransfer.train", *WORDS], env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
        )  # fmt: skip
        out, err = process.communicate(timeout=600)
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
        return Done(process.returncode, out, err)

    return train


def test_processes_stop_as_one_wherever_a_signal_comes_and_go_on_to_the_same_numbers(
    train_in_two, run_train, monkeypatch, tmp_path
):
    whole = whole_run(run_train, monkeypatch, tmp_path, WORDS)

    for stop, step in (
        ("training 0 SIGTERM itself", 10),
        ("training 0 SIGINT all", 22),
        ("validation 1 SIGTERM itself", 22),
        ("test 1 SIGTERM itself", 24),
    ):
        stopped = train_in_two(STOP=stop)
        run = the_run(tmp_path / "outputs")
        assert_stopped(stopped, run)
        assert stopped.err.splitlines() == [signals.GOES_ON]
        assert last_step(run) == step, stop

    assert_same(run_train(*WORDS), whole)
