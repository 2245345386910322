"""Columns are what was varied, in the user's words; groups are what differs in nothing but the seed."""

import pytest

from aetransfer.report.collect import collect_store
from aetransfer.report.comparison import compare_all
from aetransfer.report.grouping import group_runs
from tests.report.store import ACCURACY, make_run

BASE = "experiment=quickstart"


def grouped(output_dir, choices, seeds=1):
    for words in choices:
        for seed in range(seeds):
            make_run(output_dir, BASE, *words, seed=seed)
    collection = collect_store(output_dir / "runs", ["stage=transfer"])
    return group_runs(collection.runs)


def test_seeds_are_one_group_and_a_lone_arm_is_still_named(tmp_path):
    columns, (group,) = grouped(tmp_path, [["transfer=scratch"]], seeds=3)

    assert columns == ["transfer"]
    assert [run.seed for run in group.runs] == [0, 1, 2]


def test_numbers_are_sorted_by_size_no_limit_last_and_controls_come_first(tmp_path):
    words = [
        [f"data.labels_per_class={labels}", f"transfer={arm}"]
        for labels in ("null", 5, 30)
        for arm in ("finetune", "scratch")
    ]
    columns, groups = grouped(tmp_path, words)

    assert columns == ["data.labels_per_class", "transfer"]
    assert [list(group.labels(columns).values()) for group in groups] == [
        [labels, arm] for labels in ("5", "30", "all") for arm in ("scratch", "finetune")
    ]


def test_what_only_follows_a_choice_is_no_column(tmp_path):
    """The latent size reaches the pretraining; a data set sets its classes, channels and reader; an arm its head."""
    words = [
        ["encoder.latent_dim=16", "transfer=frozen"],
        ["encoder.latent_dim=32", "transfer=frozen"],
        ["encoder.latent_dim=16", "transfer=scratch", "head.hidden=[]"],
        ["encoder.latent_dim=32", "transfer=scratch", "head.hidden=[]"],
        ["encoder.latent_dim=16", "transfer=scratch", "head.hidden=[]", "data=cifar10"],
    ]
    columns, _ = grouped(tmp_path, words)

    assert columns == ["data", "encoder.latent_dim", "transfer"]


def test_where_a_run_ran_and_who_watched_is_no_column(tmp_path):
    words = [
        ["transfer=scratch"],
        ["transfer=frozen", "logger=csv", "callbacks=none", "trainer.progress=false", "data.workers=1"],
    ]
    assert grouped(tmp_path, words)[0] == ["transfer"]


def test_a_control_stands_beside_the_arms_of_every_pretraining(tmp_path):
    words = [
        ["transfer=scratch"],
        ["transfer=finetune", "model@pretrain=ae"],
        ["transfer=finetune", "model@pretrain=vae"],
    ]
    columns, groups = grouped(tmp_path, words, seeds=2)

    assert columns == ["pretrain", "transfer"]
    assert [list(group.labels(columns).values()) for group in groups] == [
        ["–", "scratch"],
        ["ae", "finetune"],
        ["vae", "finetune"],
    ]
    assert [comparison.paired.n for comparison in compare_all(groups, ACCURACY)] == [2, 2]


def test_only_equal_seeds_and_equal_settings_are_paired(tmp_path):
    for seed in (0, 1, 2):
        make_run(tmp_path, BASE, "transfer=finetune", "encoder.latent_dim=16", seed=seed)
    for seed in (1, 2, 3):
        make_run(tmp_path, BASE, "transfer=scratch", "encoder.latent_dim=16", seed=seed)
    make_run(tmp_path, BASE, "transfer=scratch", "encoder.latent_dim=32", seed=0)
    _, groups = group_runs(collect_store(tmp_path / "runs", ["stage=transfer"]).runs)

    (comparison,) = compare_all(groups, ACCURACY)

    assert (comparison.paired.n, comparison.unpaired) == (2, 1)


def test_runs_of_one_seed_count_once_in_a_comparison_by_their_mean(tmp_path):
    """Three pretrainings carried to one seed share its images, its head and its control."""
    for seed, control, carried in ((0, 0.5, (0.6, 0.7, 0.8)), (1, 0.5, (0.5, 0.6))):
        make_run(tmp_path, BASE, "transfer=scratch", seed=seed, acc=control)
        for pretrain_seed, acc in enumerate(carried):
            make_run(tmp_path, BASE, "transfer=finetune", seed=seed, pretrain_seed=pretrain_seed, acc=acc)
    _, groups = group_runs(collect_store(tmp_path / "runs", ["stage=transfer"]).runs)

    (comparison,) = compare_all(groups, ACCURACY)

    assert len(comparison.group.runs) == 5
    assert comparison.group.values("test/acc") == pytest.approx([0.7, 0.55])
    assert (comparison.paired.n, comparison.unpaired) == (2, 0)
    assert comparison.paired.mean == pytest.approx((0.2 + 0.05) / 2)
    assert comparison.paired.ratio == pytest.approx(1.25)


def test_a_runs_own_word_on_its_control_is_heeded(tmp_path):
    run = make_run(tmp_path, BASE, "transfer=frozen")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("control: random_frozen", "control: scratch"))
    (collected,) = collect_store(tmp_path / "runs", ["stage=transfer"]).runs

    assert collected.control == "scratch"


def test_transforms_are_one_column_named_by_what_they_are(tmp_path):
    words = [
        [f"augment@data.augment={augment}", "transfer=scratch"] for augment in ("none", "crop_flip", "[flip,mixup]")
    ]
    columns, groups = grouped(tmp_path, [*words, [*words[1], "data.augment.crop.padding=2"]])

    assert columns == ["augment", "data.augment.crop.padding", "transfer"]
    assert [list(group.labels(columns).values())[:2] for group in groups] == [
        ["crop + flip", "2"],
        ["crop + flip", "4"],
        ["flip + mixup", "–"],
        ["none", "–"],
    ]


def test_transforms_of_the_source_are_a_column_of_their_own_and_those_that_follow_the_data_are_none(tmp_path):
    words = [[f"augment@pretrain.data.augment={augment}", "transfer=frozen"] for augment in ("none", "flip")]
    assert grouped(tmp_path / "source", words)[0] == ["pretrain.augment", "transfer"]

    words = [[f"data={data}", "transfer=scratch"] for data in ("digits", "photo_digits")]
    assert grouped(tmp_path / "data", words)[0] == ["data", "transfer"]
