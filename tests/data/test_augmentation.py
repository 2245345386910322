"""Each augmentation: what it does to which images, by the numbers it is handed and nothing else."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch import nn

from aetransfer.data.augmentation import Augmentation, Blur, Colour, Crop, Erasing, Flip, Grey, ResizedCrop
from aetransfer.data.augmented import Augment, augmented, is_foreign, numbers_of
from aetransfer.data.mixing import CutMix, Mixup
from aetransfer.errors import UserError

ALL = [Crop(2), Flip(), ResizedCrop(), Colour(), Grey(), Blur(), Erasing()]


def images_of(count, channels=3, height=12, width=12):
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def drawn_for(transforms, count, seed=1):
    return torch.rand(count, sum(numbers_of(transforms)), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("transform", ALL, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 12, 12), (3, 12, 9), (2, 5, 7)])
def test_it_keeps_shape_range_and_what_it_was_given(transform, channels, height, width):
    images = images_of(30, channels, height, width)
    before, drawn = images.clone(), drawn_for([transform], 30)

    changed = augmented(images, [transform], drawn)

    assert changed.shape == images.shape and changed.dtype == torch.float32
    assert changed.min() >= 0 and changed.max() <= 1 + 1e-6
    assert torch.equal(images, before)
    assert torch.equal(changed, augmented(images, [transform], drawn))


@pytest.mark.parametrize("transform", ALL, ids=lambda each: type(each).__name__)
def test_an_example_is_changed_by_its_own_numbers_whoever_is_beside_it(transform):
    images, drawn = images_of(30), drawn_for([transform], 30)

    whole = augmented(images, [transform], drawn)

    torch.testing.assert_close(augmented(images[4::3], [transform], drawn[4::3]), whole[4::3])


def test_transforms_come_in_their_order_each_with_its_own_numbers():
    images, transforms = images_of(20), [Colour(), Flip(), Grey(1.0)]
    drawn = drawn_for(transforms, 20)

    one_by_one = Grey(1.0)(Flip()(Colour()(images, drawn[:, :5]), drawn[:, 5:6]), drawn[:, 6:])

    assert torch.equal(augmented(images, transforms, drawn), one_by_one)


def test_a_crop_is_a_window_of_the_padded_image_and_each_is_as_likely():
    ramp = torch.arange(1, 10).view(1, 1, 3, 3) / 10
    changed = augmented(ramp.repeat(900, 1, 1, 1), [Crop(1)], drawn_for([Crop(1)], 900))

    padded = nn.functional.pad(ramp[0, 0], (1, 1, 1, 1))
    windows = {padded[top : top + 3, left : left + 3].numpy().tobytes() for top in range(3) for left in range(3)}
    seen, counts = np.unique([image.numpy().tobytes() for image in changed[:, 0].contiguous()], return_counts=True)
    assert set(seen.tolist()) <= {window.rstrip(b"\0") for window in windows} | windows
    assert len(seen) == 9 and counts.min() > 60


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("kind", [Flip, Grey, Colour, Blur, Erasing])
def test_so_many_images_are_changed_as_asked(kind, share):
    images, transform = images_of(400), kind(share=share)
    changed = augmented(images, [transform], drawn_for([transform], 400))

    # A blur of a tenth of a pixel changes nothing.
    differing = (changed - images).abs().flatten(1).amax(1) > 1e-5
    assert abs(differing.float().mean() - share) < 0.08


def test_a_blur_is_a_gaussian_filter_of_the_drawn_width():
    transform = Blur(share=1.0, smallest=0.8, largest=0.8)
    image = images_of(1, 3, 24, 24)

    blurred = augmented(image, [transform], drawn_for([transform], 1))

    expected = image[0].numpy()
    for axis in (1, 2):
        expected = gaussian_filter1d(expected, 0.8, axis=axis, mode="mirror", radius=math.ceil(2.4))
    np.testing.assert_allclose(blurred[0].numpy(), expected, atol=1e-5)


def test_what_is_erased_is_one_rectangle_of_the_mean_colour():
    transform = Erasing(share=1.0, smallest=0.1, largest=0.3)
    images = images_of(200, height=20, width=20)
    changed = augmented(images, [transform], drawn_for([transform], 200))

    for image, after in zip(images, changed, strict=True):
        erased = (image != after).all(0)
        rows, columns = erased.any(1).nonzero(), erased.any(0).nonzero()
        assert erased[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
        assert torch.allclose(after[:, erased].mean(1), image.mean((1, 2)), atol=1e-5)
    areas = (images != changed).all(1).float().mean((1, 2))
    assert areas.min() > 0.05 and areas.max() < 0.4


def test_colours_change_grey_images_only_in_brightness_and_contrast():
    transform = Colour(share=1.0)
    grey = images_of(20, 1).expand(-1, 3, -1, -1)
    drawn = drawn_for([transform], 20)

    coloured = augmented(grey, [transform], drawn)

    torch.testing.assert_close(coloured, coloured[:, :1].expand_as(coloured), atol=1e-5, rtol=0)
    torch.testing.assert_close(coloured[:, :1], augmented(grey[:, :1], [transform], drawn), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ResizedCrop(1.5), "lower it"),
        (lambda: Blur(smallest=2.0, largest=1.0), "lower it"),
        (lambda: Erasing(smallest=0.5, largest=0.4), "shares of the area"),
    ],
)
def test_limits_that_make_no_sense_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


class Noise(nn.Module):
    """As a library has it: it draws from torch's own generator."""

    def forward(self, inputs):
        return inputs + 0.01 * torch.randn_like(inputs)


class Wrong(Augmentation):
    numbers = 0

    def __init__(self, change):
        self.change = change

    def __call__(self, inputs, drawn):
        return self.change(inputs)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda inputs: inputs[:, :, 1:], r"gives \(4, 3, 11, 12\) of torch.float32 for inputs \(4, 3, 12, 12\)"),
        (lambda inputs: inputs.double(), r"gives \(4, 3, 12, 12\) of torch.float64 for inputs"),
        (lambda inputs: (inputs, None), "gives tuple for inputs"),
        (lambda inputs: inputs / inputs.mul(0), "gives NaN or infinite values for finite inputs"),
    ],
)
def test_what_gives_something_else_is_refused_by_its_name(change, says):
    with pytest.raises(UserError, match=rf"test_augmentation\.Wrong {says}"):
        augmented(images_of(4), [Flip(), Wrong(change)], torch.rand(4, 1))


def test_a_librarys_transform_draws_by_the_seed_and_leaves_the_generators_as_they_were():
    images, transforms = images_of(5), [Noise(), Noise()]
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)

    first, again, other = (augmented(images, transforms, torch.empty(5, 0), seed) for seed in (7, 7, 8))

    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert is_foreign(transforms) and not is_foreign(ALL)
    # Two of one kind draw different numbers.
    assert not torch.allclose(first - images, 2 * (augmented(images, transforms[:1], torch.empty(5, 0), 7) - images))


def test_crops_and_flips_that_come_first_are_done_as_images_are_gathered():
    class OwnFlip(Flip):
        pass

    assert Augment.of([Crop(4), Flip()]) == Augment.of([Flip(), Crop(4)]) == Augment(4, True)
    assert Augment.of([]) == Augment()
    blur, crop, mixup, own = Blur(), Crop(2), Mixup(), OwnFlip()
    assert Augment.of([Crop(4), crop, blur, mixup]) == Augment(4, False, (crop, blur), mixup)
    assert Augment.of([blur, crop]) == Augment(0, False, (blur, crop))
    assert Augment.of([own]) == Augment(0, False, (own,))
    rare = Flip(share=0.1)
    assert Augment.of([rare]) == Augment(0, False, (rare,))


@pytest.mark.parametrize(
    ("transforms", "says"),
    [
        ([Mixup(), Blur()], "aetransfer.data.mixing.Mixup mixes examples, which comes last, and once"),
        ([CutMix(), Mixup()], "aetransfer.data.mixing.CutMix mixes examples, which comes last, and once"),
        ([3], "int is no augmentation"),
    ],
)
def test_a_list_that_can_not_be_is_refused(transforms, says):
    with pytest.raises(UserError, match=says):
        Augment.of(transforms)
