"""Reports on folds: pairs are of one seed and fold, intervals know that folds share data, and groups are counted."""

import csv
from datetime import date
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from aetransfer.report.collect import collect_store
from aetransfer.report.files import as_markdown, write_report
from aetransfer.report.statistics import Folds, compare, summarise
from aetransfer.report.sweep import content_of
from tests.commands import run_command
from tests.report.store import change_result, make_run

BASE = "experiment=quickstart"
MAE = {
    "name": "regressor",
    "title": "regressor",
    "monitor": "val/mae",
    "metrics": {"mae": {"words": "mean absolute error, per cent of fat", "better": "lower"}},
}


def folded(store, arm, errors, *words, folds=5, seeds=(0,)):
    """A run for each fold and seed: its error is the fold's, and a little more with each seed."""
    made = []
    for seed in seeds:
        for fold, error in enumerate(errors):
            of = [f"data.folds={folds}", f"data.fold={fold}"] if folds else []
            metrics = {"test/mae": error + 0.01 * seed}
            made.append(make_run(store, BASE, f"transfer={arm}", *words, *of, seed=seed, metrics=metrics, model=MAE))
            groups = {"train": 7, "val": 1, "test": 2 + (fold == 0), "called": "subject"}
            change_result(made[-1], data={"used": "", "notes": [], "groups": groups})
    return made


def reported(store, *filters):
    return content_of(collect_store(store / "runs", ["stage=transfer", *filters]))


def test_an_interval_over_folds_is_nadeau_and_bengios():
    values, folds = [0.6, 0.7, 0.8, 0.65, 0.75], Folds(5, (0, 1, 2, 3, 4))
    half = stats.t.ppf(0.975, 4) * np.std(values, ddof=1) * sqrt(1 / 5 + 1 / 4)

    assert summarise([values], folds).interval == pytest.approx((0.7 - half, 0.7 + half))
    paired = compare(
        values, [value - 0.1 + shift for value, shift in zip(values, (0, 1, 2, 3, 4), strict=True)], 1, folds
    )
    half = stats.t.ppf(0.975, 4) * np.std([0, 1, 2, 3, 4], ddof=1) * sqrt(1 / 5 + 1 / 4)
    assert paired.interval == pytest.approx((-1.9 - half, -1.9 + half))
    assert (paired.n, paired.folds) == (5, 5)


def test_seeds_of_a_fold_count_by_their_mean():
    """Five seeds of five folds are no 25 data sets: where seeds change nothing, the interval is that of five values."""
    once = [0.6, 0.7, 0.8, 0.65, 0.75]
    again = summarise([once * 5], Folds(5, (0, 1, 2, 3, 4) * 5))

    assert again.interval == pytest.approx(summarise([once], Folds(5, (0, 1, 2, 3, 4))).interval)
    assert again.n == 25


def test_the_corrected_interval_covers_what_it_says_and_the_plain_one_does_not():
    """Folds correlate by 1/K, as Nadeau and Bengio assume: a part of the difference is the data set's."""
    rng, folds, covered, plain = np.random.default_rng(0), 5, [], []
    for _ in range(600):
        data = rng.normal(0, sqrt(1 / folds))
        fold = rng.normal(0, sqrt(1 - 1 / folds), folds)
        values = [data + effect + rng.normal(0, 0.3) for _ in range(3) for effect in fold]
        of = Folds(folds, tuple(range(folds)) * 3)
        low, high = compare(values, [0.0] * 15, 1, of).interval
        covered.append(low <= 0 <= high)
        low, high = compare(values, [0.0] * 15).interval
        plain.append(low <= 0 <= high)

    assert 0.93 <= np.mean(covered) <= 0.99
    assert np.mean(plain) < 0.75


@pytest.mark.slow
def test_seeds_and_folds_are_one_group_paired_one_by_one_and_said(tmp_path):
    folded(tmp_path, "scratch", (4.0, 5.0, 6.0, 5.5, 4.5), seeds=(0, 1))
    folded(tmp_path, "finetune", (3.0, 4.1, 4.8, 4.4, 3.6), seeds=(0, 1))

    content = reported(tmp_path)
    (section,) = content.sections

    assert section.columns == ["transfer"]
    assert [row[-1] for row in section.results.rows] == ["10 (5 folds)"] * 2
    (row,) = (dict(zip(section.comparisons.header, row, strict=True)) for row in section.comparisons.rows)
    assert (row["verdict"], row["difference"], row["n"]) == ("helps relative to scratch", "-1.0200", "10 (5 folds)")
    text = as_markdown(content, date(2026, 1, 2))
    assert "use the correction of Nadeau and Bengio (2003)" in text
    assert (
        "no group (subject) is in two splits; a run has 7 to train on, 1 to validate, 2–3 to test on: 11 in all 5"
        in text
    )
    assert "mean ± standard deviation over n seeds and folds." in text
    assert all("bootstrap" not in plot.caption for plot in section.plots)
    index = write_report(content, tmp_path / "report", date(2026, 1, 2))
    rows = list(csv.DictReader((index.parent / "results.csv").read_text().splitlines()))
    assert {(row["n"], row["seeds"], row["folds"]) for row in rows} == {("10", "0 1", "0 1 2 3 4")}


def test_more_seeds_are_not_said_to_show_what_folds_do_not(tmp_path):
    folded(tmp_path, "scratch", (4.0, 5.0, 6.0, 5.5, 4.5))
    folded(tmp_path, "finetune", (3.0, 5.9, 5.0, 6.4, 4.4))

    (section,) = reported(tmp_path).sections

    assert section.comparisons.rows[0][1] == "no difference shown at n = 5 (5 folds)"


def test_folds_and_the_test_split_are_different_groups_also_of_runs_from_before_folds(tmp_path):
    folded(tmp_path, "scratch", (4.0, 5.0, 6.0, 5.5, 4.5))
    (old,) = folded(tmp_path, "scratch", (4.0,), folds=None)
    folded(tmp_path, "scratch", (4.0, 5.0, 6.0), folds=3)
    config = old / "config.yaml"
    config.write_text("".join(line for line in config.open() if "fold" not in line and "test_fraction" not in line))

    (section,) = reported(tmp_path).sections

    assert section.columns == ["data.folds", "transfer"]
    assert [row[0] for row in section.results.rows] == ["3", "5", "none"]


def test_runs_of_one_fold_are_read_as_those_of_a_test_split_and_found_by_it(tmp_path):
    for seed in range(3):
        folded(tmp_path, "scratch", (4.0 + 0.1 * seed**2, 5.0), seeds=(seed,))

    (section,) = reported(tmp_path, "fold=0").sections

    (group,) = section.groups
    assert [group.n, group.seeds] == ["3", [0, 1, 2]]
    assert group.summary("test/mae").interval == pytest.approx((4.0, 4.42))
    assert all("Nadeau" not in note for note in section.notes)
    assert any("an interval over seeds does not say how other groups would come out" in note for note in section.notes)
    listed = run_command("runs", "list", "fold=1", f"paths.output_dir={tmp_path}").stdout
    assert listed.count("-s0-f1-") == 1 and "-f0-" not in listed
