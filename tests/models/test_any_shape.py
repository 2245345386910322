"""Every pretext on floats: signals, vectors and images of several bands learn, and no channel's unit decides."""

import pytest
import torch
from torch import nn

from aetransfer.data.augmentation import Flip, ResizedCrop
from aetransfer.data.batches import Batch
from aetransfer.data.draws import Draws, Share
from aetransfer.data.float_augmentation import Jitter, Mask, MaskFeatures, SignalCrop
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.models.contrastive import Contrastive
from aetransfer.models.denoising import DenoisingAutoEncoder
from aetransfer.models.iwae import IWAE
from aetransfer.models.masked import MaskedAutoEncoder
from aetransfer.models.vae import VAE
from aetransfer.models.vicreg import VICReg
from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.mlp import MLP
from tests.made import read_waves

SHAPES = [(3, 40), (5, 16, 12), (24,)]
VIEWS = {1: [Jitter(0.2), MaskFeatures()], 2: [SignalCrop(), Jitter(), Mask()], 3: [ResizedCrop(), Flip(), Jitter()]}
PRETEXTS = {
    "ae": AutoEncoder,
    "denoising": lambda encoder: DenoisingAutoEncoder(encoder, masked=0.2),
    "masked": MaskedAutoEncoder,
    "vae": lambda encoder: VAE(encoder, likelihood="gaussian", kl_warmup_epochs=0),
    "iwae": lambda encoder: IWAE(encoder, likelihood="gaussian", samples=2),
    "contrastive": lambda encoder: Contrastive(encoder, VIEWS[len(encoder.input_shape)], hidden=16, projection=8),
    "vicreg": lambda encoder: VICReg(encoder, VIEWS[len(encoder.input_shape)], hidden=16, projection=8),
}


def batch_of(inputs, step=0):
    share = Share(len(inputs))
    return Batch(
        inputs, torch.zeros(len(inputs), dtype=torch.int64), share, draws=Draws("train", 0, step, share, inputs.device)
    )


def encoder_for(inputs):
    torch.manual_seed(0)
    shape = tuple(inputs.shape[1:])
    encoder = (
        MLP(input_shape=shape, latent_dim=8, hidden=[32])
        if len(shape) == 1
        else Conv4(input_shape=shape, latent_dim=8, widths=[8, 8, 16])
    )
    encoder.takes_pixels = False
    rest = [0, *range(2, inputs.ndim)]
    encoder.normalise.set_statistics(inputs.mean(rest), inputs.std(rest))
    return encoder


def loss_of(model, inputs, step=0):
    batch = batch_of(inputs, step)
    return model.objective(model.step(batch), batch)


@pytest.mark.parametrize("name", PRETEXTS)
@pytest.mark.parametrize("shape", SHAPES, ids=["signals", "images", "vectors"])
def test_it_learns_from_floats_and_in_every_parameter(shape, name):
    inputs = read_waves("train", shape, count=32).inputs
    model = PRETEXTS[name](encoder_for(inputs))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        loss = loss_of(model, inputs, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    reached = {parameter for parameter in model.parameters() if parameter.grad is not None}

    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert [each for each, weight in model.named_parameters() if weight.requires_grad and weight not in reached] == []


@pytest.mark.parametrize("name", PRETEXTS)
@pytest.mark.parametrize("shape", SHAPES, ids=["signals", "images", "vectors"])
def test_the_unit_of_a_channel_and_its_offset_change_no_loss(shape, name):
    inputs = read_waves("train", shape, count=32).inputs
    losses = [loss_of(PRETEXTS[name](encoder_for(each)), each).item() for each in (inputs, inputs * 40 - 7)]

    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


@pytest.mark.parametrize("name", ["ae", "vae"])
def test_what_comes_back_is_in_the_units_of_what_went_in(name):
    inputs = read_waves("train", (3, 40)).inputs
    model = PRETEXTS[name](encoder_for(inputs))
    standardised = model.encoder.normalise(model.reconstruct(inputs))

    assert standardised.mean((0, 2)).abs().max() < 3 and standardised.std((0, 2)).max() < 10


def test_a_gaussian_likelihood_of_floats_is_a_density_of_standardised_inputs():
    inputs = read_waves("train", (3, 40)).inputs
    model = VAE(encoder_for(inputs), likelihood="gaussian", sigma=1.0)
    model.decoder = nn.Sequential(nn.Linear(8, 120), nn.Unflatten(1, (3, 40)))
    standardised = model.encoder.normalise(inputs)
    codes = torch.randn(len(inputs), 8)
    expected = -torch.distributions.Normal(model.decoder(codes), 1.0).log_prob(standardised).sum((1, 2))

    torch.testing.assert_close(model.nll(codes, inputs, 0), expected)
    torch.testing.assert_close(model.encoder.normalise(model.decode(codes)), model.decoder(codes), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli"])
@pytest.mark.parametrize("kind", [VAE, IWAE])
def test_a_likelihood_of_pixels_is_refused_for_floats(kind, likelihood):
    with pytest.raises(ValueError, match=r"set model\.likelihood=gaussian"):
        kind(encoder_for(read_waves("train", (24,)).inputs), likelihood=likelihood)


def test_noise_is_in_units_of_each_channel_and_what_is_hidden_becomes_its_mean():
    inputs = read_waves("train", (3, 40), count=200).inputs
    model = DenoisingAutoEncoder(encoder_for(inputs), sigma=0.5, masked=0.25)
    seen, normalise = model.encoded(batch_of(inputs)), model.encoder.normalise
    hidden = (seen == normalise.mean).all(1)
    noise = (seen - inputs).transpose(1, 2)[~hidden] / normalise.deviation.flatten()

    assert hidden.float().mean().item() == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(noise.std(0), torch.full((3,), 0.5), atol=0.02, rtol=0)
    # Features of a vector are hidden one by one.
    vectors = read_waves("train", (24,)).inputs
    model = DenoisingAutoEncoder(encoder_for(vectors), sigma=0.0, masked=0.25)
    assert (model.encoded(batch_of(vectors)) == model.encoder.normalise.mean).float().std(1).min() > 0


@pytest.mark.parametrize(("shape", "mask"), [((3, 42), (1, 42)), ((5, 20, 18), (1, 20, 18)), ((24,), (24,))])
def test_patches_are_squares_of_images_stretches_of_signals_and_features_of_vectors(shape, mask):
    inputs = read_waves("train", shape).inputs
    model = MaskedAutoEncoder(encoder_for(inputs), patch=4, masked=0.5)
    hidden = model.hidden(batch_of(inputs))

    assert hidden.shape == (len(inputs), *mask)
    assert hidden.mean().item() == pytest.approx(0.5, abs=0.1)
    if len(shape) > 1:
        inside = hidden[:, 0, ..., : 40 if len(shape) == 2 else 16].unflatten(-1, (-1, 4))
        assert torch.equal(inside, inside[..., :1].expand_as(inside))


def test_what_is_seen_does_not_tell_what_is_hidden():
    inputs = read_waves("train", (3, 40)).inputs
    model = MaskedAutoEncoder(encoder_for(inputs))
    seen = []
    model.reconstruct = lambda given: seen.append(given) or given
    error = model.step(batch_of(inputs))["loss"]
    hidden = model.hidden(batch_of(inputs)).bool().expand_as(inputs)

    assert (seen[0][hidden] == model.encoder.normalise.mean.expand_as(inputs)[hidden]).all()
    assert torch.equal(seen[0][~hidden], inputs[~hidden])
    standardised = model.encoder.normalise(inputs).square()
    torch.testing.assert_close(error, (standardised * hidden).sum((1, 2)) / hidden.sum((1, 2)), atol=1e-4, rtol=1e-3)
