"""--identity: which runs a command means and how far they are, without one being made."""

import sys

from aetransfer import train
from tests.commands import TorchlessProcess
from tests.integration.conftest import TINY


def lines(done, role):
    return [line.split() for line in done.out.splitlines() if line.startswith(f"{role}:")]


def test_it_names_the_run_its_directory_and_its_pretraining_and_makes_nothing(run_train, tmp_path):
    done = run_train("--identity", *TINY, "transfer=frozen")

    assert done.code == 0
    ((_, identity, status, directory),) = lines(done, "run")
    assert directory.endswith(identity)
    assert status == "none"
    ((_, _, status, directory),) = lines(done, "pretraining")
    assert "pretrain-digits-ae-d8-s0" in directory
    assert not (tmp_path / "outputs").exists()


def test_it_names_the_directory_that_the_run_really_gets_and_its_status(run_train):
    trained = run_train(*TINY, "transfer=scratch")

    ((_, identity, status, directory),) = lines(run_train(*TINY, "transfer=scratch", "--identity"), "run")

    assert (status, directory) == ("finished", str(trained.run))
    assert identity == trained.result["identity"]


def test_a_sweep_has_a_line_for_each_job(run_train):
    done = run_train("-m", "--identity", *TINY, "transfer=scratch,frozen", "seed=0,1")

    assert len({identity for _, identity, *_ in lines(done, "run")}) == 4
    assert len(lines(done, "pretraining")) == 2


def test_the_name_of_a_sweep_is_no_part_of_the_identity(run_train):
    named = run_train("-m", "--identity", *TINY, "sweep=latent", "encoder.latent_dim=8", "transfer=scratch", "seed=3")

    assert lines(named, "run") == lines(run_train("--identity", *TINY, "transfer=scratch", "seed=3"), "run")


def test_it_needs_no_torch(tmp_path):
    with TorchlessProcess(tmp_path) as torchless:
        answer = torchless("train", "--identity", "experiment=quickstart")

    assert (answer.code, answer.torch) == (0, False)


def test_help_mentions_it(command, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train"])

    assert "--identity" in command(train.main, "--help").out


def test_evaluate_has_no_such_flag(run_evaluate):
    done = run_evaluate("--identity", "run=somewhere")

    assert done.err.strip() == "error: unrecognized arguments: --identity (see --help)."
