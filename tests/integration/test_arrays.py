"""Arrays, signals and tables of pictures through the public commands: a run of each, its name, and what is refused."""

import numpy as np
import pytest

from aetransfer.data import contents
from tests.integration.conftest import assert_refused
from tests.made import write_image

SHORT = (
    *("encoder.widths=[4,8,8,8]", "encoder.latent_dim=8", "trainer.max_epochs=1", "trainer.limit_train_batches=2"),
    *("logger=none", "callbacks=none", "trainer=cpu"),
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


@pytest.fixture
def medmnist(tmp_path):
    counts = {"train": 24, "val": 8, "test": 12}
    arrays = {f"{part}_images": noise(count, 32, 32, 3, seed=count) for part, count in counts.items()}
    arrays |= {f"{part}_labels": np.arange(count).reshape(-1, 1) % 4 for part, count in counts.items()}
    np.savez(tmp_path / "medmnist.npz", **arrays)
    return tmp_path / "medmnist.npz"


def test_a_file_of_medmnist_trains_a_classifier_and_names_the_run_by_what_it_holds(run_train, medmnist):
    words = ("data=arrays", f"data.root={medmnist}", "data.name=blood", "transfer=scratch", *SHORT)
    done = run_train(*words)
    assert done.code == 0, done.err
    assert done.result["data"]["used"] == "Used: 24 train, 8 val, 12 test images of 4 classes."
    assert done.result["data"]["validation"] == "own"
    assert "taken for classes, because it is the whole numbers 0 to 3" in " ".join(done.result["data"]["notes"])
    again = run_train(*words)
    assert again.run == done.run
    moved = medmnist.rename(medmnist.parent / "other.npz")
    with np.load(moved) as arrays:
        contents._known.clear()
        np.savez(medmnist, **{name: 255 - array if "images" in name else array for name, array in arrays.items()})
    assert run_train(*words).run != done.run


def test_signals_of_an_archive_train_an_autoencoder_and_the_run_has_their_name(run_train, tmp_path):
    header = "@problemName S\n@timeStamps false\n@univariate true\n@classLabel true a b\n@data\n"
    for part in ("TRAIN", "TEST"):
        lines = [",".join(map(str, range(row, row + 20 + row))) + f":{'ab'[row % 2]}" for row in range(12)]
        (tmp_path / f"Currents_{part}.ts").write_text(header + "\n".join(lines))
    words = ("data=timeseries", f"data.root={tmp_path}", "data.table=Currents", "model=ae", *SHORT)
    done = run_train(*words, "data.length=24")
    assert done.code == 0, done.err
    assert "Currents" in done.run.name
    assert "4 were padded with zeros at the end" in " ".join(done.result["data"]["notes"])
    assert_refused(
        run_train(*words),
        f"{tmp_path}/Currents_TRAIN.ts has signals of 20 to 31 samples: data.length=31 crops and pads them to one length "
        "(with data.fit=resample it stretches them), and data.window=N cuts windows out of them.",
    )


def test_oblong_pictures_of_a_table_train_a_classifier(run_train, tmp_path):
    lines = ["file,what,split"]
    for number in range(16):
        write_image(tmp_path / f"{number}.png", noise(20, 30, 3, seed=number))
        lines.append(f"{number}.png,{'ab'[number % 2]},{'test' if number > 11 else 'train'}")
    (tmp_path / "pictures.csv").write_text("\n".join(lines))
    words = ("data=image_table", f"data.root={tmp_path}", "data.table=pictures.csv", "data.inputs=file")
    done = run_train(*words, "data.targets=what", "data.image_size=[16,32]", "transfer=scratch", *SHORT)
    assert done.code == 0, done.err
    assert done.encoder and done.result["data"]["used"].endswith("4 test images of 2 classes.")
    said = run_train(*words, "data.targets=wat", "transfer=scratch", *SHORT)
    assert_refused(
        said,
        f"{tmp_path}/pictures.csv has no column wat, which data.targets names (did you mean what): it has file, what, "
        "split.",
    )


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("data=arrays", "model=ae"), "data.root must be given: add data.root=... to the command."),
        (
            ("data=arrays", "data.root=null", "model=ae"),
            "data=arrays needs data.root=PATH, a .npz, .npy, .csv or .parquet file, or a folder of .npy files.",
        ),
        (
            ("data=timeseries", "data.root=.", "model=ae"),
            "data.table must be given: add data.table=... to the command.",
        ),
    ],
)
def test_what_is_not_named_is_asked_for(run_train, words, sentence):
    assert_refused(run_train(*words), sentence)
