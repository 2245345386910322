"""VICReg's terms against NumPy."""

import numpy as np
import pytest
import torch

from aetransfer.models.vicreg import vicreg


def test_the_terms_are_the_papers():
    first, second = torch.randn(40, 6), torch.randn(40, 6) * 0.3 + 1
    invariance, variance, covariance = vicreg(first, second)

    views = [each.double().numpy() for each in (first, second)]
    assert invariance.item() == pytest.approx(((views[0] - views[1]) ** 2).mean(), rel=1e-5)
    short = [np.maximum(0, 1 - np.sqrt(each.var(0, ddof=1) + 1e-4)).mean() for each in views]
    assert variance.item() == pytest.approx(np.mean(short), rel=1e-4)
    off = [np.cov(each.T) - np.diag(np.diag(np.cov(each.T))) for each in views]
    assert covariance.item() == pytest.approx(sum((each**2).sum() / 6 for each in off), rel=1e-4)


def test_views_that_are_all_the_same_pay_for_variance_alone():
    invariance, variance, covariance = vicreg(torch.ones(10, 4), torch.ones(10, 4))

    assert invariance == covariance == 0
    assert variance.item() == pytest.approx(0.99)


def test_a_single_image_has_no_spread():
    assert [term.item() for term in vicreg(torch.zeros(1, 4), torch.ones(1, 4))] == [1.0, 0.0, 0.0]
