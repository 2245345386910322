"""Reconstruction scores and Frechet distances against closed forms and other libraries."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter

from aetransfer.evaluation.features import fit_pca
from aetransfer.evaluation.fid import frechet_distance
from aetransfer.evaluation.reconstruction import scores


def test_mse_and_psnr_are_those_of_each_image():
    images = torch.rand(3, 1, 16, 16)
    reconstructions = (images + torch.tensor([0.0, 0.1, -0.2]).view(3, 1, 1, 1)).clone()
    found = scores(images, reconstructions)

    assert found["mse"].tolist() == pytest.approx([0.0, 0.01, 0.04], abs=1e-6)
    assert found["psnr"].tolist() == pytest.approx([math.inf, 20.0, 13.9794], abs=1e-3)
    assert found["ssim"][0] == pytest.approx(1.0, abs=1e-5)


def test_ssim_is_that_of_its_definition():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(1, 1, 40, 40, generator=generator), torch.rand(1, 1, 40, 40, generator=generator)
    other = 0.6 * one + 0.4 * other
    x, y = one[0, 0].double().numpy(), other[0, 0].double().numpy()

    def smooth(image):  # 11 pixels: a radius of 5, which is truncate * sigma + .5 rounded down
        return gaussian_filter(image, 1.5, truncate=3.5, mode="mirror")

    mean_x, mean_y = smooth(x), smooth(y)
    var_x, var_y, cov = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2, smooth(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))

    assert scores(one, other)["ssim"].item() == pytest.approx(ssim.mean(), abs=1e-4)


def test_principal_components_are_the_best_linear_autoencoder():
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(400, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
    pca, _ = fit_pca([data], len(data), 2)
    best = (pca.inverse(pca(data)) - data).square().sum(1).mean().item()
    centred = (data - data.mean(0)).double()
    values = torch.linalg.eigvalsh(centred.T @ centred / len(data))
    assert best == pytest.approx(values[:4].sum().item(), rel=1e-4)  # Eckart & Young

    torch.manual_seed(0)
    down, up = torch.nn.Linear(6, 2), torch.nn.Linear(2, 6)
    optimizer = torch.optim.LBFGS([*down.parameters(), *up.parameters()], max_iter=2000, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (up(down(data)) - data).square().sum(1).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure().item() == pytest.approx(best, rel=1e-2)


def gaussians(count):
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(4, 4, generator=generator)
    shift = torch.tensor([1.0, -1.0, 0.0, 2.0])
    one = torch.randn(count, 4, generator=generator)
    return one, torch.randn(count, 4, generator=generator) @ mixing + shift, mixing, shift


def test_the_frechet_distance_of_gaussians_is_the_closed_form():
    one, other, mixing, shift = gaussians(200_000)
    covariance = (mixing.T @ mixing).double()
    expected = shift.square().sum() + 4 + covariance.trace() - 2 * np.trace(sqrtm(covariance.numpy()).real)

    assert frechet_distance(one, other) == pytest.approx(float(expected), rel=0.02)


def test_the_frechet_distance_is_scipys_and_zero_for_the_same_set():
    one, other, _, _ = gaussians(50)
    first, second = np.cov(one.numpy().T), np.cov(other.numpy().T)
    expected = (one.mean(0) - other.mean(0)).square().sum().item() + np.trace(
        first + second - 2 * sqrtm(first @ second).real
    )

    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
