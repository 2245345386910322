"""The arms: what is carried, what is frozen, and what stays as it was to the last byte."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.integration.conftest import TINY


def source_encoder(done):
    return load_file(f"{json.loads((done.run / 'result.json').read_text())['source']}/encoder.safetensors")


def inflated(state, first="convolutions.0.weight"):
    fitted = {key: value.repeat(3, 1, 1) if key.startswith("normalise") else value for key, value in state.items()}
    return {**fitted, first: state[first].repeat(1, 3, 1, 1) / 3}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def alike(left, right):
    """Tell whether two states are the same but for what a learning rate of 1e-30 can do."""
    return left.keys() == right.keys() and all(torch.allclose(left[key], right[key], atol=1e-20) for key in left)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_frozen_encoder_keeps_every_byte_of_its_weights_and_buffers(run_train, batch_norm):
    done = run_train(*TINY, "transfer=frozen", f"encoder.batch_norm={batch_norm}")

    assert same(done.encoder, inflated(source_encoder(done)))
    if batch_norm:
        assert "convolutions.1.running_mean" in done.encoder


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_frozen_encoder_keeps_every_byte_across_a_resume(run_train, interrupted_at, batch_norm):
    words = (*TINY, "transfer=frozen", f"encoder.batch_norm={batch_norm}")
    with interrupted_at(step=5):  # in the second epoch of the transfer; its pretraining has three steps
        assert run_train(*words).code == 130
    resumed = run_train(*words)

    assert "Resuming from" in resumed.out
    assert same(resumed.encoder, inflated(source_encoder(resumed)))


def test_fine_tuning_changes_the_carried_encoder(run_train):
    done = run_train(*TINY, "transfer=finetune")

    assert not torch.equal(done.encoder["bottleneck.weight"], source_encoder(done)["bottleneck.weight"])


def test_a_random_frozen_encoder_is_the_one_that_scratch_starts_from(run_train):
    frozen = run_train(*TINY, "transfer=random_frozen")
    scratch = run_train(*TINY, "transfer=scratch", "model.optimizer.encoder_lr=1e-30", "model.optimizer.weight_decay=0")

    assert alike(frozen.encoder, scratch.encoder)


def test_the_head_starts_alike_in_every_arm_of_a_seed(run_train):
    heads = []
    for arm in ("scratch", "finetune"):
        done = run_train(*TINY, f"transfer={arm}", "model.optimizer.lr=1e-30", "model.optimizer.weight_decay=0")
        state = torch.load(done.run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        heads.append({key: value for key, value in state.items() if key.startswith("head.")})

    assert alike(*heads)


def test_a_grey_target_meets_the_encoder_as_it_was(run_train):
    done = run_train(*TINY, "transfer=frozen", "transfer.channels=grey")

    assert same(done.encoder, source_encoder(done))
    assert done.encoder["convolutions.0.weight"].shape[1] == 1


def test_a_repeated_source_trains_an_encoder_for_three_channels(run_train):
    done = run_train(*TINY, "transfer=frozen", "transfer.channels=repeat_source")

    assert same(done.encoder, source_encoder(done))
    assert done.encoder["convolutions.0.weight"].shape[1] == 3


def test_a_linear_probe_has_no_hidden_layer(run_train):
    done = run_train(*TINY, "transfer=frozen", "head.hidden=[]")

    assert done.result["counts"]["trained_parameters"] == 8 * 10 + 10
