"""One run in several processes that Slurm starts: by submit, and by the batch file for several nodes."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.commands import ROOT, run_command
from tests.integration.conftest import TINY
from tests.slurm.conftest import outcome, queued_jobs, runs_by_name

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


def test_the_batch_file_for_several_nodes_runs_one_run_in_all_its_processes(cluster, two_processes, tmp_path):
    words = [*ONE_NODE, f"--output={tmp_path / 'log'}", str(BATCH_FILE), *RUN]
    environment = {**os.environ, **cluster.environment, "OMP_NUM_THREADS": "1"}
    sbatch = subprocess.run(
        ["sbatch", "--parsable", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert cluster.end(sbatch.stdout.strip()) == ["COMPLETED"], Path(tmp_path / "log").read_text()
    (run,) = runs_by_name(tmp_path / "outputs").values()
    assert outcome(run) == two_processes
