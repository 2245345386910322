"""data=timeseries: the files of the UCR and UEA archives, with classes or values, of one length or of several."""

import gzip
from pathlib import Path

import pytest
import torch

from aetransfer.data.readers.timeseries import read_timeseries
from aetransfer.errors import UserError
from tests.made import in_order, real_data

HEADER = """# A comment.
@problemName Made
@timeStamps false
@missing false
@univariate true
@classLabel true {classes}
@data
"""
OF_CLASSES = HEADER.format(classes="b a")
PLAIN = {"TRAIN": "1,2,3:b\n4,5,6:a\n7,8,9:b\n", "TEST": "1,1,1:a\n2,2,2:b\n"}
RAGGED = {"TRAIN": "1,2,3:b\n4,5:a\n", "TEST": "1,1,1,1:a\n"}
MANY = {"TRAIN": "1,2,3:4,5,6:-1.5\n1,2,3:4,5,7:2\n", "TEST": "0,0,0:1,1,1:7\n"}


@pytest.fixture
def read(tmp_path):
    """Write both files of a set and read a split of it."""

    def call(lines, split="train", *, header=OF_CLASSES, ending=".ts", **keys):
        for part, text in lines.items():
            content = (header + text).encode()
            path = tmp_path / f"Made_{part}{ending}"
            path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
        return read_timeseries(str(tmp_path), split, str(tmp_path / "cache"), table="Made", **keys)

    return call


def refused(call, *parts, **keys):
    with pytest.raises(UserError) as error:
        call(*parts, **keys)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("ending", [".ts", ".ts.gz"])
def test_classes_stand_in_the_order_of_the_header(read, ending):
    train, test = read(PLAIN, ending=ending), read(PLAIN, "test", ending=ending)
    assert train.inputs.tolist() == [[[1, 2, 3]], [[4, 5, 6]], [[7, 8, 9]]] and train.inputs.dtype == torch.float32
    assert train.names == ("b", "a") and train.targets.tolist() == [0, 1, 0] and test.targets.tolist() == [1, 0]
    assert train.has_test and train.notes == ()


def test_several_channels_and_a_value(read):
    header = HEADER.replace("univariate true", "univariate false\n@dimensions 2").replace("@classLabel", "@targetLabel")
    train = read(MANY, header=header.format(classes=""))
    assert train.inputs.tolist() == [[[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 7]]]
    assert train.learnt.kind == "values" and train.targets.tolist() == [[-1.5], [2]]


def test_tsv_has_the_class_first_and_nan_behind_shorter_signals(read):
    lines = {"TRAIN": "1\t1\t2\t3\n2\t4\t5\tNaN\n1\t7\t8\t9\n", "TEST": "2\t1\t2\t3\n"}
    train = read(lines, header="", ending=".tsv", length=3)
    assert train.inputs.tolist() == [[[1, 2, 3]], [[4, 5, 0]], [[7, 8, 9]]]
    assert train.names == ("1", "2") and train.targets.tolist() == [0, 1, 0]


def test_signals_of_several_lengths_get_one_and_it_is_said(read):
    train = read(RAGGED, length=3)
    assert train.inputs.tolist() == [[[1, 2, 3]], [[4, 5, 0]]]
    assert train.notes == (
        "Made, train: of 2 signals of 2 to 3 samples 1 were padded with zeros at the end.",
        "Made, test: of 1 signals of 4 to 4 samples 1 were cut behind sample 3.",
    )
    assert read(RAGGED, length=3, fit="resample").inputs.tolist() == [[[1, 2, 3]], [[4, 4.5, 5]]]
    cut = read(RAGGED, window=2, stride=1)
    assert cut.inputs.tolist() == [[[1, 2]], [[2, 3]], [[4, 5]]]
    assert cut.targets.tolist() == [0, 0, 1] and cut.grouped_by == "recording"
    assert in_order(cut.groups, read(RAGGED, "test", window=2).groups) == [[0, 0, 1], [2, 2]]


@pytest.mark.parametrize(
    "lines, change, sentence",
    [
        (RAGGED, None, "has signals of 2 to 3 samples: data.length=3 crops and pads them to one length (with data.fit"),
        (PLAIN | {"TRAIN": "1,?,3:b\n4,5,6:a\n"}, None, "Made_TRAIN.ts, line 8 has missing values (? or NaN)"),
        (PLAIN | {"TEST": "1,2,3:b\nNaN,5,6:a\n"}, None, "Made_TEST.ts, line 9 has missing values (? or NaN)"),
        (PLAIN | {"TRAIN": "1,x,3:b\n"}, None, "Made_TRAIN.ts, line 8 holds what is no number"),
        (PLAIN | {"TRAIN": "1,2,inf:b\n"}, None, "The inputs of train example 0 (the first is 0) have NaN or infinite"),
        (PLAIN | {"TRAIN": "1,2,3:b\n1,2,3:1,2,3:a\n"}, None, "line 9 has 2 channels, and the first signal 1"),
        (PLAIN | {"TRAIN": ""}, None, "Made_TRAIN.ts is empty: no signal is behind @data"),
        (PLAIN, ("timeStamps false", "timeStamps true"), "has time stamps, which are not read"),
        (PLAIN, ("@data", ""), "is no line of a .ts header, which begin with @"),
        (PLAIN, ("univariate true", "univariate false\n@dimensions 3"), "its header says other channels than the 1"),
        (PLAIN, ("@classLabel true b a", "@classLabel true b c"), "has the class 'a', which its @classLabel does not name"),
        (PLAIN, ("@classLabel true b a", "@targetLabel true"), "the target of signal 0 (the first is 0) is 'b', no number"),
        (PLAIN | {"TEST": "1,1,1:c\n"}, ("b a", ""), "the test examples have the class c, which no training example has"),
        (PLAIN | {"TEST": "1,1:a\n"}, None, "the test inputs are (1, 2) of float32 each, and the train inputs (1, 3)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(read, lines, change, sentence):
    header = OF_CLASSES.replace(*change) if change else OF_CLASSES
    assert sentence in refused(read, lines, header=header)


def test_a_set_that_is_not_there_is_refused(read, tmp_path):
    read(PLAIN)
    said = refused(read_timeseries, str(tmp_path), "train", "", table="made")
    assert "has no made_TRAIN.ts, .ts.gz, .tsv or .tsv.gz (did you mean Made)" in said
    (tmp_path / "Made_TEST.ts").unlink()
    assert "has no Made_TEST.ts" in refused(read_timeseries, str(tmp_path), "train", "", table="Made")
    assert "needs data.root=DIR and data.table=NAME" in refused(read_timeseries, None, "train", "")
    (tmp_path / "Made_TEST.ts.gz").write_bytes(b"\x1f\x8bnot gzip")
    assert "can't be read" in refused(read_timeseries, str(tmp_path), "train", "", table="Made")


@pytest.mark.real
def test_the_sets_that_sktime_carries_have_their_published_sizes(tmp_path):
    root = Path(real_data(), "timeseries")
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    for table, keys, shape, test, classes in (
        ("PLAID", {"length": 1344}, (537, 1, 1344), 537, 11),
        ("ACSF1", {}, (100, 1, 1460), 100, 10),
        ("JapaneseVowels", {"length": 29}, (270, 12, 29), 370, 9),
        ("BasicMotions", {}, (40, 6, 100), 40, 4),
        ("Tecator", {}, (172, 1, 100), 43, 1),
        ("Covid3Month", {}, (140, 1, 84), 61, 1),
    ):
        read = [read_timeseries(str(root), split, str(tmp_path), table=table, **keys) for split in ("train", "test")]
        assert read[0].inputs.shape == shape and len(read[1]) == test
        assert len(read[0].names) == classes
    fat = read_timeseries(str(root), "train", str(tmp_path), table="Tecator").targets
    assert 0.5 < fat.min() < fat.max() < 50  # per cent of the meat
