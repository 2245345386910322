"""The importance-weighted bound, against torch.distributions and the VAE's terms; everything in nats an image."""

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from aetransfer.data.batches import Batch
from aetransfer.data.draws import Draws, Share, step_generator
from aetransfer.evaluation.variational import image_bounds
from aetransfer.models.iwae import IWAE
from aetransfer.models.vae import VAE
from aetransfer.networks.conv4 import Conv4

CPU = torch.device("cpu")


def make(kind=IWAE, **settings):
    torch.manual_seed(0)
    model = kind(Conv4(input_shape=(1, 16, 16), latent_dim=6, widths=[4, 8]), **settings)
    model.make_metrics()
    torch.nn.init.normal_(model.log_variance.weight, std=0.1)
    return model


def batch_of(images, step=0, share=None, draws=Draws):
    share = share or Share(len(images))
    given = draws("train", 0, step, share, CPU)
    return Batch(share.part(images), torch.zeros(len(share.part(images))), share, draws=given)


@torch.no_grad()
def mean_bound(model, images, name="iwae", steps=20):
    return torch.stack([model.step(batch_of(images, step))[name].mean() for step in range(steps)]).mean().item()


def test_one_code_gives_its_own_log_weight():
    model, images = make(samples=1), torch.rand(4, 1, 16, 16)
    bound = model.step(batch_of(images))["iwae"]

    generator = step_generator("train", 0, 0, CPU)
    observed = model.observe(images, generator)
    mean, log_variance = model.posterior(observed)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    codes = mean + torch.randn(mean.shape, generator=generator) * posterior.scale
    likelihood = Bernoulli(logits=model.decoder(codes)).log_prob(observed).sum((1, 2, 3))
    log_weight = likelihood + (Normal(0.0, 1.0).log_prob(codes) - posterior.log_prob(codes)).sum(1)
    torch.testing.assert_close(bound, -log_weight)


def test_one_code_costs_what_it_costs_a_vae_of_the_same_noise():
    images = torch.rand(64, 1, 16, 16)
    iwae, vae = make(samples=1), make(VAE)
    ours, theirs = iwae.step(batch_of(images)), vae.step(batch_of(images))

    for name in ("neg_elbo", "distortion", "rate"):
        torch.testing.assert_close(ours[name], theirs[name])
    # The rate of the bound is that of the code that was drawn, so they agree on average.
    assert mean_bound(iwae, images) == pytest.approx(mean_bound(vae, images, "neg_elbo"), abs=0.05)


def test_the_bound_is_the_tighter_the_more_codes():
    images = torch.rand(32, 1, 16, 16)
    bounds = [mean_bound(make(samples=samples), images) for samples in (1, 2, 5, 50)]

    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] - bounds[-1] > 0.5


def test_training_and_evaluation_give_the_same_bound_for_the_same_codes():
    model, images = make(likelihood="gaussian", sigma=0.5, samples=7), torch.rand(5, 1, 16, 16)

    class AsEvaluated(Draws):
        def normal_like(self, values):
            generators = [step_generator("importance", 3, place, CPU) for place in range(len(values))]
            return torch.stack([torch.randn(values.shape[1:], generator=generator) for generator in generators])

    trained = model.step(batch_of(images, draws=AsEvaluated))["iwae"]
    measured = list(image_bounds(model, images, samples=7, seed=3, first=0, at_once=100))
    torch.testing.assert_close(trained.double(), torch.stack(measured)[:, 1])


def test_a_code_of_hardly_any_weight_leaves_the_gradient_finite():
    model = make(samples=5)
    torch.nn.init.constant_(model.log_variance.bias, 18.0)
    batch = batch_of(torch.rand(4, 1, 16, 16))
    model.objective(model.step(batch), batch).backward()

    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("whole", [8, 7, 1])
def test_three_processes_draw_the_codes_that_one_would(whole):
    model, images = make(samples=3), torch.rand(whole, 1, 16, 16)
    alone = model.step(batch_of(images))["iwae"]
    for rank in range(3):
        share = Share(whole, rank, 3)
        torch.testing.assert_close(model.step(batch_of(images, share=share))["iwae"], share.part(alone))
