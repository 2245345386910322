"""Commands as in the integration tests, and what a test holds against code that must not run: a marker file."""

import os
import shutil

import pytest
import yaml

from aetransfer.training import stages
from tests.integration.conftest import TINY, assert_is_one_sentence, command, job_of, run_evaluate, run_train

__all__ = ["command", "run_evaluate", "run_train"]


class Intruder:
    """Pickled, it makes a folder where it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    """Where hostile code would leave its mark; the test fails if it is there in the end."""
    path = tmp_path / "it-ran"
    yield path
    assert not path.exists()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A finished transfer that was trained here."""
    job = job_of(*TINY, "transfer=scratch", f"paths.output_dir={tmp_path_factory.mktemp('outputs')}", "trainer=cpu")
    return stages.run(job, []).directory.path


@pytest.fixture
def run(sound, tmp_path):
    """A copy of it, to be spoilt."""
    return shutil.copytree(sound, tmp_path / "theirs")


@pytest.fixture
def outside(tmp_path):
    """Somebody's own files, which stay as they are."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("thesis.tex", "old.svg", "best.ckpt", "reconstructions.png", "profile-test.txt"):
        (folder / name).write_text("precious")
    yield folder
    assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(
        ("thesis.tex", "old.svg", "best.ckpt", "reconstructions.png", "profile-test.txt"), "precious"
    )


def change_config(run, **nodes):
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | nodes))


def assert_refused(done, *parts):
    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert all(part in done.err for part in parts), done.err
