"""The cache of decoded folders: when it saves the decoding, and that nothing half written is ever read."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aetransfer.data import decoding
from aetransfer.data.readers.folder import read_folder
from tests.data.conftest import forbid_decoding, read
from tests.made import names_in, stack, write_class_folder, write_image


def caches(cache: Path, split: str) -> set[str]:
    return {name for name in names_in(cache) if f"-{split}-" in name}


def test_a_second_start_decodes_nothing(
    root: Path, pets: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {split: read(root, split) for split in ("train", "test")}
    forbid_decoding(monkeypatch)
    for split, expected in first.items():
        again = read(root, split)
        assert torch.equal(again.inputs, expected.inputs)
        assert torch.equal(again.targets, expected.targets)


def test_who_has_read_the_training_images_decodes_no_test_image_after_the_training(
    root: Path, pets: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(root, "train")
    forbid_decoding(monkeypatch)
    assert len(read(root, "test")) == 4


def test_sizes_and_folders_have_caches_of_their_own(
    root: Path, pets: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = root.parent / "elsewhere" / "pets"
    write_class_folder(other / "train", {"cat": 3, "dog": 3}, seed=5)
    write_class_folder(other / "test", {"cat": 1, "dog": 1}, seed=6)
    asked = [(root, 8), (root, 4), (other, 8)]
    cache = str(root.parent / "cache")
    first = [read_folder(str(place), "train", size, cache).inputs for place, size in asked]
    assert [tuple(images.shape) for images in first] == [(12, 3, 8, 8), (12, 3, 4, 4), (6, 3, 8, 8)]
    forbid_decoding(monkeypatch)
    for (place, size), expected in zip(asked, first, strict=True):
        assert torch.equal(read_folder(str(place), "train", size, cache).inputs, expected)


@pytest.mark.parametrize("name", ["pets", "pets [2024]", "v1.0"])
@pytest.mark.parametrize("change", ["replaced", "touched", "added", "removed", "renamed"])
def test_a_changed_folder_is_decoded_again_into_the_only_cache_of_its_split_that_is_left(
    tmp_path: Path, cache: Path, name: str, change: str
) -> None:
    root = tmp_path / name
    written = write_class_folder(root / "train", {"cat": 3, "dog": 3})
    write_class_folder(root / "test", {"cat": 1, "dog": 1}, seed=1)
    read(root)
    before = caches(cache, "train")

    path = root / "train" / "cat" / "0001.png"
    if change == "replaced":
        written["cat/0001.png"] = np.full((8, 8, 3), 9, np.uint8)
        write_image(path, written["cat/0001.png"])
    elif change == "touched":
        os.utime(path, ns=(1, 1))
    elif change == "added":
        written["cat/0001b.png"] = np.full((8, 8, 3), 9, np.uint8)
        write_image(path.with_name("0001b.png"), written["cat/0001b.png"])
    elif change == "removed":
        path.unlink()
        del written["cat/0001.png"]
    else:
        path.rename(path.with_name("9999.png"))
        written["cat/9999.png"] = written.pop("cat/0001.png")

    assert torch.equal(read(root).inputs, stack(written[path] for path in sorted(written)))
    after = caches(cache, "train")
    assert len(caches(cache, "test")) == 1
    assert len(before) == len(after) == 1
    assert before != after


def test_a_renamed_image_is_read_in_its_new_place_even_where_all_are_of_one_size_and_moment(root: Path) -> None:
    for number in range(3):
        for split in ("train", "test"):
            path = root / split / "cat" / f"{number}.bmp"
            write_image(path, np.full((8, 8, 3), number, np.uint8))
            os.utime(path, ns=(1, 1))
    assert read(root).inputs[:, 0, 0, 0].tolist() == [0, 1, 2]
    (root / "train" / "cat" / "0.bmp").rename(root / "train" / "cat" / "9.bmp")
    assert read(root).inputs[:, 0, 0, 0].tolist() == [1, 2, 0]


def test_a_new_training_image_leaves_the_cache_of_the_test_split_alone(
    root: Path, pets: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read(root, "test").inputs
    write_image(root / "train" / "cat" / "new.png", np.zeros((8, 8, 3), np.uint8))
    read(root, "train")
    forbid_decoding(monkeypatch)
    assert torch.equal(read(root, "test").inputs, expected)


def test_what_is_done_to_the_images_in_memory_does_not_reach_the_cache(root: Path, pets: dict[str, np.ndarray]) -> None:
    read(root).inputs.zero_()
    assert torch.equal(read(root).inputs, stack(pets.values()))


def test_two_readers_at_once_leave_one_whole_cache(
    root: Path, cache: Path, pets: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    both_decode = threading.Barrier(2, timeout=20)
    decode = decoding._decode

    def wait_then_decode(path: str, **how: Any) -> object:
        if path.endswith("cat/0004.png"):
            both_decode.wait()
        return decode(path, **how)

    monkeypatch.setattr(decoding, "_decode", wait_then_decode)
    with ThreadPoolExecutor(2) as pool:
        for images in pool.map(read, [root, root]):
            assert torch.equal(images.inputs, stack(pets.values()))
    assert len(caches(cache, "train")) == len(caches(cache, "test")) == 1
    forbid_decoding(monkeypatch)
    assert torch.equal(read(root).inputs, stack(pets.values()))


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_reader_that_dies_while_decoding_leaves_nothing_that_is_later_read(
    root: Path,
    cache: Path,
    pets: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    failure: type[BaseException],
) -> None:
    decode = decoding._decode

    def die_in_the_middle(path: str, **how: Any) -> object:
        if Path(path).parent.name == "dog":
            raise failure
        return decode(path, **how)

    with monkeypatch.context() as dying:
        dying.setattr(decoding, "_decode", die_in_the_middle)
        with pytest.raises(failure):
            read(root)
    assert names_in(cache) == set()
    assert torch.equal(read(root).inputs, stack(pets.values()))
