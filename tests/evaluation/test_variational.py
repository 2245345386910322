"""A linear-Gaussian VAE, whose likelihood, posterior and aggregate posterior are known; everything in nats an image."""

from types import SimpleNamespace

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from aetransfer.evaluation.variational import Variational, image_bounds, surgery
from aetransfer.models.facts import ModelFacts

SIGMA = 0.7
PIXELS, LATENTS = 9, 2


def linear_vae(*, wider=1.0, shift=0.0):
    """x = W z + b + noise with orthogonal W, so that the true posterior is diagonal; `wider` and `shift` falsify q."""
    generator = torch.Generator().manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(PIXELS, LATENTS, generator=generator))
    weight, bias = directions * torch.tensor([1.5, 0.8]), torch.randn(PIXELS, generator=generator)
    precision = weight.square().sum(0) / SIGMA**2 + 1

    def posterior(images):
        mean = (images.flatten(1) - bias) @ weight / SIGMA**2 / precision
        return mean + shift, (wider**2 / precision).log().expand_as(mean)

    def decode(codes):
        return (codes @ weight.T + bias).view(-1, 1, 3, 3)

    exact = MultivariateNormal(bias, weight @ weight.T + SIGMA**2 * torch.eye(PIXELS))
    model = SimpleNamespace(
        observe=lambda images, generator: images,
        posterior=posterior,
        nll=lambda codes, observed, margin: -Normal(decode(codes), SIGMA).log_prob(observed).sum((1, 2, 3)),
        decode=decode,
        reconstruct=lambda images: decode(posterior(images)[0]),
    )
    images = exact.sample((40,)).view(-1, 1, 3, 3)
    return model, images, -exact.log_prob(images.flatten(1))


def bounds(model, images, samples, *, seed=0, first=0, at_once=1000):
    found = image_bounds(model, images, samples=samples, seed=seed, first=first, at_once=at_once)
    return torch.stack(list(found)).float()


@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_true_posterior_any_number_of_codes_is_exact(samples):
    model, images, exact = linear_vae()
    found = bounds(model, images, samples)

    torch.testing.assert_close(found[:, 1], exact, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[:, 0], exact, atol=1e-4, rtol=1e-4)


def test_with_a_false_posterior_the_bound_falls_to_the_exact_likelihood():
    model, images, exact = linear_vae(wider=1.6, shift=0.3)
    means = {
        samples: sum(bounds(model, images, samples, seed=seed)[:, 1].mean().item() for seed in range(seeds)) / seeds
        for samples, seeds in ((1, 40), (10, 40), (5000, 1))
    }

    assert means[1] > means[10] + 0.05 > exact.mean().item() + 0.01
    assert means[5000] == pytest.approx(exact.mean().item(), abs=0.01)


def test_the_elbo_there_is_the_one_of_the_analytic_rate():
    model, images, exact = linear_vae(wider=1.6, shift=0.3)
    mean, log_variance = model.posterior(images)
    precise, precise_log_variance = linear_vae()[0].posterior(images)
    gap = 0.5 * (
        (log_variance - precise_log_variance).exp() - 1 + precise_log_variance - log_variance
        + (mean - precise).square() / precise_log_variance.exp()
    ).sum(1)  # KL(q || true posterior)  # fmt: skip

    found = bounds(model, images, 5000)[:, 0]
    assert found.mean().item() == pytest.approx((exact + gap).mean().item(), abs=0.02)


def test_what_is_drawn_for_an_image_follows_from_seed_and_number_alone():
    model, images, _ = linear_vae(wider=1.6)
    whole = bounds(model, images, 64)
    alone = bounds(model, images[7:9], 64, first=7)
    chunked = bounds(model, images, 64, at_once=10)

    torch.testing.assert_close(whole[7:9], alone)
    torch.testing.assert_close(whole, chunked)
    assert not torch.equal(whole, bounds(model, images, 64, seed=1))


def test_the_reported_likelihood_is_the_exact_one_within_its_error():
    model, images, exact = linear_vae(wider=1.3, shift=0.2)
    data = SimpleNamespace(in_order=lambda *_: [(images, None)], margin=0, noun="images", shape=images.shape[1:])
    subject = SimpleNamespace(
        model=model,
        data=data,
        part="test",
        device=torch.device("cpu"),
        open=lambda part: None,
        encoder=SimpleNamespace(takes_pixels=True),
        facts=ModelFacts(),
    )
    estimates = []
    for seed in range(20):
        (row,) = Variational(samples=100, images=None, seed=seed)(subject).rows
        estimates.append((row["iw_nll (k=100)"], row["± SE"]))
    found, errors = torch.tensor(estimates, dtype=torch.float64).T

    assert found.mean().item() == pytest.approx(exact.mean().item(), abs=3 * found.std().item() / 20**0.5 + 0.01)
    assert errors.mean().item() == pytest.approx(found.std().item(), rel=0.5)


def aggregate(mean, deviation):
    component = Independent(Normal(mean.double(), deviation.double()), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(mean), dtype=torch.float64)), component)


def test_the_surgery_is_that_of_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(300, 3, generator=generator), -torch.rand(300, 3, generator=generator)
    found = surgery(mean, log_variance, torch.Generator().manual_seed(1))
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    deviation = (0.5 * log_variance.double()).exp()
    codes = mean.double() + noise * deviation
    log_q = aggregate(mean, deviation).log_prob(codes)
    own = Normal(mean.double(), deviation).log_prob(codes).sum(1)
    prior = Normal(0.0, 1.0).log_prob(codes).sum(1)

    assert found.mutual_information == pytest.approx((own - log_q).mean().item(), rel=1e-9)
    assert found.marginal_kl == pytest.approx((log_q - prior).mean().item(), rel=1e-9)


def test_the_least_mismatch_of_such_moments_is_the_divergence_of_a_gaussian_with_them():
    generator = torch.Generator().manual_seed(0)
    mean = (
        torch.randn(3000, 3, generator=generator).double()
        @ torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0, 0.1]]).double()
    )
    log_variance = -2 * torch.rand(3000, 3, generator=generator).double()
    found = surgery(mean, log_variance, torch.Generator().manual_seed(1))
    drawn = (mean + torch.randn(200, 3000, 3, generator=generator) * (0.5 * log_variance).exp()).flatten(0, 1)
    gaussian = MultivariateNormal(drawn.mean(0), torch.cov(drawn.T))
    prior = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())

    assert found.moments_kl == pytest.approx(kl_divergence(gaussian, prior).item(), rel=0.01)
    assert found.moments_kl < found.marginal_kl + 3 * found.marginal_kl_error


def test_both_parts_estimate_the_rate():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(4000, 2, generator=generator), torch.full((4000, 2), -1.0)
    found = surgery(mean, log_variance, torch.Generator().manual_seed(1))
    rate = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean().item()

    assert found.mutual_information + found.marginal_kl == pytest.approx(rate, abs=0.06)


def test_codes_that_ignore_their_image_say_nothing_of_it_and_fit_the_prior():
    found = surgery(torch.zeros(500, 4), torch.zeros(500, 4), torch.Generator().manual_seed(0))

    assert found.mutual_information == pytest.approx(0, abs=1e-9)
    assert found.marginal_kl == pytest.approx(0, abs=1e-9)


def test_codes_that_never_meet_name_their_image_and_can_say_no_more():
    mean = 1000 * torch.arange(64.0).unsqueeze(1)
    found = surgery(mean, torch.zeros(64, 1), torch.Generator().manual_seed(0))

    assert (
        found.mutual_information
        == pytest.approx(found.most_information)
        == pytest.approx(torch.tensor(64.0).log().item())
    )
