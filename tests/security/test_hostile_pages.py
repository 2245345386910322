"""A stranger's store and sweep: listed, shown, removed and reported as what they are, and nothing outside is touched."""

import json
import math
import pickle
import re
import shutil
from pathlib import Path

import pytest
import yaml

from aetransfer import runs
from aetransfer.report import __main__ as report
from tests.report.store import change_result, make_run, make_sweep
from tests.report.test_report import Tags
from tests.security.conftest import Intruder, assert_refused, change_config

pytestmark = pytest.mark.slow

ARM = ("experiment=quickstart", "transfer=scratch")


def test_a_run_that_is_a_link_is_not_in_the_store_and_links_inside_one_are_not_followed(
    command, run, outside, tmp_path
):
    store = tmp_path / "outputs" / "runs"
    store.mkdir(parents=True)
    (store / "linked").symlink_to(run)
    inner = shutil.copytree(run, store / "inner")
    (inner / "pictures").symlink_to(outside)
    (inner / "reconstructions.png").symlink_to(outside / "reconstructions.png")

    assert "linked" not in command(runs.main, "list").out
    assert_refused(command(runs.main, "rm", "linked", "--yes"))
    assert command(runs.main, "rm", "inner", "--yes").code == 0
    assert run.is_dir() and not inner.exists()


SCRIPT = "<script>alert(1)</script>"


def test_nothing_that_a_run_says_is_markup_in_a_report(command, tmp_path):
    outputs = tmp_path / "outputs"
    made = [make_run(outputs, *ARM, seed=seed) for seed in (0, 1)]
    for path in made:
        change_result(path, command=["train.py", f"seed=`{SCRIPT}`"], versions={"torch": SCRIPT}, source=f"../{SCRIPT}")
        change_config(path, data=yaml.safe_load((path / "config.yaml").read_text())["data"] | {"name": f"$x{SCRIPT}$"})
    failed = make_run(outputs, *ARM, seed=2)
    change_result(failed, status="failed", error=f"[/red] \x1b[2J {SCRIPT}")

    done = command(report.main, str(outputs))
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    page = next(outputs.rglob("index.html"))
    for path in [page, *page.parent.rglob("*.svg"), page.parent / "summary.md"]:
        # In a code span of Markdown nothing is markup.
        assert "<script" not in re.sub(r"``.*``", "", path.read_text()), path
    assert "&lt;script&gt;" in page.read_text()


@pytest.mark.parametrize(
    "spoilt",
    [
        {"metrics": []}, {"metrics": {"test/acc": "high"}}, {"seed": [0]}, {"counts": None}, {"timing": {"seconds": "a day"}},
        {"arm": {"a": 1}}, {"stage": "<b>"}, {"command": "rm -rf"}, {"git": {}}, {"hardware": {"gpus": 3}}, {"source": ["x"]},
        {"counts": {"test": math.inf, "val": math.nan}}, {"counts": {"test": -1, "train": 1e300}},
        {"metrics": {"test/acc": 7.0, "val/acc": math.nan}}, {"metrics": {"test/acc": -1e300, "val/acc": math.inf}},
    ],
    ids=str,
)  # fmt: skip
def test_a_result_of_other_types_is_listed_shown_and_reported_as_what_it_is(command, tmp_path, spoilt):
    outputs = tmp_path / "outputs"
    path = make_run(outputs, *ARM, seed=0)
    make_run(outputs, *ARM, seed=1)
    change_result(path, **spoilt)

    assert command(report.main, str(outputs)).code == 0
    for words in (("list",), ("show", path.name), ("export", f"out={tmp_path}/runs.csv")):
        assert command(runs.main, *words).code == 0


@pytest.mark.parametrize("text", ["[" * 100_000, '{"epoch": 1}', '[{"epoch": "<b>"}]', "[1, 2]", "\x00", "[{}]"])
def test_a_history_of_other_types_costs_a_run_its_curves_alone(command, tmp_path, text):
    outputs = tmp_path / "outputs"
    for seed in (0, 1):
        (make_run(outputs, *ARM, seed=seed) / "history.json").write_text(text)

    assert command(report.main, str(outputs)).code == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("encoder.json", '{"normalisation": {"deviation": [1e300]}, "input": {"range": [0, 1]}}'),
        ("encoder.json", '{"normalisation": {"deviation": [NaN, 0]}, "input": {"range": []}}'),
        (
            "history.json",
            '[{"val/mse": 1e308}, {"val/mse": -1e308}, {"val/mse": 0}, {"val/mse": NaN}, {"val/mse": 1e308}]',
        ),
        ("history.json", json.dumps([{"val/mse": value} for value in (1e308, 0, 0, 0, 0, -1e308)])),
    ],
)
def test_what_a_pretraining_says_of_itself_costs_a_report_its_warnings_alone(command, tmp_path, name, text):
    outputs = tmp_path / "outputs"
    for seed in (0, 1):
        run = make_run(outputs, "experiment=quickstart", "transfer=frozen", seed=seed)
        (Path(json.loads((run / "result.json").read_text())["source"]) / name).write_text(text)

    assert command(report.main, str(outputs), "stage=transfer").code == 0


def test_a_history_of_absurd_size_is_not_read(command, tmp_path):
    outputs = tmp_path / "outputs"
    for seed in (0, 1):
        with (make_run(outputs, *ARM, seed=seed) / "history.json").open("wb") as file:
            file.truncate(10**12)  # a hole: no disk is used

    done = command(report.main, str(outputs))
    assert done.code == 0


@pytest.mark.parametrize(
    "job", ['{"number": "x"}', "[]", '{"number": 0, "overrides": [], "run": ["x"], "error": null}', "{", "[" * 10**5]
)
def test_a_job_of_a_sweep_that_says_something_else_is_named(command, tmp_path, job):
    sweep = make_sweep(tmp_path / "outputs", [make_run(tmp_path / "outputs", *ARM)])
    (sweep / "jobs" / "00001.json").write_text(job)

    assert_refused(command(report.main, str(sweep)), "00001.json is damaged")


def test_a_job_whose_run_lies_elsewhere_is_only_looked_at(command, tmp_path, outside):
    sweep = make_sweep(tmp_path / "outputs", [make_run(tmp_path / "outputs", *ARM)])
    job = {"number": 1, "overrides": ["seed=1"], "run": str(outside / ".." / "mine"), "error": None}
    (sweep / "jobs" / "00001.json").write_text(json.dumps(job))

    assert command(report.main, str(sweep)).code == 0


def test_a_report_is_not_written_through_a_link_and_brings_no_other_file_into_its_page(command, tmp_path, outside):
    outputs = tmp_path / "outputs"
    made = make_run(outputs, "experiment=quickstart", "transfer=frozen")
    source = json.loads((made / "result.json").read_text())["source"]
    sweep = make_sweep(outputs, [made])
    picture = outputs / "runs" / Path(source).name / "reconstructions.png"
    picture.unlink()
    picture.symlink_to(outside / "thesis.tex")
    assert command(report.main, str(sweep)).code == 0
    assert "data:image/png" not in (sweep / "report" / "index.html").read_text()

    shutil.rmtree(sweep / "report" / "figures")
    (sweep / "report" / "figures").symlink_to(outside)
    assert_refused(command(report.main, str(sweep)), "is a link")


def test_escape_sequences_and_turned_names_are_shown_and_not_obeyed(command, tmp_path):
    path = make_run(tmp_path / "outputs", *ARM)
    name = "red\x1b[31m\x1b]0;title\x07\u202etxt"
    path.rename(path.with_name(name))
    change_result(path.with_name(name), error="\x1b[2J gone", status="failed\x1b[8m")

    for words in (("list",), ("show", name), ("rm", name), ("rm", "\x1b[2J")):
        done = command(runs.main, *words)
        assert not {"\x1b", "\x07", "\u202e"} & set(done.out + done.err)
    assert r"red\x1b[31m" in command(runs.main, "list").out


def test_a_pickle_in_the_store_is_no_run(command, tmp_path, marker):
    place = tmp_path / "outputs" / "runs" / "theirs"
    place.mkdir(parents=True)
    for name in ("config.yaml", "result.json", "history.json", "encoder.safetensors"):
        (place / name).write_bytes(pickle.dumps(Intruder(marker)))

    assert "damaged: theirs" in command(runs.main, "list").out


def hostile_run(outputs, outside):
    """A finished run of which every word that reaches its page is markup, and whose files are links to others."""
    path = make_run(outputs, "experiment=quickstart", "transfer=frozen")
    change_result(
        path,
        command=["train.py", f"seed=`{SCRIPT}`"],
        overrides=[f"seed={SCRIPT}"],
        versions={SCRIPT: SCRIPT},
        hardware={"machine": SCRIPT, "cpus": 1, "threads": 1, "gpus": [SCRIPT]},
        metrics={f"test/{SCRIPT}": 0.5, "test/acc": 7.0, f"val/{SCRIPT}": 1},
    )
    change_config(path, data=yaml.safe_load((path / "config.yaml").read_text())["data"] | {"name": f'"{SCRIPT}'})
    rows = [{"epoch": epoch, f"val/{SCRIPT}": epoch, "val/acc": float("inf"), "val/nll": 1e300} for epoch in range(3)]
    (path / "history.json").write_text(json.dumps(rows))
    (path / "evaluation").mkdir()
    measure = {"measure": SCRIPT, "data": SCRIPT, "split": SCRIPT, "rows": [{SCRIPT: SCRIPT}], "notes": [SCRIPT]}
    (path / "evaluation" / "classifier.json").write_text(json.dumps(measure))
    (path / "evaluation" / f"classifier-{SCRIPT.replace('/', '')}.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + SCRIPT.encode()
    )
    (path / "evaluation" / "probes.json").symlink_to(outside / "thesis.tex")
    (path / "mistakes.png").symlink_to(outside / "reconstructions.png")
    (path / "train.log").symlink_to(outside / "thesis.tex")
    (path / "report.html").symlink_to(outside / "thesis.tex")
    return path


@pytest.mark.parametrize("status", ["finished", "failed", "running", "<b>"])
def test_a_run_that_is_all_markup_and_links_has_a_page_of_text_alone(command, tmp_path, outside, status):
    path = hostile_run(tmp_path / "outputs", outside)
    change_result(path, status=status, error=f"\x1b[2J {SCRIPT}", source="../../../../etc/passwd")
    thesis = (outside / "thesis.tex").read_bytes()

    done = command(report.main, f"run={path}")

    assert done.code == 0, done.err
    page = (path / "report.html").read_text()
    assert not (path / "report.html").is_symlink() and (outside / "thesis.tex").read_bytes() == thesis
    assert thesis.decode() not in page and "\x1b" not in page
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert all(address.startswith(("data:image/", "../")) for address in Tags(page).addresses)
    assert "/etc" not in "".join(Tags(page).addresses)


@pytest.mark.parametrize(
    "spoilt", [{"metrics": []}, {"seed": [0]}, {"counts": {"val": "<b>"}}, {"progress": [1]}, {"source": 3}], ids=str
)
def test_a_run_whose_result_is_of_other_types_has_no_page_and_that_is_said(command, tmp_path, spoilt):
    path = make_run(tmp_path / "outputs", *ARM)
    change_result(path, **spoilt)

    assert_refused(command(report.main, f"run={path}"), "result.json is damaged")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[]", '{"rows": 3}', '{"measure": "a", "data": "b", "split": "c", "rows": [[1]]}', "\x00"]
)
def test_a_measure_of_other_types_is_named_on_the_page_and_the_rest_is_there(command, tmp_path, text):
    path = make_run(tmp_path / "outputs", *ARM)
    (path / "evaluation").mkdir()
    (path / "evaluation" / "probes.json").write_text(text)

    assert command(report.main, f"run={path}").code == 0
    page = (path / "report.html").read_text()
    assert "evaluation/probes.json is damaged" in page and "Final numbers" in page


def test_a_log_of_absurd_size_is_not_read_whole(command, tmp_path):
    path = make_run(tmp_path / "outputs", *ARM)
    change_result(path, status="failed", error="no room")
    with (path / "train.log").open("wb") as file:
        file.truncate(10**12)  # a hole: no disk is used
        file.seek(0, 2)
        file.write(b"\nthe end\n")

    assert command(report.main, f"run={path}").code == 0
    assert "the end" in (path / "report.html").read_text()
