"""One run in several processes that Slurm starts: by submit, and by the batch file for several nodes."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.commands import ROOT, run_command
from tests.integration.conftest import TINY
from tests.slurm.conftest import PACED, outcome, queued_jobs, runs_by_name, until
from tests.slurm.paced import steps_of

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

BATCH_FILE = ROOT / "scripts" / "slurm" / "train_nodes.sbatch"
# What the mini cluster has instead of two nodes of GPUs.
ONE_NODE = ("--nodes=1", "--ntasks-per-node=2", "--gpus-per-node=0", "--cpus-per-task=1", "--mem=1G", "--time=10")
RUN = (*TINY, "transfer=scratch", "trainer=ddp_sim")


@pytest.fixture
def two_processes(tmp_path):
    """The same run in two processes that the command starts itself."""
    done = run_command("train", *RUN, f"paths.output_dir={tmp_path / 'alone'}", env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    (run,) = runs_by_name(tmp_path / "alone").values()
    return outcome(run)


def test_a_job_of_two_processes_is_one_run_with_the_numbers_it_has_without_slurm(cluster, two_processes, tmp_path):
    sweep = cluster.submit(*RUN)
    ((job,), report) = queued_jobs(sweep)

    assert cluster.end(job, report) == ["COMPLETED"] * 2
    assert cluster.field(job, "NumTasks") == "2"
    (run,) = runs_by_name(tmp_path / "outputs").values()
    assert outcome(run) == two_processes


@pytest.fixture
def submit_batch_file(cluster, tmp_path):
    """Submit the batch file for a run with these words; returns the job."""

    def submit(*run, pace=0.0):
        words = [*ONE_NODE, f"--output={tmp_path / 'log'}", str(BATCH_FILE), *run]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "PACE": str(pace)}
        sbatch = subprocess.run(
            ["sbatch", "--parsable", *words], cwd=ROOT, env={**os.environ, **cluster.environment, **environment},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return sbatch.stdout.strip()

    return submit


def test_the_batch_file_for_several_nodes_runs_one_run_in_all_its_processes(
    cluster, two_processes, submit_batch_file, tmp_path
):
    job = submit_batch_file(*RUN)

    assert cluster.end(job) == ["COMPLETED"], Path(tmp_path / "log").read_text()
    (run,) = runs_by_name(tmp_path / "outputs").values()
    assert outcome(run) == two_processes


def test_a_job_of_the_batch_file_that_slurm_warns_is_queued_again_and_ends_in_the_undisturbed_bits(
    cluster, undisturbed, submit_batch_file, tmp_path
):
    words = (*PACED, "trainer=ddp_sim")
    (expected,) = runs_by_name(undisturbed(*words)).values()

    job = submit_batch_file(*words, pace=0.5)
    (run,) = until(lambda: list(runs_by_name(tmp_path / "outputs").values()), 300, "the run to begin")
    until(lambda: 2 in steps_of(run), 300, "the run to train")
    # As at the end of its time, and to the batch script alone, as its --signal=B:USR2@120 says.
    cluster("scancel", "--batch", "--signal=USR2", job)
    until(lambda: cluster.field(job, "Restarts") == "1", 120, "the job to be on the queue again")

    assert cluster.end(job) == ["COMPLETED"], Path(tmp_path / "log").read_text()
    assert outcome(run) == outcome(expected)
    log = (run / "train.log").read_text()
    assert "Stopped by SIGUSR2 after step 1" in log and "Resuming from" in log
