"""Which runs a report is about, and what is said of the others."""

import json
import math
import shutil
from itertools import product

import pytest

from aetransfer.errors import UserError
from aetransfer.report.collect import collect_store, collect_sweep
from aetransfer.sweeps.jobs import SweepJob, causes, labels, note_job, note_planned, read_jobs, read_planned
from tests.report.store import change_result, make_pretraining, make_run, make_sweep

BASE = "experiment=quickstart"


def test_a_sweep_gives_its_own_runs_and_the_pretrainings_they_started_from(tmp_path):
    mine = [make_run(tmp_path, BASE, f"transfer={arm}") for arm in ("scratch", "frozen")]
    make_run(tmp_path, BASE, "transfer=scratch", seed=7)

    collection = collect_sweep(make_sweep(tmp_path, mine))

    assert [run.name for run in collection.runs] == [path.name for path in mine]
    assert [run.stage for run in collection.sources] == ["pretrain"]
    assert collection.unfinished == []


def test_a_run_that_two_jobs_share_is_counted_once(tmp_path):
    run = make_run(tmp_path, BASE, "transfer=scratch")
    assert len(collect_sweep(make_sweep(tmp_path, [run, run])).runs) == 1


def test_failed_interrupted_missing_and_damaged_jobs_are_listed_with_their_reasons(tmp_path):
    paths = [make_run(tmp_path, BASE, "transfer=scratch", seed=seed) for seed in range(5)]
    change_result(paths[1], status="interrupted")
    change_result(paths[2], status="failed", error="RuntimeError: out of memory")
    shutil.rmtree(paths[3])
    (paths[4] / "result.json").write_text("{")

    collection = collect_sweep(make_sweep(tmp_path, paths, failed=1))

    assert [run.seed for run in collection.runs] == [0]
    said = [(run.what, run.cause) for run in collection.unfinished]
    assert said[0] == ("number=1", "interrupted")
    assert said[1] == ("number=2", "failed: RuntimeError: out of memory")
    assert said[2] == ("number=3", "damaged: it has no config.yaml")
    assert said[3][0] == "number=4" and said[3][1].startswith("damaged: ")
    assert said[4] == ("transfer=scratch seed=5", "failed: The disk <is> full.")


def test_jobs_that_an_interrupted_sweep_never_began_are_missing(tmp_path):
    sweep = make_sweep(tmp_path, [make_run(tmp_path, BASE, "transfer=scratch")])
    note_planned(sweep, [["transfer=scratch", "seed=0"], ["transfer=frozen", "seed=0"]])

    assert [(run.what, run.cause) for run in collect_sweep(sweep).unfinished] == [("transfer=frozen seed=0", "missing")]


def test_who_reads_a_sweeps_notes_while_they_are_written_finds_them_whole(tmp_path):
    note_planned(tmp_path, [["seed=0"]])
    note_job(tmp_path, SweepJob(0, ["seed=0"], None, None))

    with (tmp_path / "planned.json").open() as planned, (tmp_path / "jobs" / "00000.json").open() as job:
        note_planned(tmp_path, [["seed=1"]], first=1)
        note_job(tmp_path, SweepJob(0, ["seed=0"], "runs/a", None))

        assert json.load(planned) == {"0": ["seed=0"]}
        assert json.load(job)["run"] is None
    assert read_planned(tmp_path) == {0: ["seed=0"], 1: ["seed=1"]}
    assert [noted.run for noted in read_jobs(tmp_path)] == ["runs/a"]


def test_a_store_that_was_moved_is_still_read(tmp_path):
    make_sweep(tmp_path / "old", [make_run(tmp_path / "old", BASE, "transfer=frozen")])
    (tmp_path / "old").rename(tmp_path / "new")

    collection = collect_sweep(next((tmp_path / "new" / "sweeps").iterdir()))

    assert (len(collection.runs), len(collection.sources)) == (1, 1)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], 5),
        (["stage=transfer"], 3),
        (["transfer=scratch"], 2),
        (["arm=scratch,frozen"], 3),
        (["seed=1"], 1),
        (["data=photo_digits", "transfer=frozen"], 1),
        (["model=ae"], 2),
        (["encoder.latent_dim=128"], 5),
        (["data.labels_per_class=all", "stage=pretrain"], 2),
        (["transfer=finetune"], 0),
    ],
)
def test_filters_choose_runs_by_what_their_configs_say(tmp_path, filters, found):
    make_run(tmp_path, BASE, "transfer=scratch", seed=0)
    make_run(tmp_path, BASE, "transfer=scratch", seed=1)
    make_run(tmp_path, BASE, "transfer=frozen", seed=0)
    make_pretraining(tmp_path, "data=mnist", "model=ae")

    assert len(collect_store(tmp_path / "runs", filters).runs) == found


def test_a_filter_on_a_key_that_no_run_has_is_refused(tmp_path):
    make_run(tmp_path, BASE, "transfer=scratch")
    with pytest.raises(UserError, match=r"did you mean encoder\.latent_dim"):
        collect_store(tmp_path / "runs", ["encoder.laten_dim=8"])


def test_status_failed_lists_the_failed_runs_alone(tmp_path):
    make_run(tmp_path, BASE, "transfer=scratch")
    change_result(make_run(tmp_path, BASE, "transfer=scratch", seed=1), status="failed", error="Boom.")

    collection = collect_store(tmp_path / "runs", ["status=failed"])

    assert collection.runs == []
    assert [run.why for run in collection.unfinished] == ["Boom."]


def test_a_run_that_was_tested_over_nan_is_named_and_belongs_to_no_mean(tmp_path):
    sound, spoilt = (make_run(tmp_path, BASE, "transfer=scratch", seed=seed) for seed in range(2))
    change_result(spoilt, metrics={"test/acc": math.nan, "test/nll": math.inf})

    found = collect_sweep(make_sweep(tmp_path, [sound, spoilt]))

    assert [run.name for run in found.runs] == [sound.name]
    (other,) = found.unfinished
    assert other.why == "test/acc is nan, test/nll is inf: the model's outputs for some images are no numbers"


def test_jobs_are_called_by_what_tells_them_apart_and_failures_of_one_cause_are_one_entry():
    planned = {
        number: [f"transfer={arm}", f"optimizer.lr={lr}", f"seed={seed}", "logger=none"]
        for number, (arm, lr, seed) in enumerate(product(("scratch", "finetune"), ("1e-3", "1e30"), (0, 1)))
    }
    said = labels(planned)

    assert said[0] == "scratch lr=1e-3 seed=0"
    failed = [(label, "The loss is NaN at step 2.") for label in said.values() if "1e30" in label]
    assert causes([*failed, (said[0], "No disk.")]) == [
        "4 x The loss is NaN at step 2: lr=1e30",
        "scratch lr=1e-3 seed=0: No disk.",
    ]
