"""Controls that keep the scale of what was learnt: what stays, and what does not."""

import pytest
import torch

from aetransfer.errors import UserError
from aetransfer.networks.conv4 import Conv4
from aetransfer.transfer.arms import keep_moments_, shuffle_, transplant_


def learnt():
    torch.manual_seed(1)
    encoder = Conv4(input_shape=(1, 32, 32), latent_dim=16, widths=[32, 64, 64], batch_norm=True)
    encoder.normalise.set_statistics(torch.tensor([0.3]), torch.tensor([0.2]))
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(1, 2)
    return encoder


def test_shuffled_weights_are_the_same_numbers_in_another_order():
    before, after = learnt(), learnt()
    shuffle_(after, seed=0)

    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)
    assert not torch.equal(before.bottleneck.weight, after.bottleneck.weight)


def test_moments_keep_mean_and_variance_of_each_tensor():
    before, after = learnt(), learnt()
    keep_moments_(after, seed=0)

    old, new = before.bottleneck.weight, after.bottleneck.weight
    assert not torch.equal(old, new)
    assert abs((new.mean() - old.mean()).item()) < 4 * old.std().item() / old.numel() ** 0.5
    assert abs(new.std().item() / old.std().item() - 1) < 0.02


def test_buffers_stay_as_they_were_learnt():
    for control in (shuffle_, keep_moments_):
        before, after = learnt(), learnt()
        control(after, seed=0)
        for (name, old), (_, new) in zip(before.named_buffers(), after.named_buffers(), strict=True):
            assert torch.equal(old, new), name


def test_a_control_depends_on_its_seed_alone():
    one, same, other = learnt(), learnt(), learnt()
    for encoder, seed in ((one, 3), (same, 3), (other, 4)):
        torch.rand(7)
        shuffle_(encoder, seed)

    assert torch.equal(one.bottleneck.weight, same.bottleneck.weight)
    assert not torch.equal(one.bottleneck.weight, other.bottleneck.weight)


@pytest.mark.parametrize("layers", [0, 2, 4])
def test_a_transplant_keeps_the_first_layers_with_their_buffers_and_takes_the_rest_fresh(layers):
    before, after = learnt(), learnt()
    fresh = Conv4(input_shape=(1, 32, 32), latent_dim=16, widths=[32, 64, 64], batch_norm=True)
    torch.nn.init.ones_(fresh.bottleneck.bias)
    transplant_(after, fresh, layers)

    for place, (old, other, new) in enumerate(
        zip(before.layers_from_input(), fresh.layers_from_input(), after.layers_from_input(), strict=True)
    ):
        for kept, drawn, module in zip(old, other, new, strict=True):
            expected = (kept if place < layers else drawn).state_dict()
            assert all(torch.equal(value, expected[key]) for key, value in module.state_dict().items())
    assert torch.equal(after.normalise.mean, before.normalise.mean)


def test_more_layers_than_there_are_can_not_be_transplanted():
    with pytest.raises(UserError, match=r"transfer\.transplanted=5, but the encoder has 4 layers"):
        transplant_(learnt(), learnt(), 5)
