"""A store of an earlier version: its runs are listed, measured and reported, its encoders give the codes of then."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import aetransfer
from aetransfer import embed, evaluate, runs, train
from aetransfer.data.readers.embedded import read_digits
from aetransfer.report import __main__ as report

STORE = Path(__file__).parents[1] / "data_of_earlier_versions" / "0.1.0-2026-11"
BEFORE = STORE.parent / "0.1.0-2026-11-30"
RUNS = sorted(path.name for path in (BEFORE / "runs").iterdir())
CODES = {name: torch.tensor(codes) for name, codes in json.loads((STORE / "codes.json").read_text()).items()}
CARRIED = ("data=digits", "trainer.max_epochs=1", "trainer.limit_train_batches=3", "logger=none", "callbacks=none")


@pytest.mark.parametrize("name", CODES)
def test_its_encoders_give_the_codes_that_they_gave_then(name):
    images = read_digits("test").inputs[:4].float() / 255
    for file in ("", "encoder.safetensors", "checkpoints/best.ckpt"):
        encoder = aetransfer.load_encoder(STORE / "runs" / name / file)
        assert encoder.input_shape == (1, 32, 32)
        torch.testing.assert_close(encoder(images), CODES[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CODES)
def test_they_embed_images(command, tmp_path, name):
    words = ("data=digits", "split=test", f"out={tmp_path}/codes.npz")
    done = command(embed.main, f"run={STORE}/runs/{name}", *words)

    assert done.code == 0, done.err
    codes = torch.from_numpy(np.load(tmp_path / "codes.npz")["features"][:4])
    torch.testing.assert_close(codes, CODES[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("file", ["", "checkpoints/best.ckpt"])
def test_a_transfer_carries_them_whole(run_train, file):
    (name, *_) = CODES
    source = STORE / "runs" / name
    done = run_train("transfer=frozen", f"pretrain={source / file}", *CARRIED)

    assert done.code == 0, done.err
    carried, before = done.encoder, load_file(source / "encoder.safetensors")
    assert carried.keys() == before.keys()
    assert all(torch.equal(carried[key], before[key]) for key in before)


def test_what_is_written_today_says_input_shape(run_train):
    (name, *_) = CODES
    run = run_train("transfer=frozen", f"pretrain={STORE}/runs/{name}", *CARRIED).run
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)

    header = (run / "encoder.safetensors").read_bytes()[:2000].decode(errors="replace")
    assert 'input_shape\\": [1, 32, 32]' in header and "image_size" not in header
    assert checkpoint["hyper_parameters"]["architecture"]["input_shape"] == [1, 32, 32]
    assert json.loads((run / "encoder.json").read_text())["input"]["shape"] == [1, 32, 32]


@pytest.fixture
def store(tmp_path):
    """A copy of that store, which a command may write to."""
    return Path(shutil.copytree(STORE, tmp_path / "store"))


def test_its_runs_are_listed_and_shown_with_what_their_models_were(command, store):
    listed = command(runs.main, "list", f"paths.output_dir={store}")
    shown = command(runs.main, "show", next(name for name in CODES if "-vae-" in name), f"paths.output_dir={store}")

    assert listed.code == shown.code == 0, listed.err + shown.err
    for name in CODES:
        assert name in listed.out
    assert "optimizer.lr" in shown.out and "neg_elbo" in shown.out


def test_an_old_filter_has_todays_key(command, store):
    done = command(runs.main, "list", f"paths.output_dir={store}", "optimizer.lr=1e-3")

    assert done.code == 0, done.err
    assert "pretrain-digits-ae-" in done.out and "transfer-" not in done.out


@pytest.mark.parametrize("run", [*STORE.glob("runs/*"), *BEFORE.glob("runs/*")], ids=lambda run: run.name)
def test_a_run_is_measured_again_to_its_own_numbers(command, tmp_path, run):
    store = Path(shutil.copytree(run.parents[1], tmp_path / "store"))
    done = command(evaluate.main, f"run={store}/runs/{run.name}")
    told = json.loads((run / "result.json").read_text())["metrics"]

    assert done.code == 0, done.err
    found = {line.split()[0]: float(line.split()[1]) for line in done.out.splitlines() if line.startswith("test/")}
    assert found == pytest.approx({key: value for key, value in told.items() if key.startswith("test/")}, rel=1e-4)


@pytest.mark.short
def test_a_report_and_pages_are_made_of_them(command, store):
    done = command(report.main, f"paths.output_dir={store}", "stage=transfer")
    page = command(report.main, f"run={store}/runs/{next(name for name in CODES if '-vae-' in name)}")

    assert done.code == page.code == 0, done.err + page.err
    assert "test/acc" in done.out
    (html,) = store.glob("runs/*vae*/report.html")
    assert "variational autoencoder" in html.read_text() and "-ELBO, nats an image" in html.read_text()


@pytest.fixture
def store_before(tmp_path):
    """A copy of the store of the version before, which a command may write to."""
    return Path(shutil.copytree(BEFORE, tmp_path / "before"))


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("transfer")])
def test_a_command_of_the_version_before_finds_its_run_finished(command, store_before, name):
    words = json.loads((store_before / "runs" / name / "result.json").read_text())["overrides"]
    words = [word for word in words if not word.startswith("paths.")]
    before = {path: path.read_bytes() for path in store_before.rglob("*") if path.is_file()}
    done = command(train.main, *words, f"paths.output_dir={store_before}")

    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f"run: {store_before}/runs/{name}"
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(path.name for path in (store_before / "runs").iterdir() if path.name[0] != ".") == RUNS


def test_the_store_of_the_version_before_is_listed_and_reported(command, store_before):
    listed = command(runs.main, "list", f"paths.output_dir={store_before}")
    done = command(report.main, f"paths.output_dir={store_before}", "stage=transfer")
    page = command(report.main, f"run={store_before}/runs/{next(name for name in RUNS if 'diabetes-finetune' in name)}")

    assert listed.code == done.code == page.code == 0, listed.err + done.err + page.err
    assert all(name in listed.out for name in RUNS)
    assert "regression" in (next(store_before.glob("runs/transfer-diabetes*/report.html"))).read_text()
