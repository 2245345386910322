"""The classifier's metrics against scikit-learn, and what freezing means."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss

from aetransfer.data.batches import Batch
from aetransfer.data.draws import Share
from aetransfer.models.classifier import Classifier
from aetransfer.models.optimisation import cosine, one_cycle
from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.head import Head
from aetransfer.transfer.arms import StandardArm, layers_reached
from tests.made import TokenEncoder, optimised, trainer_of

ARMS = {
    "scratch": StandardArm(weights="fresh", encoder="trained"),
    "random_frozen": StandardArm(weights="fresh", encoder="frozen"),
    "layerwise": StandardArm(weights="pretrained", encoder="trained", layer_decay=0.5),
}


def make_classifier(freeze, **encoder):
    return make_arm(ARMS["random_frozen" if freeze else "scratch"], **encoder)


def make_arm(arm, **encoder):
    body = Conv4(input_shape=(1, 16, 16), latent_dim=6, widths=[4, 8], **encoder)
    model = Classifier(body, Head(6, 3), 3)
    model.follow(arm)
    return optimised(model)


def measured(logits, labels, *, parts):
    """What a classifier that gives these logits measures of them, in several batches."""
    model = Classifier(Conv4(input_shape=(1, 16, 16)), Head(128, 2), logits.shape[1]).eval()
    model.forward = lambda inputs: inputs
    model.make_metrics()
    for part in parts:
        batch = Batch(logits[part], labels[part], Share(len(labels[part])))
        model.val_metrics.update(model.step(batch), batch.share.counted)
    return {name: metric.compute().item() for name, metric in model.val_metrics.by_name().items()}


def test_metrics_over_batches_are_those_of_the_whole_split():
    logits, labels = torch.randn(300, 5) * 2, torch.randint(5, (300,))
    found = measured(logits, labels, parts=(slice(0, 128), slice(128, 256), slice(256, 300)))
    guesses, probabilities = logits.argmax(1), logits.softmax(1)

    assert found["acc"] == pytest.approx(accuracy_score(labels, guesses))
    assert found["f1"] == pytest.approx(f1_score(labels, guesses, average="macro"))
    assert found["nll"] == pytest.approx(log_loss(labels, logits.double().softmax(1).numpy()), rel=1e-5)
    assert found["ece"] == pytest.approx(slow_calibration_error(probabilities, labels), abs=1e-5)


def slow_calibration_error(probabilities, labels):
    confidence, guesses = probabilities.max(1)
    right = (guesses == labels).float()
    total = 0.0
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if inside.any():
            total += inside.float().mean().item() * abs(right[inside].mean() - confidence[inside].mean()).item()
    return total


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_frozen_encoder_stays_in_eval_mode_and_gets_no_gradient(batch_norm):
    model = make_classifier(freeze=True, batch_norm=batch_norm)
    model.train()
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    model(torch.rand(8, 1, 16, 16)).sum().backward()

    assert not any(layer.training for layer in model.encoder.modules())
    assert model.head.training
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.encoder.state_dict().items())


def test_an_encoder_that_is_trained_gets_gradients():
    model = make_classifier(freeze=False)
    model(torch.rand(8, 1, 16, 16)).sum().backward()

    assert all(parameter.grad is not None for parameter in model.encoder.parameters())


@pytest.mark.parametrize("mode", [None, True, False])
def test_a_frozen_layer_leaves_the_layers_within_it_in_their_mode(mode):
    arm = StandardArm(weights="transplanted", encoder="transplant_frozen", transplanted=3)
    encoder = TokenEncoder(input_shape=(1, 16, 16), latent_dim=6)
    model = Classifier(encoder, Head(6, 3), 3)
    model.follow(arm)
    if mode is not None:
        model.train(mode)

    assert not any(frozen.training for frozen in (encoder, encoder.patches, encoder.attention))
    assert encoder.attention.out_proj.training == encoder.bottleneck.training == (mode is not False)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
@pytest.mark.parametrize("schedule", [None, cosine, one_cycle])
def test_encoder_and_head_have_learning_rates_of_their_own(kind, schedule):
    model = optimised(make_classifier(freeze=False), kind, schedule, lr=0.1, encoder_lr=0.01, weight_decay=0.2)
    made = model.optimisation.configure(model.rates(), trainer_of(steps=100), "val/acc", "max")
    optimizer = made["optimizer"]
    peaks = {group["name"]: group["lr"] for group in optimizer.param_groups}
    for _ in range(99):
        optimizer.step()
        if schedule is not None:
            made["lr_scheduler"]["scheduler"].step()
        peaks = {group["name"]: max(peaks[group["name"]], group["lr"]) for group in optimizer.param_groups}

    assert peaks == pytest.approx({"encoder": 0.01, "head": 0.1})
    assert all(group["weight_decay"] == 0.2 for group in optimizer.param_groups)
    if schedule is not None:
        assert all(group["lr"] < 1e-3 for group in optimizer.param_groups)


@pytest.mark.parametrize("schedule", [cosine, one_cycle])
def test_a_schedule_rises_over_its_share_of_the_steps_and_falls_to_its_factor_of_the_peak(schedule):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5, momentum=0.9)
    scheduler = schedule(optimizer, total_steps=100, warmup=0.2, final_factor=0.01)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(99):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])

    assert max(rates) == pytest.approx(0.5, rel=1e-2)
    assert rates.index(max(rates)) in (19, 20)
    assert rates[-1] == pytest.approx(0.005, rel=0.1)


def test_frozen_parameters_are_not_given_to_the_optimiser():
    model = make_classifier(freeze=True)
    made = model.optimisation.configure(model.rates(), trainer_of(steps=10), "val/acc", "max")

    assert [group["name"] for group in made["optimizer"].param_groups] == ["head"]


def test_a_layerwise_arm_halves_the_learning_rate_with_each_layer_toward_the_input():
    rates = make_arm(ARMS["layerwise"], batch_norm=True).rates()
    assert rates.pop("head")[1] == 1e-3

    assert [rate for _, rate in rates.values()] == pytest.approx([1e-3 / 8, 1e-3 / 4, 1e-3 / 2])
    # A normalisation belongs to the convolution before it.
    assert [len(parameters) for parameters, _ in rates.values()] == [4, 4, 2]


@given(
    epochs=st.integers(1, 60),
    layers=st.integers(1, 12),
    unfrozen_by=st.floats(0.05, 1),
)
def test_a_gradual_arm_starts_with_the_head_alone_never_refreezes_and_ends_with_all(epochs, layers, unfrozen_by):
    reached = [layers_reached(epoch, epochs, layers, unfrozen_by) for epoch in range(epochs + 1)]

    assert reached[0] == 0
    assert reached == sorted(reached)
    assert all(count == layers for epoch, count in enumerate(reached) if epoch >= unfrozen_by * epochs)


def test_a_confidence_of_exactly_one_lies_in_the_bin_below_it():
    # 40 images at .97, all right, and 60 at 1, of which 57 are: one bin, in which 97 of 100 are.
    sure, surest = torch.tensor([0.97, 0.03]).log(), torch.tensor([200.0, 0.0])
    logits, labels = torch.stack([sure] * 40 + [surest] * 60), torch.tensor([0] * 97 + [1] * 3)
    found = measured(logits, labels, parts=(slice(50), slice(50, 100)))

    confidence = (40 * 0.97 + 60 * 1.0) / 100
    assert found["ece"] == pytest.approx(confidence - 0.97, abs=1e-6)


def test_one_image_without_a_number_leaves_no_metric_a_number():
    logits, labels = torch.randn(20, 3), torch.arange(20) % 3
    logits[7, 1] = torch.nan
    found = measured(logits, labels, parts=(slice(10), slice(10, 20)))

    assert len(found) == 4 and all(math.isnan(value) for value in found.values())
