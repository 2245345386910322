"""A signal asks a run to stop: it keeps its state, says how to go on, and ends in the same bits when it does."""

import json
import math
import os
import signal

import pytest
import torch

from aetransfer import signals as stopping
from aetransfer.data.module import DataModule
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.training import stages
from aetransfer.training.callbacks import resume
from tests.faults import PRETRAINING_STEP, Fault
from tests.integration.conftest import TINY, TINY_PRETRAINING
from tests.integration.test_resume import assert_same

PRETRAINING = (*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=4", "logger=none", "callbacks=none")


@pytest.fixture
def signalled_at(monkeypatch):
    """Let this process send itself signals, SIGTERM if none are named, before the n-th call of a function."""

    def at(owner, name, number, *sent):
        original, made = getattr(owner, name), []

        def counted(*arguments, **named):
            made.append(1)
            if len(made) == number:
                for each in sent or [signal.SIGTERM]:
                    os.kill(os.getpid(), each)
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, counted)

    return at


def the_run(outputs):
    (run,) = (outputs / "runs").glob("[!.]*")
    return run


def last_step(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


def status(run):
    return json.loads((run / "result.json").read_text())["status"]


def assert_stopped(done, run):
    assert done.code == 130
    assert done.err.splitlines()[-1] == stopping.GOES_ON
    assert status(run) == "interrupted"


def whole_run(run_train, monkeypatch, tmp_path, words):
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "whole"))
    whole = run_train(*words)
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "outputs"))
    return whole


@pytest.mark.parametrize(
    "sent",
    [signal.SIGTERM, *(pytest.param(sent, marks=pytest.mark.slow) for sent in (signal.SIGUSR1, signal.SIGUSR2))],
    ids=lambda sent: sent.name,
)
def test_training_keeps_its_state_after_the_step_in_which_a_signal_comes(
    run_train, monkeypatch, tmp_path, signalled_at, sent
):
    whole = whole_run(run_train, monkeypatch, tmp_path, PRETRAINING)
    signalled_at(AutoEncoder, "training_step", 6, sent)

    done = run_train(*PRETRAINING)

    run = the_run(tmp_path / "outputs")
    assert_stopped(done, run)
    assert last_step(run) == 6
    assert f"Stopped by {sent.name} after step 6, which is saved." in (run / "train.log").read_text()
    assert_same(run_train(*PRETRAINING), whole)


def test_gradients_that_are_being_collected_are_stepped_on_first(run_train, monkeypatch, tmp_path, signalled_at):
    words = (*PRETRAINING, "trainer.accumulate_grad_batches=2")
    whole = whole_run(run_train, monkeypatch, tmp_path, words)
    signalled_at(AutoEncoder, "training_step", 1)

    assert_stopped(run_train(*words), the_run(tmp_path / "outputs"))

    assert last_step(the_run(tmp_path / "outputs")) == 1  # of two batches
    assert_same(run_train(*words), whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "number", "kept"),
    [
        (AutoEncoder, "training_step", 4, 4),
        (AutoEncoder, "validation_step", 1, 4),
        (DataModule, "statistics", 1, None),
        (AutoEncoder, "test_step", 1, 8),
        (stages, "write_encoder", 1, 8),
    ],
    ids=["last_step_of_an_epoch", "validation", "reading_data", "test", "export"],
)
def test_a_run_stops_wherever_a_signal_comes_and_loses_nothing(
    run_train, monkeypatch, tmp_path, signalled_at, owner, name, number, kept
):
    whole = whole_run(run_train, monkeypatch, tmp_path, PRETRAINING)
    signalled_at(owner, name, number)

    done = run_train(*PRETRAINING)

    run = the_run(tmp_path / "outputs")
    assert_stopped(done, run)
    assert (run / "checkpoints" / "last.ckpt").exists() == (kept is not None)
    assert kept is None or last_step(run) == kept
    assert_same(run_train(*PRETRAINING), whole)


def test_a_long_validation_is_left_and_the_run_goes_on_from_what_it_had(run_train, monkeypatch, tmp_path, signalled_at):
    whole = whole_run(run_train, monkeypatch, tmp_path, PRETRAINING)
    monkeypatch.setattr(resume, "PATIENCE_WITH_VALIDATION", 0.0)
    batches_of_32 = math.ceil(whole.result["counts"]["val"] / 32)
    signalled_at(AutoEncoder, "validation_step", batches_of_32 + 1)

    assert_stopped(run_train(*PRETRAINING), the_run(tmp_path / "outputs"))

    assert last_step(the_run(tmp_path / "outputs")) == 4
    assert_same(run_train(*PRETRAINING), whole)


def test_a_signal_within_the_pretraining_of_a_transfer_stops_both(run_train, monkeypatch, tmp_path, signalled_at):
    words = (*TINY, "transfer=frozen")
    whole = whole_run(run_train, monkeypatch, tmp_path, words)
    signalled_at(AutoEncoder, "training_step", 2)

    assert_stopped(run_train(*words), the_run(tmp_path / "outputs"))

    assert_same(run_train(*words), whole)


@pytest.fixture
def requeue_handler(tmp_path):
    """What submitit does on SIGUSR2: puts the job on the queue again, of which a note is made here, and exits."""
    found = []

    def requeue(number, frame):
        run = the_run(tmp_path / "outputs")
        found.append((number, last_step(run), status(run)))
        raise SystemExit(7)

    before = signal.signal(signal.SIGUSR2, requeue)
    yield found
    assert signal.getsignal(signal.SIGUSR2) is requeue
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize("sent", [[signal.SIGUSR2], [signal.SIGTERM, signal.SIGUSR2]], ids=["alone", "after_sigterm"])
def test_the_handler_that_a_cluster_has_for_its_signal_is_called_when_all_is_on_disk(
    run_train, requeue_handler, signalled_at, sent
):
    signalled_at(AutoEncoder, "training_step", 3, *sent)

    assert run_train(*PRETRAINING).code == 7

    assert requeue_handler == [(signal.SIGUSR2, 3, "interrupted")]


def test_a_job_that_a_person_stops_is_not_queued_again(run_train, requeue_handler, signalled_at, tmp_path):
    signalled_at(AutoEncoder, "training_step", 3, signal.SIGINT, signal.SIGUSR2)

    assert_stopped(run_train(*PRETRAINING), the_run(tmp_path / "outputs"))

    assert requeue_handler == []


def test_a_sweep_stops_as_a_whole(run_train, tmp_path, signalled_at):
    signalled_at(AutoEncoder, "training_step", 3)

    done = run_train("-m", *PRETRAINING, "seed=0,1,2")

    assert_stopped(done, the_run(tmp_path / "outputs"))


def test_handlers_are_put_back(run_train):
    before = {each: signal.getsignal(each) for each in stopping.SIGNALS}
    run_train(*PRETRAINING)
    assert {each: signal.getsignal(each) for each in stopping.SIGNALS} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signals", "kept"),
    [(["SIGTERM"], True), (["SIGINT"], True), (["SIGINT", "SIGINT"], False)],
    ids=["sigterm", "ctrl_c", "ctrl_c_twice"],
)
def test_a_real_process_is_stopped_and_goes_on(run_train, faulty, monkeypatch, tmp_path, signals, kept):
    whole = whole_run(run_train, monkeypatch, tmp_path, PRETRAINING)

    ended = faulty(Fault([PRETRAINING_STEP], 2, signals), "train", *PRETRAINING)

    assert ended.code == 130, ended.err
    assert ended.err.splitlines()[-1] == stopping.GOES_ON
    run = the_run(tmp_path / "outputs")
    assert (run / "checkpoints" / "last.ckpt").exists() == kept
    assert status(run) == ("interrupted" if kept else "running")
    resumed = run_train(*PRETRAINING)
    assert ("Resuming from" in resumed.out) == kept
    assert_same(resumed, whole)
