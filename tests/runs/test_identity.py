"""A run's identity: the same for the same numbers, another for others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Job
from aetransfer.runs.identity import identity, run_name
from aetransfer.transfer.settle import pretraining_of, settle

TRANSFER = ("data=photo_digits", "data@pretrain.data=digits", "transfer=frozen")


def job_of(*overrides):
    return settle(checked(composed("train", list(overrides)), Job), list(overrides))


def identity_of(*overrides):
    return identity(job_of(*TRANSFER, *overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        ["encoder.latent_dim=128"],
        ["encoder.latent_dim=128.0", "model.optimizer.weight_decay=0.050"],
        ["pretrain.seed=0"],
        ["pretrain.model.optimizer.lr=0.001"],
        ["paths.output_dir=/elsewhere", "paths.data_dir=/images", "paths.cache_dir=/scratch"],
        ["logger=csv", "trainer.progress=false", "trainer.log_every_n_steps=1", "trainer.profiler=simple"],
        ["callbacks=none"],
        ["callbacks.reconstructions.every_n_epochs=1"],
        ["data.workers=7", "data.max_memory_gb=1"],
        ["pretrain.data.workers=7"],
    ],
)
def test_what_decides_no_number_makes_no_difference(overrides):
    assert identity_of(*overrides) == identity_of()


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=1"],
        ["pretrain.seed=1"],
        ["encoder.latent_dim=64"],
        ["transfer=finetune"],
        ["head.hidden=[]"],
        ["data.val_fraction=0.2"],
        ["data.labels_per_class=10"],
        ["data.augment.flip=true"],
        ["model.optimizer.encoder_lr=1e-4"],
        ["trainer.max_epochs=21"],
        ["trainer.precision=bf16-mixed"],
        ["trainer=cpu"],
        ["pretrain.trainer.max_epochs=11"],
        ["pretrain.model.optimizer.lr=0.002"],
        ["pretrain=vae"],
        ["transfer.channels=grey"],
        ["callbacks=early_stopping"],
    ],
)
def test_what_decides_numbers_makes_a_difference(overrides):
    assert identity_of(*overrides) != identity_of()


def test_a_control_does_not_depend_on_the_pretraining_it_ignores():
    assert identity(job_of("transfer=scratch")) == identity(
        job_of("transfer=scratch", "pretrain=vae", "pretrain.seed=9")
    )


def test_a_pretraining_is_shared_by_accelerators_and_device_counts():
    names = {
        run_name(pretraining_of(job_of(*TRANSFER, *overrides)))
        for overrides in ([], ["trainer=cpu"], ["trainer=ddp", "trainer.devices=4"], ["transfer=finetune"])
    }

    assert len(names) == 1


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_order_of_overrides_makes_no_difference(data):
    pool = ["seed=3", "encoder.latent_dim=32", "head.hidden=[8]", "data.batch_size=16", "pretrain.trainer.max_epochs=2",
            "model.optimizer.lr=0.01", "trainer.max_epochs=4"]  # fmt: skip
    chosen = data.draw(st.lists(st.sampled_from(pool), unique=True, min_size=2))
    shuffled = data.draw(st.permutations(chosen))

    assert identity_of(*chosen) == identity_of(*shuffled)


def test_a_name_says_what_the_run_is():
    assert run_name(job_of(*TRANSFER, "seed=2")).startswith("transfer-photo_digits-frozen-from-digits-ae-d128-s2-")
    assert run_name(job_of("model=vae", "data=mnist", "encoder.latent_dim=8")).startswith("pretrain-mnist-vae-d8-s0-")
