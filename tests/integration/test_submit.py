"""What `submit` refuses before anything is queued, and where a lab keeps its own config files. The queue: tests/slurm."""

import shlex

import pytest

from aetransfer import runs, submit
from aetransfer.sweeps.jobs import note_planned
from aetransfer.sweeps.queue import Queued, print_queued
from tests.integration.conftest import TINY, assert_refused


@pytest.fixture
def run_submit(command, monkeypatch, tmp_path):
    """Run `submit` where there is no Slurm."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return lambda *words: command(submit.main, *words)


def test_a_machine_without_slurm_is_told_so_in_one_sentence_and_nothing_is_left(run_submit, run_train, tmp_path):
    for done in (run_submit(*TINY, "seed=0,1"), run_train("-m", *TINY, "seed=0,1", "launcher=slurm")):
        assert_refused(
            done,
            "There is no sbatch on this machine: queue from a login node of the Slurm cluster, or run the sweep here with "
            "python -m aetransfer.train -m and launcher=local.",
        )
    assert not list((tmp_path / "outputs" / "sweeps").glob("*"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("launcher=joblib",),
            "Only launcher=slurm, or a launcher file built on it, can queue jobs: choose one of them.",
        ),
        (("transfer=scrach",), None),
        (("seed=0,x",), None),
        (("hydra.launcher.partitoin=gpu",), None),
        (("hydra.launcher.timeout_min=long",), None),
        (("launcher=slurm", "trainer=ddp_sim", "trainer.devices=auto"), None),
        (
            ("sweep=tune",),
            "A search asks for trials once earlier ones have ended, so its command must stay: run it with python -m "
            "aetransfer.train -m and launcher=slurm.",
        ),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_queued(run_submit, tmp_path, monkeypatch, words, sentence):
    # A queue that takes everything: what is refused here is refused by what stands before it.
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\ntouch queued\necho Submitted batch job 1\n")
    sbatch.chmod(0o755)
    monkeypatch.chdir(tmp_path)

    done = run_submit(*TINY[:-1], *words)

    assert done.code == 1
    assert done.err.startswith("error: ") and done.err.count("\n") == 1, done.err
    assert sentence is None or done.err == f"error: {sentence}\n"
    assert not (tmp_path / "queued").exists()
    assert not (tmp_path / "outputs").exists()


def test_choices_that_only_together_do_not_fit_are_a_failed_job_and_the_others_are_queued(
    run_submit, command, tmp_path
):
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\necho Submitted batch job 7\n")
        (tmp_path / name).chmod(0o755)

    done = run_submit(*TINY, "transfer=scratch", "data.labels_per_class=null,5", "data.train_fraction=null,0.5")

    assert done.code == 0, done.err
    assert "queued: 3 of 4 jobs, the others have ended" in done.out
    shown = command(runs.main, "status").out
    assert (
        "failed: labels_per_class=5 train_fraction=0.5: data takes labels_per_class or train_fraction, not both."
        in shown
    )


def test_a_folder_of_configs_named_in_the_environment_counts_like_config_dir(run_train, tmp_path, monkeypatch):
    file = tmp_path / "lab" / "experiment" / "ours.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nseed: 7\n")

    given = run_train("--config-dir", str(tmp_path / "lab"), *TINY, "experiment=ours", "--identity")
    monkeypatch.setenv("AETRANSFER_CONFIG_DIR", str(tmp_path / "lab"))
    named = run_train(*TINY, "experiment=ours", "--identity")

    assert named.code == 0 and "-s7-" in named.out
    assert named.out == given.out


def test_a_folder_of_configs_that_is_not_there_is_named(run_train, tmp_path, monkeypatch):
    monkeypatch.setenv("AETRANSFER_CONFIG_DIR", str(tmp_path / "lab"))

    done = run_train(*TINY)

    assert_refused(done, f"AETRANSFER_CONFIG_DIR={tmp_path / 'lab'} is no folder.")


def test_the_command_to_watch_a_sweep_can_be_pasted_into_a_shell(tmp_path, capsys):
    sweep = tmp_path / "it's mine" / "sweeps" / "first"
    note_planned(sweep, [["seed=0"]])

    print_queued(sweep, Queued({"0": "7_0"}, "8"))

    (watch,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("watch:"))
    assert shlex.split(watch)[1:] == ["python", "-m", "aetransfer.runs", "status", str(sweep)]
