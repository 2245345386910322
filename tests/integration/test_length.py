"""How long a training is and when it is validated: steps in place of epochs, within an epoch, every n-th epoch."""

import inspect
import json

import pytest
import torch
from pytorch_lightning import Trainer
from safetensors.torch import load_file

from aetransfer.config.other_names import INSTEAD
from aetransfer.config.schema import Trainer as OurTrainer
from aetransfer.store.identity import config_digest
from tests.faults import FILES, PRETRAINING_STEP, Fault
from tests.integration.conftest import assert_refused, job_of
from tests.integration.test_killed import EVERY_STEP, assert_every_file_can_be_read, runs_below
from tests.integration.test_resume import assert_same, checkpoint_at_every_step, cut_and_resumed  # noqa: F401

SMALL = ("encoder.widths=[2,2]", "encoder.latent_dim=4", "data.batch_size=32", "logger=none", "callbacks=none")
# Five batches an epoch.
TINY = ("data=digits", "model=ae", "data.epoch_images=160", *SMALL)
VAE = (*TINY[:1], "model=vae", "model.kl_warmup_epochs=1", "model.kl_cycles=2", *TINY[2:])
TRANSFER = ("data=photo_digits", "data.epoch_images=160", *SMALL)
STOPS_EARLY = ("optimizer.lr=1e-20", "callbacks=early_stopping", "callbacks.early_stopping.patience=1")


def epochs_in(done):
    return [row["epoch"] for row in json.loads((done.run / "history.json").read_text())]


def test_max_steps_ends_within_an_epoch_which_is_validated_and_kept(run_train):
    done = run_train(*TINY, "trainer.max_steps=7")

    assert done.code == 0, done.err
    assert (done.result["counts"]["steps"], done.result["counts"]["epochs"]) == (7, 1.4)
    assert epochs_in(done) == [1, 1.4]
    assert [row["step"] for row in json.loads((done.run / "history.json").read_text())] == [5, 7]
    assert all("train/mse" in row and "val/mse" in row for row in json.loads((done.run / "history.json").read_text()))
    assert torch.load(done.run / "checkpoints" / "best.ckpt", weights_only=True)["global_step"] == 7
    assert "1,294 images, 7 steps" in done.out.replace("1294", "1,294")
    assert "epoch 2/2" in done.out and "0:00:00 left" in done.out


def test_steps_of_whole_epochs_end_in_the_bits_of_as_many_epochs(run_train):
    steps, epochs = run_train(*VAE, "trainer.max_steps=10"), run_train(*VAE, "trainer.max_epochs=2")

    assert steps.run != epochs.run
    assert_same(steps, epochs)


def test_steps_go_over_collected_batches(run_train):
    # Batches 2, 4 and 5 of an epoch end a step.
    done = run_train(*TINY, "trainer.max_steps=4", "trainer.accumulate_grad_batches=2")

    assert done.result["counts"]["steps"] == 4
    assert epochs_in(done) == [1, 1.4]


def test_an_interval_validates_within_an_epoch_and_at_its_end(run_train):
    usual, half = (run_train(*TINY, "trainer.max_epochs=2", *more) for more in ([], ["trainer.val_check_interval=0.5"]))

    assert (epochs_in(usual), epochs_in(half)) == ([1, 2], [0.6, 1, 1.6, 2])
    # Looking changes nothing.
    assert (usual.run / "encoder.safetensors").read_bytes() == (half.run / "encoder.safetensors").read_bytes()
    assert epochs_in(run_train(*TINY, "trainer.max_epochs=1", "trainer.val_check_interval=2")) == [0.4, 0.8, 1]


def test_every_second_epoch_is_validated_and_the_last(run_train):
    done = run_train(*TINY, "trainer.max_epochs=5", "trainer.check_val_every_n_epoch=2")

    assert epochs_in(done) == [2, 4, 5]
    assert [line.split("  ")[1].startswith("train/mse") for line in done.out.splitlines() if "epoch 1/5" in line] == [
        True
    ]
    assert [line for line in done.out.splitlines() if "epoch 3/5" in line and "val/" in line] == []


def test_early_stopping_heeds_validations_within_an_epoch(run_train):
    done = run_train(*TINY, *STOPS_EARLY, "trainer.max_epochs=9", "trainer.val_check_interval=2")
    assert epochs_in(done) == [0.4, 0.8]
    assert done.result["counts"]["epochs"] == 0.8


@pytest.mark.parametrize(
    ("key", "epochs"),
    [("trainer.min_epochs=4", [1, 2, 3, 4]), ("trainer.min_steps=12", [1, 2, 2.4]), ("trainer.min_steps=3", [1, 2])],
)
def test_early_stopping_waits_for_the_least_that_is_asked_for(run_train, key, epochs):
    assert epochs_in(run_train(*TINY, *STOPS_EARLY, "trainer.max_epochs=9", key)) == epochs


def test_what_stops_in_an_epoch_that_is_not_due_is_validated(run_train):
    words = ("trainer.max_epochs=9", "trainer.check_val_every_n_epoch=2", "trainer.min_epochs=5")
    assert epochs_in(run_train(*TINY, *STOPS_EARLY, *words)) == [2, 4, 5]


def test_a_fraction_of_the_batches_is_taken_at_least_one(run_train):
    limits = [
        f"trainer.limit_{part}_batches={limit}" for part, limit in (("train", 0.4), ("val", 0.01), ("test", 0.01))
    ]
    done = run_train(*TINY, "trainer.max_epochs=1", *limits)

    assert done.code == 0, done.err
    assert done.result["counts"]["steps"] == 2


def test_a_gradual_arm_unfreezes_by_its_share_of_the_steps(run_train):
    # All layers train from .7 of 1.4 epochs on, and so in the second one; of two epochs it would be too late.
    done = run_train("data=digits", *TRANSFER[1:], "data@pretrain.data=digits", "pretrain.trainer.max_steps=1",
                     "transfer=gradual", "transfer.unfrozen_by=0.7", "trainer.max_steps=7")  # fmt: skip
    before = load_file(f"{done.result['source']}/encoder.safetensors")
    after = torch.load(done.run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    assert all(not torch.equal(after[f"encoder.{name}"], before[name]) for name in before if name.endswith("weight"))


CUT = [
    pytest.param((*VAE, "trainer.max_steps=7"), (6,), id="steps"),
    pytest.param(
        (*TINY, "trainer.max_steps=8", "trainer.val_check_interval=2"), (3, 4), id="interval", marks=pytest.mark.slow
    ),
    pytest.param(
        (*VAE, "trainer.max_steps=8", "trainer.val_check_interval=2"),
        (1, 2, 5, 6, 7),
        id="interval_everywhere",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        (*TINY, "trainer.max_steps=7", "trainer.check_val_every_n_epoch=2", "trainer.val_check_interval=1"),
        (3, 5, 6),
        id="every_second_epoch",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        (*TINY, "trainer.max_steps=5", "trainer.accumulate_grad_batches=2", "trainer.val_check_interval=3"),
        (2, 4),
        id="accumulating",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        (*TINY, *STOPS_EARLY, "trainer.max_epochs=9", "trainer.min_steps=13", "trainer.check_val_every_n_epoch=2"),
        (11, 12),
        id="stopping_early",
        marks=pytest.mark.slow,
    ),
    pytest.param((*TRANSFER, "transfer=scratch", "trainer.max_steps=7"), (6,), id="classifier", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("words", "steps"), CUT)
def test_a_run_of_any_length_cut_at_any_step_ends_in_the_same_bits(
    run_train, interrupted_at, monkeypatch, tmp_path, checkpoint_at_every_step, words, steps  # noqa: F811
):  # fmt: skip
    whole = run_train(*words)
    assert whole.code == 0, whole.err
    for step in steps:
        folder = tmp_path / f"cut{step}"
        resumed = cut_and_resumed(run_train, interrupted_at, monkeypatch, folder, words, step)
        assert ("Resuming from" in resumed.out) == (step > 1)
        assert_same(resumed, whole)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_such_a_run_that_is_killed_wherever_it_is_ends_in_the_same_bits(run_train, faulty, monkeypatch, tmp_path):
    words = (*TINY, "trainer.max_steps=13", "trainer.val_check_interval=2", "trainer.check_val_every_n_epoch=2")
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "whole"))
    whole = run_train(*words)
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "outputs"))

    kills = 0
    for number in range(9, 200):
        ended = faulty(Fault((PRETRAINING_STEP, *FILES), 9 + number % 13, ["SIGKILL"], EVERY_STEP), "train", *words)
        if ended.code != -9:
            break
        kills += 1
        for run in runs_below(tmp_path / "outputs"):
            assert_every_file_can_be_read(run)
    assert kills > 5
    assert_same(run_train(*words), whole)


def test_steps_alone_decide_so_that_the_epochs_of_files_are_no_part_of_a_run():
    long, short = job_of("model=ae", "trainer.max_steps=7"), job_of("model=ae", "debug=profiler", "trainer.max_steps=7")

    assert long.trainer.max_epochs is short.trainer.max_epochs is None
    assert config_digest(long) == config_digest(short) != config_digest(job_of("model=ae", "trainer.max_steps=8"))
    carried = job_of("transfer=finetune", "pretrain.trainer.max_steps=7")
    assert carried.pretrain.trainer.max_epochs is None and carried.trainer.max_epochs == 20


@pytest.mark.parametrize(
    "default",
    ["val_check_interval=1.0", "check_val_every_n_epoch=1", "limit_train_batches=1.0", "limit_test_batches=1.0"],
)
def test_what_says_no_more_than_null_is_the_same_run(default):
    assert config_digest(job_of("model=ae", f"trainer.{default}")) == config_digest(job_of("model=ae"))
    clipped = ("model=ae", "trainer.gradient_clip_val=1")
    assert config_digest(job_of(*clipped, "trainer.gradient_clip_algorithm=norm")) == config_digest(job_of(*clipped))


@pytest.mark.parametrize(
    "key", ["val_check_interval", "limit_train_batches", "limit_val_batches", "limit_test_batches"]
)
def test_one_batch_is_not_all_of_them(key):
    one, all_ = (config_digest(job_of("model=ae", f"trainer.{key}={value}")) for value in ("1", "1.0"))
    assert one != all_


def test_an_interval_longer_than_an_epoch_is_refused_once_the_data_are_known(run_train):
    assert_refused(
        run_train(*TINY, "trainer.val_check_interval=6"),
        "trainer.val_check_interval=6, but an epoch has 5 batches: lower it, or set trainer.check_val_every_n_epoch to "
        "validate after every n-th epoch.",
    )
    assert_refused(
        run_train(*TINY, "trainer.max_steps=7", "trainer.check_val_every_n_epoch=3"),
        "trainer.check_val_every_n_epoch=3, but trainer.max_steps=7 ends in epoch 2, of 5 steps each: lower it.",
    )


def test_a_transfer_says_so_before_its_pretraining_is_done(run_train, tmp_path):
    done = run_train(*TRANSFER, "data@pretrain.data=digits", "transfer=finetune", "trainer.val_check_interval=6")

    assert done.err.startswith("error: trainer.val_check_interval=6, but an epoch has 5 batches"), done.err
    assert not list((tmp_path / "outputs" / "runs").glob("pretrain-*"))


def test_the_keys_of_a_pretraining_are_called_as_a_transfer_has_them(run_train):
    transfer = (*TRANSFER, "data@pretrain.data=digits", "transfer=finetune", "pretrain.trainer.limit_train_batches=5")
    assert_refused(
        run_train(*transfer, "pretrain.trainer.val_check_interval=6"),
        "pretrain.trainer.val_check_interval=6, but an epoch has 5 batches: lower it, or set "
        "pretrain.trainer.check_val_every_n_epoch to validate after every n-th epoch.",
    )


NO_FIT = "should be a number of batches or a fraction of them, up to 1.0."
WRONG = [
    ("trainer.max_steps=0", "trainer.max_steps=0 should be greater than 0."),
    ("trainer.max_steps=-1", "trainer.max_steps=-1 should be greater than 0."),
    ("trainer.max_steps=true", "trainer.max_steps=true should be a number."),
    ("trainer.max_steps=1.5", "trainer.max_steps=1.5 should be a valid integer."),
    ("trainer.max_steps=many", "trainer.max_steps=many should be a valid integer."),
    ("trainer.max_epochs=null", "trainer has neither max_epochs nor max_steps, so that it would never end: set one of them."),
    ("trainer.max_steps=9 trainer.max_epochs=2",
     "trainer.max_steps=9 alone says how long it trains, so trainer.max_epochs=2 has no meaning: leave one of them out."),
    ("pretrain.trainer.max_steps=9 pretrain.trainer.max_epochs=2 transfer=finetune",
     "pretrain.trainer.max_steps=9 alone says how long it trains, so pretrain.trainer.max_epochs=2 has no meaning: leave "
     "one of them out."),
    ("trainer.min_epochs=21", "trainer has min_epochs=21, more than max_epochs=20: lower it."),
    ("trainer.max_steps=5 trainer.min_steps=6", "trainer has min_steps=6, more than max_steps=5: lower it."),
    ("trainer.max_steps=5 trainer.min_epochs=1",
     "trainer has min_epochs=1 beside max_steps=5: give min_steps instead."),
    ("trainer.check_val_every_n_epoch=21",
     "trainer has check_val_every_n_epoch=21, more than max_epochs=20: lower it."),
    ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch=0 should be greater than 0."),
    ("trainer.gradient_clip_algorithm=value",
     "trainer has gradient_clip_algorithm=value, but no gradient_clip_val to clip at: set that too."),
    ("trainer.gradient_clip_algorithm=half", "trainer.gradient_clip_algorithm=half should be 'norm' or 'value'."),
    ("trainer.benchmark=true trainer.deterministic=true",
     "trainer has benchmark=true, which chooses algorithms by the clock, beside deterministic=true: leave one of them out."),
    ("trainer.fast_dev_run=true", "trainer.fast_dev_run is Lightning's, and no key here: add debug=fast_dev_run."),
    ("+trainer.overfit_batches=2", "trainer.overfit_batches is Lightning's, and no key here: add debug=overfit."),
    ("pretrain.trainer.callbacks=none",
     "pretrain.trainer.callbacks is Lightning's, and no key here: choose callbacks=NAME, or callbacks=none."),
    *((f"trainer.{key}={value}", f"trainer.{key}={value} {NO_FIT}")
      for key in ("val_check_interval", "limit_train_batches", "limit_val_batches", "limit_test_batches")
      for value in ("0", "-1", "-0.5", "1.5", "nan", "half", "true")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[words for words, _ in WRONG])
def test_a_wrong_length_is_one_sentence_without_torch(torchless, words, sentence):
    done = torchless("train", "data=digits", *words.split(" "))

    assert_refused(done, sentence)
    assert not done.torch


def test_the_steps_of_a_file_are_not_undone_by_the_epochs_of_a_command_line(torchless, write_config):
    words = write_config(**{"experiment/mine": "# @package _global_\ntrainer: {max_steps: 9}"})
    assert_refused(
        torchless("train", *words, "experiment=mine", "trainer.max_epochs=2"),
        "trainer.max_steps=9 alone says how long it trains, so trainer.max_epochs=2 has no meaning: leave it out, or add "
        "trainer.max_steps=null.",
    )


def test_every_setting_of_lightnings_trainer_is_a_key_or_has_a_word_on_what_to_use():
    settings = set(inspect.signature(Trainer.__init__).parameters) - {"self"}

    assert settings <= {*OurTrainer.model_fields, *INSTEAD}
    assert not set(OurTrainer.model_fields) & set(INSTEAD)


@pytest.mark.parametrize("name", ["fast_dev_run", "profiler"])
def test_debug_is_short_whatever_an_experiment_says(name, run_train, write_config):
    long = "# @package _global_\ntrainer: {max_steps: 900, min_steps: 800, val_check_interval: 3, check_val_every_n_epoch: 2}"
    done = run_train(*write_config(**{"experiment/mine": long}), "experiment=mine", *TINY, f"debug={name}")

    assert done.code == 0, done.err
    assert done.result["counts"]["steps"] == {"fast_dev_run": 2, "profiler": 5}[name]


def test_a_page_tells_the_epochs_of_a_run_that_ended_within_one(run_train):
    done = run_train(*TINY, "trainer.max_steps=7")

    assert "1.4 epochs" in (done.run / "report.html").read_text()
