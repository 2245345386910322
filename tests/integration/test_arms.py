"""The arms: what is carried, what is frozen, and what stays as it was to the last byte."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aetransfer.training.build import make_encoder
from tests.integration.conftest import TINY, assert_refused, job_of, with_encoder

STATISTICS = {"normalise.mean", "normalise.deviation"}


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


@pytest.mark.parametrize("batch_norm", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_frozen_encoder_keeps_every_byte_of_its_weights_and_buffers(run_train, batch_norm):
    done = run_train(*TINY, "transfer=frozen", f"encoder.batch_norm={batch_norm}")

    assert same(done.encoder, inflated(source_encoder(done)))
    if batch_norm:
        assert "convolutions.1.running_mean" in done.encoder


@pytest.mark.parametrize("batch_norm", [pytest.param(False, marks=pytest.mark.slow), True])
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
    scratch = run_train(*TINY, "transfer=scratch", "optimizer.encoder_lr=1e-30", "optimizer.weight_decay=0")

    assert alike(frozen.encoder, scratch.encoder)


def test_the_head_starts_alike_in_every_arm_of_a_seed(run_train):
    heads = []
    for arm in ("scratch", "finetune"):
        done = run_train(*TINY, f"transfer={arm}", "optimizer.lr=1e-30", "optimizer.weight_decay=0")
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


@pytest.mark.slow
def test_every_arm_runs_and_is_named(run_train):
    for arm in ("finetune_layerwise", "gradual", "shuffled", "moments", "random_linear_probe"):
        done = run_train(*TINY, f"transfer={arm}")
        assert done.code == 0, done.err
        assert f"-{arm}-" in done.run.name


def test_linear_probe_is_frozen_with_a_linear_head(run_train):
    done = run_train(*TINY, "transfer=linear_probe")

    assert same(done.encoder, inflated(source_encoder(done)))
    assert done.result["counts"]["trained_parameters"] == 8 * 10 + 10


def test_a_probe_with_another_head_is_refused(run_train):
    done = run_train(*TINY, "transfer=linear_probe", "head.hidden=[32]")

    assert done.code == 1
    assert "transfer=linear_probe has a linear head, so head.hidden=[32] has no meaning" in done.err


def test_an_arm_that_is_not_what_its_name_says_is_refused(run_train):
    done = run_train(*TINY, "transfer=frozen", "transfer.weights=shuffled")

    assert done.code == 1
    assert "which is not what frozen means: give the arm another transfer.name" in done.err
    assert run_train(*TINY, "transfer=frozen", "transfer.weights=shuffled", "transfer.name=shuffled_frozen").code == 0


def test_gradual_changes_layers_from_the_bottleneck_down_and_survives_a_resume(run_train, interrupted_at):
    words = (*TINY, "transfer=gradual", "trainer.max_epochs=4", "optimizer.weight_decay=0")
    source = inflated(source_encoder(run_train(*words, "trainer.max_epochs=1")))  # its only epoch trains the head
    head_only = run_train(*words, "trainer.max_epochs=1")
    assert same(head_only.encoder, source)

    # Five layers within the first two of four epochs: in the second one the two nearest the head are reached.
    with interrupted_at(step=5):
        assert run_train(*words, "trainer.limit_val_batches=1").code == 130
    resumed = run_train(*words, "trainer.limit_val_batches=1")
    last = torch.load(resumed.run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    moved = [name for name, value in source.items() if not torch.equal(last[f"encoder.{name}"], value)]
    assert "bottleneck.weight" in moved
    assert "convolutions.0.weight" in moved


@pytest.mark.slow
def test_an_epoch_of_a_chosen_length_makes_equal_steps_of_unequal_label_counts(run_train):
    steps = [
        run_train(*TINY[:6], "logger=none", "callbacks=none", "trainer.max_epochs=2", "data.epoch_images=96",
                  "transfer=scratch", f"data.labels_per_class={labels}").result["counts"]["steps"]
        for labels in (1, 5, "all")
    ]  # fmt: skip

    assert steps == [6, 6, 6]


def test_frozen_transplants_keep_every_byte_and_the_layers_after_them_learn(run_train):
    done = run_train(*TINY, "transfer=transplant_frozen", "transfer.transplanted=2", "encoder.batch_norm=true")
    source = inflated(source_encoder(done))
    kept = [key for key in source if key.startswith(tuple(f"convolutions.{place}." for place in (0, 1, 3, 4)))]

    assert len(kept) == 2 * (2 + 5)
    assert all(torch.equal(done.encoder[key], source[key]) for key in kept)
    assert not torch.equal(done.encoder["convolutions.6.weight"], source["convolutions.6.weight"])
    assert not torch.equal(done.encoder["convolutions.7.running_mean"], source["convolutions.7.running_mean"])


# Its layers: the class token, patches, attention's projections of its inputs, that of its output, the bottleneck.
TOKENS = with_encoder("TokenEncoder", *TINY)


@pytest.mark.parametrize(
    ("layers", "kept"),
    [
        (1, {"token"}),
        (3, {"token", "patches.weight", "patches.bias", "attention.in_proj_weight", "attention.in_proj_bias"}),
    ],
)
def test_of_a_layer_that_has_layers_within_it_only_its_own_weights_are_transplanted_and_frozen(run_train, layers, kept):
    done = run_train(*TOKENS, "transfer=transplant_frozen", f"transfer.transplanted={layers}")
    assert done.code == 0, done.err
    source = inflated(source_encoder(done), "patches.weight")
    counts = done.result["counts"]

    assert {key for key in source if torch.equal(done.encoder[key], source[key])} == kept | STATISTICS
    assert counts["parameters"] - counts["trained_parameters"] == sum(source[key].numel() for key in kept)


def test_a_gradual_arm_reaches_layers_that_are_within_one_that_it_has_not_reached(run_train):
    # The second of two epochs trains the two layers nearest the head.
    done = run_train(*TOKENS, "transfer=gradual", "transfer.unfrozen_by=1", "optimizer.weight_decay=0")
    assert done.code == 0, done.err
    source = inflated(source_encoder(done), "patches.weight")
    last = torch.load(done.run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    assert {key for key, value in source.items() if not torch.equal(last[f"encoder.{key}"], value)} == {
        *("attention.out_proj.weight", "attention.out_proj.bias", "bottleneck.weight", "bottleneck.bias"),
    }


def test_blocks_that_an_encoder_lists_as_its_layers_are_carried_and_frozen_whole(run_train):
    words = with_encoder("ResidualEncoder", *TINY)
    done = run_train(*words, "data=digits", "transfer=transplant_frozen", "transfer.transplanted=2")
    assert done.code == 0, done.err
    source, trained = load_file(Path(done.result["source"]) / "encoder.safetensors"), done.encoder

    changed = {key.partition(".")[0] for key, value in source.items() if not torch.equal(trained[key], value)}
    assert changed == {"second", "bottleneck"}


def test_layers_that_leave_parameters_out_are_refused_before_anything_is_trained(run_train):
    done = run_train(*with_encoder("Unlayered", *TINY), "transfer=transplant", "transfer.transplanted=2")

    assert_refused(
        done,
        "tests.made.Unlayered.layers_from_input: second.inner.0.weight is in no layer: list the module that has it, or "
        "one around that.",
    )


def test_how_much_is_transplanted_makes_another_run(run_train):
    runs = {
        run_train("--identity", *TINY, "transfer=transplant", f"transfer.transplanted={layers}").out.splitlines()[0]
        for layers in (0, 1, 5)
    }
    assert len(runs) == 3


@pytest.mark.parametrize(
    ("words", "layers"),
    [([], 5), (["encoder.batch_norm=true"], 5), (["encoder.hidden=[16,16]"], 7), (["encoder.widths=[8,8]"], 3)],
)
def test_a_transplant_of_more_layers_than_there_are_is_refused_before_torch_is_imported(torchless, words, layers):
    transplant = (*TINY, "transfer=transplant", *words)
    job = job_of(*transplant, f"transfer.transplanted={layers}")
    done = torchless("train", *transplant, f"transfer.transplanted={layers + 1}")

    assert len(make_encoder(job).layers_from_input()) == layers
    assert_refused(done, f"transfer.transplanted={layers + 1}, but the encoder has {layers} layers: lower it.")
    assert not done.torch


def test_how_much_is_transplanted_is_said_where_something_is_transplanted_alone(run_train):
    assert "transfer.transplanted must be given" in run_train(*TINY, "transfer=transplant").err
    mixed = run_train(*TINY, "transfer=finetune", "transfer.weights=transplanted", "transfer.name=mine")
    assert "transplanted goes with weights=transplanted alone" in mixed.err
