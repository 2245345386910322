"""Anybody's images in class folders: what is accepted, and what is refused by name."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aetransfer.data.examples import Examples
from aetransfer.data.readers.folder import read_folder
from aetransfer.errors import UserError
from tests.data.conftest import forbid_decoding, read
from tests.made import names_in, stack, write_class_folder, write_image

RED = np.array([255, 0, 0], np.uint8)
GREEN = np.array([0, 255, 0], np.uint8)
BLUE = np.array([0, 0, 255], np.uint8)


def refused(root: Path, split: str = "train") -> str:
    with pytest.raises(UserError) as caught:
        read(root, split)
    return str(caught.value)


def labelled(images: Examples) -> list[tuple[bytes, str]]:
    """Each image's bytes and its class's name."""
    names = [images.names[label] for label in images.targets]
    return list(zip(map(bytes, images.inputs.numpy()), names, strict=True))


def read_alone(root: Path, pixels: Image.Image, name: str = "only.png", image_size: int = 8) -> torch.Tensor:
    """Write one image as thing/<name> of both splits and read it: (3, S, S) uint8."""
    for split in ("train", "test"):
        (root / split / "thing").mkdir(parents=True)
        pixels.save(root / split / "thing" / name)
    return read(root, image_size=image_size).inputs[0]


def test_images_of_the_right_size_are_read_unchanged_in_the_order_of_their_paths(
    root: Path, pets: dict[str, np.ndarray]
) -> None:
    images = read(root)
    assert torch.equal(images.inputs, stack(pets.values()))
    assert images.targets.tolist() == [0] * 7 + [1] * 5
    assert images.names == ("cat", "dog")


def test_the_test_folder_is_the_test_split(root: Path, pets: dict[str, np.ndarray]) -> None:
    expected = write_class_folder(root / "test", {"cat": 2, "dog": 2}, seed=1)
    images = read(root, "test")
    assert torch.equal(images.inputs, stack(expected.values()))
    assert images.targets.tolist() == [0, 0, 1, 1]


@pytest.mark.short
@pytest.mark.parametrize("image_size", [4, 8, 20])
def test_every_image_comes_out_at_the_asked_size(root: Path, image_size: int) -> None:
    for number, shape in enumerate([(8, 8), (3, 5), (30, 11), (1, 1)]):
        write_image(root / "train" / "cat" / f"{number}.png", np.full((*shape, 3), 77, np.uint8))
    write_class_folder(root / "test", {"cat": 1})
    images = read(root, image_size=image_size).inputs
    assert images.shape == (4, 3, image_size, image_size)
    assert (images == 77).all()


@pytest.mark.parametrize("upright", [False, True], ids=["wide", "tall"])
def test_an_oblong_image_is_cropped_to_the_square_in_its_middle(root: Path, upright: bool) -> None:
    bands = np.repeat(np.stack([RED, GREEN, BLUE]), 8, axis=0)  # 24 pixels, in thirds
    pixels = np.broadcast_to(bands[:, None] if upright else bands, (24, 8, 3) if upright else (8, 24, 3))
    read_back = read_alone(root, Image.fromarray(np.ascontiguousarray(pixels)))
    assert (read_back == torch.from_numpy(GREEN).view(3, 1, 1)).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_images_of_every_kind_become_the_colours_that_one_sees(root: Path, mode: str) -> None:
    ramp = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
    grey = ramp if mode != "1" else (ramp > 127).astype(np.uint8) * 255
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "P":
        picture = Image.fromarray(grey).quantize(64)
    else:
        picture = Image.fromarray(grey).convert("RGB").convert(mode)
    assert picture.mode == mode
    read_back = read_alone(root, picture, "only.tif" if mode == "CMYK" else "only.png")
    difference = (read_back.int() - torch.from_numpy(grey).int()).abs()
    assert difference.max() <= 1


def test_hidden_files_and_folders_are_no_images_and_no_classes(root: Path, pets: dict[str, np.ndarray]) -> None:
    (root / "train" / "cat" / ".DS_Store").write_bytes(b"no image")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "notes.txt").write_text("no class")
    assert torch.equal(read(root).inputs, stack(pets.values()))
    assert read(root).names == ("cat", "dog")


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has file names that are no text")
def test_a_file_name_that_is_no_text_is_still_a_file_name(root: Path, pets: dict[str, np.ndarray]) -> None:
    (root / "train" / "cat" / "0000.png").rename(root / "train" / "cat" / os.fsdecode(b"0000-caf\xe9.png"))
    assert torch.equal(read(root).inputs, stack(pets.values()))


def break_image(path: Path, damage: str) -> None:
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("no image")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "a chunk of an unknown kind":
        Image.fromarray(np.random.default_rng(0).integers(256, size=(200, 200, 3), dtype=np.uint8)).save(path)
        before, between, after = path.read_bytes().split(b"IDAT", 2)
        path.write_bytes(before + b"IDAT" + between + b"\0\0\0\0" + after)
    else:
        Image.new("RGB", (8, 8)).save(path, "DDS")
        content = bytearray(path.read_bytes())
        content[80:84] = bytes(4)  # the pixel format's flags
        path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", ["empty", "text", "truncated", "a chunk of an unknown kind", "an unknown pixel format"]
)
def test_a_broken_image_is_named(root: Path, cache: Path, pets: dict[str, np.ndarray], damage: str) -> None:
    broken = root / "train" / "dog" / "0003.png"
    break_image(broken, damage)
    assert f"{broken} can't be read as an image" in refused(root)
    assert names_in(cache) == set()


def test_a_broken_test_image_is_named_where_the_training_images_are_read(
    root: Path, pets: dict[str, np.ndarray]
) -> None:
    broken = root / "test" / "dog" / "0001.png"
    break_image(broken, "truncated")
    assert f"{broken} can't be read as an image" in refused(root, "train")


@pytest.mark.parametrize("side", [12, 40], ids=["where Pillow warns", "where Pillow refuses"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_that_would_fill_the_memory_is_named(
    root: Path, pets: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    huge = root / "train" / "dog" / "huge.png"
    write_image(huge, np.zeros((side, side, 3), np.uint8))
    assert f"{huge} can't be read as an image" in refused(root)


def test_reading_leaves_the_programs_warnings_as_they_were(root: Path) -> None:
    write_class_folder(root / "train", {"cat": 200})
    write_class_folder(root / "test", {"cat": 1})
    before = list(warnings.filters)
    read(root)
    assert warnings.filters == before


def test_an_empty_class_is_named(root: Path, pets: dict[str, np.ndarray]) -> None:
    for split in ("train", "test"):
        (root / split / "fish").mkdir()
    assert f"{root / 'train' / 'fish'} is empty" in refused(root)


def test_a_missing_folder_is_named_with_the_layout(root: Path) -> None:
    message = refused(root)
    assert f"{root / 'train'} does not exist" in message
    assert f"{root / 'train'}/<class>/<images>" in message


def test_a_folder_of_images_without_class_folders_is_named(root: Path) -> None:
    write_image(root / "train" / "0.png", np.zeros((8, 8, 3), np.uint8))
    assert f"{root / 'train'} has no class folders" in refused(root)


def test_no_root_at_all_asks_for_one() -> None:
    with pytest.raises(UserError, match=r"data\.root=DIR"):
        read_folder(None, "train", 8, "unused")


@pytest.mark.parametrize("split", ["train", "test"])
def test_other_classes_in_test_than_in_train_are_named_before_any_training(
    root: Path, pets: dict[str, np.ndarray], split: str
) -> None:
    (root / "test" / "dog").rename(root / "test" / "fish")
    message = refused(root, split)
    assert f"{root}: train and test have different classes (dog, fish)" in message


class TestWithoutATestFolder:
    @pytest.fixture(autouse=True)
    def only_train(self, root: Path) -> dict[str, np.ndarray]:
        return write_class_folder(root / "train", {"cat": 20, "dog": 10, "emu": 2})

    def test_a_fifth_of_each_class_is_set_aside(self, root: Path, only_train: dict[str, np.ndarray]) -> None:
        train, test = read(root), read(root, "test")
        assert test.targets.bincount().tolist() == [4, 2, 1]
        assert train.targets.bincount().tolist() == [16, 8, 1]
        found = [*labelled(train), *labelled(test)]
        names = [path.split("/")[0] for path in only_train]
        assert sorted(found) == sorted(zip(map(bytes, stack(only_train.values()).numpy()), names, strict=True))

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_whoever_reads_a_split_is_told_so(self, root: Path, split: str) -> None:
        told = read(root, split).notes
        assert told == ("pets has no test folder: 7 of its 32 images are set aside as test.",)

    def test_the_same_images_are_set_aside_at_every_start(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = {split: read(root, split).inputs.clone() for split in ("train", "test")}
        forbid_decoding(monkeypatch)
        for split, expected in first.items():
            assert torch.equal(read(root, split).inputs, expected)

    def test_a_test_folder_that_comes_later_is_used_and_frees_the_images_set_aside(
        self, root: Path, cache: Path, only_train: dict[str, np.ndarray]
    ) -> None:
        for split in ("train", "test"):
            read(root, split)
        expected = write_class_folder(root / "test", {"cat": 1, "dog": 1, "emu": 1}, seed=1)
        assert torch.equal(read(root, "test").inputs, stack(expected.values()))
        assert torch.equal(read(root).inputs, stack(only_train.values()))
        assert len(names_in(cache)) == 2

    def test_a_class_of_one_image_stays_in_train_for_the_validation_cut_to_refuse(self, root: Path) -> None:
        write_class_folder(root / "train", {"yak": 1})
        assert read(root).targets.bincount().tolist() == [16, 8, 1, 1]

    def test_classes_of_one_image_leave_nothing_to_set_aside(self, root: Path) -> None:
        other = root.parent / "few"
        write_class_folder(other / "train", {"cat": 1, "dog": 1})
        assert read(other).targets.tolist() == [0, 1]

    def test_a_broken_image_that_was_set_aside_is_named_where_the_training_images_are_read(
        self, root: Path, only_train: dict[str, np.ndarray]
    ) -> None:
        aside = {bytes(image) for image in read(root, "test").inputs.numpy()}
        path = next(path for path, image in only_train.items() if bytes(stack([image])[0].numpy()) in aside)
        break_image(root / "train" / path, "truncated")
        assert f"{root / 'train' / path} can't be read as an image" in refused(root, "train")

    @pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux says what is mapped")
    def test_the_images_stay_on_disk(self, root: Path, cache: Path) -> None:
        train = read(root)
        assert len(train) == 25
        assert any(str(path) in Path("/proc/self/maps").read_text() for path in cache.iterdir())
