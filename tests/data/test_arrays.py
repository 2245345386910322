"""data=arrays: .npz, .npy, a folder of .npy, .csv and .parquet become images, signals or vectors with any targets."""

import re
import zipfile

import numpy as np
import pandas
import pytest
import torch

from aetransfer.data import array_files, lazy
from aetransfer.data.readers.arrays import read_arrays
from aetransfer.errors import UserError
from tests.made import in_order


@pytest.fixture
def read(tmp_path):
    """Write arrays into a file by its ending, and read it."""

    def call(arrays, split="train", name="set.npz", **keys):
        path = tmp_path / name
        write(path, arrays)
        return read_arrays(str(path), split, str(tmp_path / "cache"), **keys)

    return call


def write(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".npz":
            np.savez(path, **arrays)
        case ".npy":
            np.save(path, arrays)
        case ".csv":
            path.write_text(arrays)
        case _:
            for name, array in arrays.items():
                path.mkdir(exist_ok=True)
                np.save(path / f"{name}.npy", array)


def noise(*shape, dtype=np.float32, seed=0):
    random = np.random.default_rng(seed)
    return (
        random.integers(256, size=shape, dtype=np.uint8)
        if dtype == np.uint8
        else random.normal(size=shape).astype(dtype)
    )


def refused(call, *parts, **keys):
    with pytest.raises(UserError) as error:
        call(*parts, **keys)
    said = str(error.value)
    assert said.endswith(".") and said.count("\n") == 0
    return said


def medmnist(labels, *, shape=(28, 28)):
    counts = {"train": 12, "val": 4, "test": 6}
    arrays = {f"{part}_images": noise(count, *shape, dtype=np.uint8, seed=count) for part, count in counts.items()}
    return arrays | {f"{part}_labels": labels(count) for part, count in counts.items()}


def test_medmnist_files_have_their_splits_and_classes(read):
    arrays = medmnist(lambda count: np.arange(count).reshape(-1, 1).astype(np.uint8) % 2, shape=(28, 28, 3))
    train, test = read(arrays), read(arrays, "test")
    assert train.inputs.shape == (16, 3, 28, 28) and train.inputs.dtype == torch.uint8
    assert torch.equal(train.inputs[0], torch.from_numpy(arrays["train_images"][0]).permute(2, 0, 1))
    assert train.validation.tolist() == [12, 13, 14, 15] and train.has_test
    assert train.names == ("0", "1") and train.targets.tolist() == [*[0, 1] * 6, *[0, 1] * 2]
    assert test.inputs.shape == (6, 3, 28, 28) and test.targets.tolist() == [0, 1] * 3


def test_many_labels_of_0_and_1_are_labels(read):
    arrays = medmnist(lambda count: noise(count, 14, dtype=np.uint8) // 128)
    train = read(arrays)
    assert train.inputs.shape == (16, 1, 28, 28)
    assert train.targets.dtype == torch.bool and train.targets.shape == (16, 14) and train.learnt.kind == "labels"


def test_keras_names_tell_the_splits(read):
    arrays = {"x_train": noise(8, 5), "y_train": noise(8), "x_test": noise(4, 5, seed=1), "y_test": noise(4, seed=1)}
    train = read(arrays)
    assert train.inputs.shape == (8, 5) and train.learnt.kind == "values" and train.learnt.names == ("y",)
    assert train.validation is None and train.has_test
    assert torch.equal(read(arrays, "test").inputs, torch.from_numpy(arrays["x_test"]))


def test_a_table_without_splits_leaves_the_test_split_to_be_cut(read):
    table = "age,bmi,name,progression\n" + "\n".join(f"{n},{n / 2},a{n % 2},{n * 1.5}" for n in range(6))
    train = read(table, name="set.csv", inputs=["age", "bmi"], targets="progression")
    assert not train.has_test and train.inputs.tolist()[3] == [3, 1.5]
    assert train.targets.shape == (6, 1) and train.learnt.names == ("progression",)
    by_word = read(table, name="set.csv", inputs=["age"], targets="name", groups="bmi")
    assert by_word.names == ("a0", "a1") and by_word.grouped_by == "bmi" and len(by_word.groups.unique()) == 6
    assert "data.kind says otherwise" in by_word.notes[-1]


def test_a_table_takes_all_other_columns_as_inputs_and_says_so(read):
    table = "a;b;c;d;split\n1;2;0.5;1;train\n3;4;1.5;2;train\n5;6;2.5;3;val\n7;8;3.5;4;test\n"
    train = read(table, name="set.csv", targets=["c", "d"], kind="values")
    assert train.inputs.tolist() == [[1, 2], [3, 4], [5, 6]] and train.validation.tolist() == [2]
    assert train.learnt.names == ("c", "d") and train.targets.tolist() == [[0.5, 1], [1.5, 2], [2.5, 3]]
    assert train.notes[0] == "set.csv: the inputs are its 2 other columns, a, b."
    assert read(table, "test", name="set.csv", inputs="[ab]", targets="c").inputs.tolist() == [[7, 8]]


def test_parquet_reads_as_csv(read, tmp_path):
    frame = pandas.DataFrame({"a": [1.5, 2.5, 3.5, 4.5], "who": ["x", "x", "y", "y"], "y": ["no", "yes", "no", "yes"]})
    frame["who"] = frame["who"].astype("category")
    frame.to_parquet(tmp_path / "set.parquet")
    train = read_arrays(str(tmp_path / "set.parquet"), "train", "", inputs="a", targets="y", groups="who")
    assert train.inputs.tolist() == [[1.5], [2.5], [3.5], [4.5]]
    assert train.names == ("no", "yes") and in_order(train.groups) == [[0, 0, 1, 1]] and train.grouped_by == "who"


def test_a_folder_of_npy_and_a_single_one(read):
    arrays = {"inputs": noise(6, 4), "targets": np.array(["b", "a", "b", "a", "b", "a"])}
    train = read(arrays, name="folder")
    assert train.inputs.shape == (6, 4) and train.names == ("a", "b") and train.targets.tolist() == [1, 0] * 3
    alone = read(noise(6, 4), name="only.npy")
    assert alone.inputs.shape == (6, 4) and alone.targets is None


@pytest.mark.parametrize(
    "axes, given, becomes",
    [
        ("NHW", (4, 8, 6), (4, 1, 8, 6)),
        ("NHWC", (4, 8, 6, 12), (4, 12, 8, 6)),
        ("NCHW", (4, 12, 8, 6), (4, 12, 8, 6)),
        ("NCL", (4, 3, 9), (4, 3, 9)),
        ("NLC", (4, 9, 3), (4, 3, 9)),
        ("NL", (4, 9), (4, 1, 9)),
        ("ND", (4, 9), (4, 9)),
        (None, (4, 9), (4, 9)),
    ],
)
def test_axes_are_brought_into_order(read, axes, given, becomes):
    array = noise(*given)
    train = read({"x": array}, axes=axes)
    assert train.inputs.shape == becomes and train.inputs.dtype == torch.float32
    assert torch.allclose(train.inputs.sum(), torch.tensor(array.sum()), rtol=1e-5)
    if axes == "NLC":
        assert torch.equal(train.inputs[1, 2], torch.from_numpy(array[1, :, 2]))


def test_deep_images_keep_their_units_and_say_them(read):
    deep = np.arange(4 * 6 * 6, dtype=np.uint16).reshape(4, 6, 6) * 100
    train = read({"x": deep}, axes="NHW")
    assert train.inputs.dtype == torch.float32 and train.inputs.max() == 14300
    assert train.notes == ("set.npz: images, (1, 6, 6) each, of uint16 from 0 to 14300, kept in their own units.",)
    assert "of float64 from" in read({"x": noise(4, 6, dtype=np.float64)}).notes[0]
    assert "rounded to float32" in read({"x": noise(4, 6, dtype=np.float64)}).notes[0]


def test_several_arrays_are_channels(read):
    arrays = {"left": noise(4, 9), "right": noise(4, 9, seed=1)}
    train = read(arrays, inputs=["left", "right"])
    assert train.inputs.shape == (4, 2, 9) and torch.equal(train.inputs[:, 1], torch.from_numpy(arrays["right"]))


def ragged(*lengths, channels=2):
    random = np.random.default_rng(0)
    return {
        "signals": random.normal(size=(sum(lengths), channels)).astype(np.float32),
        "lengths": np.array(lengths),
        "exercise": np.arange(len(lengths)) % 2,
        "exercise_names": np.array(["lift", "turn"]),
        "side": np.arange(len(lengths)) // 2 % 2,
        "side_names": np.array(["left", "right"]),
        "subject": np.array([f"s{n // 2}" for n in range(len(lengths))]),
    }


def test_signals_of_several_lengths_are_cropped_padded_or_resampled_and_it_is_said(read):
    arrays = ragged(5, 8, 10, 8)
    train = read(arrays, targets="exercise", length=8)
    assert train.inputs.shape == (4, 2, 8) and train.names == ("lift", "turn")
    assert (
        torch.equal(train.inputs[0, :, :5], torch.from_numpy(arrays["signals"][:5].T))
        and not train.inputs[0, :, 5:].any()
    )
    assert torch.equal(train.inputs[2], torch.from_numpy(arrays["signals"][13:21].T))
    assert train.notes[0] == (
        "train: of 4 signals of 5 to 10 samples 1 were cut behind sample 8 and 1 were padded with zeros at the end."
    )
    resampled = read(arrays, targets="exercise", length=9, fit="resample")
    assert torch.allclose(resampled.inputs[0, :, ::2], torch.from_numpy(arrays["signals"][:5].T))
    assert resampled.notes[0].startswith("train: of 4 signals of 5 to 10 samples 4 were resampled, linearly")


def test_windows_keep_the_target_and_the_group_of_their_recording(read):
    arrays = ragged(5, 8, 10, 3)
    train = read(arrays, targets="exercise", window=4, stride=2)
    assert train.inputs.shape == (1 + 3 + 4, 2, 4)
    assert torch.equal(train.inputs[2], torch.from_numpy(arrays["signals"][7:11].T))
    assert train.targets.tolist() == [0, 1, 1, 1, 0, 0, 0, 0]
    assert in_order(train.groups) == [[0, 1, 1, 1, 2, 2, 2, 2]] and train.grouped_by == "recording"
    assert (
        "8 windows of 4 samples, 2 apart, were cut out of 3 signals; 1 that are shorter were left out" in train.notes[0]
    )
    named = read(arrays, targets="exercise", window=4, groups="subject")
    assert named.grouped_by == "subject" and len(named.groups.unique()) == 2


def test_where_takes_one_side(read):
    arrays = ragged(6, 6, 6, 6)
    left, right = (read(arrays, targets="exercise", where={"side": value}) for value in (0, "right"))
    assert torch.equal(left.inputs, torch.from_numpy(arrays["signals"][:12].reshape(2, 6, 2)).mT)
    assert torch.equal(right.inputs, torch.from_numpy(arrays["signals"][12:].reshape(2, 6, 2)).mT)
    said = refused(read, arrays, where={"side": "up"})
    assert said.endswith("no side is up, which data.where asks for: it has left, right.")


def test_a_large_file_is_mapped_and_gives_the_same(read, monkeypatch, tmp_path):
    images, wide = noise(40, 8, 8, 3, dtype=np.uint8), noise(40, 50, dtype=np.float64)
    small = [read({"images": images}), read({"x": wide}, name="wide.npz")]
    monkeypatch.setattr(lazy, "MUCH", 100)
    monkeypatch.setattr(lazy, "CHUNK", 100)
    monkeypatch.setattr(array_files, "MUCH", 100)
    np.savez_compressed(tmp_path / "packed.npz", x=wide, y=noise(40, 4, dtype=np.float64))
    large = [read({"images": images}), read({"x": wide}, name="wide.npz")]
    packed = read_arrays(str(tmp_path / "packed.npz"), "train", str(tmp_path / "cache"))
    for one, other in zip(small, large, strict=True):
        assert torch.equal(one.inputs, other.inputs) and one.notes == other.notes
    assert torch.equal(packed.inputs, small[1].inputs)
    del large, other, packed  # a file that is mapped may not be cut short
    kept = sorted(path.name for path in (tmp_path / "cache").iterdir())
    # The converted arrays, and the two that were unpacked.
    assert len(kept) == 5 and sum("unpacked" in name for name in kept) == 2
    for name in kept:
        (tmp_path / "cache" / name).write_bytes(b"damaged")
    assert torch.equal(read({"images": images}).inputs, small[0].inputs)
    again = read_arrays(str(tmp_path / "packed.npz"), "train", str(tmp_path / "cache"))
    assert torch.equal(again.inputs, small[1].inputs)


def test_a_float32_file_is_mapped_where_it_lies(read, monkeypatch, tmp_path):
    monkeypatch.setattr(lazy, "MUCH", 100)
    monkeypatch.setattr(array_files, "MUCH", 100)
    values = noise(40, 50)
    for name, arrays in (("set.npy", values), ("set.npz", {"x": values})):
        assert torch.equal(read(arrays, name=name).inputs, torch.from_numpy(values))
    assert not (tmp_path / "cache").exists()


def test_groups_have_one_numbering_in_all_splits(read):
    arrays = {
        **{f"x_{part}": noise(4, 3, seed=seed) for seed, part in enumerate(("train", "val", "test"))},
        "who_train": np.array([7, 7, 3, 3]),
        "who_val": np.array([5] * 4),
        "who_test": np.array([4, 9, 9, 4]),
    }
    train, test = read(arrays, groups="who"), read(arrays, "test", groups="who")
    assert in_order(train.groups, test.groups) == [[0, 0, 1, 1, 2, 2, 2, 2], [3, 4, 4, 3]]
    # So have those that data.where leaves, of a subject's one side and of the other.
    table = {"x": noise(6, 3), "who": np.array(["b", "a", "c", "c", "d", "a"]), "side": np.array([0, 0, 0, 1, 1, 1])}
    one, other = (read(table, groups="who", where={"side": side}).groups.tolist() for side in (0, 1))
    assert (one[2], one[1]) == (other[0], other[2]) and other[1] not in one
    said = refused(read, arrays | {"who_test": np.array([4, 9, 3, 4])}, groups="who")
    assert "who 3 is in train and in test: give each who to one of them, or leave data.groups out." in said


def test_duplicates_are_said(read):
    values = noise(8, 3)
    train = read({"x_train": values, "x_test": np.concatenate([values[3:5], noise(2, 3, seed=1)])})
    assert "2 of the 4 test examples are training examples too, such as number 0" in train.notes[-1]
    assert "1 of the 9 examples are there twice" in read({"x": np.concatenate([values, values[:1]])}).notes[-1]


@pytest.mark.parametrize(
    "targets, keys, kind",
    [
        (np.arange(8) % 3, {}, "classes"),
        (np.array([True, False] * 4), {}, "classes"),
        (np.linspace(0, 1, 8), {}, "values"),
        (np.arange(8.0) * 3, {"kind": "values"}, "values"),
        (np.arange(8) + 5, {"kind": "classes"}, "classes"),
        (np.arange(8.0) % 2, {"kind": "classes"}, "classes"),
        (noise(8, 2), {}, "values"),
        (np.eye(8, 8, dtype=int), {"kind": "classes"}, "classes"),
        (np.eye(8, 8, dtype=int), {"kind": "labels"}, "labels"),
        (np.arange(8).reshape(8, 1) % 2, {"kind": "labels"}, "labels"),
    ],
)
def test_what_targets_are(read, targets, keys, kind):
    train = read({"x": noise(8, 3), "y": targets}, **keys)
    assert train.learnt.kind == kind
    assert any("taken for" in note for note in train.notes) == (not keys)


@pytest.mark.parametrize(
    "targets, keys, sentence",
    [
        (np.arange(8) + 5, {}, "y is 8 whole numbers from 5 to 12, which may be classes or values: set data.kind"),
        (np.arange(8.0) % 2, {}, "y is 2 whole numbers from 0 to 1, which may be classes or values"),
        (np.eye(8, dtype=int), {}, "which may be classes or labels"),
        (np.eye(8), {}, "which may be labels or values"),
        (np.array(list("abcdabcd")), {"kind": "values"}, "y is text, such as 'a', and data.kind=values takes numbers"),
        (np.arange(8), {"kind": "labels"}, "y has 2, and labels are 0 or 1"),
        (np.linspace(0, 1, 8), {"kind": "classes"}, "y is decimal numbers, and data.kind=classes takes whole ones"),
        (np.array([1.5, np.nan] * 4), {}, "y has 4 missing or infinite values among its train examples, the first in"),
        (np.array(["a", ""] * 4), {}, "y has 4 missing or infinite values"),
        (np.arange(7), {}, "has 8 train inputs and 7 of y, the targets: they are mixed up"),
        (noise(8, 2, 2), {}, "y is (8, 2, 2): give (N,), or (N, T)"),
    ],
)
def test_targets_that_are_ambiguous_or_wrong_are_refused(read, targets, keys, sentence):
    assert sentence in refused(read, {"x": noise(8, 3), "y": targets}, **keys)


@pytest.mark.parametrize(
    "arrays, keys, sentence",
    [
        ({"x": noise(8, 3), "fat": noise(8)}, {"targets": "fad"}, "has no array fad, which data.targets names (did you mean fat)"),
        ({"a": noise(8, 3), "b": noise(8)}, {}, "has a, b: say which is what with data.inputs=NAME"),
        ({"x": noise(8, 3), "inputs": noise(8, 3)}, {}, "has inputs and x: choose one with data.inputs"),
        ({"x": noise(8, 3)}, {"kind": "classes"}, "say which is what with data.targets=NAME"),
        ({"x": noise(8, 3, 3)}, {}, "x is (8, 3, 3) of float32: say what its axes are with data.axes, NCL or NLC or NHW"),
        ({"x": noise(8, 9, 9, 9, dtype=np.uint8)}, {}, "say what its axes are with data.axes, NHWC or NCHW"),
        ({"x": noise(8, 3)}, {"axes": "NWH"}, "data.axes=NWH names no order of axes that is known"),
        ({"x": noise(8, 3)}, {"axes": "NCL"}, "x is (8, 3), and data.axes=NCL is for 3 axes"),
        ({"x": noise(8)}, {}, "x is (8,): give one row for each example"),
        ({"x": noise(2, 2, 2, 2, 2)}, {}, "give at most four axes"),
        ({"x": np.array(list("abcd"))}, {}, "x holds text, such as 'a', and inputs are numbers"),
        ({"x": noise(0, 3)}, {}, "x is (0, 3), which is empty"),
        ({"x": np.where(np.arange(24).reshape(8, 3) == 5, np.nan, 1)}, {}, "The inputs of train example 1 (the first is 0) have NaN"),
        ({"x": np.full((8, 3), 1e300)}, {}, "or values beyond float32"),
        ({"x": np.zeros((4, 2), complex)}, {}, "holds complex128: save whole or decimal numbers"),
        (ragged(5, 8), {}, "has signals of 5 to 8 samples: data.length=8 crops and pads them to one length"),
        (ragged(5, 8) | {"lengths": np.array([5, 7])}, {}, "signals is (13, 2) and its lengths sum up to 12"),
        (ragged(5, 8), {"window": 9}, "no signal has data.window=9 samples, the longest has 8"),
        (ragged(5, 8), {"window": 4, "length": 4}, "both say how long a signal is"),
        (ragged(5, 8), {"stride": 4}, "data.stride=4 says how far windows are apart, and needs data.window=N"),
        (ragged(5, 8), {"fit": "resample"}, "and needs data.length=N"),
        ({"x": noise(8, 3)}, {"length": 2}, "data.length is for signals, and the inputs are (8, 3): say data.axes=NL"),
        ({"x": noise(8, 3), "split": np.array(["train", "exam"] * 4)}, {}, "split has 'exam', and takes train, val and test"),
        ({"x_test": noise(8, 3)}, {"inputs": "x"}, "has no training examples, only test"),
        ({"x_train": noise(8, 3), "x_test": noise(8, 4)}, {}, "the test inputs are (4,) of float32 each, and the train inputs"),
        (
            {"x_train": noise(4, 3), "y_train": np.array(list("abab")), "x_test": noise(2, 3), "y_test": np.array(["a", "c"])},
            {},
            "the test examples have the class c, which no training example has: training has a, b.",
        ),
    ],
)  # fmt: skip
def test_inputs_that_are_ambiguous_or_wrong_are_refused(read, arrays, keys, sentence):
    assert sentence in refused(read, arrays, **keys)


def test_no_pickle_is_opened(read, tmp_path):
    opened = tmp_path / "opened"

    class Opens:
        def __reduce__(self):
            return open, (str(opened), "w")

    for name, arrays in (("set.npz", {"x": np.array([Opens(), 1], object)}), ("set.npy", np.array([Opens()], object))):
        said = refused(read, arrays, name=name)
        assert "holds Python objects, which only unpickling could read" in said and "numpy.concatenate" in said
    (tmp_path / "pickle.npz").write_bytes(b"\x80\x04K\x01.")
    assert "can't be read" in refused(read_arrays, str(tmp_path / "pickle.npz"), "train", "")
    assert not opened.exists()


def test_an_archive_that_claims_more_than_it_holds_is_refused_before_anything_is_read(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as file, file.open("x.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 10**3)})
        member.write(b"\0" * 100)
    said = refused(read_arrays, str(path), "train", str(tmp_path / "cache"))
    assert re.search(r"its header says \(1000000000000, 1000\) of float32, [\d,]+ bytes, and it has 100\.$", said)


def test_an_array_for_which_the_disk_is_too_small_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "MUCH", 100)
    monkeypatch.setattr(array_files.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    np.savez_compressed(tmp_path / "set.npz", x=np.zeros((100, 100), np.float32))
    said = refused(read_arrays, str(tmp_path / "set.npz"), "train", str(tmp_path / "cache"))
    assert "claims 0.0 GB for x.npy, and" in said and "make room, or set paths.cache_dir" in said


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "can't be read as a table"),
        ("a,b\n", "is empty: a line of names, and a line for each example"),
        ("a,a\n1,2\n", "has two columns called a"),
        ("a,b\n1,2\n1,2,3\n", "can't be read as a table"),
        ("a,b\n1,2\n1,\n", "The inputs of train example 1 (the first is 0) have NaN"),
        ("a,b\n1,x\n1,y\n", "b holds text, such as 'x'"),
    ],
)
def test_a_table_that_is_none_is_refused(read, text, sentence):
    assert sentence in refused(read, text, name="set.csv")


def test_what_is_no_such_file_is_refused(tmp_path):
    (tmp_path / "set.mat").write_bytes(b"MATLAB")
    (tmp_path / "folder").mkdir()
    for place, sentence in (
        ("set.mat", "is none of .npz, .npy, .csv and .parquet: convert it"),
        ("folder", "holds no .npy file"),
        ("set.npz", "does not exist"),
    ):
        assert sentence in refused(read_arrays, str(tmp_path / place), "train", "")
    assert "data=arrays needs data.root=PATH" in refused(read_arrays, None, "train", "")
