"""The GPU's check, `benchmarks/gpu.py`, in its small form and on the CPU."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from benchmarks import gpu

ON_CPU = ("--accelerator", "cpu", "--small")


@pytest.fixture
def written(tmp_path):
    return tmp_path / "found" / "gpu.md"


@pytest.fixture
def check(command, monkeypatch, written):
    """Run the script; returns how it ended, its table and its numbers."""
    # Without a C++ compiler: what is traced is the same.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))

    def run(*words):
        done = command(gpu.main, *ON_CPU, "--output", str(written.with_suffix("")), *words)
        return done, written.read_text(), json.loads(written.with_suffix(".json").read_text())

    return run


def headings(table):
    return [line for line in table.splitlines() if line.startswith("#")]


@pytest.mark.slow
@pytest.mark.timeout(900)  # beside other work; under a minute on a core of its own
def test_both_devices_are_compared_and_a_killed_run_ends_in_the_same_bits(check):
    done, table, found = check("--only", "quickstart,resume")
    assert done.code == 0, done

    runs = found["stages"]["quickstart"]["rows"]
    assert [row["run"] for row in runs] == ["transfer finetune s0", "pretraining s0"]
    for row, loss, result in zip(runs, ("nll", "mse"), ("acc", "mse"), strict=True):
        assert len(row["epochs"]) == 2
        assert all(epoch[f"{part}/{loss}"] == 0 for epoch in row["epochs"] for part in ("train", "val"))
        on_cpu, on_device = row["test"][f"test/{result}"]
        assert on_cpu == on_device and f"| {row['run']} | test/{result} | {on_cpu:.4f} | {on_cpu:.4f} |" in table
    assert [row["run"] for row in found["stages"]["resume"]["rows"]] == ["pretrain s0 cpu", "transfer finetune s0 cpu"]
    assert all(row["equal"] and row["weights"] == row["metrics"] == 0 for row in found["stages"]["resume"]["rows"])
    assert "| transfer finetune s0 cpu | yes | 0.00e+00 | 0.00e+00 |" in table


@pytest.mark.slow
def test_each_way_to_train_is_measured_against_a_loop_by_hand(check):
    done, table, found = check("--only", "speed")
    assert done.code == 0, done

    rows = found["stages"]["speed"]["rows"]
    settings = [None, *(setting._asdict() for setting in (*gpu.MAIN, *gpu.FURTHER))]
    for model in gpu.MODELS:
        measured = [row for row in rows if row["model"] == model]
        assert [row["setting"] for row in measured] == settings
        assert measured[0]["ratio"] == 1
        assert all(row["ratio"] > 0 and row["images_per_second"] > 0 for row in measured)
        assert table.count(f"| {model} | 32 |") == len(settings)
    assert len(found["versions"]["torch"]) > 2 and found["device"] == "CPU"


@pytest.mark.slow
def test_what_fails_is_said_in_the_table_and_the_rest_goes_on(check, monkeypatch):
    monkeypatch.setattr(gpu, "SMALL", replace(gpu.SMALL, words=("encoder.widht=3",)))
    monkeypatch.setattr(gpu, "MODELS", {"autoencoder": ["model=ae"], "classifier": ["model=classifer"]})
    monkeypatch.setattr(gpu, "MAIN", gpu.MAIN[:1])
    monkeypatch.setattr(gpu, "FURTHER", ())
    done, table, found = check("--only", "quickstart,speed")
    assert done.code == 1

    quickstart, speed = headings(table)[1:]
    assert quickstart.startswith("## quickstart: failed") and "error: " in quickstart and "widht" in quickstart
    assert speed.startswith("## speed: failed")
    assert [row["model"] for row in found["stages"]["speed"]["rows"]] == ["autoencoder", "autoencoder"]
    assert "**Failed:** classifier, batch 32, by hand: UserError: " in table and "classifer" in table


def test_what_has_no_time_left_is_skipped_with_a_word(check):
    done, table, found = check("--minutes", "0")
    assert done.code == 0
    assert headings(table)[1:] == [
        "## quickstart: skipped: 0 s left, and it takes 10",
        "## resume: skipped: 0 s left, and it takes 20",
        "## speed: skipped: 0 s left, and it takes 5",
    ]
    assert {"python", "torch", "pytorch-lightning"} <= set(found["versions"])


def test_a_check_that_is_cut_off_leaves_its_table(check, written, monkeypatch):
    def cut(check, stage):
        raise KeyboardInterrupt

    monkeypatch.setitem(gpu.STAGES, "quickstart", lambda check, stage: None)
    monkeypatch.setitem(gpu.STAGES, "resume", cut)
    with pytest.raises(KeyboardInterrupt):
        check("--only", "quickstart,resume")
    quickstart, resume = headings(written.read_text())[1:]
    assert quickstart.startswith("## quickstart: done")
    assert resume == "## resume: cut off"


def test_an_unknown_stage_is_refused(command):
    done = command(gpu.main, "--only", "speed,sped")
    assert done.code == 2
    assert "sped: choose from quickstart, resume, speed" in done.err
