"""Labels and epochs saved, on curves whose answers are known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetransfer.report.collect import collect_store
from aetransfer.report.comparison import epochs_to_match, label_savings, labels_for
from aetransfer.report.grouping import group_runs
from tests.report.store import ACCURACY, make_run

BASE = "experiment=quickstart"


@pytest.mark.parametrize(
    ("accuracy", "answer"),
    [(0.5, (10, "")), (0.6, (math.sqrt(1000), "")), (0.75, (100 * 10**0.5, "")), (0.4, (10, "<")), (0.9, (1000, ">"))],
)
def test_labels_are_interpolated_on_a_log_axis_and_not_beyond_what_was_measured(accuracy, answer):
    labels, bound = labels_for([(10, 0.5), (100, 0.7), (1000, 0.8)], accuracy)

    assert bound == answer[1]
    assert labels == pytest.approx(answer[0])


@pytest.mark.parametrize(
    ("accuracies", "answer"),
    [((0.50, 0.48, 0.49), (1, "")), ((0.40, 0.30, 0.50), (100, "")), ((0.40, 0.50, 0.30), (10, ""))],
)
def test_a_curve_that_falls_between_its_points_is_asked_where_it_first_reaches_an_accuracy(accuracies, answer):
    labels, bound = labels_for(list(zip((1, 10, 100), accuracies, strict=True)), 0.5)

    assert (pytest.approx(labels), bound) == answer


accuracy_of = st.integers(0, 20).map(lambda count: count / 20)


@given(accuracies=st.lists(accuracy_of, min_size=2, max_size=6), accuracy=accuracy_of)
def test_no_amount_that_was_measured_below_the_answer_reaches_the_accuracy(accuracies, accuracy):
    curve = [(float(10**place), reached) for place, reached in enumerate(accuracies)]

    labels, bound = labels_for(curve, accuracy)

    enough = [amount for amount, reached in curve if reached >= accuracy]
    assert curve[0][0] <= labels <= curve[-1][0] * (1 + 1e-9)
    assert (bound == ">") == (not enough)
    assert (bound == "<") == (accuracy < accuracies[0])
    if enough:
        # Between the last amount that was too little and the first that was enough.
        assert enough[0] / 10 < labels * (1 + 1e-9) and labels <= enough[0] * (1 + 1e-9)


def test_an_arm_that_is_as_good_on_a_third_of_the_labels_saves_a_factor_of_three(tmp_path):
    for labels, scratch, finetune in ((10, 0.5, 0.7), (30, 0.7, 0.8)):
        make_run(tmp_path, BASE, "transfer=scratch", f"data.labels_per_class={labels}", acc=scratch)
        make_run(tmp_path, BASE, "transfer=finetune", f"data.labels_per_class={labels}", acc=finetune)
    groups = transfers(tmp_path)

    said = [str(label_savings(group, groups, ACCURACY)) for group in groups]

    assert said == ["None", "3", "None", "> 1 (beyond the range measured)"]


def test_epochs_to_match_scratch_come_from_the_histories(tmp_path):
    """Made histories reach a share 1 - 0.6^epoch of their end: .95 of scratch's last epoch after 6 epochs."""
    make_run(tmp_path, BASE, "transfer=scratch", acc=0.6)
    make_run(tmp_path, BASE, "transfer=finetune", acc=0.9)
    make_run(tmp_path, BASE, "transfer=frozen", acc=0.3)
    groups = transfers(tmp_path)

    assert [(group.arm, epochs_to_match(group, groups, ACCURACY.on("val"))) for group in groups] == [
        ("scratch", "6"),
        ("frozen", "not reached in 1 of 1"),
        ("finetune", "2"),
    ]


def test_two_pretrainings_of_one_seed_do_not_outvote_another_seed(tmp_path):
    for seed in range(3):
        make_run(tmp_path, BASE, "transfer=scratch", seed=seed, acc=0.6)
        make_run(tmp_path, BASE, "transfer=finetune", seed=seed, acc=0.6 if seed else 0.9)
    for pretrain_seed in range(3, 7):
        make_run(tmp_path, BASE, "transfer=finetune", seed=0, pretrain_seed=pretrain_seed, acc=0.9)
    groups = transfers(tmp_path)

    assert [(group.arm, epochs_to_match(group, groups, ACCURACY.on("val"))) for group in groups] == [
        ("scratch", "6"),
        ("finetune", "6"),
    ]


def test_runs_without_a_history_say_nothing_about_epochs(tmp_path):
    make_run(tmp_path, BASE, "transfer=scratch", history=False)
    groups = transfers(tmp_path)

    assert epochs_to_match(groups[0], groups, ACCURACY.on("val")) is None


def transfers(output_dir):
    return group_runs(collect_store(output_dir / "runs", ["stage=transfer"]).runs)[1]
