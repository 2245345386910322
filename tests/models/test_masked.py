"""Which pixels a masked autoencoder hides, and that its loss is of them alone."""

import pytest
import torch

from aetransfer.data.batches import Batch
from aetransfer.data.draws import Draws, Share
from aetransfer.models.masked import MaskedAutoEncoder
from aetransfer.networks.conv4 import Conv4

CPU = torch.device("cpu")


def masked(size=16, **settings):
    torch.manual_seed(0)
    return MaskedAutoEncoder(Conv4(input_shape=(3, size, size), latent_dim=6, widths=[4, 8]), **settings)


def batch_of(images, step=0, margin=0):
    share = Share(len(images))
    return Batch(images, torch.zeros(len(images)), share, margin, Draws("train", 0, step, share, CPU))


@pytest.mark.parametrize(("share", "patches"), [(0.5, 8), (0.25, 4), (0.01, 1), (0.99, 15)])
def test_each_image_has_as_many_hidden_patches_others_each_time(share, patches):
    model, images = masked(masked=share), torch.rand(9, 3, 16, 16)
    mask = model.hidden(batch_of(images))
    by_patch = mask.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)

    assert mask.shape == (9, 1, 16, 16)
    assert torch.equal(by_patch.amin(4), by_patch.amax(4))
    assert by_patch[..., 0].sum((1, 2, 3)).tolist() == [patches] * 9
    assert not torch.equal(mask, model.hidden(batch_of(images, step=1)))
    assert torch.equal(mask, model.hidden(batch_of(images)))


def test_a_side_that_patches_do_not_divide_is_covered():
    mask = masked(size=18).hidden(batch_of(torch.rand(5, 3, 18, 18)))

    assert mask.shape == (5, 1, 18, 18)
    assert 0 < mask[..., 17].mean() < 1


def test_the_loss_is_of_hidden_pixels_alone_without_the_padding():
    model, images = masked(), torch.rand(4, 3, 16, 16)
    mask = model.hidden(batch_of(images)).bool().expand_as(images)
    model.reconstruct = lambda seen: torch.where(mask, images + 0.5, seen + 7)

    torch.testing.assert_close(model.step(batch_of(images, margin=2))["loss"], torch.full((4,), 0.25))


def test_what_is_hidden_is_not_seen():
    model, images = masked(), torch.rand(4, 3, 16, 16)
    model.encoder.normalise.set_statistics(torch.tensor([0.1, 0.2, 0.3]), torch.ones(3))
    mask = model.hidden(batch_of(images)).bool().expand_as(images)
    seen = []
    model.reconstruct = lambda given: seen.append(given) or given
    model.step(batch_of(images))

    assert torch.equal(seen[0][~mask], images[~mask])
    assert set(seen[0][mask].tolist()) == set(torch.tensor([0.1, 0.2, 0.3]).tolist())


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_hides_nothing_or_all_is_refused(share):
    with pytest.raises(ValueError, match="should be above 0 and below 1"):
        masked(masked=share)
