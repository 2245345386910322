"""A checkpoint whose bytes are not what was written is found out, and the one before it serves."""

import os
import signal
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.store.directory import damage
from aetransfer.training.callbacks import resume
from tests.integration.conftest import TINY_PRETRAINING, assert_refused
from tests.integration.test_resume import assert_same

PRETRAINING = (*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=4", "logger=none", "callbacks=none")

pytestmark = pytest.mark.slow


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


@pytest.fixture
def cut_run(run_train, monkeypatch, tmp_path):
    """A run that was cut off after its sixth step, with a checkpoint of each step, and the same run undisturbed."""
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "whole"))
    whole = run_train(*PRETRAINING)
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "outputs"))
    original, made = AutoEncoder.training_step, []

    def step(self, *arguments):
        made.append(1)
        if len(made) == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(AutoEncoder, "training_step", step)
        patch.setattr(resume, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        assert run_train(*PRETRAINING).code == 130
    (run,) = (tmp_path / "outputs" / "runs").glob("[!.]*")
    return run, whole


@pytest.mark.parametrize("harm", [truncate, empty, flip_a_bit])
def test_a_damaged_last_checkpoint_is_found_out_and_the_one_before_is_used(run_train, cut_run, harm):
    run, whole = cut_run
    harm(run / "checkpoints" / "last.ckpt")

    resumed = run_train(*PRETRAINING)

    assert f"{run}/checkpoints/last.ckpt is damaged (" in resumed.out
    assert "the checkpoint before it is used." in resumed.out
    assert f"Resuming from {run}/checkpoints/previous.ckpt" in resumed.out
    assert_same(resumed, whole)
    assert not (resumed.run / "checkpoints" / "previous.ckpt").exists()


def test_a_run_of_which_all_checkpoints_are_damaged_begins_afresh_when_told_to(run_train, cut_run):
    run, whole = cut_run
    for name in ("last", "previous"):
        truncate(run / "checkpoints" / f"{name}.ckpt")

    assert_refused(
        run_train(*PRETRAINING),
        f"last.ckpt and previous.ckpt in {run}/checkpoints are damaged: rerun=true begins {run.name} afresh.",
    )

    assert_same(run_train(*PRETRAINING, "rerun=true"), whole)
    assert run.with_name(f"{run.name}~1").is_dir()


def test_a_damaged_best_checkpoint_is_never_measured(run_train, run_evaluate, monkeypatch):
    run = run_train(*PRETRAINING).run
    flip_a_bit(run / "checkpoints" / "best.ckpt")

    done = run_evaluate(f"run={run}")

    assert done.code == 1
    assert done.err.startswith(f"error: {run}/checkpoints/best.ckpt is damaged (")
    assert done.err.endswith(f"rerun=true begins {run.name} afresh.\n")


def test_a_best_checkpoint_that_is_damaged_before_the_test_is_not_tested(run_train, monkeypatch, tmp_path):
    original = AutoEncoder.on_fit_end

    def harm(self):
        flip_a_bit(next((tmp_path / "outputs" / "runs").glob("[!.]*/checkpoints/best.ckpt")))
        original(self)

    monkeypatch.setattr(AutoEncoder, "on_fit_end", harm)
    done = run_train(*PRETRAINING)

    assert done.code == 1
    assert "best.ckpt is damaged (" in done.err


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "whole.ckpt"
    content = {"weights": torch.randn(50, 40), "steps": 7, "name": "x" * 100}
    torch.save(content, path)
    return path, content


def test_a_bit_that_only_torch_minds_is_found_out(checkpoint, tmp_path):
    broken, place = bytearray(checkpoint[0].read_bytes()), tmp_path / "broken.ckpt"
    with zipfile.ZipFile(checkpoint[0]) as archive:
        directory = archive.start_dir
    broken[directory + 9] ^= 0x20  # of the first part's flags: its header is masked
    place.write_bytes(broken)

    with zipfile.ZipFile(place) as archive:
        assert archive.testzip() is None
    assert damage(place)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_flipped_bit_or_cut_of_a_checkpoint_is_found_out_or_harmless(checkpoint, tmp_path, data):
    path, content = checkpoint
    broken = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        broken = broken[: data.draw(st.integers(0, len(broken) - 1), label="length")]
    else:
        broken[data.draw(st.integers(0, len(broken) - 1), label="byte")] ^= 1 << data.draw(
            st.integers(0, 7), label="bit"
        )
    place = tmp_path / "broken.ckpt"
    place.write_bytes(broken)

    if damage(place) is None:
        # A time or a padding that nobody reads.
        loaded = torch.load(place, weights_only=True)
        assert torch.equal(loaded["weights"], content["weights"])
        assert (loaded["steps"], loaded["name"]) == (content["steps"], content["name"])


def test_a_whole_checkpoint_has_no_damage(checkpoint):
    assert damage(checkpoint[0]) is None
