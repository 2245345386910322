"""A map-style Dataset of somebody's as a reader: what its items may be, and how it is called."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from aetransfer.data.reader import examples_of, read_split
from aetransfer.errors import UserError
from tests.data.test_module import make_module
from tests.made import make_images

GREY, COLOUR = make_images(6).inputs, make_images(6, channels=3).inputs

FORMS: dict[str, Callable[[Tensor], Any]] = {
    "an image of PIL": lambda image: Image.fromarray(image.squeeze(0).numpy() if len(image) == 1 else last(image)),
    "a tensor of bytes": lambda image: image,
    "a tensor of floats": lambda image: image / 255,
    "a tensor of half floats": lambda image: (image / 255).half(),
    "an array": lambda image: image.squeeze(0).numpy() if len(image) == 1 else last(image),
    "an array with its channels": lambda image: last(image),
}


def last(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


class Items(Dataset[Any]):
    def __init__(self, *items: Any, **said: Any) -> None:
        self.items = items
        self.__dict__ |= said

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        return self.items[number]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])
def test_images_of_each_form_are_read_to_the_last_bit(form: str, images: Tensor) -> None:
    examples = examples_of(Items(*((FORMS[form](image), number % 2) for number, image in enumerate(images))))
    assert torch.equal(examples.inputs, images)
    assert examples.labels.tolist() == [0, 1] * 3
    assert examples.names == ("0", "1")


@given(st.lists(st.sampled_from([0, 1, 2, np.int64(1), torch.tensor(2), np.uint8(0), True]), min_size=1, max_size=6))
def test_labels_are_whatever_counts_as_a_whole_number(labels: list[Any]) -> None:
    examples = examples_of(Items(*((GREY[0], label) for label in labels), classes=["a", "b", "c"]))
    assert examples.labels.tolist() == [int(label) for label in labels]
    assert examples.names == ("a", "b", "c")


@pytest.mark.parametrize("item", [lambda image: (image, None), lambda image: (image,), lambda image: image])
def test_there_may_be_no_labels(item: Callable[[Tensor], Any]) -> None:
    examples = examples_of(Items(*map(item, GREY), classes=["a"]))
    assert (examples.targets, examples.names, len(examples)) == (None, (), 6)


@pytest.mark.parametrize(
    ("item", "kind", "shape"),
    [
        ((torch.randn(6, 20), 0.5), "values", (6, 20)),
        ((torch.randn(30), torch.rand(2)), "values", (30,)),
        ((np.random.default_rng(0).normal(size=7), np.array([True, False, True])), "labels", (7,)),
        ((torch.randn(12, 8, 9).double(), np.float64(3)), "values", (12, 8, 9)),
        ((torch.zeros(5, 8, 9, dtype=torch.uint8), 0), "classes", (5, 8, 9)),
    ],
)
def test_inputs_of_any_shape_and_any_target_are_kept(item: Any, kind: str, shape: tuple[int, ...]) -> None:
    examples = examples_of(Items(item, item))
    assert (examples.learnt.kind, tuple(examples.inputs.shape)) == (kind, (2, *shape))
    assert torch.equal(examples.inputs[0], torch.as_tensor(item[0]).to(examples.inputs.dtype))
    assert examples.labels[1].tolist() == np.atleast_1d(np.float32(item[1])).tolist() or examples.labels[1] == item[1]


class Anew(Items):
    def __getitem__(self, number: int) -> Any:
        return torch.rand(1, 8, 8), 0


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield GREY[0], 0


class NoLength(Dataset[Any]):
    pass


IMAGE = GREY[0]
WRONG: dict[str, tuple[Dataset[Any], str]] = {
    "nothing": (Items(), "Items has no items."),
    "without an end": (Endless(), "Endless has no length and no order: give a map-style Dataset"),
    "without a length": (NoLength(), "NoLength has no length and no order: give a map-style Dataset"),
    "two sizes": (
        Items((IMAGE, 0), (IMAGE[:, :4], 0)),
        "Item 1 of Items is 1x4x8 of torch.uint8, but the first is 1x8x8 of torch.uint8: give all one size",
    ),
    "grey and colour": (Items((IMAGE, 0), (COLOUR[0], 0)), "Item 1 of Items is 3x8x8 of torch.uint8, but the first"),
    "normalised": (
        Items((IMAGE / 255 - 1.5, 0)),
        "Item 0 of Items holds values from -1.",
    ),
    "NaN": (Items((IMAGE * torch.nan, 0)), "Item 0 of Items holds values from nan to nan: give floats in [0, 1]"),
    "whole numbers": (Items((IMAGE.int(), 0)), "Item 0 of Items is of torch.int32: give torch.uint8, or floats"),
    "no channels": (Items((IMAGE[0], 0)), "Item 0 of Items is 8x8 of bytes: give an image (C, H, W), or floats"),
    "channels first": (Items((COLOUR[0].numpy(), 0)), "Item 0 of Items is an array (3, 8, 8) of uint8: give (H, W)"),
    "an array of whole numbers": (
        Items((np.zeros((8, 8), np.int64), 0)),
        "Item 0 of Items is an array (8, 8) of int64: give (H, W) or (H, W, C) of uint8, or floats",
    ),
    "a number": (Items((torch.tensor(1.0), 0)), "Item 0 of Items is a tensor (): give (C, H, W), (C, L) or (D,)"),
    "bytes and floats": (
        Items((IMAGE, 0), (torch.zeros(4, 8, 8), 0)),
        "Item 1 of Items is 4x8x8 of torch.float32, but",
    ),
    "a palette": (
        Items((Image.new("P", (8, 8)), 0)),
        "Item 0 of Items is an image of mode P: give L or RGB, image.convert('RGB')",
    ),
    "a mapping": (Items({"image": IMAGE}), "Item 0 of Items is of dict: give an image of PIL, a tensor or an array"),
    "three parts": (Items((IMAGE, 0, 0)), "Item 0 of Items has 3 parts: give (input, target)"),
    "boxes": (Items((IMAGE, torch.rand(2, 4))), "Item 0 of Items has the target tensor("),
    "a text": (Items((IMAGE, "cat")), "Item 0 of Items has the target 'cat': give an int, floats, bools, or None"),
    "a label lacks": (Items((IMAGE, 0), (IMAGE, None)), "Item 1 of Items has another kind of target than the first"),
    "a class and a value": (Items((IMAGE, 0), (IMAGE, 0.5)), "Item 1 of Items has another kind of target than the"),
    "NaN as a value": (Items((IMAGE, float("nan"))), "A reader's targets have NaN or infinite values"),
    "labels from 1": (
        Items((IMAGE, 1), (IMAGE, 2), classes=["a", "b"]),
        "A reader's targets go from 1 to 2, but it has 2 names: give 0 to 1",
    ),
    "random ones": (Anew(0, 0), "Item 0 of Anew is another one when it is asked for again: leave what is random to"),
}


@pytest.mark.parametrize("what", WRONG)
def test_items_of_other_kinds_are_a_sentence(what: str) -> None:
    dataset, sentence = WRONG[what]
    with pytest.raises(UserError) as refused:
        examples_of(dataset)
    assert str(refused.value).startswith(sentence)
    assert str(refused.value).endswith(".")


@given(st.floats(allow_nan=True, allow_infinity=True, width=32))
def test_one_value_outside_the_unit_range_is_enough(value: float) -> None:
    image = torch.full((1, 2, 2), 0.5)
    image[0, 1, 1] = value
    if 0 <= value <= 1:
        assert abs(examples_of(Items(image)).inputs[0, 0, 1, 1] - value * 255) <= 0.5001
    else:
        with pytest.raises(UserError, match=r"holds values from .* to .*: give floats"):
            examples_of(Items(image))


def test_a_reader_is_called_with_split_or_as_torchvisions_with_train() -> None:
    def by_split(split: str) -> Any:
        return Items(GREY[0] if split == "train" else GREY[1])

    def by_train(train: bool = True, transform: Any = None) -> Any:
        return by_split("train" if train else "test")

    def by_any(**keys: Any) -> Any:
        return by_split(**keys)

    class Whole(Items):
        def __init__(self, train: bool) -> None:
            super().__init__(GREY[0] if train else GREY[1])

    for reader in (by_split, by_train, by_any, Whole):
        assert torch.equal(read_split(reader, "train").inputs, GREY[:1])
        assert torch.equal(read_split(reader, "test").inputs, GREY[1:2])


def test_a_reader_that_is_not_told_the_split_is_refused() -> None:
    with pytest.raises(UserError, match="The reader takes neither split nor train"):
        read_split(lambda root="": Items(GREY[0]), "train")


def test_a_module_is_made_of_it_as_of_any_other_data() -> None:
    images = make_images(200)
    dataset = TensorDataset(images.inputs / 255, images.labels)
    module = make_module(lambda split: dataset)  # type: ignore[arg-type]
    module.setup("fit")
    assert module.used == "Used: 180 train, 20 val images of 4 classes."
    assert torch.equal(module.training_split.inputs, images.inputs)
