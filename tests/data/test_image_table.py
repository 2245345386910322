"""data=image_table: pictures with values, labels or a class from a table; and images of any height and width."""

import numpy as np
import pytest
import torch
from PIL import Image

from aetransfer.data.contents import files_of
from aetransfer.data.decoding import decode
from aetransfer.data.readers.folder import read_folder
from aetransfer.data.readers.image_table import read_image_table
from aetransfer.errors import UserError
from tests.made import in_order, write_class_folder, write_image

READER = "aetransfer.data.readers.image_table.read_image_table"


@pytest.fixture
def pictures(tmp_path):
    """Ten pictures of one grey level each, 10 times their number."""
    for number in range(10):
        write_image(tmp_path / "faces" / f"{number}.png", np.full((12, 18, 3), 10 * number, np.uint8))
    return tmp_path


def table_of(root, *columns, name="faces.csv"):
    header = ",".join(["file", *(name for name, _ in columns)])
    lines = [",".join([f"faces/{number}.png", *(str(of(number)) for _, of in columns)]) for number in range(10)]
    (root / name).write_text("\n".join([header, *lines]))


@pytest.fixture
def read(pictures):
    def call(split="train", **keys):
        keys = {"table": "faces.csv", "inputs": "file", "image_size": 8} | keys
        return read_image_table(str(pictures), split, cache_dir=str(pictures / "cache"), **keys)

    return call


def refused(call, *parts, **keys):
    with pytest.raises(UserError) as error:
        call(*parts, **keys)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
    return str(error.value)


def part_of(number):
    return "train" if number < 6 else "val" if number < 8 else "test"


def test_pictures_have_values_and_groups(pictures, read):
    table_of(pictures, ("age", lambda n: n + 0.5), ("who", lambda n: f"w{n // 2}"), ("split", part_of))
    train, test = read(targets="age", groups="who"), read("test", targets="age", groups="who")
    assert train.inputs.shape == (8, 3, 8, 8) and train.inputs[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50, 60, 70]
    assert train.targets[:, 0].tolist() == [n + 0.5 for n in range(8)] and train.learnt.names == ("age",)
    assert train.validation.tolist() == [6, 7] and in_order(train.groups, test.groups) == [
        [0, 0, 1, 1, 2, 2, 3, 3],
        [4, 4],
    ]
    assert test.inputs[:, 0, 0, 0].tolist() == [80, 90]
    assert train.reading is not None and train.grouped_by == "who"


def test_pictures_have_many_labels_and_no_test_split(pictures, read):
    table_of(pictures, ("glasses", lambda n: n % 2), ("beard", lambda n: int(n > 6)))
    train = read(targets=["glasses", "beard"], kind="labels")
    assert train.learnt.kind == "labels" and train.learnt.names == ("glasses", "beard") and not train.has_test
    assert train.targets[:, 1].tolist() == [n > 6 for n in range(10)]
    assert "test split" in refused(read, "test", targets=["glasses", "beard"], kind="labels")


def test_names_that_look_like_numbers_are_names(pictures, read):
    for number in range(3):
        Image.new("RGB", (8, 8)).save(pictures / f"{number:03}", "png")
    (pictures / "ids.csv").write_text("file,y\n000,a\n001,b\n002,a\n")
    assert read(table="ids.csv", targets="y").targets.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "change, keys, sentence",
    [
        (("faces/3.png", "faces/33.png"), {}, "names 'faces/33.png', which is not in"),
        (("faces/3.png", "../3.png"), {}, "names '../3.png', which is not below"),
        (("faces/3.png", "/etc/hostname"), {}, "names '/etc/hostname', which is not below"),
        (("faces/3.png", ""), {}, "example 3 (the first is 0) names no file in file: fill it in"),
        (None, {"targets": "agge"}, "has no column agge, which data.targets names (did you mean age)"),
        (None, {"inputs": "name"}, "has no column name, which data.inputs names"),
        (None, {"targets": "who", "kind": "values"}, "who is text, such as 'w0', and data.kind=values takes numbers"),
        (None, {"kind": "values"}, "data.kind=values is of targets: name their column with data.targets"),
        (("train", "exam"), {}, "split has 'exam', and takes train, val and test"),
        (None, {"table": "none.csv"}, "none.csv does not exist: data.table names a .csv or .parquet file in data.root"),
    ],
)  # fmt: skip
def test_a_table_that_is_wrong_is_refused(pictures, read, change, keys, sentence):
    table_of(pictures, ("age", lambda n: n + 0.5), ("who", lambda n: f"w{n // 2}"), ("split", part_of))
    if change:
        path = pictures / "faces.csv"
        path.write_text(path.read_text().replace(*change, 1))
    assert sentence in refused(read, **keys)


def test_its_files_are_the_table_and_the_pictures(pictures):
    table_of(pictures, ("age", lambda n: n))
    files = files_of({"_target_": READER, "root": str(pictures), "table": "faces.csv", "inputs": "file"})
    assert files.names == ["faces.csv", *(f"faces/{n}.png" for n in range(10))]


def test_an_image_is_cropped_to_the_ratio_about_its_centre(tmp_path):
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10:30] = 200
    write_image(tmp_path / "a.png", pixels)
    assert decode(tmp_path / "a.png", [20, 40], "a").pixels.shape == (3, 20, 40)
    assert (decode(tmp_path / "a.png", [20, 40], "a").pixels == 200).all()
    assert np.array_equal(decode(tmp_path / "a.png", [8, 8], "a").pixels, decode(tmp_path / "a.png", 8, "a").pixels)


def test_a_folder_of_images_is_read_oblong(tmp_path):
    for split in ("train", "test"):
        write_class_folder(tmp_path / "pets" / split, {"cat": 2, "dog": 2}, size=16)
    read = [
        read_folder(str(tmp_path / "pets"), "train", size, str(tmp_path / "cache")) for size in ([8, 16], 8, [8, 8])
    ]
    assert [tuple(each.inputs.shape) for each in read] == [(4, 3, 8, 16), (4, 3, 8, 8), (4, 3, 8, 8)]
    picture = Image.open(tmp_path / "pets" / "train" / "cat" / "0000.png").crop((0, 4, 16, 12))
    assert torch.equal(read[0].inputs[0], torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    assert len(list((tmp_path / "cache").glob("pets-train-*.npy"))) == 2
