"""Looking at a run does not change it, and what goes wrong with a picture is not what a run is lost by."""

import csv
import os
from pathlib import Path

import pytest
import torch

from aetransfer.files import WriteError
from aetransfer.training.callbacks import board, curves, health, images, targets
from aetransfer.training.callbacks.embeddings import Embeddings
from tests.integration.conftest import TINY, TINY_PRETRAINING, with_encoder
from tests.integration.test_tensorboard import PRETRAINING, TRANSFER, events, projected, text


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [(*TINY_PRETRAINING, "model=vae"), (*TINY, "transfer=gradual", "pretrain=ae")],
    ids=["vae", "gradual"],
)
def test_a_run_that_is_looked_at_ends_in_the_same_bits(run_train, monkeypatch, tmp_path, words):
    words = (*words, "trainer.limit_train_batches=3", "trainer.max_epochs=2", "encoder.batch_norm=true")
    looked_at = run_train(*words, "callbacks=default", "logger=tensorboard", "trainer.log_every_n_steps=1")
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "unseen"))
    unseen = run_train(*words, "callbacks=none", "logger=none")

    assert looked_at.run.name == unseen.run.name
    assert looked_at.result["metrics"] == unseen.result["metrics"]
    assert all(torch.equal(looked_at.encoder[key], value) for key, value in unseen.encoder.items())


def test_a_picture_that_fails_is_named_once_and_the_run_goes_on(run_train, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no ink\nleft")

    monkeypatch.setattr(images.Traversals, "picture", fail)
    done = run_train(*PRETRAINING, "model=vae", "callbacks.traversals.every_n_epochs=1")

    assert done.code == 0, done.err
    said = "view/latents/traversals could not be drawn and is left out from here on (RuntimeError: no ink left)."
    assert done.out.count(said) == 1
    assert "Traceback" not in done.out + done.err
    shown = events(done.run).Tags()["images"]
    assert "view/reconstructions/val" in shown
    assert "view/latents/traversals" not in shown


def test_a_picture_that_fails_leaves_the_model_as_it_was(run_train, monkeypatch):
    modes = []

    def fail(*_):
        raise RuntimeError("no ink left")

    monkeypatch.setattr(images, "reconstruction_sheet", fail)
    original = curves.StepScalars.on_before_optimizer_step
    monkeypatch.setattr(curves.StepScalars, "on_before_optimizer_step",
                        lambda self, trainer, model, optimizer: (modes.append(model.training),
                                                                 original(self, trainer, model, optimizer))[1])  # fmt: skip
    run_train(*PRETRAINING, "model=ae")

    assert modes == [True] * 6


def test_a_disk_that_fails_under_a_picture_ends_the_run_in_a_sentence(run_train, monkeypatch):
    def full(path, content, *_, **__):
        raise WriteError(path, OSError(28, "No space left on device"), len(content))

    monkeypatch.setattr(board, "replace_file", full)
    done = run_train(*PRETRAINING, "model=ae")

    assert done.code == 1
    assert "reconstructions.png can't be written (No space left on device)" in done.err


@pytest.mark.slow
def test_a_run_that_was_cut_off_shows_each_step_once(run_train, interrupted_at):
    words = (*PRETRAINING, "model=vae", "trainer.max_epochs=3")
    with interrupted_at(step=5):  # the second epoch's second step; the last checkpoint is from before it
        assert run_train(*words).code == 130
    done = run_train(*words, "trainer.progress=true")
    shown = events(done.run)

    assert "Resuming from" in done.out
    for tag in ("watch/optimizer/gradient_norm", "watch/system/ram_gb"):
        assert [event.step for event in shown.Scalars(tag)] == list(range(9))
    assert [event.step for event in shown.Scalars("train/neg_elbo")] == [2, 5, 8]
    for tag in ("view/reconstructions/val", "view/latents/interpolations"):
        assert [event.step for event in shown.Images(tag)] == [2, 8]
    assert [event.step for event in shown.Images("view/reconstructions/test")] == [9]
    # What was typed the second time stands below what was typed first.
    first, second = text(done.run, "run/command")
    assert "trainer.progress" in second and "trainer.progress" not in first


@pytest.mark.slow
def test_a_csv_of_a_run_that_was_cut_off_goes_on_and_has_each_step_once(run_train, interrupted_at):
    words = (*PRETRAINING, "model=ae", "trainer.max_epochs=3", "logger=csv", "callbacks=none")
    with interrupted_at(step=5):
        assert run_train(*words).code == 130
    (begun,) = Path(os.environ["AETRANSFER_OUTPUT_DIR"]).glob("runs/*/metrics.csv")
    with begun.open("a") as file:
        file.write("0.5,0.")  # as a process leaves it that is killed
    done = run_train(*words)

    with (done.run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["train/mse"]] == [2, 5, 8]
    assert [int(row["step"]) for row in rows if row["test/mse"]] == [9]


@pytest.mark.slow
def test_a_resumed_transfer_still_knows_the_filters_it_began_with(run_train, interrupted_at, monkeypatch, tmp_path):
    words = (*TRANSFER, "transfer=finetune", "optimizer.lr=0.01", "trainer.max_epochs=3")
    whole = run_train(*words)
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "cut"))
    with interrupted_at(step=7):
        assert run_train(*words).code == 130
    resumed = run_train(*words)

    assert (resumed.run / "first_layer.png").read_bytes() == (whole.run / "first_layer.png").read_bytes()
    assert (resumed.run / "mistakes.json").read_bytes() == (whole.run / "mistakes.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_pictures_are_drawn_in_the_precision_of_the_run(run_train, precision):
    for words in ((*PRETRAINING, "model=vae", "callbacks=probe"), (*TRANSFER, "transfer=scratch")):
        done = run_train(*words, f"trainer.precision={precision}", "trainer.max_epochs=1")

        assert done.code == 0, done.err
        assert "could not be drawn" not in done.out
        assert (done.run / "first_layer.png").is_file()
        assert len(projected(done.run)[0]) == 360


def test_a_classifier_without_a_mistake_has_no_picture_of_any(run_train, monkeypatch):
    monkeypatch.setattr(targets, "surest_mistakes", lambda *_: [])
    done = run_train(*TRANSFER, "transfer=scratch")

    assert (done.run / "mistakes.json").read_text() == "[]\n"
    assert not (done.run / "mistakes.png").exists()


def test_an_encoder_that_begins_with_no_convolution_has_no_picture_of_filters(run_train):
    done = run_train(*with_encoder("TokenEncoder", *TRANSFER), "transfer=scratch")

    assert done.code == 0, done.err
    assert not (done.run / "first_layer.png").exists()
    assert "could not be drawn" not in done.out


@pytest.mark.slow
def test_filters_that_cannot_be_read_before_the_training_are_named_once_and_the_run_goes_on(run_train, monkeypatch):
    def fail(model):
        raise RuntimeError("no weights")

    monkeypatch.setattr(images, "first_filters", fail)
    done = run_train(*TRANSFER, "transfer=scratch")

    assert done.code == 0, done.err
    assert done.out.count("view/first_layer could not be drawn") == 1
    assert not (done.run / "first_layer.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ae", "vae"])
def test_looking_compiles_nothing_anew(run_train, monkeypatch, tmp_path, model):
    original, graphs = torch.nn.Module.compile, {}
    # All batches are of one size: after a second one any other would do as well.
    words = (*PRETRAINING, f"model={model}", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1",
             "trainer.compile=true")  # fmt: skip
    # The decoder is looked at before it has learnt anything, and not called dead for it.
    monkeypatch.setattr(health, "FIRST_STEP", 0)
    monkeypatch.setattr(health, "SAME", 0)
    # Without a C++ compiler: what is traced is the same.
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: original(self, backend="eager"))
    for callbacks in ("none", "probe"):
        torch.compiler.reset()
        torch._dynamo.utils.counters.clear()
        monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / callbacks))
        done = run_train(*words, f"callbacks={callbacks}")
        assert done.code == 0, done.err
        assert "could not be drawn" not in done.out
        graphs[callbacks] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch.compiler.reset()

    assert (done.run / "interpolations.png").is_file()
    assert "val/probe_acc" in (done.run / "history.json").read_text()
    assert graphs["probe"] == graphs["none"] > 0


@pytest.mark.slow
def test_several_processes_write_each_picture_once(run_train, monkeypatch):
    alone = run_train(*TRANSFER, "transfer=finetune", "trainer=cpu")
    done = run_train(*TRANSFER, "transfer=finetune", "trainer=ddp_sim")

    assert done.code == 0, done.err
    assert "could not be drawn" not in done.out
    assert done.run != alone.run
    assert len(projected(done.run)[0]) == 360
    for tag in ("view/mistakes", "view/first_layer"):
        assert len(events(done.run).Images(tag)) == 1
    assert [event.step for event in events(done.run).Scalars("watch/optimizer/gradient_norm")] == list(range(6))
    norms, expected = (
        [event.value for event in events(run.run).Scalars("watch/optimizer/gradient_norm")] for run in (done, alone)
    )
    assert norms == pytest.approx(expected, rel=1e-3)


def test_more_thumbnails_than_a_browser_shows_are_refused(run_train):
    done = run_train(*PRETRAINING, "model=ae", "callbacks.embeddings.images=20001")

    assert done.code == 1
    assert f"{Embeddings.__module__}.Embeddings: images=20001 should be" in done.err
