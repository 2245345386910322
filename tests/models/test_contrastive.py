"""NT-Xent against its formula, and what a contrastive pretext trains."""

import torch

from aetransfer.data.augmentation import Colour, Flip
from aetransfer.data.batches import Batch
from aetransfer.data.draws import Draws, Share
from aetransfer.models.contrastive import Contrastive, nt_xent
from aetransfer.networks.conv4 import Conv4

CPU = torch.device("cpu")


def slow_nt_xent(first, second, temperature):
    """Chen et al. 2020, eq. 1, a pair at a time."""
    views = torch.cat([first, second]).double()
    count, losses = len(first), []
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        similar = [torch.exp(views[i] @ views[k] / temperature) for k in range(2 * count) if k != i]
        losses.append(-torch.log(torch.exp(views[i] @ views[partner] / temperature) / sum(similar)))
    return (torch.stack(losses[:count]) + torch.stack(losses[count:])) / 2


def test_the_loss_is_the_papers():
    first, second = (torch.nn.functional.normalize(torch.randn(6, 5), dim=1) for _ in range(2))
    loss, matched = nt_xent(first, second, 0.2, Share(6))

    torch.testing.assert_close(loss.double(), slow_nt_xent(first, second, 0.2), atol=1e-4, rtol=1e-4)
    assert loss.shape == matched.shape == (6,)


def test_views_that_are_alike_are_matched_and_cost_little():
    codes = torch.eye(8)
    loss, matched = nt_xent(codes, codes, 0.1, Share(8))

    assert matched.tolist() == [1.0] * 8
    assert loss.max() < 0.01


def test_all_but_the_bottleneck_is_trained():
    torch.manual_seed(0)
    encoder = Conv4(input_shape=(3, 16, 16), latent_dim=6, widths=[4, 8])
    model = Contrastive(encoder, [Flip(), Colour()], hidden=8, projection=4)
    batch = Batch(torch.rand(5, 3, 16, 16), torch.zeros(5), Share(5), draws=Draws("train", 0, 0, Share(5), CPU))
    model.step(batch)["loss"].mean().backward()

    untouched = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert untouched == {"encoder.bottleneck.weight", "encoder.bottleneck.bias"}
    assert not any(parameter.requires_grad for parameter in model.encoder.bottleneck.parameters())
    assert model.untrained == ("bottleneck",)
