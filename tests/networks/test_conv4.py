"""The article's encoder and its mirror image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.decoder import he_
from aetransfer.networks.head import Head


@settings(max_examples=25, deadline=None)
@given(
    size=st.lists(st.integers(8, 40), min_size=1, max_size=2),
    channels=st.sampled_from([1, 3, 12]),
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    hidden=st.lists(st.integers(1, 8), max_size=2),
    kernel_size=st.sampled_from([3, 4, 7, 8]),
    batch_norm=st.booleans(),
    full_size_width=st.sampled_from([None, 3]),
)
def test_a_decoder_gives_back_the_size_its_encoder_took(size, channels, **layers):
    encoder = Conv4(input_shape=(channels, *size), latent_dim=5, **layers)
    inputs = torch.rand(2, channels, *size)
    codes = encoder(inputs)

    assert codes.shape == (2, 5)
    assert encoder.make_decoder()(codes).shape == inputs.shape


@settings(max_examples=40, deadline=None)
@given(length=st.integers(16, 4096), kernel_size=st.integers(3, 16))
def test_a_signal_of_any_length_comes_back_at_that_length(length, kernel_size):
    encoder = Conv4(input_shape=(2, length), latent_dim=3, widths=[2, 2, 2, 2], kernel_size=kernel_size)

    assert encoder.make_decoder()(encoder(torch.rand(1, 2, length))).shape == (1, 2, length)


@pytest.mark.parametrize("shape", [(5, 24, 40), (3, 100), (1, 16)])
def test_gradients_reach_every_parameter_of_images_and_signals(shape):
    torch.manual_seed(0)
    encoder = Conv4(input_shape=shape, latent_dim=6, hidden=[32], batch_norm=True, full_size_width=4)
    decoder = encoder.make_decoder()
    decoder(encoder(torch.randn(8, *shape))).square().mean().backward()

    weights = [*encoder.named_parameters(), *decoder.named_parameters()]
    assert [name for name, weight in weights if weight.grad is None] == []
    assert [name for name, weight in weights if name.endswith("weight") and not weight.grad.any()] == []


def test_the_articles_network_has_1024_features_at_28_and_at_32_pixels_and_tells_them_apart():
    for size, other in ((28, 32), (32, 28)):
        encoder = Conv4(input_shape=(1, size, size))
        assert encoder.num_features == 1024
        with pytest.raises(ValueError, match=rf"\(N, 1, {size}, {size}\), got \(1, 1, {other}, {other}\)"):
            encoder(torch.rand(1, 1, other, other))


@pytest.mark.parametrize(("kernel_size", "even"), [(3, False), (4, True)])
def test_a_kernel_of_4_reaches_every_pixel_as_often_and_one_of_3_draws_a_checkerboard(kernel_size, even):
    decoder = Conv4(input_shape=(1, 32, 32), widths=[2, 2], kernel_size=kernel_size).make_decoder()
    for layer in decoder.upsample:
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
    inside = decoder.upsample(torch.ones(1, *decoder.smallest))[..., 4:-4, 4:-4]

    assert (inside.std() < 1e-4) == even


def test_hidden_layers_stand_between_the_maps_and_the_bottleneck():
    encoder = Conv4(input_shape=(1, 32, 32), hidden=[512], latent_dim=16)

    assert encoder.dense[0].weight.shape == (512, 1024)
    assert encoder.bottleneck.weight.shape == (16, 512)
    assert encoder.make_decoder().dense[0].weight.shape == (512, 16)


def test_full_size_maps_are_the_decoders_alone_and_the_pixels_heed_each_other_there():
    plain, full = (Conv4(input_shape=(1, 16, 16), widths=[4, 4], full_size_width=width) for width in (None, 6))
    decoder = full.make_decoder()
    maps = decoder.upsample[:-1](torch.rand(1, *decoder.smallest))
    maps.retain_grad()
    decoder.upsample[-1](maps)[0, 0, 7, 7].backward()

    assert {name: weight.shape for name, weight in full.state_dict().items()} == {
        name: weight.shape for name, weight in plain.state_dict().items()
    }
    assert maps.shape == (1, 6, 16, 16)
    assert (maps >= 0).all()  # not linear in the maps of half the size
    assert maps.grad.ne(0).any(dim=(0, 1)).nonzero().amin(dim=0).tolist() == [6, 6]
    assert maps.grad.ne(0).any(dim=(0, 1)).sum() == 9


def test_normalisation_is_part_of_the_encoder():
    encoder = Conv4(input_shape=(3, 16, 16), widths=[4])
    images = torch.rand(64, 3, 16, 16) * 0.3 + 0.2
    encoder.normalise.set_statistics(images.mean((0, 2, 3)), images.std((0, 2, 3)))
    standardised = encoder.normalise(images)

    torch.testing.assert_close(standardised.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(standardised.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
    assert {"normalise.mean", "normalise.deviation"} <= set(encoder.state_dict())


def test_he_initialisation_counts_the_inputs_of_a_transposed_convolution():
    layer = nn.ConvTranspose2d(64, 32, kernel_size=3, stride=2, padding=1)
    he_(layer)

    assert layer.weight.std().item() == pytest.approx((2 / (64 * 9 / 4)) ** 0.5, rel=0.02)
    assert not layer.bias.any()


def test_he_initialisation_counts_them_in_one_dimension_too():
    layer = nn.ConvTranspose1d(256, 128, kernel_size=8, stride=2, padding=3)
    he_(layer)

    assert layer.weight.std().item() == pytest.approx((2 / (256 * 8 / 2)) ** 0.5, rel=0.02)


def test_he_initialisation_keeps_the_scale_of_a_signal_through_the_decoder():
    torch.manual_seed(0)
    spread = {}
    for init in ("he", "torch"):
        decoder = Conv4(input_shape=(1, 32, 32), init=init).make_decoder()
        spread[init] = decoder(torch.randn(64, 128)).std().item()

    assert 0.3 < spread["he"] < 3
    assert spread["torch"] < 0.1


def test_a_head_without_hidden_layers_is_linear():
    assert [type(layer) for layer in Head(128, 10, []).layers] == [nn.Linear]
    assert [layer.out_features for layer in Head(128, 10).layers if isinstance(layer, nn.Linear)] == [64, 10]
