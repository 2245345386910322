"""`make tensorboard`: which runs it opens, for whom, and what it says where there are none."""

import os
import signal
import subprocess
import sys
from urllib.request import urlopen

import psutil
import pytest

from scripts.board import ADDRESS
from tests.commands import ROOT
from tests.integration.conftest import TINY_PRETRAINING


def board(cwd, **env):
    """Start what `make tensorboard` does, in a folder, without an output directory in the environment."""
    left = {name: value for name, value in os.environ.items() if name != "AETRANSFER_OUTPUT_DIR"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "board.py")],
        cwd=cwd, env={**left, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_make_tensorboard_is_that_command():
    # Within `make test` it would say which folder it is in.
    words = ["make", "-n", "--no-print-directory", "tensorboard"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert said.splitlines()[-1] == ".venv/bin/python scripts/board.py"


def test_without_runs_one_sentence_says_what_to_do(tmp_path):
    (tmp_path / "outputs" / "runs" / "pretrain-mnist").mkdir(parents=True)  # which has no curves
    out, err = board(tmp_path).communicate(timeout=60)

    assert out == ""
    assert (
        err
        == "There are no runs with curves in outputs yet: train one, such as `make quickstart` does, and look again.\n"
    )


def test_a_store_below_the_home_directory_is_looked_for_there(tmp_path):
    (tmp_path / ".env").write_text("AETRANSFER_OUTPUT_DIR=~/mine\n")

    _, err = board(tmp_path, HOME=str(tmp_path)).communicate(timeout=60)

    assert err.startswith(f"There are no runs with curves in {tmp_path}/mine yet")


@pytest.mark.slow
def test_it_opens_the_store_that_the_env_file_names_for_this_machine_alone(run_train, tmp_path):
    done = run_train(
        *TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=3", f"paths.output_dir={tmp_path}/mine"
    )
    (tmp_path / ".env").write_text("AETRANSFER_OUTPUT_DIR=mine\n")
    process = board(tmp_path)
    try:
        said = ""
        while not (found := ADDRESS.search(said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        assert f"runs/{done.run.name}" in urlopen(f"{found[0]}data/runs", timeout=60).read().decode()
        listening = [each for each in psutil.Process(process.pid).net_connections() if each.status == "LISTEN"]
        assert [each.laddr.ip for each in listening] == ["127.0.0.1"]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
