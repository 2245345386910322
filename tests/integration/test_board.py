"""`make tensorboard`: which runs it opens, for whom, and what it says where there are none."""

import os
import signal
import subprocess
import sys
from urllib.request import urlopen

import psutil
import pytest

from aetransfer.sweeps.jobs import SweepJob, note_job
from scripts.board import ADDRESS, Shown
from tests.commands import ROOT
from tests.integration.conftest import TINY_PRETRAINING
from tests.report.store import make_run
from tests.report.test_report import hparams


@pytest.fixture
def store(tmp_path):
    """A sweep over arms and learning rates with its pretraining, and a transfer of another sweep."""

    def run(*words, seed=0):
        made = make_run(tmp_path, "experiment=quickstart", *words, seed=seed)
        (made / "events.out.tfevents.1.host.1.0").touch()
        return made, [*words, f"seed={seed}"]

    grid = [run(f"transfer={arm}", f"optimizer.lr={rate}") for arm in ("scratch", "finetune") for rate in (0.1, 0.01)]
    for name, jobs in {"first": grid, "second": [run("transfer=scratch", "optimizer.lr=0.1", seed=1)]}.items():
        for number, (path, words) in enumerate(jobs):
            note_job(tmp_path / "sweeps" / name, SweepJob(number, ["experiment=quickstart", *words], str(path), None))
    return tmp_path


def shown(store, sweep, tmp_path_factory):
    board = Shown(store, sweep, tmp_path_factory.mktemp("links"))
    board.link()
    board.describe()
    return {str(path.parent.relative_to(board.folder)): path for path in board.folder.rglob("*.hparams")}


def test_runs_are_called_by_what_their_sweep_varied(store, tmp_path_factory):
    of_store, of_sweep = (shown(store, sweep, tmp_path_factory) for sweep in (None, store / "sweeps" / "first"))
    names = [f"{arm} lr={rate}" for arm in ("finetune", "scratch") for rate in (0.01, 0.1)]

    assert sorted(of_sweep) == names
    assert sorted(of_store) == [*(f"first/{name}" for name in names), "second/job 0"]
    assert all(path.with_name("events.out.tfevents.1.host.1.0").is_symlink() for path in of_sweep.values())


def test_columns_are_the_keys_that_vary_among_the_runs_that_are_shown(store, tmp_path_factory):
    for sweep in (None, store / "sweeps" / "first"):
        for path in shown(store, sweep, tmp_path_factory).values():
            assert set(hparams(path.parent)) == {"arm", "optimizer.lr", "seed"}


def test_a_sweep_that_is_none_is_a_sentence(tmp_path):
    words = [sys.executable, str(ROOT / "scripts" / "board.py"), "mine"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)

    assert done.stderr.startswith("error: SWEEP=mine is no sweep: give its directory, or its name in ")


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

    assert said.splitlines()[-1].strip() == ".venv/bin/python scripts/board.py"
    said = subprocess.run([*words, "SWEEP=mine"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == ".venv/bin/python scripts/board.py mine"


def test_without_runs_one_sentence_says_what_to_do(tmp_path):
    (tmp_path / "outputs" / "runs" / "pretrain-mnist").mkdir(parents=True)  # which has no curves
    out, err = board(tmp_path).communicate(timeout=60)

    assert out == ""
    assert (
        err
        == "error: There are no runs with curves in outputs yet: train one, such as `make quickstart` does, and look again.\n"
    )


def test_a_store_below_the_home_directory_is_looked_for_there(tmp_path):
    (tmp_path / ".env").write_text("AETRANSFER_OUTPUT_DIR=~/mine\n")

    _, err = board(tmp_path, HOME=str(tmp_path)).communicate(timeout=60)

    assert err.startswith(f"error: There are no runs with curves in {tmp_path}/mine yet")


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
        assert done.run.name in urlopen(f"{found[0]}data/runs", timeout=60).read().decode()
        started = psutil.Process(process.pid).children(recursive=True)
        listening = [at for each in started for at in each.net_connections() if at.status == "LISTEN"]
        assert {at.laddr.ip for at in listening} == {"127.0.0.1"}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
