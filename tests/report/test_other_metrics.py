"""Reports on models that are not judged by accuracy: the metric and its direction are what the runs say."""

import csv
import json
from datetime import date

import pytest

from aetransfer.models.facts import Monitor
from aetransfer.report.collect import collect_store
from aetransfer.report.comparison import epochs_to_match, label_savings
from aetransfer.report.files import write_report
from aetransfer.report.sweep import content_of
from tests.report.store import change_result, make_pretraining, make_run

BASE = "experiment=quickstart"
REGRESSOR = {
    "name": "regressor",
    "title": "regressor",
    "can": [],
    "monitor": "val/mae",
    "monitor_mode": "min",
    "metrics": {"mae": {"words": "mean absolute error, years", "better": "lower"}, "r2": {"words": "explained"}},
}
CONTRAST = {
    "name": "contrastive",
    "title": "SimCLR",
    "can": [],
    "monitor": "val/alignment",
    "monitor_mode": "max",
    "metrics": {"alignment": {"words": "alignment of two views", "better": "higher"}},
}


def regression(store, arm, errors, *words):
    return [
        make_run(
            store,
            BASE,
            f"transfer={arm}",
            *words,
            seed=seed,
            metrics={"test/r2": 1 - error / 10, "test/mae": error},
            model=REGRESSOR,
        )
        for seed, error in enumerate(errors)
    ]


def reported(store, *filters):
    return content_of(collect_store(store / "runs", list(filters)))


def test_an_arm_helps_where_its_error_is_lower(tmp_path):
    regression(tmp_path, "scratch", (4.0, 4.2, 4.1))
    regression(tmp_path, "finetune", (3.0, 3.3, 3.2))
    regression(tmp_path, "random_frozen", (5.0, 5.2, 5.1))
    regression(tmp_path, "frozen", (6.0, 6.1, 6.3))

    (section,) = reported(tmp_path, "stage=transfer").sections

    assert section.compared == "test/mae (lower is better)"
    assert section.results.header == ["transfer", "test/mae", "95 % CI", "test/r2", "n"]
    rows = {row[0]: dict(zip(section.comparisons.header, row, strict=True)) for row in section.comparisons.rows}
    helped, hurt = rows["finetune – scratch"], rows["frozen – random_frozen"]
    assert (helped["verdict"], helped["difference"], helped["P(better)"]) == (
        "helps relative to scratch",
        "-0.9333",
        "1.00",
    )
    assert (hurt["verdict"], hurt["P(better)"]) == (
        "hurts relative to random_frozen; worse than scratch by 2.03",
        "0.00",
    )
    assert helped["transfer ratio"] == "0.772"
    assert all("test/mae" in plot.caption or "val/mae" in plot.caption for plot in section.plots)
    assert all(plot.caption.endswith("(lower is better).") for plot in section.plots)


def test_labels_and_epochs_are_saved_by_a_lower_error(tmp_path):
    for labels, scratch, finetune in ((10, 5.0, 3.0), (30, 3.0, 2.0)):
        for arm, error in (("scratch", scratch), ("finetune", finetune)):
            (run,) = regression(tmp_path, arm, (error,), f"data.labels_per_class={labels}")
            rows = [{"epoch": epoch, "val/mae": error + 4.0 / epoch} for epoch in range(1, 11)]
            (run / "history.json").write_text(json.dumps(rows))
    (section,) = reported(tmp_path, "stage=transfer").sections
    groups, monitor = section.groups, Monitor("test/mae", "min")

    assert [str(label_savings(group, groups, monitor)) for group in groups] == [
        "None",
        "3",
        "None",
        "> 1 (beyond the range measured)",
    ]
    # Scratch on 10 labels ends at 5.4, which over .95 is 5.68: it gets there in epoch 6, fine-tuning in epoch 2.
    assert [epochs_to_match(group, groups[:2], monitor.on("val")) for group in groups[:2]] == ["6", "2"]


def test_a_fraction_of_the_training_data_is_saved_by_a_lower_error_and_drawn_in_its_unit(tmp_path):
    for fraction, scratch, finetune in ((0.1, 5.0, 3.0), (0.3, 3.0, 2.0)):
        for arm, error in (("scratch", scratch), ("finetune", finetune)):
            regression(
                tmp_path, arm, (error, error + 0.1), f"data.train_fraction={fraction}", "data.labels_per_class=null"
            )

    (section,) = reported(tmp_path, "stage=transfer").sections

    assert [row[:3] for row in section.savings.rows if row[1] == "finetune"] == [
        ["0.1", "finetune", "3"],
        ["0.3", "finetune", "> 1 (beyond the range measured)"],
    ]
    drawn = next(plot for plot in section.plots if plot.name == "label_efficiency").figure.axes[0]
    assert " ".join(drawn.get_ylabel().split()) == "test/mae: mean absolute error, years"


def test_many_labels_are_compared_by_what_their_model_says_first(tmp_path):
    about = {
        "name": "multilabel",
        "monitor": "val/map",
        "monitor_mode": "max",
        "metrics": {"map": {"words": "mean average precision", "better": "higher"}},
    }
    for arm, values in (("scratch", (0.5, 0.52, 0.51)), ("finetune", (0.6, 0.63, 0.62))):
        for seed, value in enumerate(values):
            metrics = {"test/bce": 1 - value, "test/map": value}
            make_run(tmp_path, BASE, f"transfer={arm}", seed=seed, metrics=metrics, model=about)

    (section,) = reported(tmp_path, "stage=transfer").sections

    assert (section.compared, section.results.header[1]) == ("test/map", "test/map")
    assert [row[1] for row in section.comparisons.rows] == ["helps relative to scratch"]


def test_transferability_scores_are_ranked_against_how_good_an_error_is(tmp_path):
    for score, run in enumerate(regression(tmp_path, "frozen", (4.0, 3.0, 2.0, 1.0))):
        (run / "evaluation").mkdir()
        (run / "evaluation" / "transferability.json").write_text(json.dumps({"bottleneck": {"logme": float(score)}}))

    (section,) = reported(tmp_path, "stage=transfer").sections

    assert section.transferability.rows == [["frozen", "logme", "+1.00", "+1.00", "4"]]


def test_a_negative_metric_has_no_ratio(tmp_path):
    for arm in ("scratch", "finetune"):
        regression(tmp_path, arm, (-2.0, -1.0))

    (section,) = reported(tmp_path, "stage=transfer").sections

    assert "transfer ratio" not in section.comparisons.header


def test_pretrainings_of_two_kinds_stand_in_one_table_each_with_its_own_metric(tmp_path):
    for seed in range(3):
        make_pretraining(tmp_path, "data=mnist", "model=ae", seed=seed, mse=0.003 + seed / 1e4)
        other = make_pretraining(tmp_path, "data=mnist", "model=vae", seed=seed)
        change_result(other, model=CONTRAST, metrics={"test/alignment": 0.7 + seed / 100})
        (other / "history.json").write_text(json.dumps([{"epoch": 1, "val/alignment": 0.6}]))
    content = reported(tmp_path)
    (section,) = content.sections

    assert section.results.header == ["model", "test/mse", "test/alignment", "95 % CI", "n"]
    assert [row[1:] for row in section.results.rows] == [
        ["0.00310 ± 0.00010", "–", "[0.00300, 0.00320]", "3"],
        ["–", "0.710 ± 0.010", "[0.700, 0.720]", "3"],
    ]
    assert section.comparisons is None and section.overall is None
    assert any("Groups with different metrics are not compared." in note for note in section.notes)
    names = [plot.name for plot in section.plots]
    assert names == ["bars", "learning_curves", "bars_metric2", "learning_curves_metric2"]
    index = write_report(content, tmp_path / "report", date(2026, 1, 2))
    assert len(list((index.parent / "figures").glob("*.svg"))) == 4
    rows = list(csv.DictReader((index.parent / "results.csv").read_text().splitlines()))
    assert {(row["model"], row["metric"]) for row in rows} == {("ae", "test/mse"), ("vae", "test/alignment")}


@pytest.mark.parametrize("model", [{"title": 3}, {"monitor": None}])
def test_runs_that_say_no_metric_are_listed_and_not_compared(tmp_path, model):
    for arm in ("scratch", "finetune"):
        run = make_run(tmp_path, BASE, f"transfer={arm}", metrics={"test/dice": 0.5}, model=model)
        config = run / "config.yaml"
        config.write_text(config.read_text().replace("name: classifier", "name: theirs"))

    (section,) = reported(tmp_path, "stage=transfer").sections

    assert section.results.header[:2] == ["transfer", "test/dice"]
    assert section.comparisons is None
