"""python -m aetransfer.embed: one's own images, or a data set, through a finished run's encoder into a table."""

import csv
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import aetransfer
from aetransfer import embed, predict
from aetransfer.data.readers.embedded import read_digits
from aetransfer.inference.apply import write_table
from aetransfer.origin import pip_install
from tests.faults import Fault
from tests.integration.conftest import DATA_SETS, TINY_PRETRAINING, assert_refused
from tests.made import names_in, write_class_folder


@pytest.fixture
def run_embed(command):
    return lambda *words: command(embed.main, *words)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def features(path):
    return np.array([[row[key] for key in row if key.startswith("feature_")] for row in rows(path)], dtype=np.float32)


def write_digits(folder):
    """Write the embedded test digits as they are: folder/<class>/<row>.png."""
    split = read_digits("test")
    for row, (image, label) in enumerate(zip(split.inputs, split.targets, strict=True)):
        (folder / str(int(label))).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / str(int(label)) / f"{row:03}.png")


def test_a_folder_of_images_gives_the_features_of_the_data_set_they_are_padded_as_in_training(
    run_train, run_embed, tmp_path
):
    words = (*TINY_PRETRAINING, "model=ae", "data.pad=2")
    run = run_train(*words, "trainer.max_epochs=1", "trainer.limit_train_batches=3", "logger=none").run
    write_digits(tmp_path / "digits")
    done = run_embed(f"run={run}", f"images={tmp_path}/digits", f"out={tmp_path}/own.csv")
    assert done.code == 0, done.err
    assert "resized to 32x32, padded by 2 to 36x36, in grey" in done.out
    assert run_embed(f"run={run}", "data=digits", "data.pad=2", f"out={tmp_path}/data.csv").code == 0

    ours, theirs = rows(tmp_path / "own.csv"), rows(tmp_path / "data.csv")
    by_row = {int(row["image"].rpartition("/")[2].removesuffix(".png")): row for row in ours}
    assert [row["image"] for row in theirs[:2]] == ["test/000", "test/001"]
    for number, row in enumerate(theirs):
        assert by_row[number]["label"] == row["label"]
    order = np.argsort([int(row["image"].rpartition("/")[2].removesuffix(".png")) for row in ours])
    assert np.allclose(features(tmp_path / "own.csv")[order], features(tmp_path / "data.csv"), atol=1e-5)
    assert np.ptp(features(tmp_path / "data.csv"), axis=0).max() > 0.1


@pytest.mark.short
def test_every_format_holds_the_same_numbers_whatever_the_batch(run_embed, finished_pretraining, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    for words in ("out=f.csv", "out=f.npz batch_size=7", "out=f.parquet"):
        out, *more = words.split()
        out = out.replace("out=", f"out={tmp_path}/")
        assert run_embed(f"run={finished_pretraining}", "data=digits", out, *more).code == 0

    table = parquet.read_table(tmp_path / "f.parquet").to_pydict()
    arrays_ = np.load(tmp_path / "f.npz")
    assert list(table) == list(rows(tmp_path / "f.csv")[0])
    assert table["label"] == arrays_["label"].tolist() == [row["label"] for row in rows(tmp_path / "f.csv")]
    columns = np.array([table[name] for name in arrays_["columns"]], dtype=np.float32).T
    assert np.array_equal(columns, features(tmp_path / "f.csv"))
    assert np.allclose(arrays_["features"], columns, atol=1e-5)


@given(arrays(np.float32, (3, 2), elements=st.floats(width=32, allow_nan=False)))
def test_a_csv_gives_every_float32_back_to_the_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "f.csv"
    leading = {"image": np.array(["a", "b, c", 'd"'])}
    write_table(path, leading, "features", values, ["feature_0", "feature_1"])

    assert np.array_equal(features(path), values)
    assert [row["image"] for row in rows(path)] == ["a", "b, c", 'd"']


def test_the_layer_before_the_bottleneck_is_to_be_had_from_an_encoder_file_too(
    run_embed, finished_pretraining, tmp_path
):
    file = finished_pretraining / "encoder.safetensors"
    assert run_embed(f"run={file}", "data=digits", "layer=features", f"out={tmp_path}/f.npz").code == 0

    assert np.load(tmp_path / "f.npz")["features"].shape == (360, aetransfer.load_encoder(file).num_features)


def test_images_that_cannot_be_read_are_listed_and_the_others_are_embedded(run_embed, finished, tmp_path):
    pixels = write_class_folder(tmp_path / "images", {"cat": 3, "dog": 2}, size=40)
    whole = (tmp_path / "images" / "dog" / "0000.png").read_bytes()
    (tmp_path / "images" / "dog" / "0000.png").write_bytes(b"no image")
    (tmp_path / "images" / "readme.txt").write_text("hello")
    words = [f"run={finished}", f"images={tmp_path}/images", f"out={tmp_path}/f.csv", "batch_size=2"]
    done = run_embed(*words)

    assert done.code == 2
    assert "1 file(s) are no images by their names and were left out (.txt)." in done.out
    assert "unreadable: dog/0000.png can't be read as an image" in done.err
    assert [row["image"] for row in rows(tmp_path / "f.csv")] == [name for name in pixels if name != "dog/0000.png"]
    assert [row["image"] for row in rows(tmp_path / "f.csv.unreadable.csv")] == ["dog/0000.png"]

    (tmp_path / "images" / "dog" / "0000.png").write_bytes(whole)
    assert run_embed(*words).code == 0
    assert len(rows(tmp_path / "f.csv")) == 5
    assert not (tmp_path / "f.csv.unreadable.csv").exists()


def test_a_zip_is_embedded_like_its_folder(run_embed, finished, tmp_path):
    pixels = write_class_folder(tmp_path / "images", {"cat": 2, "dog": 2}, size=32)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name in pixels:
            archive.write(tmp_path / "images" / name, name)
    for source in ("images", "images.zip"):
        assert run_embed(f"run={finished}", f"images={tmp_path}/{source}", f"out={tmp_path}/{source}.csv").code == 0

    assert (tmp_path / "images.csv").read_text() == (tmp_path / "images.zip.csv").read_text()


@pytest.mark.parametrize("apply", [embed, predict])
def test_a_terminal_shows_how_many_images_are_done_and_a_file_does_not(command, finished, tmp_path, monkeypatch, apply):
    write_class_folder(tmp_path / "images", {"cat": 3, "dog": 2}, size=32)
    words = (f"run={finished}", f"images={tmp_path}/images", f"out={tmp_path}/f.csv", "batch_size=2")
    to_a_file = command(apply.main, *words)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("TERM", "xterm")
    to_a_terminal = command(apply.main, *words)

    assert (to_a_file.code, to_a_file.err) == (0, "")
    assert to_a_terminal.code == 0
    assert re.search(r"images .*5/5", to_a_terminal.err)


def test_images_without_folders_have_no_label(run_embed, finished, tmp_path):
    write_class_folder(tmp_path, {"images": 2})
    assert run_embed(f"run={finished}", f"images={tmp_path}/images", f"out={tmp_path}/f.csv").code == 0

    assert "label" not in rows(tmp_path / "f.csv")[0]


def test_where_no_image_can_be_read_nothing_is_written(run_embed, finished, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_text("no image")
    (tmp_path / "f.csv").write_text("of yesterday")
    done = run_embed(f"run={finished}", f"images={tmp_path}/images", f"out={tmp_path}/f.csv")

    assert_refused(
        done,
        "None of the 1 image(s) can be read; the first: a.png can't be read as an image (no format that Pillow knows): replace or remove it.",
    )
    assert (tmp_path / "f.csv").read_text() == "of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.csv", "images"]


BAD_WORDS = [
    ("run=R out=f.csv", "Give one of images=FOLDER (or a .zip, or an image), inputs=FILE (.npy or .npz) and data=NAME."),
    ("run=R images=. data=digits out=f.csv", "Give one of images=FOLDER (or a .zip, or an image), inputs=FILE (.npy or .npz) and data=NAME."),
    ("run=R images=. ", "out must be given: add out=... to the command."),
    ("run=R images=. out=f.txt", "out=f.txt should end in .csv, .npz or .parquet."),
    ("run=R images=. out=there/f.csv", "out=there/f.csv can't be written: there is no folder there."),
    ("run=R images=nowhere out=f.csv", "images=nowhere does not exist: give a folder, a .zip or an image."),
    ("run=nowhere images=. out=f.csv", "nowhere does not exist: give a run directory, an encoder.safetensors or a checkpoint."),
    ("run=R image=. out=f.csv", "image is no config key or group (did you mean images)."),
    ("run=R images=. out=f.csv layer=mu", "layer=mu should be 'bottleneck' or 'features'."),
    ("run=R images=. out=f.csv pad=16", "pad=16 leaves nothing of the 32x32 pixels that the encoder takes."),
    ("run=R data=mnist data.pad=0 out=f.csv", "The encoder takes 32x32 images, but mnist gives 28x28 images: set data.pad or data.image_size to fit."),
    ("run=R data=digits pad=2 out=f.csv", "pad belongs to images=: a data set has data.pad."),
    ("run=R data=digits data.labels_per_class=3 out=f.csv", "data.labels_per_class and data.train_fraction choose what is trained on: leave them out."),
    ("run=R data=digts out=f.csv", f"data=digts is no choice of data (did you mean digits): there are {DATA_SETS}."),
    ("run=R images=a,b out=f.csv", "images=a,b names several values, and embed takes one: quote a name with a comma."),
    ("-m run=R images=a,b out=f.csv", "-m sweeps over trainings: embed does one thing at a time."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), BAD_WORDS)
def test_a_command_that_cannot_work_is_refused_before_torch_is_imported(
    torchless, finished_pretraining, words, sentence
):
    done = torchless("embed", *words.replace("run=R", f"run={finished_pretraining}").split())

    assert_refused(done, sentence)
    assert not done.torch


def test_parquet_without_its_package_says_what_to_install(run_embed, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("aetransfer.inference.request.find_spec", lambda name: None)
    done = run_embed(f"run={finished}", f"images={tmp_path}", "out=f.parquet")

    assert_refused(done, f"out=f.parquet needs pyarrow: {pip_install('parquet')}, or name a .csv or .npz.")


@pytest.mark.slow
@pytest.mark.parametrize("signals", [["SIGINT"], ["SIGINT", "SIGINT"], ["SIGTERM"]], ids=lambda sent: "_".join(sent))
def test_what_is_stopped_says_that_it_starts_over_and_leaves_nothing(faulty, run_embed, finished, tmp_path, signals):
    write_class_folder(tmp_path / "images", {"cat": 3})
    words = (f"run={finished}", f"images={tmp_path}/images", f"out={tmp_path}/table.npz", "batch_size=1")

    ended = faulty(Fault(["aetransfer.networks.encoder.Encoder.forward"], 2, signals), "embed", *words)

    assert (ended.code, ended.err) == (130, "Interrupted: the same command starts over.\n")
    assert not {name for name in names_in(tmp_path) if "table" in name}
    assert run_embed(*words).code == 0
