"""What a reader of one's own may hand over; anything else is a sentence, also where Python skips asserts."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from aetransfer.data.images import Images
from aetransfer.errors import UserError
from tests.data.test_module import Recorder, make_module
from tests.made import make_images

PIXELS = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 0, 1])

WRONG = {
    "floats": (PIXELS.float(), LABELS, "ab", "images are torch.float32: give torch.uint8, 0 to 255"),
    "no channels": (PIXELS[:, 0], LABELS, "ab", "images are (4, 8, 8): give (N, 1, height, width), or 3 channels"),
    "channels last": (PIXELS.permute(0, 2, 3, 1), LABELS, "ab", "images are (4, 8, 8, 1): give (N, 1, height, width)"),
    "an array": (
        PIXELS.numpy(),
        LABELS,
        "ab",
        "images are numpy.ndarray: give a torch tensor, torch.from_numpy(array)",
    ),
    "no image": (PIXELS[:0], LABELS[:0], "ab", "images are (0, 1, 8, 8): give one image at least"),
    "a list of labels": (PIXELS, [0, 1, 0, 1], "ab", "labels are list: give a torch tensor, torch.tensor(labels)"),
    "fewer labels": (PIXELS, LABELS[:3], "ab", "labels are (3,) for 4 images: give one for each, (4,)"),
    "one-hot labels": (PIXELS, torch.eye(4, dtype=torch.int64), "ab", "labels are (4, 4) for 4 images"),
    "short labels": (PIXELS, LABELS.int(), "ab", "labels are torch.int32: give torch.int64, labels.long()"),
    "labels from 1": (PIXELS, LABELS + 1, "ab", "labels go from 1 to 2, but it has 2 class_names: give 0 to 1"),
    "negative labels": (PIXELS, LABELS - 1, "ab", "labels go from -1 to 0, but it has 2 class_names: give 0 to 1"),
    "a name twice": (PIXELS, LABELS, "aa", "class_names have 'a' twice: give each class a name of its own"),
    "no names": (PIXELS, LABELS, "", "labels go from 0 to 1, but it has no class_names: give 0 to all"),
    "numbers as names": (
        PIXELS,
        LABELS,
        (0, 1),
        "class_names are (0, 1): give a tuple of strings, empty where there are no labels",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_reader_may_not_give_is_said_in_a_sentence(what: str) -> None:
    images, labels, names, sentence = WRONG[what]
    with pytest.raises(UserError) as refused:
        Images(images, labels, tuple(names) if isinstance(names, str) else names)  # type: ignore[arg-type]
    assert str(refused.value).startswith(f"A reader's {sentence}")
    assert str(refused.value).endswith(".")


def test_a_list_of_names_will_do() -> None:
    assert Images(PIXELS, LABELS, ["a", "b"]).class_names == ("a", "b")  # type: ignore[arg-type]


@pytest.mark.slow
def test_it_is_said_where_python_skips_asserts_too() -> None:
    program = (
        "import torch; from aetransfer.data.images import Images; "
        "Images(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64), ('a',))"
    )
    done = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True)
    assert "UserError: A reader's images are torch.float32" in done.stderr


@pytest.mark.parametrize("given", [None, (PIXELS, LABELS), np.zeros(3)])
def test_a_reader_that_gives_no_images_at_all_is_told_what_to_return(given: Any) -> None:
    with pytest.raises(UserError, match=r"The reader gives \w+ for the train split: it has to return an aetransfer"):
        make_module(Recorder(given)).setup("fit")


FLAT = torch.arange(200, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (torch.full_like(FLAT, 7), "All 180 training images are the same, and of one value"),
        (make_images(1).images.expand(200, -1, -1, -1), "All 180 training images are the same"),
        (FLAT, "Each of the 180 training images is of one value"),
    ],
    ids=["one value", "one image", "each of one value"],
)
def test_training_images_that_hold_nothing_to_learn_are_said_before_training(
    caplog: pytest.LogCaptureFixture, pixels: torch.Tensor, said: str
) -> None:
    images = make_images(200)
    make_module(Recorder(Images(pixels, images.labels, images.class_names))).setup("fit")
    assert caplog.messages == [f"{said}: look at the files, and at how they are read."]


def test_of_images_that_differ_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    pixels = FLAT.clone()
    pixels[150, 0, 3, 3] += 1
    images = make_images(200)
    make_module(Recorder(Images(pixels, images.labels, images.class_names)), val_fraction=0.01).setup("fit")
    assert caplog.messages == []
