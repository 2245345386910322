"""Sweeps on a real Slurm: the results of the basic launcher, the truth about every job, and a queue one can walk away from."""

import re

import pytest

from tests.integration.conftest import TINY
from tests.slurm.conftest import (
    ALL_STEPS,
    PACED,
    SMALL,
    outcome,
    queued_jobs,
    runs_by_name,
    steps_of_job,
    table_of,
    until,
)
from tests.slurm.paced import steps_of

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


def test_an_array_of_four_gives_the_results_of_the_basic_launcher_and_the_job_that_fails_is_called_failed(
    cluster, run_train, tmp_path
):
    choices = ("transfer=scratch,frozen", "data.labels_per_class=5,9999")
    run_train("-m", *TINY, *choices, f"paths.output_dir={tmp_path / 'basic'}")

    done = cluster.aetransfer("train", "-m", *TINY, *choices, "launcher=slurm", *SMALL)

    assert done.returncode == 1
    ours, theirs = runs_by_name(tmp_path / "outputs"), runs_by_name(tmp_path / "basic")
    finished = {name: run for name, run in theirs.items() if (run / "encoder.safetensors").is_file()}
    assert len(finished) == 3
    assert {name: outcome(ours[name]) for name in finished} == {name: outcome(run) for name, run in finished.items()}
    assert "failed: 2 x data.labels_per_class=9999, but" in done.stdout, done.stdout
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    jobs, report = queued_jobs(sweep)
    assert len({job.partition("_")[0] for job in jobs}) == 1 and report is None
    assert [cluster.field(job, "JobState") for job in jobs] == ["COMPLETED", "FAILED"] * 2
    (of_basic,) = (tmp_path / "basic" / "sweeps").iterdir()
    assert table_of(sweep) == table_of(of_basic)
    shown = cluster.aetransfer("runs", "status").stdout
    assert "2 finished, 2 failed" in shown and "failed: 2 x data.labels_per_class=9999, but" in shown


def test_eight_jobs_left_to_the_queue_with_two_preempted_and_one_cancelled_and_resubmitted_end_in_the_basic_report(
    cluster, undisturbed, tmp_path
):
    (basic,) = (undisturbed(*PACED, "seed=0,1,2,3", "data.labels_per_class=10,20") / "sweeps").iterdir()
    profile = tmp_path / "lab" / "launcher" / "lab.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text(
        "# @package _global_\ndefaults: [slurm]\n"
        f"hydra:\n  launcher: {{name: labs, setup: ['echo set up >> {tmp_path}/setup.log']}}\n"
    )
    words = (*PACED, "seed=0,1,2,3", "data.labels_per_class=10,20", "launcher=lab")

    sweep = cluster.submit(*words, pace=0.3, AETRANSFER_CONFIG_DIR=str(tmp_path / "lab"))
    jobs, report = queued_jobs(sweep)
    assert len(jobs) == 8 and cluster.field(report, "Dependency").startswith(f"afterany:{jobs[0].partition('_')[0]}")
    assert cluster.field(jobs[0], "JobName") == "labs"
    cancelled = jobs[6]
    cluster("scancel", cancelled)
    for number in (0, 1):
        until(lambda number=number: len(steps_of_job(sweep, number)) > 3, 300, f"job {number} to train")
        cluster.preempt(jobs[number])
    shown = cluster.aetransfer("runs", "status").stdout
    assert "queued" in shown and "1 interrupted" in shown and "the same command goes on" in shown
    assert cluster.end(*(job for job in jobs if job != cancelled), seconds=400) == ["COMPLETED"] * 7
    assert [cluster.field(job, "Restarts") for job in jobs[:2]] == ["1", "1"]
    assert cluster.end(report) == ["COMPLETED"]
    assert table_of(sweep) != table_of(basic)
    assert "killed or never began" in (sweep / "report" / "summary.md").read_text()
    assert (tmp_path / "setup.log").read_text().count("set up") >= 10

    again = cluster.submit(*words, AETRANSFER_CONFIG_DIR=str(tmp_path / "lab"))
    left, report = queued_jobs(again)
    assert len(left) == 1
    assert cluster.end(report) == ["COMPLETED"]

    assert table_of(again) == table_of(basic)
    assert "8 finished" in cluster.aetransfer("runs", "status", str(again)).stdout
    runs = runs_by_name(tmp_path / "outputs")
    assert {name: outcome(run) for name, run in runs.items()} == {
        name: outcome(run) for name, run in runs_by_name(basic.parent.parent).items()
    }


def test_a_cancelled_sweep_says_so_and_goes_on_where_it_was_when_it_is_submitted_again(cluster, undisturbed, tmp_path):
    expected = runs_by_name(undisturbed(*PACED, "seed=0,1"))

    # Twenty steps are left to them: long enough to be looked at on a busy machine. A beat tells how far they are.
    sweep = cluster.submit(*PACED, "seed=0,1", pace=1)
    jobs, report = queued_jobs(sweep)
    trains = re.compile(r"running │ transfer epoch [12]/2, [\d,]+ images/s, 0:\d\d:\d\d left")

    def both_train():
        shown = cluster.aetransfer("runs", "status", str(sweep)).stdout
        return shown if len(trains.findall(shown)) == 2 else None

    shown = until(both_train, 300, "both to train")
    assert all(len(steps_of_job(sweep, number)) < len(ALL_STEPS) for number in (0, 1))
    cluster("scancel", jobs[0].partition("_")[0], report)
    assert cluster.end(*jobs, report) == ["CANCELLED"] * 3
    after = cluster.aetransfer("runs", "status", str(sweep)).stdout
    reported = cluster.aetransfer("report", str(sweep))

    assert "2 running" in shown
    assert "2 interrupted" in after and "cancelled: the same command goes on" in after
    assert reported.returncode == 0 and "missing: 2 x seed=0; seed=1" in reported.stdout

    again = cluster.submit(*PACED, "seed=0,1")
    assert cluster.end(*queued_jobs(again)[0], queued_jobs(again)[1]) == ["COMPLETED"] * 3

    runs = runs_by_name(tmp_path / "outputs")
    assert {name: outcome(run) for name, run in runs.items()} == {name: outcome(run) for name, run in expected.items()}
    assert [steps_of(run) for run in runs.values()] == [ALL_STEPS] * 2
