"""Launchers: the same results from all of them, and word of every job, also of one whose process is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from aetransfer.origin import pip_install
from tests.integration.conftest import TINY, assert_refused
from tests.processes import srun, torchrun

KILLER = """
import os, signal
from pytorch_lightning import Callback

class Killer(Callback):
    def __init__(self, deadly: bool) -> None:
        self.deadly = deadly

    def on_train_start(self, trainer, model):
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def sweep(tmp_path, *words):
    """Run `-m` in a process of its own, which importable modules of the test's folder reach."""
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-m", "aetransfer.train", "-m", *TINY, *words]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)


def results(output_dir):
    found = [json.loads(path.read_text()) for path in (output_dir / "runs").glob("*/result.json")]
    return {result["name"]: (result["status"], result["metrics"]) for result in found}


def notes(output_dir):
    found = [json.loads(path.read_text()) for path in sorted(output_dir.glob("sweeps/*/jobs/*.json"))]
    return [(note["number"], note["overrides"][-1], note["error"] is None) for note in found]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "local"])
def test_a_launcher_gives_the_results_of_the_basic_one_and_a_failing_job_stops_no_other(
    launcher, run_train, tmp_path, monkeypatch
):
    choices = ("transfer=scratch", "data.labels_per_class=5,9999,6")
    run_train("-m", *TINY, *choices)

    done = sweep(tmp_path, *choices, f"launcher={launcher}", f"paths.output_dir={tmp_path / launcher}")

    assert done.returncode == 1
    assert results(tmp_path / launcher) == results(tmp_path / "outputs")
    assert sorted(status for status, _ in results(tmp_path / launcher).values()) == ["failed", "finished", "finished"]
    last = " ".join(done.stdout.partition("failed:")[2].split())
    assert "data.labels_per_class=9999" in last
    assert "has 128 training images" in last
    (record, *_) = (tmp_path / launcher / "runs").glob("*/result.json")
    assert json.loads(record.read_text())["command"][1:3] == ["-m", "data=photo_digits"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "local"])
def test_a_job_whose_process_is_killed_is_reported_as_failed(launcher, tmp_path):
    Path(tmp_path / "killer.py").write_text(KILLER)

    done = sweep(
        tmp_path, "transfer=scratch", f"launcher={launcher}", "allow=[killer]",
        "+callbacks.killer._target_=killer.Killer", "+callbacks.killer.deadly=true,false",
    )  # fmt: skip

    assert done.returncode == 1
    (killed, other) = notes(tmp_path / "outputs")
    assert killed == (0, "+callbacks.killer.deadly=True", False)
    # joblib's pool ends with its worker; a process of its own harms nobody else.
    assert other[:2] == (1, "+callbacks.killer.deadly=False")
    assert other[2] or launcher == "joblib"
    assert "killed or never began" in " ".join(done.stdout.split())


def test_a_launcher_that_is_not_installed_is_named_with_its_extra(run_train, monkeypatch):
    Plugins.instance()  # which finds those that are installed
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], "joblib.yaml", raising=False)

    done = run_train("-m", *TINY, "seed=0,1", "launcher=joblib")

    assert done.code == 1
    assert done.err == f"error: hydra/launcher/joblib is not installed: {pip_install('parallel')}.\n"


@pytest.mark.parametrize("launcher", ["launcher=joblib", "launcher=local", "hydra/launcher=joblib"])
@pytest.mark.parametrize(
    ("environment", "who"), [(torchrun(1, "29500"), "torchrun"), (srun(0, "29500"), "srun")], ids=["torchrun", "srun"]
)
def test_a_launcher_that_starts_processes_is_refused_in_one_of_several_processes(
    run_train, monkeypatch, launcher, environment, who
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert_refused(
        run_train("-m", *TINY, "seed=0,1", launcher),
        f"launcher={launcher.partition('=')[2]} starts processes for its jobs, but {who} has started 2 of this "
        "command, which share each job: choose launcher=basic, or start the command once.",
    )


@pytest.mark.slow
def test_trainers_are_swept_by_the_basic_launcher_share_their_pretraining_and_agree(tmp_path):
    done = sweep(tmp_path, "transfer=finetune", "trainer=cpu,ddp_sim")

    assert done.returncode == 0, done.stderr
    runs = tmp_path / "outputs" / "runs"
    found = [json.loads(path.read_text()) for path in runs.glob("transfer-*/result.json")]
    alone, together = sorted(found, key=lambda result: result["counts"]["processes"])
    assert [alone["counts"]["processes"], together["counts"]["processes"]] == [1, 2]
    assert together["metrics"] == pytest.approx(alone["metrics"], rel=2e-3, abs=2e-4)
    assert len(list(runs.glob("pretrain-*"))) == 1
    assert len([line for line in done.stdout.splitlines() if line.startswith("│")]) == 2


@pytest.mark.slow
def test_each_rank_of_each_job_trains_that_jobs_configuration(tmp_path):
    """Metrics are averaged over the ranks: one that trained another seed would show."""
    words = ("transfer=scratch", "trainer=ddp_sim", *TINY[-5:])

    swept = sweep(tmp_path, *words, "seed=0,1", f"paths.output_dir={tmp_path / 'swept'}")
    assert swept.returncode == 0, swept.stderr
    for seed in (0, 1):
        alone = subprocess.run(
            [sys.executable, "-m", "aetransfer.train", *TINY, *words, f"seed={seed}"],
            cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        )  # fmt: skip
        assert alone.returncode == 0, alone.stderr

    assert len(results(tmp_path / "swept")) == 2
    assert results(tmp_path / "swept") == results(tmp_path / "outputs")


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_of_processes_in_one_sentence_and_each_job_saves_where_it_is(tmp_path):
    words = [sys.executable, "-m", "aetransfer.train", "-m", *TINY, "transfer=scratch", "seed=0,1", "launcher=local"]
    process = subprocess.Popen(
        [*words, "trainer.max_epochs=100000"], cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while sum("epoch 1/" in path.read_text() for path in tmp_path.glob("outputs/sweeps/*/jobs/*.log")) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does

    assert process.communicate()[1] == "Interrupted: the same command goes on where it stopped.\n"
    assert process.returncode == 130
    assert {status for status, _ in results(tmp_path / "outputs").values()} == {"interrupted"}
    logs = [path.read_text() for path in tmp_path.glob("outputs/sweeps/*/jobs/*.log")]
    assert len(logs) == 2 and all("which is saved" in log for log in logs)
