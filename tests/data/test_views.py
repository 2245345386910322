"""Views of images: drawn per example, the same whatever the number of processes, and what each setting does."""

import pytest
import torch

from aetransfer.data.augmentation import Colour, Flip, Grey, ResizedCrop
from aetransfer.data.augmented import view_of
from aetransfer.data.draws import Draws, Share
from aetransfer.data.float_augmentation import Jitter, Mask, Scale, SignalCrop, told

CPU = torch.device("cpu")
VIEWS = [ResizedCrop(), Flip(), Colour(), Grey()]
STILL = [ResizedCrop(1.0), Flip(0), Colour(0.0), Grey(0)]


def draws(share, step=3):
    return Draws("train", 5, step, share, CPU)


def images_of(count, channels=3, size=12):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_images_of_the_same_shape_in_0_to_1(channels):
    images = images_of(50, channels)
    view = view_of(images, VIEWS, draws(Share(50)))

    assert view.shape == images.shape
    assert view.min() >= 0 and view.max() <= 1
    assert not torch.allclose(view, images, atol=0.05)


def test_two_views_differ_and_the_same_step_draws_both_again():
    images = images_of(20)
    first, again = (draws(Share(20)) for _ in range(2))

    one, other = view_of(images, VIEWS, first), view_of(images, VIEWS, first)
    assert not torch.equal(one, other)
    assert torch.equal(one, view_of(images, VIEWS, again)) and torch.equal(other, view_of(images, VIEWS, again))
    assert not torch.equal(one, view_of(images, VIEWS, draws(Share(20), step=4)))


@pytest.mark.parametrize("whole", [7, 2, 1])
def test_three_processes_draw_the_views_that_one_would(whole):
    images = images_of(whole)
    alone = view_of(images, VIEWS, draws(Share(whole)))
    for rank in range(3):
        share = Share(whole, rank, 3)
        view = view_of(share.part(images), VIEWS, draws(share))
        torch.testing.assert_close(view, share.part(alone))


def test_three_processes_draw_the_views_of_signals_that_one_would():
    signals, views = torch.randn(7, 2, 30), [SignalCrop(), Scale(), Jitter(), Mask()]
    told(views, torch.zeros(2, 1), torch.ones(2, 1))
    alone = view_of(signals, views, draws(Share(7)))
    for rank in range(3):
        share = Share(7, rank, 3)
        torch.testing.assert_close(view_of(share.part(signals), views, draws(share)), share.part(alone))


def test_a_view_that_changes_nothing_is_the_image():
    images = images_of(9)

    torch.testing.assert_close(view_of(images, STILL, draws(Share(9))), images, atol=1e-5, rtol=0)


def test_about_half_of_the_views_are_mirrored_and_as_many_as_asked_are_grey():
    images = images_of(400)
    flipped = view_of(images, [Flip()], draws(Share(400)))
    mirrored = torch.isclose(flipped, images.flip(3), atol=1e-4).flatten(1).all(1)
    grey = view_of(images, [Grey(0.25)], draws(Share(400)))
    colourless = torch.isclose(grey, grey[:, :1], atol=1e-4).flatten(1).all(1)

    assert 0.4 < mirrored.float().mean() < 0.6
    assert torch.isclose(flipped, images, atol=1e-4).flatten(1).all(1).logical_xor(mirrored).all()
    assert 0.18 < colourless.float().mean() < 0.32


def test_a_crop_shows_a_part_of_the_image():
    ramp = torch.linspace(0, 1, 32).expand(200, 1, 32, 32).contiguous()
    view = view_of(ramp, [ResizedCrop(0.25)], draws(Share(200)))
    widths = view[:, 0, 0, -1] - view[:, 0, 0, 0]

    # Of the area from a quarter on, and wider or narrower than high by a third.
    assert widths.min() > 0.4 and widths.max() <= 1 and widths.std() > 0.05
