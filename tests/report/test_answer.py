"""The box at the top of a report: what was chosen, how sure that is, and what follows for pretraining."""

import json
from math import sqrt
from pathlib import Path

import pytest
from scipy import stats

from aetransfer.report.collect import collect_store
from aetransfer.report.comparison import compare_all, pool
from aetransfer.report.grouping import group_runs
from aetransfer.report.html import _kind
from aetransfer.report.statistics import compare, holm, share_variance, sum_interval
from aetransfer.report.sweep import content_of
from tests.report.store import ACCURACY, change_result, make_run

BASE = "experiment=quickstart"


def arm(store, name, accuracies, *words, val=None, test=60):
    """A run a seed."""
    made = [
        make_run(store, BASE, f"transfer={name}", *words, seed=seed, acc=acc, val=val)
        for seed, acc in enumerate(accuracies)
    ]
    for run in made:
        counts = json.loads((run / "result.json").read_text())["counts"]
        change_result(run, counts={**counts, "test": test, "val": 40})
    return made


def reported(store):
    return content_of(collect_store(store / "runs", ["stage=transfer"]))


def said(content):
    (answer,) = content.answers
    return " ".join([*answer.sentences, *answer.meaning])


def test_the_best_arm_is_that_of_validation_and_its_interval_has_the_test_sets_size(tmp_path):
    arm(tmp_path, "scratch", (0.70, 0.73, 0.69), val=0.7)
    chosen = arm(tmp_path, "finetune", (0.74, 0.71, 0.73), val=0.8)
    arm(tmp_path, "frozen", (0.9, 0.91, 0.92), val=0.5)  # the best on test

    content = reported(tmp_path)
    text = said(content)

    mean, variance = (0.74 + 0.71 + 0.73) / 3, 0.01527525**2 / 3
    low, high = sum_interval(mean, [(variance, 2), (share_variance(mean, 60), 59)])
    assert text.startswith("Best on validation: finetune (val/acc 0.800). Its test/acc is 0.727")
    assert f"95 % interval [{low:.3f}, {high:.3f}] from 3 seeds and 60 test images" in text
    assert "Against training from scratch: +2.0 points, which is 1.2 of 60 test images" in text
    assert "Pretraining is not shown to help. Training from scratch is simpler" in text
    assert "The test set is too small for the question: 60 images tell" in text
    (answer,) = content.answers
    assert "aetransfer.predict run=" in answer.command and chosen[0].name in answer.command
    assert [content.sections[0].results.rows[place][0] for place in content.sections[0].results.bold] == ["finetune"]


def test_the_run_to_use_is_the_one_that_validation_prefers(tmp_path):
    make_run(tmp_path, BASE, "transfer=scratch", seed=0, acc=0.9, val=0.5)
    better = make_run(tmp_path, BASE, "transfer=scratch", seed=1, acc=0.4, val=0.6)

    (answer,) = reported(tmp_path).answers

    assert better.name in answer.command


def test_where_scratch_is_best_the_best_arm_that_carries_stands_beside_it(tmp_path):
    arm(tmp_path, "scratch", (0.80, 0.81, 0.82), test=10_000)
    arm(tmp_path, "finetune", (0.70, 0.72, 0.71), test=10_000)

    text = said(reported(tmp_path))

    assert "Best on validation: scratch" in text
    assert "The best arm that carries an encoder, finetune: against training from scratch: -10.0 points" in text
    assert "Pretraining hurts relative to scratch." in text


def test_one_seed_and_no_control_are_said_to_show_nothing(tmp_path):
    arm(tmp_path / "one", "scratch", (0.6,))
    arm(tmp_path / "one", "finetune", (0.7,))
    arm(tmp_path / "alone", "finetune", (0.7, 0.72))

    assert "One seed shows nothing about pretraining: add seeds" in said(reported(tmp_path / "one"))
    assert "No run from scratch to compare it with: add transfer=scratch." in said(reported(tmp_path / "alone"))


def test_another_amount_of_labels_is_another_question_with_an_answer_of_its_own(tmp_path):
    for labels, best in ((10, "finetune"), (30, "scratch")):
        for name in ("scratch", "finetune"):
            val, accuracies = (0.9, (0.8, 0.81)) if name == best else (0.3, (0.5, 0.512))
            arm(tmp_path, name, accuracies, f"data.labels_per_class={labels}", val=val, test=10_000)

    answers = reported(tmp_path).answers
    few, many = (" ".join(answer.meaning) for answer in answers)

    assert {answer.task: answer.best.arm for answer in answers} == {
        "data.labels_per_class=10": "finetune",
        "data.labels_per_class=30": "scratch",
    }
    # What is said of each is not of both together.
    assert "helps relative to scratch" in few and "hurts relative to scratch" in many and "Over" not in few + many


def test_an_arm_that_helps_beside_its_control_and_is_far_below_scratch_is_said_to_be_both(tmp_path):
    arm(tmp_path, "scratch", (0.80, 0.81, 0.82))
    arm(tmp_path, "random_frozen", (0.50, 0.51, 0.52))
    arm(tmp_path, "frozen", (0.62, 0.64, 0.66))

    (section,) = reported(tmp_path).sections

    (verdict,) = [row[1] for row in section.comparisons.rows]
    assert verdict == "helps relative to random_frozen; worse than scratch by 0.17"
    assert _kind(verdict) == "open"


def test_small_gains_are_one_effect_over_their_settings(tmp_path):
    """No setting shows it by itself; each seed's mean over all of them does."""
    for size, gains in {16: (0.001, 0.02, 0.04), 32: (0.04, 0.001, 0.02), 64: (0.02, 0.04, 0.002)}.items():
        noise = [0.5 + 0.001 * size, 0.6, 0.55]
        arm(tmp_path, "scratch", noise, f"encoder.latent_dim={size}")
        carried = [base + gain for base, gain in zip(noise, gains, strict=True)]
        arm(tmp_path, "finetune", carried, f"encoder.latent_dim={size}")

    content = reported(tmp_path)
    (section,) = content.sections

    assert not any("helps" in row[2] for row in section.comparisons.rows)
    (row,) = (dict(zip(section.overall.header, row, strict=True)) for row in section.overall.rows)
    assert row["verdict"] == "helps relative to scratch" and row["settings ahead"] == "3 of 3"
    assert "Over 3 settings finetune is ahead of scratch in 3, by +2.0 points on average" in said(content)
    assert "Pretraining helps relative to scratch." in said(content)


def test_a_pooled_effect_is_the_t_interval_of_the_seeds_means_over_settings(tmp_path):
    gains = {16: (0.01, 0.03, 0.02), 32: (0.05, 0.04, 0.09)}
    for size, of_size in gains.items():
        arm(tmp_path, "scratch", (0.5, 0.5, 0.5), f"encoder.latent_dim={size}")
        arm(tmp_path, "finetune", [0.5 + gain for gain in of_size], f"encoder.latent_dim={size}")
    _, groups = group_runs(collect_store(tmp_path / "runs", ["stage=transfer"]).runs)

    (pooled,) = pool(compare_all(groups, ACCURACY), groups)

    means = [(one + other) / 2 for one, other in zip(*gains.values(), strict=True)]
    expected = compare([0.5 + mean for mean in means], [0.5] * 3)
    assert pooled.paired.interval == pytest.approx(expected.interval)
    assert pooled.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)


def test_p_values_are_corrected_as_holm_did():
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])


def test_a_sum_of_variances_has_the_interval_of_either_where_the_other_is_nothing():
    half = stats.t.ppf(0.975, 4) * sqrt(0.02)
    assert sum_interval(1.0, [(0.02, 4), (0.0, 99)]) == pytest.approx((1 - half, 1 + half))
    assert share_variance(1.0, 60) > 0


def test_what_may_explain_the_numbers_is_said(tmp_path):
    for run in arm(tmp_path, "frozen", (0.50, 0.51), val=0.9, test=500):
        source = json.loads((run / "result.json").read_text())["source"]
        rows = [{"epoch": epoch, "val/mse": 0.05 * 0.8**epoch} for epoch in range(1, 11)]
        for name, content in {
            "history.json": rows,
            "encoder.json": {"normalisation": {"deviation": [0.1]}, "input": {"range": [0, 1]}},
        }.items():
            (Path(source) / name).write_text(json.dumps(content))
        result = json.loads((run / "result.json").read_text())
        result["data"] = {"without": {"train": [], "val": ["cat"], "test": ["dog"]}}
        (run / "result.json").write_text(json.dumps(result))

    found = " ".join(reported(tmp_path).cautions)

    assert "The pretraining ae on digits had not converged: val/mse still improved by" in found
    assert "Validation is far from test in 1 of 1 groups, most in frozen: 0.900 against 0.505." in found
    assert "No validation example is of class cat: it has no say in which epoch is best." in found
    assert "No test example is of class dog: nothing is known about it." in found
    assert "No training example" not in found
    assert "reconstructs blurs" in found
