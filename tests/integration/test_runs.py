"""python -m aetransfer.runs: what a user sees of the store, and what it refuses to do to it."""

import csv
import json
import os
import subprocess
import sys
import time

import pytest
import yaml

from aetransfer import runs
from aetransfer.models.facts import facts_of
from aetransfer.report import __main__ as report
from aetransfer.store.directory import RunDirectory
from aetransfer.store.lock import RunLock
from aetransfer.training.build import make_encoder, make_model
from tests.integration.conftest import TINY, TINY_PRETRAINING, job_of


@pytest.fixture
def run_runs(command):
    return lambda *words: command(runs.main, *words)


def make_run(store, name, *, status="finished", data="mnist", arm=None, seed=0, latent_dim=64, source=None, **metrics):
    path = store / "runs" / name
    path.mkdir(parents=True)
    config = {
        "seed": seed,
        "data": {"name": data, "labels_per_class": None},
        "encoder": {"latent_dim": latent_dim},
        "model": {"name": "classifier" if arm else "ae", "optimizer": {"lr": 0.001}},
        "transfer": {"name": arm} if arm else None,
        "head": {"hidden": [64]} if arm else None,
    }
    result = {
        "status": status,
        "name": name,
        "identity": name[-4:],
        "source": str(source) if source else None,
        "metrics": {"test/acc": 0.8125, **metrics} if arm else {"test/mse": 0.0123, **metrics},
        "counts": {"epochs": 7, "steps": 70},
        "timing": {"started": "2026-11-22T10:00:00+00:00", "seconds": 65.4},
        "versions": {"torch": "2.15.0"},
    }
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    (path / "result.json").write_text(json.dumps(result))
    return path


@pytest.fixture
def store(tmp_path):
    """A pretraining, a transfer that started from it, a control that failed and one that is running: this process."""
    store = tmp_path / "outputs"
    source = make_run(store, "pretrain-mnist-ae-d64-s0-aaaa")
    make_run(store, "transfer-cifar10-frozen-s0-bbbb", data="cifar10", arm="frozen", source=source)
    make_run(store, "transfer-cifar10-scratch-s1-cccc", data="cifar10", arm="scratch", seed=1, status="failed")
    running = make_run(store, "transfer-digits-scratch-s2-dddd", data="digits", arm="scratch", seed=2, status="running")
    with RunLock(RunDirectory(running).locks).held():
        yield store


def test_a_run_whose_process_is_gone_is_not_running(run_runs, tmp_path):
    make_run(tmp_path / "outputs", "transfer-digits-scratch-s2-dddd", arm="scratch", status="running")

    assert "interrupted" in run_runs("list").out


def names(done):
    return [line.split("│")[1].strip()[-4:] for line in done.out.splitlines() if line.startswith("│")]


def test_list_has_a_row_for_each_run(run_runs, store):
    done = run_runs("list")

    assert names(done) == ["aaaa", "bbbb", "cccc", "dddd"]
    (row,) = (line for line in done.out.splitlines() if "bbbb" in line)
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["finished", "7", "acc .812"]
    assert row.split("│")[5].strip() == "0:01:05"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["stage=transfer"], "bbbb cccc dddd"),
        (["stage=transfer", "data=cifar10", "status=failed"], "cccc"),
        (["arm=scratch,frozen"], "bbbb cccc dddd"),
        (["transfer=frozen"], "bbbb"),
        (["model=ae"], "aaaa"),
        (["seed=0,2"], "aaaa bbbb dddd"),
        (["name=*-s1-*"], "cccc"),
        (["encoder.latent_dim=64.0", "optimizer.lr=1e-3", "arm=frozen"], "bbbb"),
        (["head.hidden=[64],[64,32]", "seed=1"], "cccc"),
        (["data.labels_per_class=all", "seed=1"], "cccc"),
        (["status=interrupted"], ""),
    ],
)
def test_filters_choose_runs_by_what_they_were(run_runs, store, words, found):
    done = run_runs("list", *words)

    assert done.code == 0
    assert names(done) == found.split()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["list", "sed=0"], "error: sed is no filter (did you mean seed): there are stage, "),
        (["list", "encoder=conv4"], "error: encoder is a group of keys: filter by one of encoder.latent_dim."),
        (["list", "frozen"], "error: frozen is no filter: write key=value or key=value,value."),
        (["show", "cifar10"], "error: cifar10 is a part of 2 names (transfer-cifar10-frozen-s0-bbbb, "),
        (["show", "nothing"], "error: nothing is no run directory and no part of a run's name: "),
        (["rm"], "error: rm takes filters or names: status=failed, say."),
        (["remove"], "error: remove is no command: there are status, list, show, rm, export (see "),
        (["export", "out=runs.txt"], "error: export takes one out=FILE.csv or out=FILE.json."),
        (
            ["export", "out=nowhere/runs.csv"],
            "error: out=nowhere/runs.csv can't be written (No such file or directory).",
        ),
        (["list", "paths.output_dir=/nowhere"], "error: paths.output_dir=/nowhere is no folder."),
    ],
)
def test_a_mistake_is_one_sentence(run_runs, store, words, sentence):
    done = run_runs(*words)

    assert done.code == 1
    assert done.err.startswith(sentence)
    assert len(done.err.strip().splitlines()) == 1


def test_show_tells_a_real_run_from_a_part_of_its_name(run_train, run_runs):
    trained = run_train(*TINY, "transfer=frozen")

    done = run_runs("show", "photo_digits-frozen")

    assert done.code == 0
    for expected in (trained.run.name, "test/acc", "trained_parameters", "torch", "encoder.safetensors", "config.yaml"):
        assert expected in done.out
    assert "pretrain-digits-ae" in next(line for line in done.out.splitlines() if line.startswith("source"))
    assert names(run_runs("list", "stage=transfer")) == [trained.run.name[-4:]]


def test_show_takes_a_path(run_runs, store):
    done = run_runs("show", str(store / "runs" / "pretrain-mnist-ae-d64-s0-aaaa"))

    assert "carried by                transfer-cifar10-frozen-s0-bbbb" in done.out


def test_a_source_that_was_named_below_the_home_directory_knows_who_carried_it(run_runs, store, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make_run(
        store, "transfer-digits-frozen-s0-eeee", arm="frozen", source="~/outputs/runs/pretrain-mnist-ae-d64-s0-aaaa"
    )

    done = run_runs("show", "~/outputs/runs/pretrain-mnist-ae-d64-s0-aaaa")

    assert "carried by                transfer-cifar10-frozen-s0-bbbb, transfer-digits-frozen-s0-eeee" in done.out


def test_rm_only_says_what_it_would_remove(run_runs, store):
    done = run_runs("rm", "status=failed")

    assert done.code == 1
    assert "would remove: transfer-cifar10-scratch-s1-cccc (failed, " in done.out
    assert "--yes" in done.err
    assert len(names(run_runs("list"))) == 4


def test_rm_yes_removes_and_warns_of_transfers_that_lose_their_source(run_runs, store):
    done = run_runs("rm", "pretrain-mnist", "status=failed", "--yes")

    assert done.code == 0
    assert "warning: 1 kept run(s) started from it: transfer-cifar10-frozen-s0-bbbb" in done.out
    assert names(run_runs("list")) == ["bbbb", "dddd"]


def test_rm_leaves_a_running_run_unless_forced(run_runs, store):
    done = run_runs("rm", "data=digits", "--yes")
    assert done.code == 1
    assert "is running" in done.out
    assert "dddd" in names(run_runs("list"))

    assert run_runs("rm", "data=digits", "--yes", "--force").code == 0
    assert "dddd" not in names(run_runs("list"))


def test_rm_never_follows_a_link_out_of_the_store(run_runs, store, tmp_path):
    outside = make_run(tmp_path / "other", "pretrain-digits-ae-d8-s0-eeee")
    (store / "runs" / "linked").symlink_to(outside)
    (store / "runs" / "transfer-cifar10-frozen-s0-bbbb" / "images").symlink_to(outside)

    assert "eeee" not in names(run_runs("list"))
    assert run_runs("rm", str(outside), "--yes").code == 1
    assert run_runs("rm", "arm=frozen", "--yes").code == 0
    assert (outside / "result.json").is_file()


def test_a_damaged_run_is_listed_and_can_be_removed(run_runs, store):
    (store / "runs" / "empty").mkdir()
    half = make_run(store, "half")
    (half / "result.json").write_text('{"status": "fini')
    torn = make_run(store, "torn")
    (torn / "config.yaml").write_text("seed: [0\n")

    done = run_runs("list", "status=damaged")

    assert done.code == 0
    assert "damaged: empty: it has no config.yaml" in done.out
    assert "damaged: half: result.json can't be read" in done.out
    assert "damaged: torn: config.yaml can't be read" in done.out
    assert run_runs("show", "torn").code == 0
    assert run_runs("rm", "status=damaged", "--yes").code == 0
    assert len(names(run_runs("list"))) == 4


def test_export_writes_a_flat_table(run_runs, store, tmp_path):
    assert run_runs("export", f"out={tmp_path}/runs.csv", "arm=frozen").code == 0
    assert run_runs("export", f"out={tmp_path}/runs.json").code == 0

    (row,) = csv.DictReader((tmp_path / "runs.csv").open())
    assert (row["identity"], row["encoder.latent_dim"], row["test/acc"]) == ("bbbb", "64", "0.8125")
    assert (row["counts.epochs"], row["timing.seconds"], row["head.hidden"]) == ("7", "65.4", "[64]")
    assert [row["status"] for row in json.loads((tmp_path / "runs.json").read_text())] == [
        "finished", "finished", "failed", "running",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_store_below_the_home_directory_is_the_same_one_for_every_command(
    run_train, run_runs, command, tmp_path, monkeypatch
):
    here, store = tmp_path / "here", tmp_path / "home" / "store"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", "~/store")

    assert run_train("-m", *TINY, "transfer=scratch", "trainer.max_epochs=1").code == 0

    (run,) = (store / "runs").glob("[!.]*")
    assert names(run_runs("list")) == names(run_runs("list", "paths.output_dir=~/store")) == [run.name[-4:]]
    assert "1 job(s): 1 finished" in run_runs("status").out
    assert f"report: {store}/reports/" in command(report.main, "stage=transfer").out
    assert f"{store}/other/runs/" in run_train("--identity", *TINY, "paths.output_dir='~/store/other'").out
    assert list(here.iterdir()) == []


def test_an_empty_store_is_no_error(run_runs, tmp_path):
    done = run_runs("list", "seed=0")

    assert done.code == 0
    assert "0 run(s)" in done.out


def test_500_runs_are_listed_without_torch_and_without_waiting(store):
    for number in range(500):
        make_run(store, f"pretrain-mnist-ae-d64-s{number}-ffff", seed=number)
    code = "import sys; sys.argv[1:] = ['list']\nfrom aetransfer.runs import main\n"
    code += "try: main()\nexcept SystemExit: sys.exit('torch' in sys.modules)"

    before = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))

    assert done.returncode == 0
    assert "504 run(s)" in done.stdout
    # Two seconds on an idle machine.
    assert time.perf_counter() - before < 10


@pytest.mark.parametrize(
    ("words", "monitor"),
    [
        ((*TINY_PRETRAINING, "model=ae"), "val/mse"),
        ((*TINY_PRETRAINING, "model=vae"), "val/neg_elbo"),
        ((*TINY_PRETRAINING, "model=vae", "model.kl_weight=4"), "val/loss"),
        ((*TINY, "transfer=scratch"), "val/acc"),
    ],
)
def test_what_is_known_of_earlier_models_is_what_they_say_themselves(words, monitor):
    job = job_of(*words)
    said = make_model(job, make_encoder(job), outputs=10).facts(job.model.name)

    known = facts_of({}, {"model": {"name": job.model.name, **job.model.model_extra}})

    # What a VAE minimises is a metric too by now.
    said.metrics.pop("loss", None)
    assert known == said
    assert known.monitor == monitor
