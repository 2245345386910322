"""What a reader of one's own may hand over; anything else is a sentence, also where Python skips asserts."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aetransfer.data.examples import Examples
from aetransfer.errors import UserError
from tests.data.test_module import Recorder, make_module
from tests.made import make_images

PIXELS = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 0, 1])
VALUES = torch.tensor([0.5, 1.5, 2.5, 3.5])
NAMES = ("a", "b")

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an array": ({"inputs": PIXELS.numpy()}, "inputs are numpy.ndarray: give a torch tensor, torch.from_numpy(array)"),
    "doubles": (
        {"inputs": PIXELS.double()},
        "inputs are torch.float64: give torch.uint8, images of 0 to 255, or torch.float32",
    ),
    "no axis of examples": ({"inputs": PIXELS[:, 0, 0, 0]}, "inputs are (4,): give (N, ...), one after another"),
    "no input": (
        {"inputs": PIXELS[:0], "targets": LABELS[:0]},
        "inputs are (0, 1, 8, 8): give one example at least",
    ),
    "NaN": ({"inputs": PIXELS / 0}, "inputs have NaN or infinite values: leave those examples out"),
    "infinite": ({"inputs": (PIXELS + 1) / 0}, "inputs have NaN or infinite values: leave those examples out"),
    "a list of targets": ({"targets": [0, 1, 0, 1]}, "targets are list: give a torch tensor, torch.tensor(targets)"),
    "fewer targets": ({"targets": LABELS[:3]}, "targets are (3,) for 4 inputs: give one class for each, (4,)"),
    "one-hot targets": (
        {"targets": torch.eye(4, dtype=torch.int64)},
        "targets are (4, 4) for 4 inputs: give one class for each, (4,)",
    ),
    "short targets": ({"targets": LABELS.int()}, "targets are torch.int32: give torch.int64, targets.long(), of"),
    "targets from 1": ({"targets": LABELS + 1}, "targets go from 1 to 2, but it has 2 names: give 0 to 1"),
    "negative targets": ({"targets": LABELS - 1}, "targets go from -1 to 0, but it has 2 names: give 0 to 1"),
    "fewer values": (
        {"targets": VALUES[:3], "names": ()},
        "targets are (3,) for 4 inputs: give values for each, (4,) or (4, T)",
    ),
    "values without an end": ({"targets": VALUES / 0, "names": ()}, "targets have NaN or infinite values"),
    "more names than values": (
        {"targets": VALUES},
        "targets have 1 values each, but it has 2 names: give one for each",
    ),
    "a name twice": ({"names": ("a", "a")}, "names have 'a' twice: give each a name of its own"),
    "no names": ({"names": ()}, "targets go from 0 to 1, but it has no names: name the classes, or give no targets"),
    "no targets": ({"targets": None}, "names are ('a', 'b'), but it has no targets: give targets, or no names"),
    "numbers as names": (
        {"names": (0, 1)},
        "names are (0, 1): give a tuple of strings, empty where there are no targets",
    ),
    "a list of groups": ({"groups": [0, 0, 1, 1]}, "groups are no tensor (4,) of torch.int64: give each input"),
    "fewer groups": ({"groups": LABELS[:3]}, "groups are no tensor (4,) of torch.int64: give each input"),
    "positions of others": (
        {"validation": torch.tensor([4])},
        "validation should be some of its 4 training examples, but not all: its 1 positions",
    ),
    "positions twice": ({"validation": torch.tensor([1, 1])}, "validation has positions twice: give each once"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_reader_may_not_give_is_said_in_a_sentence(what: str) -> None:
    changed, sentence = WRONG[what]
    with pytest.raises(UserError) as refused:
        Examples(**({"inputs": PIXELS, "targets": LABELS, "names": NAMES} | changed))
    assert str(refused.value).startswith(f"A reader's {sentence}")
    assert str(refused.value).endswith(".")


@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    kind=st.sampled_from([torch.uint8, torch.float32]),
    targets=st.sampled_from(["none", "classes", "values", "rows"]),
    grouped=st.booleans(),
)
def test_inputs_of_any_shape_are_carried_as_they_are(
    shape: list[int], kind: torch.dtype, targets: str, grouped: bool
) -> None:
    inputs, count = torch.ones(shape, dtype=kind), shape[0]
    of_each = {
        "none": (None, ()),
        "classes": (torch.arange(count) % 2, ("a", "b")),
        "values": (torch.arange(count) / 3, ("grams",)),
        "rows": (torch.zeros(count, 3), ("x", "y", "z")),
    }
    given_targets, names = of_each[targets]
    groups = torch.arange(count) // 2 if grouped else None
    examples = Examples(inputs, given_targets, groups, names)

    assert examples.inputs is inputs and examples.targets is given_targets and examples.groups is groups
    assert (len(examples), examples.names) == (count, names)


@given(dtype=st.sampled_from([torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool]))
def test_inputs_of_other_kinds_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(UserError, match=f"A reader's inputs are {dtype}: give torch.uint8"):
        Examples(torch.ones(2, 3, dtype=dtype))


@given(
    shape=st.lists(st.integers(1, 3), min_size=2, max_size=4),
    wrong=st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    data=st.data(),
)
def test_one_value_that_is_no_number_is_enough(shape: list[int], wrong: float, data: st.DataObject) -> None:
    inputs = torch.zeros(shape)
    inputs.view(-1)[data.draw(st.integers(0, inputs.numel() - 1))] = wrong
    with pytest.raises(UserError, match="NaN or infinite"):
        Examples(inputs)


def test_a_list_of_names_will_do() -> None:
    assert Examples(PIXELS, LABELS, names=["a", "b"]).names == ("a", "b")  # type: ignore[arg-type]


@pytest.mark.slow
def test_it_is_said_where_python_skips_asserts_too() -> None:
    program = (
        "import torch; from aetransfer.data.examples import Examples; "
        "Examples(torch.zeros(4, 1, 8, 8).double(), torch.zeros(4, dtype=torch.int64), names=('a',))"
    )
    done = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True)
    assert "UserError: A reader's inputs are torch.float64" in done.stderr


NO_IMAGES = {
    "no channels": (Examples(PIXELS[:, 0], LABELS, names=NAMES), "The train inputs are (4, 8, 8) of torch.uint8: give"),
    "channels last": (Examples(PIXELS.permute(0, 2, 3, 1)), "The train inputs are (4, 8, 8, 1) of torch.uint8: give"),
    "another size": (Examples(PIXELS[..., 1:]), "The train images are 8x7, but data.image_size=8: correct it."),
    "signals": (Examples(PIXELS[:, 0] / 255), "The train inputs are signals of length 8, but 8x8 images were"),
    "bands": (
        Examples(PIXELS.repeat(1, 4, 1, 1)),
        "The train inputs are 8x8 images in 4 channels, of torch.uint8, but 1 are asked",
    ),
}


@pytest.mark.parametrize("what", NO_IMAGES)
def test_what_is_no_set_of_images_is_not_trained_on(what: str) -> None:
    examples, sentence = NO_IMAGES[what]
    with pytest.raises(UserError) as refused:
        make_module(Recorder(examples)).setup("fit")
    assert str(refused.value).startswith(sentence)
    assert str(refused.value).endswith(".")


def test_values_may_be_forgotten_as_classes_may() -> None:
    images = make_images(200)
    module = make_module(Recorder(Examples(images.inputs, torch.rand(200))), labels="none")
    module.setup("fit")
    assert module.used == "Used: 180 train, 20 val images without labels."


@pytest.mark.parametrize("what", [None, (PIXELS, LABELS), np.zeros(3)])
def test_a_reader_that_gives_no_images_at_all_is_told_what_to_return(what: Any) -> None:
    with pytest.raises(UserError, match=r"The reader gives \w+ for the train split: it has to return an aetransfer"):
        make_module(Recorder(what)).setup("fit")


FLAT = torch.arange(200, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (torch.full_like(FLAT, 7), "All 180 training images are the same, and of one value"),
        (make_images(1).inputs.expand(200, -1, -1, -1), "All 180 training images are the same"),
        (FLAT, "Each of the 180 training images is of one value"),
    ],
    ids=["one value", "one image", "each of one value"],
)
def test_training_images_that_hold_nothing_to_learn_are_said_before_training(
    caplog: pytest.LogCaptureFixture, pixels: torch.Tensor, said: str
) -> None:
    images = make_images(200)
    make_module(Recorder(Examples(pixels, images.targets, names=images.names))).setup("fit")
    assert caplog.messages == [f"{said}: look at the files, and at how they are read."]


def test_of_images_that_differ_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    pixels = FLAT.clone()
    pixels[150, 0, 3, 3] += 1
    images = make_images(200)
    make_module(Recorder(Examples(pixels, images.targets, names=images.names)), val_fraction=0.01).setup("fit")
    assert caplog.messages == []
