"""A cluster for all tests of the session, what one does on it, and the same sweep on the basic launcher beside it."""

import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.commands import ROOT, run_command
from tests.integration.conftest import command, run_train  # noqa: F401
from tests.slurm.mini_slurm import MiniSlurm, missing
from tests.slurm.paced import steps_of

# Scratch only, so that each job is one run; steps enough for a signal to find it in mid-epoch.
EPOCHS, STEPS_OF_EPOCH = 2, 12
PACED = (
    *("data=photo_digits", "encoder.widths=[4,8,8,8]", "encoder.latent_dim=8", "transfer=scratch", "logger=none"),
    *(f"trainer.max_epochs={EPOCHS}", f"trainer.limit_train_batches={STEPS_OF_EPOCH}", "data.batch_size=16"),
    *("callbacks=none", "allow=[tests]", "+callbacks.paced._target_=tests.slurm.paced.Paced"),
    "+callbacks.paced.directory='{run_dir}'",
)
ALL_STEPS = list(range(1, EPOCHS * STEPS_OF_EPOCH + 1))
SMALL = ("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")


class Cluster:
    """The mini Slurm, as a user on its login node has it."""

    def __init__(self, slurm):
        self.environment = slurm.environment

    def __call__(self, *words):
        """Run one of Slurm's commands and return what it prints."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60).stdout

    def aetransfer(self, *words, pace=0.0, **environment):
        """Run `python -m aetransfer.<words>`; its jobs take `pace` seconds longer for each step."""
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        given = {**self.environment, "PYTHONPATH": path, "PACE": str(pace), "OMP_NUM_THREADS": "1", **environment}
        return run_command(*words, env=given)

    def submit(self, *words, **more):
        """Submit a sweep and return its directory."""
        done = self.aetransfer("submit", *words, *SMALL, **more)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip().splitlines()[-1].removeprefix("sweep:").strip())

    def preempt(self, job):
        """Send the signal that a cluster sends before it takes a job from its node."""
        # While the array has jobs that wait, scancel delivers the signal, is told to try again, and would after 5 s.
        self("timeout", "2", "scancel", "--signal=USR2", job)

    def field(self, job, name):
        """Return what `scontrol show job` says of a job under a name, such as Restarts."""
        found = re.search(rf"\b{name}=(\S+)", self("scontrol", "-o", "show", "job", job))
        return found[1] if found else ""

    def end(self, *jobs, seconds=400):
        """Wait until jobs have ended, and return how each did."""
        until(lambda: not self("squeue", "--noheader", f"--jobs={','.join(jobs)}").strip(), seconds, "jobs to end")
        states = [self.field(job, "JobState") for job in jobs]
        for job, state in zip(jobs, states, strict=True):
            if state != "COMPLETED":
                # A test that fails shows what was printed.
                print(self("scontrol", "show", "job", job), *self.outputs(job), sep="\n")
        return states

    def outputs(self, job):
        """Return what a job has written so far, to stdout and to stderr."""
        paths = {Path(self.field(job, name)) for name in ("StdOut", "StdErr")}
        return [f"{path}:\n{path.read_text()}" for path in sorted(paths) if path.is_file()]


def until(holds, seconds, what):
    """Wait until something holds, and fail after so many seconds without it."""
    end = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)
    return value


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    if reason := missing():
        pytest.skip(reason)
    slurm = MiniSlurm(tmp_path_factory.mktemp("slurm"))
    slurm.start()
    ended = threading.Event()

    def release():
        # Slurm holds a job that was requeued for two minutes. It refuses one that starts in the second in which the
        # job was ended, and then calls it failed, so a job is let go two looks after the first that found it held.
        cluster, looks = Cluster(slurm), Counter()
        while not ended.wait(1):
            lines = cluster("squeue", "--noheader", "--array", "--states=PD", "--format=%i %r").splitlines()
            held = {job for job, _, reason in (line.partition(" ") for line in lines) if reason == "BeginTime"}
            looks = Counter({job: looks[job] + 1 for job in held})
            for job in [job for job in held if looks[job] > 2]:
                cluster("scontrol", "update", f"JobId={job}", "StartTime=now")

    releasing = threading.Thread(target=release)
    releasing.start()
    yield slurm
    ended.set()
    releasing.join()
    slurm.stop()


@pytest.fixture
def cluster(slurm):
    cluster = Cluster(slurm)
    yield cluster
    cluster("scancel", f"--user={os.getuid()}")
    until(lambda: not cluster("squeue", "--noheader").strip(), 60, "the queue to be empty")


@pytest.fixture
def undisturbed(run_train, tmp_path, monkeypatch):  # noqa: F811
    """Run a sweep on the basic launcher, into a store of its own; returns the store."""

    def run(*words):
        done = run_train("-m", *words, f"paths.output_dir={tmp_path / 'undisturbed'}")
        assert done.code == 0, done.err
        return tmp_path / "undisturbed"

    return run


def queued_jobs(sweep):
    """Return Slurm's ids of a sweep's jobs, in the sweep's order, and of its report's job."""
    queued = json.loads((sweep / "queued.json").read_text())
    return list(queued["jobs"].values()), queued["report"]


def runs_by_name(output_dir):
    return {path.name: path for path in (output_dir / "runs").glob("[!.]*")}


def steps_of_job(sweep, number):
    """Return the steps that the run of a sweep's job has done."""
    overrides = json.loads((sweep / "planned.json").read_text())[str(number)]
    for run in runs_by_name(sweep.parents[1]).values():
        path = run / "result.json"
        if path.is_file() and json.loads(path.read_text())["overrides"] == overrides:
            return steps_of(run)
    return []


def outcome(run):
    """Return what must be equal to the last bit: a run's final metrics and its encoder."""
    result = json.loads((run / "result.json").read_text())
    return result["status"], result["metrics"], (run / "encoder.safetensors").read_bytes()


def table_of(sweep):
    """Return a sweep's results table in full precision."""
    return (sweep / "report" / "results.csv").read_text()
