"""Which files a folder of images lists, in which order, without one being opened."""

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from aetransfer.data.image_files import list_folder
from aetransfer.errors import UserError
from tests.commands import ROOT


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never opened")


def refused(root: Path, labels: str = "classes") -> str:
    with pytest.raises(UserError) as caught:
        list_folder(root, labels)
    return str(caught.value)


def names(root: Path, labels: str = "classes") -> dict[str, list[str]]:
    return {split: files.names for split, files in list_folder(root, labels).files.items()}


def test_files_come_class_by_class_in_the_order_of_their_names_and_nested_ones_last(root: Path) -> None:
    touch(root, "train/dog/2.png", "train/dog/10.png", "train/cat/b.png", "train/cat/a/z.png", "train/cat/c.png")
    contents = list_folder(root)
    files = contents.files["train"]
    assert list(zip(files.names, files.class_names, strict=True)) == [
        ("train/cat/b.png", "cat"),
        ("train/cat/c.png", "cat"),
        ("train/cat/a/z.png", "cat"),
        ("train/dog/10.png", "dog"),
        ("train/dog/2.png", "dog"),
    ]
    assert (files.paths[0], files.sizes[0]) == (f"{root}/train/cat/b.png", 12)
    assert files.modified[0] == (root / "train/cat/b.png").stat().st_mtime_ns


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "VALIDATION"])
@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "TEST")])
def test_splits_are_known_by_their_names_in_capitals_too(root: Path, train: str, name: str, test: str) -> None:
    touch(root, f"{train}/cat/0.png", f"{name}/cat/1.png", f"{test}/cat/2.png")
    assert names(root) == {"train": [f"{train}/cat/0.png"], "val": [f"{name}/cat/1.png"], "test": [f"{test}/cat/2.png"]}


@pytest.mark.parametrize(("first", "second", "meaning"), [("val", "valid", "validation"), ("Test", "test", "test")])
def test_two_folders_that_mean_one_split_are_refused(root: Path, first: str, second: str, meaning: str) -> None:
    touch(root, "train/cat/0.png", f"{first}/cat/0.png", f"{second}/cat/0.png")
    assert refused(root) == f"{root} has {first} and {second}, which both mean the {meaning} split: keep one."


def test_other_classes_in_val_than_in_train_are_named(root: Path) -> None:
    touch(root, "train/cat/0.png", "val/dog/0.png")
    assert refused(root) == f"{root}: train and val have different classes (cat, dog)."


def test_two_classes_that_differ_in_how_an_accent_is_written_are_refused(root: Path) -> None:
    touch(root, *(f"train/{unicodedata.normalize(form, 'café')}/0.png" for form in ("NFC", "NFD")))
    if len(list((root / "train").iterdir())) < 2:
        pytest.skip("this file system makes one of the two")
    assert refused(root) == f"{root}/train has two folders called café, which differ in how an accent is written."


def test_links_that_lead_back_are_listed_once_and_counted(root: Path) -> None:
    touch(root, "train/cat/0.png", "train/cat/more/1.png", "train/dog/2.png")
    (root / "train/cat/up").symlink_to(root)
    (root / "train/cat/more/self").symlink_to(root / "train/cat/more")
    (root / "train/cat/again").symlink_to(root / "train/cat/more")
    (root / "train/cat/dogs").symlink_to(root / "train/dog")
    contents = list_folder(root)
    assert names(root)["train"] == [
        "train/cat/0.png",
        "train/cat/again/1.png",
        "train/cat/dogs/2.png",
        "train/dog/2.png",
    ]
    assert contents.left_out == ("3 links to folders that are listed already",)


def test_a_class_whose_images_are_all_in_a_folder_within_is_a_class(root: Path) -> None:
    touch(root, "train/cat/tabby/0.png", "train/dog/poodle/old/0.png")
    assert list_folder(root).class_names == ("cat", "dog")


def test_without_labels_a_folder_is_one_heap(root: Path) -> None:
    touch(root, "b.png", "a/1.jpg", "a/deep/2.png", "c.txt", "__MACOSX/b.png", ".trash/d.png")
    contents = list_folder(root, "none")
    assert contents.class_names == ()
    assert contents.files["train"].names == ["b.png", "a/1.jpg", "a/deep/2.png"]
    assert contents.left_out == (
        "1 file that is no image by its name (.txt)",
        "1 file or folder that a system keeps (__MACOSX)",
        "1 hidden file or folder",
    )


@pytest.mark.parametrize("labels", ["none", "inferred"])
def test_without_an_image_there_is_nothing_to_read(root: Path, labels: str) -> None:
    touch(root, "notes.txt")
    assert refused(root, labels) == f"{root} holds no image (but 1 file that is no image by its name (.txt))."
    assert refused(root / "nowhere", labels) == f"{root}/nowhere does not exist: name a folder that holds images."


def test_a_train_folder_is_read_with_its_classes_where_labels_are_left_open(root: Path) -> None:
    touch(root, "train/cat/0.png", "train/dog/1.png")
    assert list_folder(root, "inferred").class_names == ("cat", "dog")


def test_names_that_are_no_text_are_spelt_out_in_what_is_said(root: Path) -> None:
    touch(root, "train/cat/0.png")
    (root / "train/dog").mkdir()
    touch(root, "train/dog/sub\udce9/0.png", "train/dog/x.b\udce9k")
    contents = list_folder(root)
    assert contents.left_out == ("1 file that is no image by its name (.b\\udce9k)",)
    assert "train/dog/sub\\udce9" in contents.notes[0]


def test_listing_imports_no_torch(root: Path) -> None:
    touch(root, "train/cat/0.png")
    code = f"import sys; from aetransfer.data.image_files import list_folder; list_folder({str(root)!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
