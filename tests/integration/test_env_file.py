"""`.env`: which one is read, and what its directories and its other values become."""

import os

import pytest

from aetransfer import runs, train
from aetransfer.report import __main__ as report
from tests.integration.conftest import TINY_PRETRAINING, assert_refused

NAMES = ("AETRANSFER_DATA_DIR", "AETRANSFER_OUTPUT_DIR", "AETRANSFER_CACHE_DIR", "AETRANSFER_CONFIG_DIR")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to stand in, in an environment that names no directory and is put back in the end."""
    before = dict(os.environ)
    for name in NAMES:
        os.environ.pop(name, None)
    os.environ |= {"HOME": str(tmp_path / "home"), "SCRATCH": str(tmp_path / "scratch")}
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def store(command):
    """Where the run of a command would go."""

    def call():
        done = command(train.main, "--identity", *TINY_PRETRAINING, "model=ae")
        assert done.code == 0, done.err
        return done.out.strip().split(" ", 3)[3].rpartition("/runs/")[0]

    return call


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("AETRANSFER_OUTPUT_DIR=$HOME/out", "{}/home/out"),
        ("AETRANSFER_OUTPUT_DIR=${SCRATCH}/out", "{}/scratch/out"),
        ("AETRANSFER_OUTPUT_DIR='$SCRATCH/my out'", "{}/scratch/my out"),
        ("AETRANSFER_OUTPUT_DIR=${NO_SUCH_NAME:-/elsewhere}/out", "/elsewhere/out"),
        ("AETRANSFER_OUTPUT_DIR=~/out", "{}/home/out"),
        ("BIG=$SCRATCH/big\nAETRANSFER_OUTPUT_DIR=$BIG/out", "{}/scratch/big/out"),
        ("AETRANSFER_OUTPUT_DIR=$AETRANSFER_DATA_DIR/out\nAETRANSFER_DATA_DIR=$HOME/data", "{}/home/data/out"),
        ("AETRANSFER_OUTPUT_DIR=out", "out"),
        ("\ufeffAETRANSFER_OUTPUT_DIR=out", "out"),
    ],
)
def test_variables_are_put_into_directories(folder, store, line, expected):
    (folder / ".env").write_text(line)

    assert store() == expected.format(folder)


def test_variables_are_put_into_a_directory_of_the_environment_too(folder, store):
    os.environ["AETRANSFER_OUTPUT_DIR"] = "$SCRATCH/out"

    assert store() == f"{folder}/scratch/out"


def test_the_environment_comes_before_the_file(folder, store):
    os.environ["AETRANSFER_OUTPUT_DIR"] = "mine"
    (folder / ".env").write_text("AETRANSFER_OUTPUT_DIR=theirs")

    assert store() == "mine"


def test_a_password_stays_as_it_is_written(folder, store):
    (folder / ".env").write_text("WANDB_API_KEY=a$HOME-${SCRATCH}\nMLFLOW_TRACKING_PASSWORD='~/b$$'\n")
    store()

    assert os.environ["WANDB_API_KEY"] == "a$HOME-${SCRATCH}"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "~/b$$"


def test_a_relative_directory_of_a_file_above_is_relative_to_that_file(folder, store, monkeypatch):
    (folder / ".env").write_text("AETRANSFER_OUTPUT_DIR=out\n")
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)

    assert store() == f"{folder}/out"


def test_the_folder_of_config_files_is_found_from_below(folder, command, monkeypatch):
    (folder / "lab" / "experiment").mkdir(parents=True)
    (folder / "lab" / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 77\n")
    (folder / "below").mkdir()
    (folder / ".env").write_text("AETRANSFER_CONFIG_DIR=lab\n")
    monkeypatch.chdir(folder / "below")

    done = command(train.main, "--identity", *TINY_PRETRAINING, "model=ae", "experiment=mine")

    assert "-s77-" in done.out


@pytest.mark.parametrize("main", [train.main, report.main, runs.main])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("AETRANSFER_OUTPUT_DIR=out\n".encode("utf-16"), "is no UTF-8 text (invalid start byte at byte 0): save it as UTF-8."),
        ("AETRANSFER_OUTPUT_DIR=out\n".encode("utf-16-le"), "is no UTF-8 text (it has zero bytes): save it as UTF-8."),
        ("AETRANSFER_OUTPUT_DIR=caf\xe9\n".encode("latin-1"), "is no UTF-8 text (invalid continuation byte at byte 25): save it as UTF-8."),
    ],
    ids=["utf-16", "utf-16 without a mark", "latin-1"],
)  # fmt: skip
def test_a_file_that_is_no_utf_8_is_one_sentence(folder, command, main, content, why):
    (folder / ".env").write_bytes(content)

    assert_refused(command(main, "list"), f"{folder}/.env {why}")


@pytest.mark.parametrize(
    "line", ["AETRANSFER_OUTPUT_DIR=$NO_SUCH_NAME/out", "AETRANSFER_OUTPUT_DIR=${NO_SUCH_NAME}/out", "BIG=$NO_SUCH_NAME\nAETRANSFER_OUTPUT_DIR=$BIG/out"]
)  # fmt: skip
def test_a_variable_that_is_not_set_is_one_sentence(folder, command, line):
    (folder / ".env").write_text(line)

    assert_refused(
        command(train.main, "model=ae"),
        "AETRANSFER_OUTPUT_DIR names $NO_SUCH_NAME, which is not set: set it, or write the directory.",
    )


def test_a_directory_that_names_itself_is_one_sentence(folder, command):
    (folder / ".env").write_text(
        "AETRANSFER_OUTPUT_DIR=$AETRANSFER_DATA_DIR\nAETRANSFER_DATA_DIR=$AETRANSFER_OUTPUT_DIR\n"
    )

    done = command(train.main, "model=ae")

    assert done.code == 1
    assert done.err.startswith("error: AETRANSFER_DATA_DIR names $AETRANSFER_DATA_DIR, which is not set")


@pytest.mark.parametrize("place", ["a word", "the environment", "the folder that it is given in"])
def test_names_that_are_no_utf_8_are_one_sentence_before_anything_is_done(folder, command, monkeypatch, place):
    odd = os.fsdecode(b"caf\xe9")
    (folder / odd).mkdir()
    words, shown = [], "caf\\xe9"
    if place == "a word":
        words, shown = [f"paths.output_dir={odd}"], "paths.output_dir=caf\\xe9"
    elif place == "the environment":
        os.environ["AETRANSFER_OUTPUT_DIR"] = odd
    else:
        shown = f"{folder}/{shown}"
        monkeypatch.chdir(folder / odd)

    done = command(train.main, *TINY_PRETRAINING, "model=ae", *words)

    assert_refused(done, f"{shown} is no UTF-8: rename that file or folder.")
    assert not list((folder / odd).iterdir())
