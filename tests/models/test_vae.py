"""The VAE's terms, against torch.distributions; everything in nats an image."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from torch.distributions import Bernoulli, Normal, kl_divergence

from aetransfer.data.batches import Batch
from aetransfer.data.draws import Draws, Share, step_generator
from aetransfer.models.likelihoods import Gaussian, make_likelihood
from aetransfer.models.metrics import ActiveUnits
from aetransfer.models.vae import VAE
from aetransfer.networks.conv4 import Conv4

CPU = torch.device("cpu")


def make_vae(**settings):
    torch.manual_seed(0)
    encoder = Conv4(input_shape=(1, 16, 16), latent_dim=6, widths=[4, 8])
    vae = VAE(encoder, **({"kl_warmup_epochs": 0} | settings))
    vae.make_metrics()
    torch.nn.init.normal_(vae.log_variance.weight, std=0.1)
    return vae


def test_bernoulli_nats_are_summed_over_pixels():
    logits, pixels = torch.randn(4, 1, 5, 5), torch.rand(4, 1, 5, 5).round()
    expected = -Bernoulli(logits=logits).log_prob(pixels).sum((1, 2, 3))

    torch.testing.assert_close(make_likelihood("bernoulli", None).nll(logits, pixels), expected)


def continuous_bernoulli_by_quadrature(logit):
    """Return the normaliser and the mean of l^x (1 - l)^(1 - x) on [0, 1], from 200,001 points."""
    rate = 1 / (1 + np.exp(-logit))
    points = np.linspace(0, 1, 200_001)
    density = rate**points * (1 - rate) ** (1 - points)
    total = trapezoid(density, points)
    return total, trapezoid(points * density, points) / total


@pytest.mark.parametrize("logit", [-100.0, -30.0, -6.0, -1.0, -0.31, -0.29, -1e-3, 0.0, 0.3, 4.0, 30.0])
def test_continuous_bernoulli_nats_are_normalised_on_grey_pixels(logit):
    likelihood = make_likelihood("continuous_bernoulli", None)
    normaliser, mean = continuous_bernoulli_by_quadrature(logit)
    pixels = torch.linspace(0, 1, 9).view(1, 1, 3, 3)
    logits = torch.full_like(pixels, logit)
    unnormalised = torch.nn.functional.binary_cross_entropy_with_logits(logits, pixels, reduction="sum").item()

    assert likelihood.nll(logits, pixels).item() == pytest.approx(
        unnormalised + 9 * np.log(normaliser), rel=1e-4, abs=1e-5
    )
    torch.testing.assert_close(likelihood.mean(logits), torch.full_like(pixels, mean), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("logit", [-30.0, -0.2, 0.0, 30.0])
def test_continuous_bernoulli_has_the_gradient_that_draws_its_mean_to_the_pixel(logit):
    likelihood = make_likelihood("continuous_bernoulli", None)
    logits = torch.full((1, 1, 1, 1), logit, requires_grad=True)
    likelihood.nll(logits, torch.full((1, 1, 1, 1), 0.2)).backward()

    # In an exponential family the gradient is the mean less what was seen.
    torch.testing.assert_close(logits.grad, likelihood.mean(logits).detach() - 0.2, rtol=1e-4, atol=1e-5)


def test_continuous_bernoulli_loses_no_precision_to_half_a_logits_bits():
    likelihood = make_likelihood("continuous_bernoulli", None)
    logits, pixels = torch.full((1, 1, 3, 3), -12.0), torch.rand(1, 1, 3, 3)

    for half in (torch.bfloat16, torch.float16):
        torch.testing.assert_close(likelihood.nll(logits.to(half), pixels), likelihood.nll(logits, pixels))
        torch.testing.assert_close(likelihood.mean(logits.to(half)), likelihood.mean(logits))


def test_a_fixed_sigma_is_kept_and_counts_as_no_parameter():
    likelihood = make_likelihood("gaussian", 0.1)
    logits, pixels = torch.randn(4, 3, 5, 5), torch.rand(4, 3, 5, 5)

    assert not list(likelihood.parameters())
    expected = -Normal(logits.sigmoid(), 0.1).log_prob(pixels).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.nll(logits, pixels), expected)


def test_gaussian_nats_are_those_of_a_normal_density_with_the_learnt_sigma():
    likelihood = Gaussian()
    torch.nn.init.constant_(likelihood.log_sigma, -1.5)
    logits, pixels = torch.randn(4, 3, 5, 5), torch.rand(4, 3, 5, 5)
    expected = -Normal(logits.sigmoid(), np.exp(-1.5)).log_prob(pixels).sum((1, 2, 3))

    torch.testing.assert_close(likelihood.nll(logits, pixels), expected)


def test_a_sigma_below_its_floor_counts_as_the_floor_and_still_learns():
    likelihood = Gaussian()
    torch.nn.init.constant_(likelihood.log_sigma, -20.0)
    logits, pixels = torch.zeros(4, 1, 5, 5), torch.rand(4, 1, 5, 5)
    nll = likelihood.nll(logits, pixels)
    nll.mean().backward()

    torch.testing.assert_close(nll, -Normal(0.5, 1e-3).log_prob(pixels).sum((1, 2, 3)), rtol=1e-4, atol=1e-4)
    assert likelihood.log_sigma.grad < 0


def test_a_small_fixed_sigma_is_what_was_asked_for():
    likelihood = make_likelihood("gaussian", 1e-4)
    logits = torch.zeros(2, 1, 5, 5)

    expected = -Normal(0.5, 1e-4).log_prob(torch.full((2, 1, 5, 5), 0.5)).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.nll(logits, torch.full((2, 1, 5, 5), 0.5)), expected)


def test_the_best_sigma_is_the_root_mean_square_error():
    likelihood = Gaussian()
    logits, pixels = torch.zeros(8, 1, 6, 6), torch.rand(8, 1, 6, 6)
    optimizer = torch.optim.LBFGS(likelihood.parameters(), max_iter=50)

    def closure():
        optimizer.zero_grad()
        loss = likelihood.nll(logits, pixels).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert likelihood.log_sigma.exp().item() == pytest.approx((pixels - 0.5).square().mean().sqrt().item(), rel=1e-3)


def test_binarisation_is_dynamic_and_follows_the_grey_values():
    images = torch.full((1, 1, 100, 100), 0.3)
    likelihood = make_likelihood("bernoulli", None)
    first, second = (likelihood.observe(images, step_generator("train", 0, step, CPU)) for step in (0, 1))

    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert first.mean().item() == pytest.approx(0.3, abs=0.03)
    assert not torch.equal(first, second)


def test_the_rate_is_the_divergence_from_a_standard_normal():
    vae = make_vae()
    images = torch.rand(3, 1, 16, 16)
    observed = vae.likelihood.observe(images, step_generator("test", 0, 0, CPU))
    mean, log_variance = vae.posterior(observed)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)

    torch.testing.assert_close(vae.terms(images, step_generator("test", 0, 0, CPU)).rate, expected)


def test_padding_costs_no_nats():
    vae = make_vae()
    images = torch.zeros(2, 1, 16, 16)
    logits = torch.randn(2, 1, 16, 16)
    vae.decoder.forward = lambda codes: logits
    terms = vae.terms(images, step_generator("test", 0, 0, CPU), margin=2)

    expected = vae.likelihood.nll(logits[..., 2:-2, 2:-2], images[..., 2:-2, 2:-2])
    torch.testing.assert_close(terms.distortion, expected)


def test_a_step_draws_the_same_noise_again():
    vae = make_vae()
    images = torch.rand(3, 1, 16, 16)
    first, again, other = (vae.terms(images, step_generator("train", 0, step, CPU)) for step in (5, 5, 6))

    assert torch.equal(first.distortion, again.distortion)
    assert not torch.equal(first.distortion, other.distortion)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("whole", [8, 7, 1])
def test_three_processes_draw_the_noise_that_one_would(likelihood, whole):
    vae = make_vae(likelihood=likelihood)
    images = torch.rand(whole, 1, 16, 16)
    alone = vae.terms(images, step_generator("train", 0, 5, CPU))
    for rank in range(3):
        share = Share(whole, rank, 3)
        terms = vae.terms(share.part(images), step_generator("train", 0, 5, CPU), share=share)
        torch.testing.assert_close(terms.distortion, share.part(alone.distortion))
        torch.testing.assert_close(terms.kl, share.part(alone.kl))


def test_seeds_streams_and_steps_have_noise_of_their_own():
    keys = [("train", 0, 5), ("train", 1, 5), ("val", 0, 5), ("train", 0, 6)]
    draws = [torch.rand(4, generator=step_generator(*key, CPU)) for key in keys]

    assert len({tuple(draw.tolist()) for draw in draws}) == len(keys)


def test_active_units_are_those_whose_posterior_mean_varies():
    means = torch.randn(500, 4) * torch.tensor([1.0, 0.2, 0.05, 0.0]) + 3
    metric = ActiveUnits(4)
    for batch in means.split(128):
        metric.update(batch)

    assert metric.compute() == (np.var(means.numpy(), axis=0) > 0.01).sum() == 2


def test_one_image_without_a_number_leaves_no_metric_a_number():
    mean, log_variance = torch.randn(2, 10, 4)
    mean[3, 1] = torch.nan
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    metrics = VAE(Conv4(input_shape=(1, 16, 16), latent_dim=4), free_bits=0.5)
    metrics.make_metrics()
    outputs = {"distortion": torch.rand(10), "rate": kl.sum(1), "kl": kl, "means": mean}
    metrics.val_metrics.update(outputs | {"neg_elbo": outputs["distortion"] + outputs["rate"]}, 10)

    found = {name: metric.compute() for name, metric in metrics.val_metrics.by_name().items()}
    assert found.pop("distortion").isfinite()  # which none of this has spoilt
    assert len(found) == 4 and all(value.isnan() for value in found.values())


def batch_of(images, part="train"):
    return Batch(images, torch.zeros(8), Share(8), draws=Draws(part, 0, 0, Share(8), CPU))


@pytest.mark.parametrize(("kl_weight", "free_bits"), [(4.0, 0.0), (1.0, 3.0), (0.5, 3.0)])
def test_a_vae_that_trains_for_another_bound_chooses_its_epoch_by_that(kl_weight, free_bits):
    vae = make_vae(kl_weight=kl_weight, free_bits=free_bits)
    images = torch.rand(8, 1, 16, 16)
    vae.val_metrics.update(vae.step(batch_of(images, "val")), 8)
    terms = vae.terms(images, step_generator("val", 0, 0, CPU))
    paid = terms.kl.mean(0).clamp_min(free_bits).sum()

    assert vae.monitor == "val/loss"
    expected = terms.distortion.mean() + kl_weight * paid
    torch.testing.assert_close(vae.val_metrics.by_name()["loss"].compute(), expected)
    plain = make_vae()
    assert (plain.monitor, plain.monitor_mode) == ("val/neg_elbo", "min")
    assert "loss" not in plain.val_metrics.by_name()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sigma": 0.1}, "sigma=0.1 belongs to likelihood=gaussian, not to bernoulli"),
        ({"kl_cycles": 4}, "kl_cycles=4, but with kl_warmup_epochs=0 nothing rises in a cycle: raise it"),
    ],
)
def test_settings_that_mean_nothing_together_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        make_vae(**settings)


def test_prior_samples_are_pixels():
    samples = make_vae().sample(7, step_generator("sample", 0, 0, CPU))

    assert samples.shape == (7, 1, 16, 16)
    assert samples.min() >= 0 and samples.max() <= 1


class TrainerStub:
    """What the VAE asks of its Trainer in a training step."""

    current_epoch, num_training_batches, val_check_batch, check_val_every_n_epoch = 0, 10, 10, 1
    global_step, log_every_n_steps, is_last_batch = 0, 20, False
    estimated_stepping_batches, accumulate_grad_batches, fit_loop = 80, 1, SimpleNamespace(batch_idx=0)


@pytest.mark.parametrize(("batches", "expected"), [(0, 0.0), (10, 1.0), (20, 2.0), (35, 2.0)])
def test_the_weight_of_the_rate_rises_linearly_over_the_warm_up(monkeypatch, batches, expected):
    vae = make_vae(kl_weight=2.0, kl_warmup_epochs=2)
    monkeypatch.setattr(VAE, "trainer", TrainerStub())

    assert vae.beta(batches) == expected


@pytest.mark.parametrize(
    ("batches", "expected"), [(0, 0.0), (10, 0.5), (20, 1.0), (39, 1.0), (40, 0.0), (50, 0.5), (79, 1.0)]
)
def test_the_weight_of_the_rate_falls_back_at_the_start_of_each_cycle(monkeypatch, batches, expected):
    vae = make_vae(kl_warmup_epochs=2, kl_cycles=2)
    monkeypatch.setattr(VAE, "trainer", TrainerStub())

    assert vae.beta(batches) == expected


def test_free_bits_let_a_latent_cost_that_much_for_nothing(monkeypatch):
    monkeypatch.setattr(VAE, "trainer", TrainerStub())
    images = torch.rand(8, 1, 16, 16)
    losses = {}
    for free_bits in (0.0, 50.0):
        vae = make_vae(free_bits=free_bits)
        losses[free_bits] = vae.training_step(batch_of(images), 0).item()
        terms = vae.terms(images, step_generator("train", 0, 0, CPU))

    distortion = terms.distortion.mean().item()
    assert losses[50.0] == pytest.approx(distortion + 50.0 * 6, rel=1e-5)
    assert losses[0.0] == pytest.approx(distortion + terms.rate.mean().item(), rel=1e-5)
