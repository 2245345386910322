"""A pretraining that goes on from a finished run: what it begins with, what it is called, and what it says."""

import json
from pathlib import Path

import pytest
import torch

from aetransfer.report import __main__ as report
from aetransfer.store.identity import config_digest
from aetransfer.training import stages
from tests.integration.conftest import TINY_PRETRAINING, assert_refused, job_of

BRIEF = ("trainer.limit_train_batches=3", "trainer.max_epochs=1", "logger=none", "callbacks=none")
DATA = ("data=digits", *BRIEF)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def made(store, *words):
    words = [*TINY_PRETRAINING, *BRIEF, *words, f"paths.output_dir={store}"]
    return stages.run(job_of(*words), words).directory.path


@pytest.fixture(scope="module")
def vae(store):
    return made(store, "model=vae")


@pytest.fixture
def go_on(run_train, store):
    return lambda source, *words: run_train(*DATA, f"pretrain={source}", *words, f"paths.output_dir={store}")


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


# A step of this size moves nothing that float32 can see.
STANDING = ("optimizer.lr=1e-30", "scheduler=none")


@pytest.mark.short
def test_it_begins_with_the_encoder_and_with_whatever_else_has_the_same_shape(go_on, vae):
    done = go_on(vae, "model=iwae", *STANDING, "seed=1")
    before, after = weights(vae / "checkpoints" / "best.ckpt"), weights(done.run / "checkpoints" / "best.ckpt")

    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert f"Continued from {vae}: encoder, log_variance, decoder as trained there\n" in done.out
    card = (done.run / "MODEL_CARD.md").read_text()
    assert f"trained on digits, continued from {vae.name}, SHA-256 " in card
    assert "...: encoder, log_variance, decoder as trained there.\n" in card
    assert done.result["source"] == str(vae)
    assert f'The encoder comes from <a href="../{vae.name}/report.html">' in (done.run / "report.html").read_text()


def test_of_another_model_it_takes_what_fits_and_says_what_begins_fresh(go_on, store):
    source = made(store, "model=contrastive")
    done = go_on(source, "model=vae", "seed=1", *STANDING)
    before, after = weights(source / "checkpoints" / "best.ckpt"), weights(done.run / "checkpoints" / "best.ckpt")

    assert (
        f"Continued from {source}: encoder as trained there; fresh: encoder.bottleneck, log_variance, decoder\n"
        in done.out
    )
    encoder = [key for key in before if key.startswith("encoder.")]
    kept = {key for key in encoder if torch.equal(before[key], after[key])}
    assert set(encoder) - kept == {"encoder.bottleneck.weight", "encoder.bottleneck.bias"}


@pytest.mark.slow
def test_an_exported_encoder_gives_itself_alone_and_is_another_run(go_on, vae):
    whole, alone = (go_on(path, "model=iwae") for path in (vae, vae / "encoder.safetensors"))

    assert "encoder as trained there; fresh: log_variance, decoder\n" in alone.out
    assert whole.run != alone.run


def test_a_decoder_of_other_widths_is_no_part_of_it(go_on, store, vae, tmp_path):
    """As a whole it fits or not: half a decoder is none."""
    content = torch.load(vae / "checkpoints" / "best.ckpt", weights_only=True)
    last = [key for key in content["state_dict"] if key.startswith("decoder.")][-1]
    content["state_dict"][last] = content["state_dict"][last].repeat(2)
    torch.save(content, tmp_path / "odd.ckpt")

    done = go_on(tmp_path / "odd.ckpt", "model=iwae")
    assert "encoder, log_variance as trained there; fresh: decoder\n" in done.out


def test_the_source_is_a_part_of_what_the_run_is(vae, store):
    words = [*DATA, "model=iwae", f"pretrain={vae}"]
    other = made(store, "model=vae", "seed=7")
    digests = {
        config_digest(job_of(*words, "encoder.widths=[4,8,8,8]", "encoder.latent_dim=8")),
        config_digest(job_of(*words)),
    }

    assert len(digests) == 1
    assert config_digest(job_of(*words[:-1], f"pretrain={other}")) not in digests
    assert config_digest(job_of(*words[:-1], *TINY_PRETRAINING[1:3])) not in digests


def test_a_transfer_carries_what_was_continued_as_any_other(go_on, vae, run_train, store):
    continued = go_on(vae, "model=iwae").run
    words = ("data=photo_digits", "transfer=finetune", f"pretrain={continued}", *BRIEF)
    done = run_train(*words, f"paths.output_dir={store}")

    assert done.code == 0
    assert done.result["source"] == str(continued)


@pytest.mark.slow
def test_a_sweep_continues_one_run_with_several_seeds_and_reports_it_beside_others(run_train, command, vae, tmp_path):
    words = (*DATA, "model=iwae", "model.samples=2", "seed=0,1", f"paths.output_dir={tmp_path}")
    assert run_train("-m", *words, f"pretrain={vae},{vae}/encoder.safetensors").code == 0

    shown = command(report.main, str(tmp_path / "runs"))
    assert shown.code == 0
    rows = [line for line in shown.out.splitlines() if vae.name in line and line.startswith("│")]
    assert len(rows) == 2
    assert all(row.rstrip(" │").endswith(" 2") for row in rows)  # seeds
    # A terminal cuts long paths.
    table = next(line for line in shown.out.splitlines() if line.startswith("report: ")).removeprefix("report: ")
    text = (Path(table).parent / "results.csv").read_text()
    assert f"{vae}/encoder.safetensors," in text and f"{vae}," in text


@pytest.mark.slow
def test_one_that_is_cut_off_goes_on_to_the_same_weights(go_on, vae, run_train, tmp_path, interrupted_at):
    words = (*DATA, "model=iwae", f"pretrain={vae}", "trainer.max_epochs=2")
    undisturbed = run_train(*words, f"paths.output_dir={tmp_path}/one")
    with interrupted_at(4):
        assert run_train(*words, f"paths.output_dir={tmp_path}/two").code == 130
    resumed = run_train(*words, f"paths.output_dir={tmp_path}/two")

    assert "Resuming from" in resumed.out
    assert resumed.encoder.keys() == undisturbed.encoder.keys()
    assert all(torch.equal(undisturbed.encoder[key], value) for key, value in resumed.encoder.items())
    assert resumed.result["metrics"] == undisturbed.result["metrics"]


@pytest.mark.slow
def test_the_inputs_statistics_stay_those_that_the_encoder_was_trained_with(go_on, vae, run_train, store):
    done = run_train(
        "data=photo_digits", "data.channels=1", "model=iwae", f"pretrain={vae}", *BRIEF, f"paths.output_dir={store}"
    )
    statistics = [json.loads((run / "encoder.json").read_text())["normalisation"] for run in (vae, done.run)]

    assert statistics[0] == statistics[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["data=photo_digits"],
            "was trained on 1-channel images, but photo_digits gives 3 channels: set data.channels=1.",
        ),
        (["data.pad=2"], "takes 32x32 images, but digits gives 36x36 images: set data.pad or data.image_size to fit."),
        (
            ["encoder.latent_dim=9"],
            "holds an encoder with latent_dim=8, but encoder.latent_dim=9 was asked for: leave that out, or pretrain such an encoder.",
        ),
    ],
)
def test_what_does_not_fit_the_run_is_refused(torchless, vae, words, sentence):
    done = torchless("train", "data=digits", "model=iwae", f"pretrain={vae}", *words)

    assert done.code == 1
    assert done.err.endswith(f" {sentence}\n") and done.err.count("\n") == 1
    assert not done.torch


def test_a_damaged_checkpoint_is_refused(go_on, vae, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "encoder.safetensors").write_bytes((vae / "encoder.safetensors").read_bytes())
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.write_bytes(b"PK" * 99)

    done = go_on(tmp_path, "model=iwae")
    assert done.code == 1
    assert (
        done.err.startswith(f"error: {best} holds more than weights, or is damaged: ") and "Traceback" not in done.err
    )


def test_a_run_that_is_not_there_is_refused(torchless):
    done = torchless("train", "model=vae", "pretrain=./run")

    assert_refused(
        done,
        "./run does not exist: pretrain= takes the name of a model, or a run directory, checkpoint or encoder.",
    )
