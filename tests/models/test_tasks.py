"""Regressor and multilabel classifier against scikit-learn; class weights and smoothing against torch's own."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, mean_absolute_error, r2_score, root_mean_squared_error
from torch.nn import functional as F

from aetransfer.data.batches import Batch
from aetransfer.data.draws import Share
from aetransfer.data.mixing import Mixed
from aetransfer.data.targets import Targets
from aetransfer.errors import UserError
from aetransfer.models.classifier import Classifier
from aetransfer.models.multilabel import MultiLabel
from aetransfer.models.regressor import Regressor
from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.head import Head


def task(kind, outputs, **keys):
    model = kind(Conv4(input_shape=(1, 8, 8), latent_dim=6, widths=[4]), Head(6, outputs), outputs, **keys)
    model.forward = lambda inputs: inputs
    model.make_metrics()
    return model


def batch_of(outputs, targets, mixed=None):
    return Batch(outputs, targets, Share(len(targets)), mixed=mixed)


def measured(model, outputs, targets, parts=3):
    model.eval()
    for part in torch.arange(len(targets)).chunk(parts):
        model.val_metrics.update(model.step(batch_of(outputs[part], targets[part])), len(part))
    return {name: metric.compute().item() for name, metric in model.val_metrics.by_name().items()}


def regression(count=90, values=3):
    generator = torch.Generator().manual_seed(0)
    scale, centre = torch.tensor([10.0, 1e-3, 1.0])[:values], torch.tensor([1013.25, 0.002, -4.0])[:values]
    targets = torch.randn(count, values, generator=generator) * scale + centre
    return targets, targets + 0.5 * torch.randn(count, values, generator=generator) * scale


@pytest.mark.parametrize("values", [1, 3])
def test_errors_are_in_the_units_of_the_targets_as_scikit_learn_has_them(values):
    targets, predicted = regression(values=values)
    model = task(Regressor, values)
    model.learn_from(targets)
    found = measured(model, (predicted - model.mean) / model.deviation, targets)

    assert found["mae"] == pytest.approx(mean_absolute_error(targets, predicted), rel=1e-4)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(targets, predicted), rel=1e-4)
    assert found["r2"] == pytest.approx(r2_score(targets, predicted), abs=1e-3)
    standardised = ((predicted - targets) / targets.std(0, correction=0)).square().mean()
    assert found["loss"] == pytest.approx(standardised.item(), rel=1e-3)
    assert torch.allclose(model.values((predicted - model.mean) / model.deviation), predicted)


def test_r2_of_targets_far_from_those_of_training_is_exact():
    targets, predicted = regression(values=2)
    model = task(Regressor, 2)
    model.learn_from(targets.flip(1))

    found = measured(model, (predicted - model.mean) / model.deviation, targets)
    assert found["r2"] == pytest.approx(
        r2_score(targets, model.values((predicted - model.mean) / model.deviation)), abs=1e-2
    )


def test_huber_counts_errors_beyond_delta_deviations_linearly():
    targets, predicted = regression()
    model = task(Regressor, 3, loss="huber", delta=0.5).train()
    model.learn_from(targets)
    outputs, wanted = ((each - model.mean) / model.deviation for each in (predicted, targets))

    expected = F.huber_loss(outputs, wanted, delta=0.5, reduction="none").mean(1)
    assert torch.allclose(model.step(batch_of(outputs, targets))["loss"], expected)


def test_a_value_that_never_varies_teaches_nothing_and_its_r2_is_no_number():
    targets, predicted = regression()
    model = task(Regressor, 3)
    model.names = ("pressure", "share", "depth")
    constant = targets.clone()
    constant[:, 1] = 0.25
    with pytest.raises(UserError, match=r"^All 90 training examples have share=0\.25: there is nothing to learn, "):
        model.learn_from(constant)
    model.learn_from(targets)
    found = measured(model, predicted, constant)

    assert math.isnan(found["r2"]) and not math.isnan(found["mae"])
    assert model.because("val") == {"r2": "has no value, as all val examples have the same share"}


def labels(count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    there = torch.rand(count, 4, generator=generator) < torch.tensor([0.5, 0.2, 0.1, 0.0])
    logits = torch.randn(count, 4, generator=generator) + 2 * there
    return there.float(), logits


def test_map_and_f1_are_means_over_the_labels_that_occur_and_the_others_are_named():
    there, logits = labels()
    logits[:, 3] = -3.0
    model = task(MultiLabel, 4)
    model.names = ("a", "b", "c", "never")
    found = measured(model, logits, there)
    probabilities, occurs = logits.sigmoid().numpy(), slice(0, 3)

    expected = average_precision_score(there[:, occurs], probabilities[:, occurs], average="macro")
    assert found["map"] == pytest.approx(expected, abs=1e-6)
    expected = f1_score(there[:, occurs], probabilities[:, occurs] > 0.5, average="macro")
    assert found["f1"] == pytest.approx(expected, abs=1e-6)
    assert found["nll"] == pytest.approx(F.binary_cross_entropy_with_logits(logits, there).item(), rel=1e-5)
    assert model.caveats() == ["val/map leaves out the labels that no val example has: never."]


def test_a_label_that_is_predicted_where_it_never_is_costs_f1():
    there, logits = labels()
    spared, charged = (
        measured(task(MultiLabel, 4), torch.cat([logits[:, :3], torch.full((60, 1), each)], 1), there)["f1"]
        for each in (-3.0, 3.0)
    )
    assert charged == pytest.approx(spared * 3 / 4)


def test_without_any_label_map_is_no_number_and_it_is_said():
    _, logits = labels()
    model = task(MultiLabel, 4)
    found = measured(model, logits, torch.zeros(60, 4))

    assert math.isnan(found["map"])
    assert model.because("val") == {"map": "has no value, as no val example has a label"}


def test_one_output_without_a_number_leaves_no_metric_a_number():
    there, logits = labels()
    targets, predicted = regression()
    logits[7, 1] = predicted[7, 1] = torch.nan

    for found in (measured(task(MultiLabel, 4), logits, there), measured(task(Regressor, 3), predicted, targets)):
        assert all(math.isnan(value) for value in found.values())


def test_balanced_positives_weigh_as_much_as_negatives_in_the_loss_and_nll_stays_plain():
    there, logits = labels()
    model = task(MultiLabel, 4, positive_weights="balanced").train()
    model.learn_from(there)
    given = model.step(batch_of(logits, there))

    positives = there.sum(0)
    expected = torch.where(positives > 0, (60 - positives) / positives, 1.0)
    loss = F.binary_cross_entropy_with_logits(logits, there, pos_weight=expected)
    assert given["loss"].mean() == pytest.approx(loss.item(), rel=1e-5)
    assert given["nll"].mean() == pytest.approx(F.binary_cross_entropy_with_logits(logits, there).item(), rel=1e-5)


def test_labels_that_all_have_or_none_teach_nothing():
    with pytest.raises(UserError, match=r"^Each label is there in all 9 training examples or in none: "):
        task(MultiLabel, 2).learn_from(torch.tensor([[1.0, 0.0]]).expand(9, 2))


@pytest.mark.parametrize("keys", [{}, {"class_weights": "balanced"}, {"label_smoothing": 0.2}, {"class_weights": "balanced", "label_smoothing": 0.2}])  # fmt: skip
def test_class_weights_and_smoothing_change_the_loss_alone(keys):
    generator = torch.Generator().manual_seed(0)
    targets, logits = torch.tensor([0] * 60 + [1] * 30 + [2] * 10), torch.randn(100, 3, generator=generator)
    model = task(Classifier, 3, **keys).train()
    model.learn_from(targets)
    given = model.step(batch_of(logits, targets))

    weights = torch.tensor([100 / 180, 100 / 90, 100 / 30]) if "class_weights" in keys else None
    expected = F.cross_entropy(
        logits, targets, weights, reduction="none", label_smoothing=keys.get("label_smoothing", 0)
    )
    assert torch.allclose(given["loss"], expected)
    assert torch.equal(given["nll"], F.cross_entropy(logits, targets, reduction="none"))
    if "class_weights" in keys:
        assert model.weights[targets].mean() == pytest.approx(1)
    # Weights of a run of before know nothing of it.
    assert not any("weights" in name for name in model.state_dict())


@pytest.mark.parametrize(("kind", "made"), [(Regressor, regression), (MultiLabel, lambda: labels(90))])
def test_a_mixed_example_is_held_to_both_targets_by_their_shares(kind, made):
    targets, outputs = made()
    partners, share = targets.flip(0), torch.linspace(0, 1, len(targets))
    model = task(kind, targets.shape[1]).train()
    mixed = model.step(batch_of(outputs, targets, Mixed(partners, share)))["loss"]

    own, theirs = (model.step(batch_of(outputs, each))["loss"] for each in (targets, partners))
    assert torch.allclose(mixed, share * own + (1 - share) * theirs)
    main = batch_of(outputs, targets, Mixed(partners, share)).main_targets
    assert np.array_equal(main, torch.where(share[:, None] >= 0.5, targets, partners))


@pytest.mark.parametrize(
    ("kind", "targets", "sentence"),
    [
        (Regressor, Targets("classes", ("a", "b")), "X has 2 classes, and a regressor predicts values: choose model=classifier."),
        (Regressor, Targets("labels", ("a", "b", "c")), "X has 3 labels, and a regressor predicts values: choose model=multilabel."),
        (Regressor, Targets(), "X has no labels, and a regressor predicts values: choose other data."),
        (MultiLabel, Targets("values", ("fat",)), "X has 1 value, and a multilabel classifier tells which of several labels are there: choose model=regressor."),
        (Classifier, Targets("values", ("fat",)), "X has 1 value, and a classifier tells two classes or more apart: choose model=regressor."),
        (Classifier, Targets("classes", ("a",)), "X has one class, 'a', and a classifier tells two classes or more apart: choose other data."),
    ],
)  # fmt: skip
def test_other_targets_are_refused_with_the_task_that_learns_them(kind, targets, sentence):
    with pytest.raises(UserError) as refused:
        kind.outputs_for(targets, "X")
    assert str(refused.value) == sentence
