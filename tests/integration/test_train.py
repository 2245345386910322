"""python -m aetransfer.train: both stages, what they leave behind, and what is not done twice."""

import csv
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import torch
import yaml

from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.training.callbacks.progress import Throughput
from tests.integration.conftest import TINY, TINY_PRETRAINING
from tests.made import write_class_folder


@pytest.mark.short
def test_one_command_pretrains_and_transfers_and_the_last_line_names_the_run(run_train):
    done = run_train(*TINY, "transfer=frozen")

    assert done.code == 0
    assert done.run.name.startswith("transfer-photo_digits-frozen-from-digits-ae-d8-s0-")
    source = json.loads((done.run / "result.json").read_text())["source"]
    assert "pretrain-digits-ae-d8-s0-" in source


def test_a_run_directory_holds_config_log_checkpoints_events_and_result(run_train):
    done = run_train(*TINY, "transfer=scratch", "logger=tensorboard", "callbacks=default")

    config = yaml.safe_load((done.run / "config.yaml").read_text())
    assert config["encoder"]["latent_dim"] == 8
    assert "epoch 2/2" in (done.run / "train.log").read_text()
    assert (done.run / "checkpoints" / "best.ckpt").is_file()
    assert (done.run / "checkpoints" / "last.ckpt").is_file()
    assert list(done.run.glob("events.out.tfevents.*"))
    result = done.result
    assert result["status"] == "finished"
    assert 0 <= result["metrics"]["test/acc"] <= 1
    assert {"val/acc", "test/f1", "test/nll", "test/ece"} <= set(result["metrics"])
    assert result["counts"]["test"] == 360
    assert result["counts"]["steps"] == 6
    assert result["timing"]["images_per_second"] > 0
    assert result["versions"]["torch"] == torch.__version__.split("+")[0]
    assert {"git", "command", "hardware", "overrides"} <= set(result)


def test_a_second_transfer_finds_the_pretraining_of_the_first(run_train):
    first = run_train(*TINY, "transfer=frozen")
    second = run_train(*TINY, "transfer=finetune")

    assert first.result["source"] == second.result["source"]
    assert "pretrain-digits" in second.out
    assert "is finished: its result is used" in second.out


def test_the_same_command_again_returns_the_finished_run(run_train):
    first = run_train(*TINY, "transfer=scratch")
    again = run_train(*TINY, "transfer=scratch")

    assert again.run == first.run
    assert again.result == first.result
    assert "is finished: its result is used" in again.out


def test_controls_train_no_pretraining(run_train, tmp_path):
    for arm in ("scratch", "random_frozen"):
        assert run_train(*TINY, f"transfer={arm}").code == 0

    assert not list((tmp_path / "outputs" / "runs").glob("pretrain-*"))


def test_a_declared_pretraining_is_the_one_that_a_command_of_its_own_makes(run_train):
    alone = run_train("model=ae", "data=digits", *TINY[2:4], "trainer.max_epochs=1", "trainer.limit_train_batches=3",
                      "logger=none", "callbacks=none")  # fmt: skip
    transfer = run_train(*TINY, "transfer=frozen")

    assert transfer.result["source"] == str(alone.run)


@pytest.mark.parametrize(
    "given",
    ["", *(pytest.param(file, marks=pytest.mark.slow) for file in ("encoder.safetensors", "checkpoints/best.ckpt"))],
)
def test_a_pretraining_is_given_as_run_directory_encoder_or_checkpoint(run_train, given):
    declared = run_train(*TINY, "transfer=frozen")
    source = declared.result["source"]
    by_path = run_train(*TINY[:1], *TINY[6:], f"pretrain={source}/{given}", "transfer=frozen")

    assert by_path.run != declared.run
    assert by_path.result["metrics"] == declared.result["metrics"]


def test_the_encoder_is_rebuilt_from_the_checkpoint_and_not_from_the_config(run_train):
    source = run_train(*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=2", "logger=none")
    done = run_train("data=photo_digits", "transfer=frozen", f"pretrain={source.run}", "trainer.max_epochs=1",
                     "trainer.limit_train_batches=2", "logger=none")  # fmt: skip

    assert done.encoder["bottleneck.weight"].shape == (8, 32)
    assert "-d8-" in done.run.name


@pytest.mark.parametrize("model", ["ae", "vae"])
def test_both_kinds_of_pretraining_reach_the_classifier(run_train, model):
    done = run_train(*TINY, f"pretrain={model}", "transfer=frozen")

    assert f"from-digits-{model}" in done.run.name


@pytest.mark.parametrize(
    "words",
    [
        ("model.likelihood=continuous_bernoulli", "model.kl_cycles=2", "model.kl_warmup_epochs=1"),
        ("model.likelihood=gaussian", "model.sigma=0.1"),
        ("encoder=conv", "encoder.hidden=[16]"),
    ],
    ids=["continuous_bernoulli", "fixed_sigma", "conv"],
)
def test_a_vae_of_every_kind_trains(run_train, words):
    done = run_train(
        *TINY_PRETRAINING[:3],
        "model=vae",
        "trainer.max_epochs=2",
        "trainer.limit_train_batches=2",
        "logger=none",
        *words,
    )

    metrics = done.result["metrics"]
    assert metrics["test/neg_elbo"] == pytest.approx(metrics["test/distortion"] + metrics["test/rate"], rel=1e-5)


@pytest.mark.short
def test_an_interrupted_run_says_so_and_ends_in_the_same_bits(run_train, interrupted_at, monkeypatch, tmp_path):
    words = (*TINY_PRETRAINING, "model=vae", "trainer.limit_train_batches=4", "logger=none", "callbacks=none")
    whole = run_train(*words)

    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "elsewhere"))
    with interrupted_at(step=6):  # in the second of two epochs
        stopped = run_train(*words)
    assert stopped.code == 130
    directory = tmp_path / "elsewhere" / "runs" / whole.run.name
    assert json.loads((directory / "result.json").read_text())["status"] == "interrupted"

    resumed = run_train(*words)
    assert "Resuming from" in resumed.out
    assert resumed.result["metrics"] == whole.result["metrics"]
    assert all(torch.equal(resumed.encoder[key], value) for key, value in whole.encoder.items())


def test_a_failed_run_says_why(run_train, monkeypatch, tmp_path):
    def fail(*_):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(Throughput, "on_train_batch_end", fail)
    with pytest.raises(RuntimeError):
        run_train(*TINY, "transfer=scratch")

    (directory,) = (tmp_path / "outputs" / "runs").glob("[!.]*")
    result = json.loads((directory / "result.json").read_text())
    assert result["status"] == "failed"
    assert "the disk is on fire" in result["error"]


@pytest.mark.short
def test_checkpoints_load_with_weights_only(run_train):
    done = run_train(*TINY, "transfer=frozen")

    content = torch.load(done.run / "checkpoints" / "best.ckpt", weights_only=True)
    assert content["hyper_parameters"]["architecture"]["latent_dim"] == 8


def test_a_decoder_that_dies_stops_the_run_in_its_first_epoch_and_names_the_setting(run_train):
    done = run_train("data=digits", "model=ae", "encoder.widths=[4,8,8,8]", "data.batch_size=4", "encoder.init=torch",
                     "optimizer.lr=1", "trainer.limit_train_batches=220", "trainer.max_epochs=5", "logger=none")  # fmt: skip

    assert done.code == 1
    assert "The decoder is dead" in done.err
    assert "encoder.init=he" in done.err
    assert "epoch 2/5" not in done.out


def test_a_saturated_decoder_is_noticed_after_an_epoch_of_few_steps_whatever_the_callbacks(run_train, tmp_path):
    done = run_train("data=digits", "model=ae", "encoder.widths=[4,8,8,8]", "encoder.init=torch", "callbacks=none",
                     "optimizer.lr=1", "trainer.max_epochs=5", "logger=none")  # fmt: skip

    assert done.code == 1
    assert "The decoder is dead: after 41 steps" in done.err
    assert not list(tmp_path.glob("outputs/**/best.ckpt"))


@pytest.mark.slow
def test_a_decoder_that_draws_the_mean_image_is_called_dead_from_two_hundred_steps_on(run_train, monkeypatch):
    original = AutoEncoder.reconstruct

    def draw_the_mean(self, images):
        return 0 * original(self, images) + images.mean(0)

    monkeypatch.setattr(AutoEncoder, "reconstruct", draw_the_mean)
    words = (*TINY_PRETRAINING, "model=ae", "logger=none", "callbacks=none", "data.batch_size=4")
    young = run_train(*words, "trainer.limit_train_batches=99")
    old = run_train(*words, "trainer.limit_train_batches=100")

    assert young.code == 0, young.err
    assert old.code == 1
    assert "The decoder is dead: after 200 steps" in old.err
    assert "Nothing of its code reaches it any more" in old.err


def test_that_a_folder_without_a_test_split_is_cut_is_said_before_the_training_and_once(run_train, tmp_path):
    write_class_folder(tmp_path / "pets" / "train", {"cat": 10, "dog": 10}, size=32)
    done = run_train("data=image_folder", f"data.root={tmp_path}/pets", *TINY_PRETRAINING[1:], "model=ae", "logger=none",
                     "callbacks=none")  # fmt: skip

    assert done.result["counts"]["test"] == 4
    log = (done.run / "train.log").read_text()
    assert log.count("has no test folder: 4 of its 20 images are set aside as test.") == 1
    assert log.index("set aside") < log.index("epoch 1/2")


def test_early_stopping_ends_a_run_before_its_last_epoch(run_train):
    done = run_train(*TINY_PRETRAINING, "model=ae", "trainer.max_epochs=50", "trainer.limit_train_batches=1",
                     "optimizer.lr=1e-9", "callbacks=early_stopping", "callbacks.early_stopping.patience=2",
                     "logger=none")  # fmt: skip

    assert done.result["counts"]["epochs"] < 50


def test_labels_per_class_are_counted_in_the_result(run_train):
    done = run_train(*TINY, "transfer=scratch", "data.labels_per_class=7")

    assert done.result["counts"]["train"] == 70


def test_csv_logger_by_override(run_train):
    done = run_train(*TINY, "transfer=scratch", "logger=csv")

    assert "val/acc" in (done.run / "metrics.csv").read_text()


def test_the_training_curve_is_an_epochs_mean_over_the_images_of_the_logged_batches_everywhere(run_train):
    done = run_train(*TINY, "transfer=scratch", "logger=csv", "trainer.log_every_n_steps=2", "data.epoch_images=80",
                     "trainer.limit_train_batches=null")  # fmt: skip

    with (done.run / "metrics.csv").open() as file:
        logged = [(int(row["step"]), float(row["train/nll"])) for row in csv.DictReader(file) if row["train/nll"]]
    # Batches of 32, 32 and 16: steps 0 to 2 and 3 to 5, each epoch's mean at its validation.
    rows = json.loads((done.run / "history.json").read_text())
    assert [step for step, _ in logged] == [2, 5]
    assert [row["train/nll"] for row in rows] == pytest.approx([mean for _, mean in logged])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_jobs_started_together_on_an_empty_store_pretrain_once(tmp_path):
    def job(seed):
        words = [*TINY, "transfer=finetune", f"seed={seed}", "pretrain.seed=0"]
        return subprocess.Popen(
            [sys.executable, "-m", "aetransfer.train", *words], stdout=subprocess.PIPE, text=True, env=os.environ
        )

    jobs = [job(seed) for seed in range(8)]
    outputs = [process.communicate()[0] for process in jobs]

    assert [process.returncode for process in jobs] == [0] * 8
    # "<name>: 1294 images, 1 epochs" is said by whoever trains.
    assert sum("images, 1 epochs" in output for output in outputs) == 1
    names = [path.name for path in (tmp_path / "outputs" / "runs").glob("[!.]*") if not path.name.startswith(".")]
    assert len([name for name in names if name.startswith("pretrain")]) == 1
    assert len([name for name in names if name.startswith("transfer")]) == 8


def test_rerun_does_a_finished_run_afresh_and_keeps_the_old_one_beside_it(run_train):
    first = run_train(*TINY, "transfer=frozen")
    old = first.result
    again = run_train(*TINY, "transfer=frozen", "rerun=true")

    assert again.run == first.run
    assert again.result["timing"] != old["timing"]
    assert again.result["metrics"] == old["metrics"]
    kept = first.run.with_name(f"{first.run.name}~1")
    assert json.loads((kept / "result.json").read_text()) == old
    assert "pretrain-digits" in again.out  # whose result is used


def test_a_result_of_other_code_is_used_with_a_warning_or_refused(run_train):
    done = run_train(*TINY, "transfer=scratch")
    path = done.run / "result.json"
    path.write_text(json.dumps(done.result | {"code": "0.0.9+0123456789"}))

    used = run_train(*TINY, "transfer=scratch")
    assert used.code == 0
    assert "was made by aetransfer 0.0.9+0123456789, this is 0.2.0+" in used.out

    refused = run_train(*TINY, "transfer=scratch", "reuse=same_code")
    assert refused.code == 1
    assert "rerun=true makes it afresh" in refused.err


def test_a_running_run_has_a_heartbeat(run_train, monkeypatch, tmp_path):
    seen = []
    count = Throughput.on_train_batch_end

    def look(self, trainer, *others):
        seen.append(json.loads((Path(trainer.default_root_dir) / "result.json").read_text()))
        count(self, trainer, *others)

    monkeypatch.setattr(Throughput, "on_train_batch_end", look)
    run_train(*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=2", "logger=none")

    assert seen[0]["status"] == "running"
    assert datetime.fromisoformat(seen[0]["heartbeat"]).tzinfo is not None


@pytest.mark.short
@pytest.mark.parametrize(
    "precision", ["bf16-mixed", *(pytest.param(each, marks=pytest.mark.slow) for each in ("bf16-true", "64-true"))]
)
def test_other_precisions_train_and_measure(run_train, precision):
    done = run_train(*TINY_PRETRAINING, "model=vae", f"trainer.precision={precision}", "trainer.limit_train_batches=1",
                     "trainer.max_epochs=1", "logger=none", "callbacks=none")  # fmt: skip

    assert done.code == 0, done.err
    assert done.result["metrics"]["test/neg_elbo"] > 0
