"""What a cluster does to a job in the middle of an epoch: it comes back to its run, and ends in the undisturbed run's bits."""

import os
import signal

import pytest

from tests.slurm.conftest import ALL_STEPS, PACED, outcome, queued_jobs, runs_by_name, steps_of_job, until
from tests.slurm.paced import steps_of

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

# In the middle of two epochs of twelve steps.
PREEMPTED_AT = (2, 6, 10, 14, 18)


def test_ten_of_ten_preemptions_lose_no_step_and_end_in_the_undisturbed_bits(cluster, undisturbed, tmp_path):
    expected = runs_by_name(undisturbed(*PACED, "seed=0,1"))

    sweep = cluster.submit(*PACED, "seed=0,1", pace=0.4)
    jobs, report = queued_jobs(sweep)
    ahead = {number: list(PREEMPTED_AT) for number in range(len(jobs))}

    def all_preempted():
        for number, moments in ahead.items():
            job = jobs[number]
            # The one before must have had its effect.
            restarts = len(PREEMPTED_AT) - len(moments)
            trains = moments and len(steps_of_job(sweep, number)) >= moments[0]
            if trains and (cluster.field(job, "JobState"), cluster.field(job, "Restarts")) == (
                "RUNNING",
                str(restarts),
            ):
                cluster.preempt(job)
                moments.pop(0)
        return not any(ahead.values())

    until(all_preempted, 500, "ten preemptions")
    assert cluster.end(*jobs, report) == ["COMPLETED"] * 3

    assert sum(int(cluster.field(job, "Restarts")) for job in jobs) == 10
    runs = runs_by_name(tmp_path / "outputs")
    assert {name: outcome(run) for name, run in runs.items()} == {name: outcome(run) for name, run in expected.items()}
    assert {name: steps_of(run) for name, run in runs.items()} == dict.fromkeys(runs, ALL_STEPS)


@pytest.mark.parametrize("warned", [True, False])
def test_a_job_that_is_taken_from_its_node_ends_in_the_undisturbed_bits(cluster, undisturbed, tmp_path, warned):
    (expected,) = runs_by_name(undisturbed(*PACED, "seed=5")).values()

    sweep = cluster.submit(*PACED, "seed=5", pace=0.5)
    ((job,), _) = queued_jobs(sweep)
    until(lambda: len(steps_of_job(sweep, 0)) > 14, 300, "the job to train")
    if not warned:
        # As when its node loses power: nothing can be saved.
        for line in cluster("scontrol", "listpids", f"{job}.0").splitlines()[1:]:
            os.kill(int(line.split()[0]), signal.SIGKILL)
        assert cluster.end(job) == ["FAILED"]
    cluster("scontrol", "requeue", job)
    until(lambda: cluster.field(job, "Restarts") == "1", 60, "the job to be on the queue again")

    assert cluster.end(job) == ["COMPLETED"]
    (run,) = runs_by_name(tmp_path / "outputs").values()
    assert outcome(run) == outcome(expected)
    if warned:
        assert steps_of(run) == ALL_STEPS
    else:
        # From the checkpoint of the first epoch's end.
        assert steps_of(run)[: len(ALL_STEPS) // 2] == ALL_STEPS[: len(ALL_STEPS) // 2]
        assert len(ALL_STEPS) < len(steps_of(run)) < 2 * len(ALL_STEPS)


def test_a_job_that_runs_out_of_time_is_queued_again_and_finishes(cluster, undisturbed, tmp_path):
    (expected,) = runs_by_name(undisturbed(*PACED, "seed=6")).values()

    # Two minutes, of which a busy machine spends one on importing torch; the steps alone take as long.
    limits = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=5")
    sweep = cluster.submit(*PACED, "seed=6", *limits, pace=5)
    ((job,), report) = queued_jobs(sweep)

    assert cluster.end(job, report, seconds=700) == ["COMPLETED"] * 2
    assert int(cluster.field(job, "Restarts")) >= 1
    assert "this job is timed-out" in (sweep / "jobs" / "00000.log").read_text()
    (run,) = runs_by_name(tmp_path / "outputs").values()
    assert outcome(run) == outcome(expected)
    assert steps_of(run) == ALL_STEPS
