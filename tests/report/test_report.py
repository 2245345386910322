"""The whole report: the same bytes for the same runs, sensible for two runs and for two hundred."""

import csv
import re
import shutil
import sys
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from aetransfer.report import __main__ as report
from aetransfer.report.collect import Collection, collect_store, collect_sweep
from aetransfer.report.files import conclude, print_report, write_report
from aetransfer.report.sweep import content_of
from tests.report.store import make_pretraining, make_run, make_sweep

BASE = "experiment=quickstart"
ARMS = ("scratch", "random_frozen", "frozen", "finetune")
TODAY = date(2026, 1, 2)


def written(sweep, folder, day=TODAY):
    index = write_report(content_of(collect_sweep(sweep)), folder, day)
    return {str(path.relative_to(folder)): path.read_bytes() for path in index.parent.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """Four arms, three amounts of labels, three seeds."""
    store = tmp_path_factory.mktemp("labels")
    return make_sweep(
        store,
        [
            make_run(store, BASE, f"transfer={arm}", f"data.labels_per_class={amount}", seed=seed)
            for amount in (10, 30, "null")
            for arm in ARMS
            for seed in range(3)
        ],
        failed=1,
    )


@pytest.fixture(scope="module")
def files(labels, tmp_path_factory):
    return written(labels, tmp_path_factory.mktemp("report"))


@pytest.mark.slow
def test_a_second_sweep_over_the_same_runs_gives_the_same_bytes_but_for_the_date(labels, files, tmp_path):
    second = labels.with_name("2027-12-31_23-59-59")
    shutil.copytree(labels / "jobs", second / "jobs")

    one, two = files, written(second, tmp_path, date(2027, 12, 31))

    assert set(one) == set(two) > {"results.csv", "summary.md", "index.html", "figures/transfers_label_efficiency.pdf"}
    for name in one:
        differing = [
            pair for pair in zip(one[name].split(b"\n"), two[name].split(b"\n"), strict=True) if len(set(pair)) > 1
        ]
        expected = 1 if name in ("index.html", "summary.md") else 0
        assert len(differing) == expected, name
        assert all(b"Date: " in line for pair in differing for line in pair)


def test_the_page_needs_nothing_from_elsewhere_and_its_tags_close(files):
    html = files["index.html"].decode()
    page = Tags(html)

    assert page.open == []
    assert all(address.startswith("data:") for address in page.addresses)
    assert "://" not in re.sub(r"data:[^\"]*", "", html)
    assert "The disk &lt;is&gt; full." in html


def test_what_it_takes_to_do_it_again_is_said_without_where_the_sweep_was_written(files):
    said = files["summary.md"].decode()

    assert "python -m aetransfer.train -m experiment=quickstart transfer=frozen data.labels_per_class=10" in said
    assert "sweep.dir" not in said
    assert "- Seeds:\n  - 0–2\n" in said
    assert "python 3.11.7, aetransfer 0.1.0, torch 2.6.0" in said
    assert "commit 9e720f678ede68945046e1a888631bb2692403ff" in said
    assert "x86\\_64, 2 CPU cores, 1 thread\n" in said


@pytest.mark.slow
def test_a_sweep_over_transplants_is_drawn_against_the_layers_carried_beside_the_level_of_other_arms(tmp_path):
    transplants = [
        make_run(
            tmp_path, BASE, f"transfer={arm}", f"transfer.transplanted={layers}", seed=seed, acc=0.5 + layers / 100
        )
        for arm in ("transplant", "transplant_frozen")
        for layers in (0, 3, 5)
        for seed in (0, 1)
    ]
    controls = [make_run(tmp_path, BASE, "transfer=scratch", seed=seed, acc=0.6) for seed in (0, 1)]

    files = written(make_sweep(tmp_path, [*transplants, *controls]), tmp_path / "report")

    assert "figures/transfers_transplants.svg" in files
    assert "figures/transfers_bars.svg" not in files
    rows = list(csv.DictReader(files["results.csv"].decode().splitlines()))
    assert {(row["transfer"], row["transfer.transplanted"]) for row in rows} == {
        ("scratch", ""),
        *((arm, layers) for arm in ("transplant", "transplant_frozen") for layers in "035"),
    }
    # Each depth is put against the one control.
    assert files["summary.md"].decode().count("transplant\\_frozen – scratch") == 3


def test_a_setting_in_which_nothing_was_transplanted_is_drawn_as_levels(tmp_path):
    runs = [make_run(tmp_path, BASE, "transfer=transplant", f"transfer.transplanted={layers}") for layers in (0, 5)]
    runs += [make_run(tmp_path, BASE, "transfer=scratch", f"data.batch_size={size}") for size in (32, 64)]

    files = written(make_sweep(tmp_path, runs), tmp_path / "report")

    assert {name for name in files if "transplants" in name and name.endswith(".svg")} == {
        "figures/transfers_transplants_1.svg",
        "figures/transfers_transplants_2.svg",
    }


def test_the_figures_fit_what_was_varied(files, tmp_path):
    runs = [
        make_run(tmp_path, BASE, f"transfer={arm}", f"encoder.latent_dim={size}", history=False)
        for arm in ("scratch", "finetune")
        for size in (16, 64)
    ]
    by_size = written(make_sweep(tmp_path, runs), tmp_path / "by_size")

    assert "figures/transfers_label_efficiency.svg" in files
    assert "figures/transfers_learning_curves_1.svg" in files
    assert "figures/transfers_bars.svg" not in files
    assert {name for name in by_size if name.endswith(".svg")} == {"figures/transfers_latent_size.svg"}
    assert b"no history.json" in by_size["index.html"]


def test_results_csv_has_every_group_and_metric_in_full_precision(files):
    rows = list(csv.DictReader(files["results.csv"].decode().splitlines()))

    assert len(rows) == 3 * 4 * 4
    row = next(row for row in rows if row["transfer"] == "finetune" and row["data.labels_per_class"] == "all")
    assert row["metric"] == "test/acc"
    assert row["n"] == "3"
    assert float(row["ci_low"]) < float(row["mean"]) < float(row["ci_high"])


def test_two_runs_of_one_seed_get_a_page_on_which_no_interval_is_invented(tmp_path):
    sweep = make_sweep(tmp_path, [make_run(tmp_path, BASE, f"transfer={arm}") for arm in ("scratch", "finetune")])
    files = written(sweep, tmp_path / "report")
    # The box has one of the test set's size, which needs no second seed.
    tables = files["summary.md"].decode().partition("## Transfers")[2].partition("## To reproduce")[0]

    assert "±" not in tables.replace("mean ± standard deviation over n seeds.", "")
    assert not re.search(r"\[[-+\d]", tables)
    assert "one seed: nothing can be said" in tables
    assert all(row["sd"] == row["ci_low"] == "" for row in csv.DictReader(files["results.csv"].decode().splitlines()))


def test_one_seed_over_three_pretrainings_is_one_seed_and_the_notes_say_so(tmp_path):
    arms = [
        make_run(tmp_path, BASE, "transfer=finetune", pretrain_seed=seed, acc=acc)
        for seed, acc in enumerate((0.5, 0.6, 0.7))
    ]
    control = make_run(tmp_path, BASE, "transfer=scratch", acc=0.4)

    files = written(make_sweep(tmp_path, [*arms, control]), tmp_path / "report")

    said = files["summary.md"].decode()
    assert "one seed: nothing can be said" in said
    assert "several runs of one seed" in said and "Their mean counts as one seed" in said
    rows = csv.DictReader(files["results.csv"].decode().splitlines())
    row = next(row for row in rows if row["transfer"] == "finetune" and row["metric"] == "test/acc")
    assert (row["n"], row["seeds"], len(row["runs"].split())) == ("1", "0", 3)
    assert float(row["mean"]) == pytest.approx(0.6)


@pytest.mark.slow
def test_two_hundred_runs_and_long_labels_make_a_page_of_sane_size_and_are_grouped(tmp_path, capsys):
    make_run(tmp_path, BASE, "transfer=scratch")
    make_run(tmp_path, BASE, "transfer=finetune")
    models = collect_store(tmp_path / "runs", ["stage=transfer"]).runs
    runs = [
        replace(
            run,
            config=run.config
            | {
                "encoder": run.config["encoder"] | {"widths": [width] * 20},
                "trainer": run.config["trainer"] | {"max_epochs": epochs},
            },
            result={**run.result, "seed": seed, "name": f"run-{width}-{epochs}-{seed}"},
        )
        for run in models
        for width in range(100, 110)
        for epochs in (10, 20)
        for seed in range(5)
    ]
    content = content_of(Collection(runs, [], []))
    index = write_report(content, tmp_path / "report", TODAY)

    assert len(runs) == 200
    assert len(content.sections[0].groups) == 40
    assert "further groups are in results.csv only" in index.read_text()
    assert index.stat().st_size < 1_500_000
    assert Tags(index.read_text()).open == []
    assert "<summary>40 rows</summary>" in index.read_text()
    print_report(content)
    shown = capsys.readouterr().out
    assert shown.count("finetune – scratch") == 1 and "40 groups: the page and results.csv have each." in shown


def test_pretrainings_alone_are_reported_without_verdicts(tmp_path):
    for seed in range(3):
        make_pretraining(tmp_path, "data=mnist", "model=ae", "encoder.latent_dim=16", seed=seed, mse=0.004 + seed / 1e4)
        make_pretraining(tmp_path, "data=mnist", "model=ae", "encoder.latent_dim=32", seed=seed, mse=0.003 + seed / 1e4)
    content = content_of(collect_store(tmp_path / "runs", []))

    (section,) = content.sections
    assert content.title == "Pretraining: ae on mnist"
    assert section.columns == ["encoder.latent_dim"]
    assert section.comparisons is None
    assert section.results.rows[0][:2] == ["16", "0.00410 ± 0.00010"]


def test_a_sweep_without_a_finished_run_says_why(tmp_path, capsys):
    sweep = make_sweep(tmp_path, [], failed=2)

    conclude(sweep)

    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"report: {sweep / 'report' / 'index.html'}"
    assert out[1] == "failed: 2 x The disk <is> full: transfer=scratch"
    assert out[-1] == f"sweep: {sweep}"
    assert "No finished run" in (sweep / "report" / "index.html").read_text()


def test_a_sweeps_end_makes_each_run_a_row_of_tensorboards_hparams_tab(tmp_path, capsys):
    runs = [make_run(tmp_path, BASE, f"transfer={arm}") for arm in ("scratch", "frozen")]
    conclude(make_sweep(tmp_path, runs))
    runs.append(make_run(tmp_path, BASE, "transfer=scratch", "optimizer.lr=0.01"))
    conclude(make_sweep(tmp_path, runs[::2], name="second"))

    rows = {run: hparams(run) for run in runs}
    assert [row["arm"] for row in rows.values()] == ["scratch", "frozen", "scratch"]
    assert [row.get("optimizer.lr") for row in rows.values()] == [0.002, None, 0.01]
    for run in runs:  # a run of both sweeps is one row, with the keys of both
        (events,) = run.glob("events.*.hparams")
        assert b"test/acc" in events.read_bytes()
    assert "frozen – random_frozen: not compared: no run of random_frozen" in capsys.readouterr().out


def hparams(run):
    accumulator = EventAccumulator(str(run)).Reload()
    start = accumulator.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = HParamsPluginData.FromString(start).session_start_info.hparams
    return {key: getattr(value, value.WhichOneof("kind")) for key, value in found.items()}


@pytest.fixture
def run_report(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["report", *map(str, words)])
        capsys.readouterr()
        report.main()
        return capsys.readouterr().out.strip().splitlines()

    return call


@pytest.mark.short
@pytest.mark.slow
def test_the_command_takes_a_sweep_a_store_or_filters_and_names_the_page_last(tmp_path, run_report):
    store = tmp_path / "outputs"
    sweep = make_sweep(store, [make_run(store, BASE, "transfer=scratch", seed=seed) for seed in (0, 1)])

    assert run_report(sweep)[-1] == f"report: {sweep}/report/index.html"
    assert run_report(store)[-1] == f"report: {store}/reports/all/index.html"
    assert run_report(store / "runs", "seed=1")[-1] == f"report: {store}/reports/seed-1/index.html"
    filtered = run_report("stage=transfer", "data=photo_digits")  # AETRANSFER_OUTPUT_DIR of the test
    assert filtered[-1] == f"report: {store}/reports/data-photo_digits_stage-transfer/index.html"
    assert run_report(sweep, f"out={tmp_path}/here")[-1] == f"report: {tmp_path}/here/index.html"
    assert [line.split("│")[1].strip() for line in filtered if line.startswith("│")] == ["scratch"]


@pytest.mark.slow
def test_a_report_takes_the_figures_of_an_earlier_one_away_and_leaves_the_users_own(tmp_path, run_report):
    store = tmp_path / "outputs"
    scratch = make_run(store, BASE, "transfer=scratch")
    make_run(store, BASE, "transfer=scratch", "encoder.latent_dim=16")
    place = tmp_path / "paper"
    (place / "figures").mkdir(parents=True)
    for name in ("overview.svg", "overview.pdf", "notes.txt"):
        (place / "figures" / name).write_text("mine")

    run_report(store, f"out={place}")
    assert (place / "figures" / "transfers_latent_size.svg").is_file()
    run_report(make_sweep(store, [scratch]), f"out={place}")

    names = {path.name for path in (place / "figures").iterdir()}
    assert {"overview.svg", "overview.pdf", "notes.txt", "transfers_bars.svg"} <= names
    assert "transfers_latent_size.svg" not in names and "transfers_latent_size.pdf" not in names


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Say what to report on"),
        (["nowhere"], "nowhere is no directory"),
        (["stage="], "stage= is no filter"),
        ([".", ".."], "made of one directory"),
        (["stage=transfer"], "is no directory"),
    ],
)
def test_what_cannot_be_reported_is_said_in_a_sentence(words, sentence, run_report):
    with pytest.raises(SystemExit, match=f"error: .*{sentence}"):
        run_report(*words)


@pytest.mark.parametrize("taken", ["report", "report/figures", "report/index.html/a-folder"])
def test_where_a_report_cannot_be_written_the_folder_and_the_way_out_are_named(taken, tmp_path, run_report):
    sweep = make_sweep(tmp_path / "outputs", [make_run(tmp_path / "outputs", BASE, "transfer=scratch")])
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).write_text("the user's own", encoding="utf-8")

    with pytest.raises(SystemExit, match=r"error: The report can't be written to \S+/report \(.+\): .*out=FOLDER\.$"):
        run_report(sweep, f"out={tmp_path}/report")

    assert (tmp_path / taken).read_text(encoding="utf-8") == "the user's own"


def test_filters_that_no_run_meets_are_an_error(tmp_path, run_report):
    make_run(tmp_path / "outputs", BASE, "transfer=scratch")
    with pytest.raises(SystemExit, match="There is no run with transfer=frozen"):
        run_report("transfer=frozen")


class Tags(HTMLParser):
    """open: tags that were never closed, or closed in the wrong order. addresses: what the page loads."""

    VOID = ("meta", "img", "wbr", "br")

    def __init__(self, html):
        super().__init__()
        self.open, self.addresses = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
