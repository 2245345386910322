"""-m: choices and seeds in one command, and the table it ends in."""

import re
import shutil

import pytest

from tests.integration.conftest import TINY


@pytest.mark.short
def test_a_sweep_ends_in_a_table_of_arms_with_mean_and_spread_over_seeds(run_train):
    done = run_train("-m", *TINY, "transfer=scratch,random_frozen", "seed=0,1")

    assert done.code == 0
    rows = [line for line in done.out.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["scratch", "random_frozen"]
    assert all("±" in row and row.split("│")[-2].strip() == "2" for row in rows)


def test_a_sweep_and_its_config_files_may_lie_in_folders_of_any_name(run_train, write_config, tmp_path, monkeypatch):
    store = tmp_path / "it's Präsenz (2) a=b"
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(store / "outputs"))
    _, folder = write_config(**{"experiment/mine": "# @package _global_\nseed: 77\n"})
    shutil.move(folder, store / "configs")

    done = run_train("--config-dir", str(store / "configs"), "-m", *TINY, "experiment=mine", "transfer=scratch")

    assert done.code == 0, done.err
    (sweep,) = (store / "outputs" / "sweeps").iterdir()
    assert (sweep / "report" / "index.html").is_file()
    assert sorted(path.name for path in (sweep / "jobs").iterdir()) == ["00000.json", "00000.log"]


def test_one_seed_has_no_spread(run_train):
    done = run_train("-m", *TINY, "transfer=scratch,random_frozen")

    assert not [line for line in done.out.splitlines() if line.startswith("│") and "±" in line]


def test_transfers_of_a_sweep_share_the_pretrainings_of_their_seeds_and_sizes(run_train, tmp_path):
    run_train("-m", *TINY, "transfer=frozen,finetune", "encoder.latent_dim=4,8", "seed=0,1")

    runs = [path.name for path in (tmp_path / "outputs" / "runs").glob("[!.]*")]
    assert len([name for name in runs if name.startswith("pretrain")]) == 4
    assert len([name for name in runs if name.startswith("transfer")]) == 8


def test_a_failing_job_does_not_stop_the_others_and_the_last_lines_name_it(run_train, tmp_path):
    done = run_train("-m", *TINY, "transfer=scratch", "data.labels_per_class=5,9999,6")

    assert done.code == 1
    assert "failed: data.labels_per_class=9999, but" in done.out
    assert re.search(r"^3/3  labels_per_class=6  acc \.\d{3}  [\d.]+ s$", done.out, re.MULTILINE)
    *_, report, failed, sweep = done.out.splitlines()
    assert report.startswith("report: ")
    assert "data.labels_per_class=9999" in failed
    assert sweep.startswith("sweep: ")
    assert not done.err
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    logs = [path.read_text() for path in sorted((sweep / "jobs").glob("*.log"))]
    assert ["run: " in log for log in logs] == [True, False, True]
    assert "has 128 training images" in logs[1]


@pytest.mark.slow
def test_pretraining_models_are_swept_as_well(run_train):
    done = run_train("-m", "data=digits", "model=ae,vae", *TINY[2:4], "trainer.max_epochs=1",
                     "trainer.limit_train_batches=2", "logger=none")  # fmt: skip

    assert done.code == 0
    assert "2/2  vae  neg_elbo" in done.out
