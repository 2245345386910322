"""Calibration against torchmetrics, and temperatures that are known."""

import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from aetransfer.evaluation.pictures import heatmap, reliability_diagram, unit_bars
from aetransfer.evaluation.predictions import confusion
from aetransfer.models.metrics import fit_temperature, reliability


def calibrated(count, seed=0):
    """Logits, and labels drawn from their own softmax."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 5, generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)


def test_the_calibration_error_is_torchmetrics_own():
    logits, labels = calibrated(2000)
    for scale in (0.3, 1.0, 5.0):
        expected = multiclass_calibration_error((logits * scale).softmax(1), labels, 5, n_bins=15)
        assert reliability(logits * scale, labels).error == pytest.approx(expected.item(), abs=1e-5)


def test_bins_hold_every_image_once():
    logits, labels = calibrated(500)
    found = reliability(logits, labels)

    assert sum(found.count) == 500
    right = sum(acc * count for acc, count in zip(found.accuracy, found.count, strict=True))
    assert right == pytest.approx((logits.argmax(1) == labels).sum().item())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_logits_were_spoilt_with_is_found(temperature):
    logits, labels = calibrated(50_000)

    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.03)


def test_no_other_temperature_has_a_smaller_cross_entropy():
    logits, labels = calibrated(300, seed=3)
    best = fit_temperature(3 * logits, labels)
    losses = [F.cross_entropy(3 * logits / t, labels).item() for t in (best, best * 0.98, best * 1.02, 1.0)]

    assert min(losses) == losses[0]


def test_scaling_mends_calibration_and_changes_no_prediction():
    logits, labels = calibrated(20_000)
    spoilt = 4 * logits
    scaled = spoilt / fit_temperature(spoilt, labels)

    assert reliability(scaled, labels).error < 0.02 < 0.1 < reliability(spoilt, labels).error
    assert torch.equal(scaled.argmax(1), spoilt.argmax(1))


def test_logits_that_are_never_wrong_end_the_search():
    labels = torch.arange(10) % 2

    assert fit_temperature(F.one_hot(labels).float(), labels) == pytest.approx(0.01, rel=1e-6)


def test_a_confusion_counts_rows_by_class():
    predicted, labels = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 1])

    assert confusion(predicted, labels, 3).tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_pictures_are_the_same_bytes_again():
    logits, labels = calibrated(200)
    curves = {"as trained": reliability(logits, labels)}

    assert reliability_diagram(curves)[:4] == b"\x89PNG"
    assert reliability_diagram(curves) == reliability_diagram(curves)
    assert unit_bars([3.0, 1.0]) == unit_bars([3.0, 1.0])
    names = [f"class{n}" for n in range(30)]
    assert heatmap([[0.5] * 30] * 30, names, names, title="t", row_label="r", column_label="c")[:4] == b"\x89PNG"
