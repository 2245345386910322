"""`runs status`: what a sweep's jobs are doing, whichever launcher runs them. On a queue: tests/slurm."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aetransfer import runs
from aetransfer.models.classifier import Classifier
from aetransfer.report import __main__ as report
from aetransfer.store import lock, record
from aetransfer.store.directory import RunDirectory
from aetransfer.store.lock import RunLock
from aetransfer.sweeps.status import status_of
from aetransfer.training.callbacks.progress import Throughput
from tests.commands import run_command
from tests.integration.conftest import TINY, assert_refused


@pytest.fixture
def sweep_of(tmp_path):
    return lambda: max((tmp_path / "outputs" / "sweeps").iterdir())


def test_finished_and_failed_jobs_are_told_apart_and_a_failed_one_says_why(run_train, command, sweep_of):
    run_train("-m", *TINY, "transfer=scratch", "data.labels_per_class=5,9999")

    done = command(runs.main, "status")

    assert done.code == 0
    assert "2 job(s): 1 finished, 1 failed" in done.out
    assert (
        "failed: labels_per_class=9999: data.labels_per_class=9999, but class '0' has 128 training images" in done.out
    )
    (finished, failed) = status_of(sweep_of())
    assert finished.detail.startswith("acc .") and " in " in finished.detail
    assert failed.status == "failed"

    for spoilt in ([], 3, {"seconds": "x"}):
        path = finished.run.directory.result_path
        path.write_text(json.dumps({**json.loads(path.read_text()), "timing": spoilt}))
        done = command(runs.main, "status")
        assert done.code == 0 and "2 job(s): 1 finished, 1 failed" in done.out


def test_a_run_that_fails_in_training_shows_the_last_lines_of_its_log(run_train, command, monkeypatch):
    def fail(self, trainer, *rest):
        raise RuntimeError("the power went")

    monkeypatch.setattr(Throughput, "on_train_batch_end", fail)
    run_train("-m", *TINY, "transfer=scratch")

    done = command(runs.main, "status")

    assert "failed: job 0: RuntimeError: the power went" in done.out
    assert "images, 2 epochs" in done.out


def test_a_running_job_tells_its_epoch_speed_and_time_left_and_those_after_it_are_queued(
    run_train, sweep_of, monkeypatch, tmp_path
):
    seen = []
    original = Throughput.on_train_batch_end

    def look(self, trainer, *rest):
        original(self, trainer, *rest)
        if trainer.current_epoch == 1 and not seen:
            (result,) = tmp_path.glob("outputs/runs/*/result.json")
            while json.loads(result.read_text())["progress"].get("epoch") != 2:
                time.sleep(0.01)  # until the next heartbeat
            seen.extend(status_of(sweep_of()))

    monkeypatch.setattr(Throughput, "on_train_batch_end", look)
    monkeypatch.setattr("aetransfer.store.lock.RunLock.__init__.__defaults__", (0.5, 60.0, 0.01))
    run_train("-m", *TINY, "transfer=scratch", "seed=0,1")

    (running, queued) = seen
    assert running.status == "running"
    assert running.detail.startswith("transfer epoch 2/2, ") and running.detail.endswith(" left")
    assert "images/s" in running.detail
    assert queued.status == "queued"


HALF_AN_HOUR = timedelta(hours=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("hours", [1, -1])
def test_a_run_on_a_host_whose_clock_is_wrong_is_shown_as_it_is_and_keeps_its_lock(
    run_train, sweep_of, monkeypatch, hours
):
    """Its pretraining was done on this host, whose clock is right."""
    ahead, seen, entered = [0], {}, threading.Event()

    class WrongClock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=ahead[0])

    monkeypatch.setattr(record, "datetime", WrongClock)
    monkeypatch.setattr("aetransfer.store.lock.RunLock.__init__.__defaults__", (0.5, 60.0, 0.01))
    original = Throughput.on_train_batch_end

    def look(self, trainer, *rest):
        original(self, trainer, *rest)
        if not isinstance(trainer.lightning_module, Classifier) or seen:
            return
        ahead[0] = hours
        run = Path(trainer.default_root_dir)
        until = time.monotonic() + 60
        while abs(datetime.fromisoformat(RunDirectory(run).result()["heartbeat"]) - datetime.now(UTC)) < HALF_AN_HOUR:
            assert time.monotonic() < until, "no heartbeat tells the wrong time"
            time.sleep(0.01)
        waiter = RunLock(RunDirectory(run).locks, poll=0.01, dead=60.0)
        threading.Thread(target=lambda: hold(waiter, entered), daemon=True).start()
        seen.update({command: run_command("runs", command).stdout for command in ("status", "list")})
        seen["entered"] = entered.wait(0.5)

    monkeypatch.setattr(Throughput, "on_train_batch_end", look)
    with monkeypatch.context() as patch:
        patch.setattr(lock, "_machine", lambda: "elsewhere boot namespace")
        done = run_train("-m", *TINY, "transfer=frozen")

    assert done.code == 0, done.err
    assert "1 job(s): 1 running" in seen["status"] and "transfer epoch" in seen["status"]
    assert [line.split("│")[2].strip() for line in seen["list"].splitlines() if "photo_digits" in line] == ["running"]
    assert not seen["entered"]
    assert entered.wait(10.0)
    assert [job.status for job in status_of(sweep_of())] == ["finished"]


def hold(waiter, entered):
    with waiter.held():
        entered.set()


@pytest.mark.slow
def test_a_sweep_whose_process_was_killed_is_interrupted_not_running(command, tmp_path, sweep_of):
    words = [sys.executable, "-m", "aetransfer.train", "-m", *TINY, "transfer=scratch", "seed=0,1"]
    process = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("outputs/runs/*/result.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()

    assert [job.status for job in status_of(sweep_of())] == ["interrupted", "interrupted"]
    reported = command(report.main, str(sweep_of()))
    assert reported.code == 0 and "missing: 2 x seed=0; seed=1" in reported.out


@pytest.mark.slow
def test_a_sweep_of_before_this_command_can_be_asked_about(run_train, command, sweep_of):
    run_train("-m", *TINY, "transfer=scratch", "seed=0,1")
    (sweep_of() / "process.json").unlink()
    (sweep_of() / "jobs" / "00001.json").unlink()

    assert [job.status for job in status_of(sweep_of())] == ["finished", "interrupted"]


def test_what_is_no_sweep_is_refused(command, tmp_path):
    assert_refused(
        command(runs.main, "status", str(tmp_path)), f"{tmp_path} is no sweep's directory: it has no planned.json."
    )
    sweeps = tmp_path / "outputs" / "sweeps"
    assert_refused(
        command(runs.main, "status"), f"There is no sweep in {sweeps}: name one, or another paths.output_dir."
    )


def test_a_finished_run_keeps_no_progress_and_an_interrupted_one_does(run_train, interrupted_at, tmp_path):
    with interrupted_at(2):
        run_train(*TINY, "transfer=scratch")
    (path,) = tmp_path.glob("outputs/runs/*/result.json")
    assert json.loads(path.read_text())["progress"]["epoch"] == 1

    done = run_train(*TINY, "transfer=scratch")
    assert "progress" not in done.result
