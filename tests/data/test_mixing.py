"""Mixup and CutMix: who is mixed with whom, by which share, and what that makes of targets."""

import pytest
import torch
from scipy.stats import kstest
from torch.nn import functional as F

from aetransfer.data.batches import Batch
from aetransfer.data.draws import Share
from aetransfer.data.mixing import CutMix, Mixed, Mixup, beta, partners_of


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [2, 3, 40])
def test_each_example_is_the_partner_of_one_other(count):
    partners = partners_of(uniform(count))

    assert sorted(partners.tolist()) == list(range(count))
    assert not (partners == torch.arange(count)).any()


def test_an_example_alone_is_its_own_partner():
    assert partners_of(uniform(1)).tolist() == [0]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_are_of_the_beta_distribution(alpha):
    shares = beta(uniform(2000), alpha)

    assert kstest(shares.numpy(), "beta", args=(alpha, alpha)).pvalue > 0.01


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 50), (7,)])
def test_mixup_is_a_weighted_mean_of_inputs_of_any_shape(shape):
    inputs, partners, drawn = uniform(20, *shape), uniform(20, *shape, seed=1), uniform(20, 1, seed=2)

    mixed, share = Mixup(alpha=0.5)(inputs, partners, drawn)

    assert mixed.shape == inputs.shape and share.shape == (20,)
    for number in range(20):
        torch.testing.assert_close(
            mixed[number], share[number] * inputs[number] + (1 - share[number]) * partners[number]
        )


def test_cutmix_takes_one_rectangle_of_the_partner_and_its_share_is_what_is_left():
    inputs, partners = torch.zeros(200, 3, 10, 16), torch.ones(200, 3, 10, 16)

    mixed, share = CutMix(alpha=1.0)(inputs, partners, uniform(200, 3))

    torch.testing.assert_close(share, 1 - mixed.mean((1, 2, 3)))
    for image in mixed[:, 0].bool():
        if image.any():
            rows, columns = image.any(1).nonzero(), image.any(0).nonzero()
            assert image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    assert torch.equal(mixed, mixed[:, :1].expand_as(mixed))
    assert share.min() < 0.2 and share.max() > 0.9
    # What lies beyond the edges is not taken: on average more is left than was drawn.
    assert 0.5 < share.mean() < 0.75


def test_cutmix_takes_one_stretch_of_a_signal():
    inputs, partners = torch.zeros(200, 3, 50), torch.ones(200, 3, 50)

    mixed, share = CutMix(alpha=1.0)(inputs, partners, uniform(200, 3))

    torch.testing.assert_close(share, 1 - mixed.mean((1, 2)))
    assert torch.equal(mixed, mixed[:, :1].expand_as(mixed))
    assert (mixed[:, 0].diff(dim=1) == 1).sum(1).max() <= 1
    assert share.min() < 0.2 and share.max() > 0.9


def test_a_loss_over_targets_is_that_of_both_by_their_shares():
    logits, share = uniform(6, 4), uniform(6, seed=1)
    targets, others = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([1, 2, 3, 0, 2, 0])
    plain = Batch(torch.zeros(6, 1), targets, Share(6))
    batch = plain._replace(mixed=Mixed(others, share))

    def loss(of):
        return F.cross_entropy(logits, of, reduction="none")

    assert torch.equal(plain.over_targets(loss), loss(targets))
    # The cross-entropy of the mixed one-hot targets.
    soft = share[:, None] * F.one_hot(targets, 4) + (1 - share[:, None]) * F.one_hot(others, 4)
    torch.testing.assert_close(batch.over_targets(loss), F.cross_entropy(logits, soft, reduction="none"))
    assert torch.equal(plain.main_targets, targets)
    assert torch.equal(batch.main_targets, torch.where(share >= 0.5, targets, others))
