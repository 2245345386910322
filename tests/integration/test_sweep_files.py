"""sweep=NAME: what a file of configs/sweep stands for, and what the command line may replace in it."""

import pytest

from aetransfer.config.compose import checked, composed
from aetransfer.config.overrides import read, read_words
from aetransfer.config.plugins import choices_of, config_directory
from aetransfer.config.schema import Job
from aetransfer.transfer.resolve import resolve
from tests.integration.conftest import TINY


def jobs(*words):
    return read(read_words("train", ["-m", *words])).jobs


@pytest.mark.parametrize("name", choices_of("sweep"))
def test_every_file_says_its_command_and_its_jobs_can_run(name):
    text = (config_directory() / "sweep" / f"{name}.yaml").read_text()
    assert f"python -m aetransfer.train -m sweep={name}" in text

    for words in jobs(f"sweep={name}")[::25]:
        resolve(checked(composed("train", words), Job), words)


def test_a_file_stands_for_its_product_of_values():
    assert len(jobs("sweep=label_efficiency")) == 7 * 4 * 3
    assert len(jobs("sweep=latent")) == 6 * 4 * 3
    assert len(jobs("sweep=accelerators")) == 2 * 4 * 3


def test_a_key_on_the_command_line_replaces_the_files():
    words = jobs("sweep=label_efficiency", "seed=7", "transfer=scratch", "data.epoch_images=500")

    assert len(words) == 7
    assert all({"seed=7", "transfer=scratch", "data.epoch_images=500"} < set(job) for job in words)
    assert not any("data.epoch_images=10000" in job for job in words)


def test_few_labels_mean_as_many_steps_as_many():
    epochs = {composed("train", words).data.epoch_images for words in jobs("sweep=label_efficiency")[::12]}

    assert epochs == {10000}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sweep=latent"], "sweep=latent is a sweep over several values: add -m to run them all."),
        (["-m", "sweep=latent,accelerators"], "sweep=latent,accelerators names several: a sweep has one."),
        (["-m", "sweep=latnt"], "sweep=latnt is no choice of sweep (did you mean latent): there are "),
        (["-m", "sweep=latent", "launcher=job"], "launcher=job is no choice of launcher"),
        (["-m", "sweep=latent", "launcher=basic,joblib"], "launcher=basic,joblib names several: a sweep has one."),
        (["-m", "sweep=latent", "encoder.latent_dim=0,1"], "encoder.latent_dim=0 should be greater than 0."),
    ],
)
def test_a_mistake_is_one_sentence(run_train, words, sentence):
    done = run_train(*TINY, *words)

    assert done.code == 1
    assert done.err.startswith(f"error: {sentence}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("parms:\n  seed: 0,1\n", "sweep.parms is no config key or group"),
        ("params:\n  seed: [0, 1]\n", "sweep.params.seed"),
        ("params:\n  sed: 0,1\n", "sed is no config key or group (did you mean "),
    ],
)
def test_a_users_own_file_is_checked_as_well(run_train, tmp_path, text, sentence):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text(text)

    done = run_train("-m", *TINY, "sweep=mine", "--config-dir", str(tmp_path))

    assert done.code == 1
    assert done.err.startswith(f"error: {sentence}")
    assert len(done.err.strip().splitlines()) == 1


def test_a_users_own_file_runs(run_train, tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text("params:\n  seed: 0,1\n")

    done = run_train("-m", *TINY, "transfer=scratch", "sweep=mine", "--config-dir", str(tmp_path))

    assert done.code == 0
    assert [line[:3] for line in done.out.splitlines()[:2]] == ["1/2", "2/2"]
