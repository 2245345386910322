"""Signals, vectors, and images that are no grey or colour squares of 8 bits: through every command, in their own words."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import aetransfer
from aetransfer import embed, export, predict
from aetransfer.store.identity import identified
from aetransfer.training import stages
from tests.integration.conftest import assert_refused, job_of

EPOCH = ("trainer.max_epochs=1", "data.batch_size=32", "callbacks=none", "logger=none")
SHOWN = ("trainer.max_epochs=1", "data.batch_size=32", "callbacks=default", "logger=tensorboard")
CLASSES = 3
FORMS = {
    "signals": ("NCL", "conv1d", (2, 40)),
    "vectors": ("ND", "mlp", (12,)),
    "bands": ("NCHW", "conv4", (12, 16, 16)),
    "deep": ("NCHW", "conv4", (1, 16, 16)),
    "oblong": ("NCHW", "conv4", (3, 16, 24)),
    "bytes": ("NCHW", "conv4", (12, 16, 16)),
}
PIXELS = ("oblong", "bytes")
NOUNS = {"signals": "signals", "vectors": "vectors"}


def made(name, count, seed):
    """What goes up and down a little otherwise in each class; 16-bit values, or units of its own in each channel."""
    drawn, labels = np.random.default_rng(seed), np.arange(count) % CLASSES
    shape = FORMS[name][2]
    waves = np.sin(np.arange(np.prod(shape)).reshape(shape) * 0.3 * (1 + labels.reshape(-1, *[1] * len(shape))))
    noisy = waves + 0.2 * drawn.standard_normal(waves.shape)
    if name in PIXELS:
        return (noisy * 60 + 128).clip(0, 255).astype(np.uint8), labels
    units = 10.0 ** (np.arange(shape[0]) % 4).reshape(-1, *[1] * (len(shape) - 1))
    return ((noisy * 9000 + 32000) if name == "deep" else 5 + noisy * units).astype(np.float32), labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    for name in FORMS:
        (x_train, y_train), (x_test, y_test) = made(name, 90, 0), made(name, 30, 1)
        np.savez(folder / f"{name}.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
        np.save(folder / f"{name}.npy", x_test)
    return folder


@pytest.fixture(scope="module")
def words_of(folder, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")

    def words(name):
        axes, encoder, _ = FORMS[name]
        narrow = () if encoder == "mlp" else ("encoder.widths=[4,8]",)
        data = ("data=arrays", f"data.root={folder / name}.npz", f"data.axes={axes}")
        return *data, f"encoder={encoder}", *narrow, "encoder.latent_dim=4", f"paths.output_dir={store}"

    return words


@pytest.fixture(scope="module")
def finished_of(words_of):
    """A finished run of each kind that is asked for, trained once."""
    known = {}

    def finished(name, *words):
        if (name, *words) not in known:
            words = (*words_of(name), *words)
            known[name, *words] = stages.run(identified(job_of(*words)), [*words]).directory.path
        return known[name, *words]

    return finished


def vae(finished_of, name):
    likelihood = "bernoulli" if name in PIXELS else "gaussian"
    return finished_of(name, "model=vae", f"model.likelihood={likelihood}", *SHOWN)


def transfer(finished_of, name):
    source = vae(finished_of, name)
    return finished_of(name, "model=classifier", "transfer=finetune", f"pretrain={source}", *SHOWN)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_each_picture_is_drawn_and_what_is_said_fits_the_inputs(finished_of, name):
    for run in (vae(finished_of, name), transfer(finished_of, name)):
        assert "could not be drawn" not in (run / "train.log").read_text()
        projector = Image.open(run / "projector" / "thumbnails.png")
        assert projector.width == projector.height
        drawn = {path.stem for path in run.glob("*.png")}
        if "vae" in run.name:
            assert {"reconstructions", "reconstructions_test", "prior_samples", "interpolations", "traversals"} <= drawn
        else:
            assert "mistakes" in drawn or json.loads((run / "mistakes.json").read_text()) == []
        assert ("first_layer" in drawn) == (name != "vectors")
        if name in NOUNS:
            for said in ("MODEL_CARD.md", "report.html"):
                text = re.sub(
                    r'src="data:[^"]*"|<style>.*?</style>|<pre>.*?</pre>', "", (run / said).read_text(), flags=re.S
                )
                assert not re.findall(r".{40}\b(?:image|pixel).{20}", text), said
                assert NOUNS[name] in text


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_measures_are_taken_of_inputs_of_any_shape(finished_of, run_evaluate, name):
    run = vae(finished_of, name)
    done = run_evaluate(f"run={run}", "evaluation=[reconstruction,vae,representation,probes]")

    assert done.code == 0, done.err
    found = json.loads((run / "evaluation" / "reconstruction.json").read_text())["rows"]
    mean = next(row for row in found if row["reconstructed by"].startswith("mean "))
    assert set(mean) == {"reconstructed by", "mse"} | ({"psnr", "ssim"} if name in PIXELS else set())
    if name not in PIXELS:
        assert 0.5 < mean["mse"] < 1.2  # of standardised inputs, whatever their units
    own = transfer(finished_of, name)
    done = run_evaluate(f"run={own}", "evaluation=[classifier,representation,transferability]")
    assert done.code == 0, done.err
    assert run_evaluate(f"run={own}").code == 0


@pytest.mark.parametrize("name", ["signals", "vectors", pytest.param("oblong", marks=pytest.mark.slow)])
def test_what_fid_cannot_compare_is_said_before_anything_is_trained(run_train, words_of, name):
    if name == "oblong":
        assert run_train(*words_of(name), *EPOCH, "model=ae", "evaluation=fid").code == 0
        return
    given = {"signals": "signals of length 40 in 2 channels", "vectors": "vectors of 12 numbers"}[name]
    assert_refused(
        run_train(*words_of(name), *EPOCH, "model=ae", "evaluation=fid"),
        f"evaluation=fid compares images of 8 bits in 1 or 3 channels, and arrays gives {given}, as floats: leave it out.",
    )


@pytest.mark.parametrize(
    "name", ["signals", "vectors", *(pytest.param(each, marks=pytest.mark.slow) for each in list(FORMS)[2:])]
)
def test_an_encoder_is_given_arrays_by_file_by_data_set_or_in_a_program(finished_of, command, folder, tmp_path, name):
    run, axes = finished_of(name, "model=ae", *EPOCH), FORMS[name][0]
    of_file = command(embed.main, f"run={run}", f"inputs={folder / name}.npy", f"out={tmp_path}/file.csv")
    of_data = command(
        embed.main,
        f"run={run}",
        "data=arrays",
        f"data.root={folder / name}.npz",
        f"data.axes={axes}",
        f"out={tmp_path}/data.csv",
    )

    assert (of_file.code, of_data.code) == (0, 0), of_file.err + of_data.err
    one = NOUNS.get(name, "images").removesuffix("s")
    assert of_file.out == f"30 {one}(s): {tmp_path}/file.csv\n"
    by_file, by_data = rows(tmp_path / "file.csv"), rows(tmp_path / "data.csv")
    assert [row[one] for row in by_file[:2]] == ["00", "01"]
    assert [row[one] for row in by_data[:2]] == ["test/00", "test/01"]
    assert [row["label"] for row in by_data[:4]] == ["0", "1", "2", "0"]
    encoder = aetransfer.load_encoder(run)
    inputs, _ = made(name, 30, 1)
    assert encoder.takes_pixels == (name in PIXELS) and hasattr(encoder, "preprocess") == (name == "oblong")
    with torch.inference_mode():
        codes = encoder(torch.from_numpy(inputs).float() / (255 if name in PIXELS else 1))
    for table in (by_file, by_data):
        found = [[float(row[f"feature_{place}"]) for place in range(4)] for row in table]
        np.testing.assert_allclose(found, codes, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["signals", "vectors", "oblong"])
def test_an_encoder_of_arrays_is_exported(finished_of, command, name):
    run = finished_of(name, "model=ae", *EPOCH)

    assert command(export.main, f"run={run}", "formats=torch_export").code == 0


@pytest.mark.slow
def test_a_transfer_predicts_the_classes_of_an_array(finished_of, command, folder, tmp_path):
    run = transfer(finished_of, "signals")
    done = command(predict.main, f"run={run}", f"inputs={folder}/signals.npy", f"out={tmp_path}/classes.csv")

    assert done.code == 0, done.err
    assert {row["predicted"] for row in rows(tmp_path / "classes.csv")} <= {"0", "1", "2"}


def test_a_row_with_a_hole_in_it_is_left_out_and_named(finished_of, command, tmp_path):
    run = finished_of("signals", "model=ae", *EPOCH)
    inputs, _ = made("signals", 5, 1)
    inputs[3, 0, 7] = np.nan
    np.savez(tmp_path / "mine.npz", inputs=inputs, subject=np.arange(5))
    done = command(embed.main, f"run={run}", f"inputs={tmp_path}/mine.npz", f"out={tmp_path}/codes.csv")

    assert done.code == 2
    assert [row["signal"] for row in rows(tmp_path / "codes.csv")] == ["0", "1", "2", "4"]
    assert f"unreadable: {tmp_path}/mine.npz has NaN or an infinite number in row 3\n" in done.err


def written(folder, name):
    signals = np.zeros((4, 2, 40), np.float32)
    match name:
        case "short":
            np.save(folder / "short.npy", signals[..., :39])
        case "bytes":
            np.save(folder / "bytes.npy", np.array([b"a"] * 4).reshape(2, 2))
        case "pickled":
            np.save(folder / "pickled.npy", np.array([{}, []], object))
        case "several":
            np.savez(folder / "several.npz", x=signals, y=signals)
        case "flat":
            np.save(folder / "flat.npy", np.arange(3.0))
        case "cut":
            np.save(folder / "cut.npy", signals)
            (folder / "cut.npy").write_bytes((folder / "cut.npy").read_bytes()[:200])
    return next(folder.glob(f"{name}.*"))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("short", "The encoder takes signals of length 40 in 2 channels, but FILE gives signals of length 39 in 2 channels."),
        ("bytes", "FILE holds |S1: give numbers."),
        ("pickled", "FILE can't be read as an array of numbers (Array can't be memory-mapped: Python objects in dtype.)."),
        ("several", "FILE has the arrays x, y: call one of them inputs."),
        ("flat", "FILE has the shape (3,): give (N, *shape), with one input or more."),
        ("cut", "FILE can't be read as an array of numbers (mmap length is greater than file size)."),
    ],
)  # fmt: skip
def test_an_array_that_is_none_for_the_encoder_gets_its_sentence(finished_of, command, tmp_path, name, sentence):
    run, file = finished_of("signals", "model=ae", *EPOCH), written(tmp_path, name)

    assert_refused(
        command(embed.main, f"run={run}", f"inputs={file}", f"out={tmp_path}/codes.csv"),
        sentence.replace("FILE", str(file)),
    )


def test_pixels_are_bytes_and_floats_are_refused(finished_of, command, tmp_path):
    run = finished_of("oblong", "model=ae", *EPOCH)
    np.save(tmp_path / "mine.npy", np.zeros((2, *FORMS["oblong"][2])))

    assert_refused(
        command(embed.main, f"run={run}", f"inputs={tmp_path}/mine.npy", f"out={tmp_path}/codes.csv"),
        f"The encoder takes pixels of 8 bits (uint8), but {tmp_path}/mine.npy gives floats.",
    )
