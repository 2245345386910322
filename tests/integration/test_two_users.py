"""A store that two users share: what is finished serves both, and neither can spoil what is the other's."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.faults import PRETRAINING_STEP, Fault, FaultyProcesses
from tests.integration.conftest import TINY_PRETRAINING, assert_is_one_sentence

PRETRAINING = (*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=4", "logger=none", "callbacks=none")
ANN, BEN = 12345, 12346

pytestmark = pytest.mark.slow


def as_user(number):
    # They may read everything, for this Python may lie in root's home, and write what is theirs.
    reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", *reads]


@pytest.fixture(scope="module")
def users():
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("being two users takes root, and setpriv")
    if subprocess.run([*as_user(BEN), sys.executable, "-c", "pass"], capture_output=True).returncode:
        pytest.skip("setpriv may not give a user the right to read this Python")
    folders = [Path(tempfile.mkdtemp(prefix="aetransfer-prints-")) for _ in range(2)]
    both = []
    for number, folder in zip((ANN, BEN), folders, strict=True):
        os.chown(folder, number, number)
        both.append(FaultyProcesses(folder, as_user(number)))
    yield both
    for processes, folder in zip(both, folders, strict=True):
        processes.close()
        shutil.rmtree(folder)


@pytest.fixture
def store(monkeypatch):
    """A folder in which everybody may make their own."""
    folder = Path(tempfile.mkdtemp(prefix="aetransfer-store-"))
    for each in (folder, folder / "runs", folder / "runs" / ".locks", folder / "runs" / ".data"):
        each.mkdir(exist_ok=True)
        each.chmod(0o1777)
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(folder))
    monkeypatch.setenv("HOME", str(folder))
    yield folder
    shutil.rmtree(folder)


def contents(folder):
    return {
        path: (path.stat().st_uid, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_finished_run_of_another_user_is_used(users, store):
    ann, ben = users
    done = ann(Fault(), "train", *PRETRAINING)
    assert done.code == 0, done.err
    before = contents(store)

    again = ben(Fault(), "train", *PRETRAINING)

    assert again.code == 0, again.err
    assert "is finished: its result is used." in again.out
    assert contents(store) == before


def test_a_run_that_another_user_has_begun_is_refused_in_a_sentence_and_left_as_it_is(users, store):
    ann, ben = users
    assert ann(Fault([PRETRAINING_STEP], 3, ["SIGTERM"]), "train", *PRETRAINING).code == 130
    before = contents(store)

    refused = ben(Fault(), "train", *PRETRAINING)

    assert refused.code == 1
    assert_is_one_sentence(refused.err)
    assert f"(Permission denied): ask user {ANN} for it, or choose another paths.output_dir." in refused.err
    assert contents(store) == before
    assert ann(Fault(), "train", *PRETRAINING).code == 0


def test_each_has_runs_of_their_own_beside_the_others(users, store):
    ann, ben = users
    assert ann(Fault(), "train", *PRETRAINING, "seed=1").code == 0
    before = contents(store)

    assert ben(Fault(), "train", *PRETRAINING, "seed=2").code == 0

    after = contents(store)
    assert {path: after[path] for path in before} == before
    assert {owner for owner, _ in after.values()} == {ANN, BEN}


def test_a_store_in_which_one_may_not_write_is_refused_in_a_sentence(users, store):
    _, ben = users
    (store / "runs" / ".locks").chmod(0o755)

    refused = ben(Fault(), "train", *PRETRAINING)

    assert_is_one_sentence(refused.err)
    assert refused.err == f"error: paths.output_dir={store} can't be written (Permission denied).\n"
