"""Batches: who sees which image when, what augmentation does to it, and that streaming changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from aetransfer.data.augmentation import Blur, Colour, Erasing
from aetransfer.data.augmented import Augment
from aetransfer.data.batches import Epochs, Plan, Preparation, ResidentBatches, StreamedBatches, take
from aetransfer.data.draws import Share
from aetransfer.data.examples import Examples, to_channels
from aetransfer.data.mixing import CutMix, Mix, Mixup
from tests.made import make_images

CPU = torch.device("cpu")
AS_IT_IS = Preparation(channels=1, pad=0)
BOTH = Augment(crop_padding=2, flip=True)
COLOURS = Preparation(channels=3, pad=0)
MORE = Augment(2, True, (Colour(), Erasing()))
MIXING = [Augment(2, True, (Blur(),), Mixup()), Augment(0, True, (), CutMix())]

counts = st.integers(1, 40)
sizes = st.integers(1, 50)
worlds = st.integers(1, 5)
seeds = st.integers(0, 2**24 - 1)
epoch_numbers = st.integers(0, 10_000)


def resident(
    images: Examples,
    *,
    shuffle: bool = True,
    augment: Augment | None = None,
    seed: int = 0,
    epoch: int = 0,
    batch_size: int = 8,
    prepare: Preparation = AS_IT_IS,
    rank: int = 0,
    world_size: int = 1,
    epoch_images: int | None = None,
    **more: Any,
) -> ResidentBatches:
    """Augmented for training, untouched for evaluation, unless told otherwise."""
    if augment is None:
        augment = BOTH if shuffle else Augment()
    return ResidentBatches(
        images.inputs,
        images.targets,
        prepare=prepare,
        epochs=Epochs(len(images), shuffle, augment, seed, epoch_images),
        epoch=lambda: epoch,
        batch_size=batch_size,
        device=CPU,
        rank=rank,
        world_size=world_size,
        **more,
    )


def numbered(count: int) -> Examples:
    """Images whose labels are their numbers, so that a batch says whom it holds."""
    return Examples(
        torch.zeros(count, 1, 4, 4, dtype=torch.uint8), torch.arange(count), names=tuple(map(str, range(count)))
    )


def seen(batches: ResidentBatches) -> list[int]:
    return [label for _, labels, share, *_ in batches for label in labels[: share.counted].tolist()]


def everything(batches: ResidentBatches | StreamedBatches) -> tuple[Tensor, Tensor]:
    images, labels, *_ = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


@given(counts, sizes, st.booleans(), seeds, epoch_numbers)
def test_an_epoch_has_every_image_once_whatever_the_batch_size(
    count: int, batch_size: int, shuffle: bool, seed: int, epoch: int
) -> None:
    batches = resident(numbered(count), shuffle=shuffle, seed=seed, epoch=epoch, batch_size=batch_size)
    assert sorted(seen(batches)) == list(range(count))
    filled = [len(batch.targets) for batch in batches]
    assert len(batches) == len(filled)
    assert all(size == batch_size for size in filled[:-1])


@given(counts, sizes, worlds, st.none() | counts, st.booleans(), seeds, epoch_numbers)
@example(count=9, batch_size=8, world_size=4, epoch_images=None, shuffle=True, seed=0, epoch=0)  # one image is left
@example(count=1, batch_size=1, world_size=3, epoch_images=None, shuffle=False, seed=0, epoch=0)
def test_what_processes_hold_of_each_batch_is_together_the_batch_of_one_process(
    count: int, batch_size: int, world_size: int, epoch_images: int | None, shuffle: bool, seed: int, epoch: int
) -> None:
    images = make_images(count, size=4)
    common = {"seed": seed, "epoch": epoch, "batch_size": batch_size, "shuffle": shuffle}
    common["epoch_images"] = epoch_images if shuffle else None
    alone = resident(images, **common)
    shares = [resident(images, rank=rank, world_size=world_size, **common) for rank in range(world_size)]

    assert {len(share) for share in shares} == {len(alone)}
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sum(part.share.counted for part in parts) == len(whole.targets)
        # Pixels, so crops and flips as well, in the order of the one process.
        again = sum(part.share.of_whole(part.inputs) for part in parts if part.share.counted)
        assert torch.equal(again, whole.inputs)
        for part in parts:
            assert len(part.inputs) == len(part.targets) == max(1, part.share.counted)
            assert torch.equal(part.targets, part.share.part(whole.targets))


@pytest.mark.parametrize("augment", [MORE, *MIXING])
@given(counts, sizes, worlds, seeds)
@example(count=9, batch_size=8, world_size=4, seed=0)  # one image is left
@example(count=1, batch_size=1, world_size=3, seed=0)
@settings(max_examples=20)
def test_processes_augment_and_mix_as_one_process_would(
    augment: Augment, count: int, batch_size: int, world_size: int, seed: int
) -> None:
    images = make_images(count, channels=3)
    common: Any = {"seed": seed, "epoch": 2, "batch_size": batch_size, "augment": augment, "prepare": COLOURS}
    shares = [resident(images, rank=rank, world_size=world_size, **common) for rank in range(world_size)]

    for whole, *parts in zip(resident(images, **common), *shares, strict=True):
        for part in parts:
            torch.testing.assert_close(part.inputs, part.share.part(whole.inputs))
            assert torch.equal(part.targets, part.share.part(whole.targets))
            assert (part.mixed is None) == (augment.mix is None)
            for here, there in zip(part.mixed or (), whole.mixed or (), strict=True):
                assert torch.equal(here, part.share.part(there))


class Given(Mix):
    """Says whom each example is mixed with: all of it becomes its partner's, or nothing does."""

    numbers = 0

    def __init__(self, partner: bool) -> None:
        self.partner = partner

    def __call__(self, inputs: Tensor, partners: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        return partners if self.partner else inputs, torch.full((len(inputs),), 1.0 - self.partner)


def test_an_example_is_mixed_with_what_augmentation_has_made_of_another_of_its_batch() -> None:
    images = Examples(make_images(12, channels=3).inputs, torch.arange(12), names=tuple("abcdefghijkl"))
    own, partners = (
        resident(images, augment=Augment(2, True, MORE.transforms, Given(partner)), batch_size=5, prepare=COLOURS)
        for partner in (False, True)
    )

    for batch, mixed in zip(own, partners, strict=True):
        assert mixed.mixed is not None and torch.equal(batch.targets, mixed.targets)
        places = [batch.targets.tolist().index(target) for target in mixed.mixed.targets.tolist()]
        assert sorted(places) == list(range(len(places)))
        assert all(place != number for number, place in enumerate(places))
        assert torch.equal(mixed.inputs, batch.inputs[places])
        assert torch.equal(mixed.main_targets, mixed.mixed.targets)


@pytest.mark.parametrize("augment", [MORE, *MIXING])
def test_an_epoch_that_goes_on_within_has_the_same_batches(augment: Augment) -> None:
    images = make_images(30, channels=3)
    common: Any = {"augment": augment, "epoch": 1, "batch_size": 4, "prepare": COLOURS}

    whole, rest = list(resident(images, **common)), list(resident(images, first=lambda: 5, **common))

    assert len(rest) == len(whole) - 5
    for batch, expected in zip(rest, whole[5:], strict=True):
        assert torch.equal(batch.inputs, expected.inputs)
        assert all(map(torch.equal, batch.mixed or (), expected.mixed or ()))


def test_other_transforms_leave_order_crops_and_flips_as_they_are() -> None:
    one, other = (Epochs(50, True, augment, 3).plan(4) for augment in (BOTH, MIXING[0]))

    assert torch.equal(one.rows, other.rows) and torch.equal(one.crop, other.crop) and torch.equal(one.flip, other.flip)
    assert one.drawn is None and one.order is None
    assert other.drawn.shape == (50, 3) and other.order.shape == (50,)


def test_evaluation_is_neither_augmented_nor_mixed() -> None:
    images = make_images(20)
    for batch in resident(images, shuffle=False):
        assert batch.mixed is None


@given(counts, worlds, seeds)
def test_the_processes_means_average_to_the_mean_of_the_batch(whole: int, world_size: int, seed: int) -> None:
    values = torch.randn(whole, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shares = [Share(whole, rank, world_size) for rank in range(world_size)]

    together = sum(share.mean(share.part(values)) for share in shares) / world_size

    torch.testing.assert_close(together, values.mean(0))


@given(counts, sizes, st.integers(1, 4), st.integers(1, 9))
@example(count=9, batch_size=4, accumulated=2, most=9)  # the last step has one batch, of one image
def test_each_image_of_an_optimiser_step_counts_the_same(
    count: int, batch_size: int, accumulated: int, most: int
) -> None:
    """most: batches an epoch, as trainer.limit_train_batches has it."""
    used = min(most, -(-count // batch_size))
    batches = list(resident(numbered(count), batch_size=batch_size, steps=lambda: (accumulated, used)))[:used]

    for first in range(0, used, accumulated):
        step = [batch.share for batch in batches[first : first + accumulated]]
        # What Lightning makes of each image's loss.
        counts_for = [share.weight / accumulated / share.whole for share in step]
        assert counts_for == pytest.approx([1 / sum(share.whole for share in step)] * len(step))
    if accumulated == 1:
        assert {batch.share.weight for batch in batches} == {1.0}


@given(counts, sizes, worlds)
@example(count=1, batch_size=1, world_size=3)  # more processes than images
def test_processes_that_evaluate_together_count_every_image_exactly_once(
    count: int, batch_size: int, world_size: int
) -> None:
    images = numbered(count)
    together = []
    for rank in range(world_size):
        share = resident(images, shuffle=False, batch_size=batch_size, rank=rank, world_size=world_size)
        assert len(share) == sum(1 for _ in share)
        together += seen(share)
    assert sorted(together) == list(range(count))


def test_evaluation_keeps_the_order_and_the_pixels_in_every_epoch() -> None:
    images = make_images(20)
    for epoch in (0, 1):
        pixels, labels = everything(resident(images, shuffle=False, epoch=epoch))
        assert torch.equal(labels, images.targets)
        assert torch.equal(pixels, images.inputs.float() / 255)


@given(seeds, epoch_numbers)
def test_one_epoch_of_one_seed_is_the_same_whenever_it_is_asked_for(seed: int, epoch: int) -> None:
    images = make_images(50)
    first, second = (everything(resident(images, seed=seed, epoch=epoch)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@given(seeds, st.lists(epoch_numbers, min_size=2, max_size=2, unique=True))
def test_two_epochs_differ_in_order_crops_and_flips(seed: int, pair: list[int]) -> None:
    first, second = (Epochs(50, True, BOTH, seed).plan(epoch) for epoch in pair)
    assert not torch.equal(first.rows, second.rows)
    assert not torch.equal(first.crop, second.crop)
    assert not torch.equal(first.flip, second.flip)


@given(st.lists(seeds, min_size=2, max_size=2, unique=True), epoch_numbers)
@example(pair=[0, 2**12], epoch=0)  # seeds that agree in their lower bits
def test_two_seeds_differ_in_order(pair: list[int], epoch: int) -> None:
    first, second = (seen(resident(numbered(50), seed=seed, epoch=epoch)) for seed in pair)
    assert first != second


@given(counts, sizes, seeds, st.integers(0, 2), st.booleans())
def test_the_order_does_not_depend_on_the_augmentation_or_the_batch_size(
    count: int, batch_size: int, seed: int, crop_padding: int, flip: bool
) -> None:
    plain = resident(numbered(count), augment=Augment(), seed=seed)
    augmented = resident(numbered(count), augment=Augment(crop_padding, flip), seed=seed, batch_size=batch_size)
    assert seen(augmented) == seen(plain)


def slow_take(images: Tensor, plan: Plan, crop_padding: int) -> np.ndarray:
    """What `take` does, one image after the other: pad, cut a window, flip, scale."""
    size = images.shape[-1]
    taken = []
    for number, row in enumerate(plan.rows.tolist()):
        image = np.pad(images[row].numpy(), ((0, 0), (crop_padding,) * 2, (crop_padding,) * 2))
        if plan.crop is not None:
            top, left = plan.crop[number].tolist()
            image = image[:, top : top + size, left : left + size]
        if plan.flip is not None and plan.flip[number]:
            image = image[:, :, ::-1]
        taken.append(image.astype(np.float32) / 255)
    return np.stack(taken)


@given(counts, st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 4), st.booleans(), seeds, st.data())
def test_crops_and_flips_are_what_a_loop_over_the_images_makes_of_them(
    count: int, size: int, channels: int, crop_padding: int, flip: bool, seed: int, data: st.DataObject
) -> None:
    images = make_images(count, channels=channels, size=size, seed=seed).inputs
    plan = Epochs(count, True, Augment(crop_padding, flip), seed).plan(data.draw(epoch_numbers))
    padded = Preparation(channels, pad=0)(images, crop_padding)
    np.testing.assert_array_equal(
        take(padded, plan, (channels, size, size)).numpy(), slow_take(images, plan, crop_padding)
    )


def test_every_image_has_a_crop_and_a_flip_of_its_own() -> None:
    ramp = torch.arange(1, 65, dtype=torch.uint8).view(1, 1, 8, 8)
    same = Examples(ramp.repeat(400, 1, 1, 1), torch.zeros(400, dtype=torch.int64), names=("ramp",))
    ((pixels, *_),) = resident(same, batch_size=400)

    padded = np.pad(ramp[0, 0].numpy(), 2)
    windows = {(top, left): padded[top : top + 8, left : left + 8] for top in range(5) for left in range(5)}
    looks = {window.tobytes(): (*offset, False) for offset, window in windows.items()}
    looks |= {window[:, ::-1].tobytes(): (*offset, True) for offset, window in windows.items()}
    drawn = [looks[image.tobytes()] for image in (pixels[:, 0] * 255).round().byte().numpy()]

    tops, lefts, flips = np.array(drawn).T
    assert set(drawn) == set(looks.values())
    assert 0.4 < flips.mean() < 0.6
    for offsets in (tops, lefts):
        assert (np.bincount(offsets, minlength=5) > 400 / 5 / 2).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("present", [1, 3])
@pytest.mark.parametrize("pad", [0, 2])
def test_batches_are_float32_between_0_and_1_of_the_asked_channels_and_size(
    channels: int, present: int, pad: int
) -> None:
    images = make_images(10, channels=present)
    images.inputs[0], images.inputs[1] = 0, 255
    pixels, labels = everything(resident(images, prepare=Preparation(channels, pad)))
    assert pixels.shape == (10, channels, 8 + 2 * pad, 8 + 2 * pad)
    assert pixels.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert pixels.min() == 0
    assert pixels.max() == 1


def test_padding_is_a_black_border_around_the_untouched_image() -> None:
    images = make_images(6)
    pixels, _ = everything(resident(images, shuffle=False, prepare=Preparation(1, pad=2)))
    assert torch.equal(pixels[:, :, 2:-2, 2:-2], images.inputs.float() / 255)
    pixels[:, :, 2:-2, 2:-2] = 0
    assert not pixels.any()


@pytest.mark.parametrize("augment", [None, MORE, *MIXING], ids=["usual", "more", "mixup", "cutmix"])
@pytest.mark.parametrize("shuffle", [True, False], ids=["training", "evaluating"])
@pytest.mark.parametrize(
    ("present", "channels", "pad", "rank", "world_size"), [(1, 1, 0, 0, 1), (3, 1, 1, 0, 1), (1, 3, 2, 1, 2)]
)
def test_streamed_batches_are_those_from_memory_to_the_bit(
    tmp_path: Path,
    shuffle: bool,
    augment: Augment | None,
    present: int,
    channels: int,
    pad: int,
    rank: int,
    world_size: int,
) -> None:
    if augment is not None and not shuffle:
        return
    stored = make_images(60, channels=present)
    np.save(tmp_path / "images.npy", stored.inputs.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    positions = torch.arange(5, 60, 2)
    used = Examples(stored.inputs[positions], stored.targets[positions], names=stored.names)
    prepare = Preparation(channels, pad)
    from_memory = resident(
        used,
        shuffle=shuffle,
        augment=augment,
        epoch=3,
        batch_size=5,
        prepare=prepare,
        rank=rank,
        world_size=world_size,
    )
    streamed = StreamedBatches(
        mapped,
        stored.targets,
        positions=positions,
        prepare=prepare,
        epochs=from_memory.epochs,
        epoch=lambda: 3,
        batch_size=5,
        device=CPU,
        workers=1,
        rank=rank,
        world_size=world_size,
    )
    assert len(streamed) == len(from_memory)
    for batch, expected in zip(streamed, from_memory, strict=True):
        assert torch.equal(batch.inputs, expected.inputs)
        assert torch.equal(batch.targets, expected.targets)
        assert batch.share == expected.share
        assert all(map(torch.equal, batch.mixed or (), expected.mixed or ()))


def test_grey_is_pillows_grey_to_within_one() -> None:
    colours = make_images(50, channels=3, size=32).inputs
    ours = to_channels(colours, 1)
    assert ours.shape == (50, 1, 32, 32)
    for colour, grey in zip(colours, ours, strict=True):
        pillows = np.asarray(Image.fromarray(colour.permute(1, 2, 0).numpy()).convert("L"))
        assert np.abs(grey[0].numpy().astype(int) - pillows.astype(int)).max() <= 1


def test_grey_repeated_into_three_channels_is_grey_again() -> None:
    grey = make_images(20).inputs
    coloured = to_channels(grey, 3)
    assert coloured.shape == (20, 3, 8, 8)
    assert torch.equal(to_channels(coloured, 1), grey)
