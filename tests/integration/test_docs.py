"""What docs/ tells a user to type works as printed, and stays short."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.models import resnet18

from aetransfer import embed, export, predict, runs, submit, train
from aetransfer.config.compose import composed
from aetransfer.config.instantiate import BASES, OWN
from aetransfer.config.plugins import choices_of, groups_of
from tests.integration.conftest import TINY
from tests.integration.test_install import SCRIPTS
from tests.made import write_class_folder

DOCS = Path(__file__).parents[2] / "docs"


def written_files(page):
    """Return the code blocks that follow a line naming their file."""
    return dict(re.findall(r"^`([\w/]+\.\w+)`[^\n]*:\n\n```\w+\n(.*?)```", page, flags=re.M | re.S))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        *(("add_a_data_set", 30), ("add_an_encoder", 30), ("add_a_pretext", 30), ("add_an_augmentation", 30)),
        *(("add_a_task", 40), ("add_an_arm_or_a_measure", 40)),
    ],
)
def test_the_page_works_as_printed_in_few_lines_of_user_code(name, lines, tmp_path):
    page = (DOCS / f"{name}.md").read_text()
    files = written_files(page)
    assert files
    for path, text in files.items():
        assert len(text.splitlines()) < lines
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    shown = [line for line in page.splitlines() if "allow=" in line and line.startswith("python -m aetransfer.train ")]
    assert shown
    environment = {**os.environ, "AETRANSFER_OUTPUT_DIR": str(tmp_path / "outputs"), "OMP_NUM_THREADS": "1"}
    for line in shown:
        words = [sys.executable, *shlex.split(line)[1:], "trainer.limit_train_batches=3", "logger=none"]

        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)

        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().splitlines()[-1].startswith("run: ")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_backbone_is_used_as_printed(run_train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weights").mkdir()
    torch.save(resnet18().state_dict(), "weights/resnet18.pth")
    # timm's own weights would have to be fetched.
    shown = [words for words in commands("docs/use_a_backbone.md", "train") if "pretrain=timm" not in words]
    assert len(shown) == 3

    for words in shown:
        short = ["pretrain.trainer.limit_train_batches=3"] if "data@pretrain.data=digits" in words else []
        done = run_train(*words, *short, "trainer.limit_train_batches=3", "logger=none")
        assert done.code == 0, done.err
    # The frozen one of seed 0 is one run, though it is asked for twice.
    assert len(list(Path("outputs/runs").glob("transfer-*"))) == 9


def commands(name, module):
    """Return the words of each command on a page, without comments."""
    page = (DOCS.parent / name).read_text()
    lines = [line for line in page.splitlines() if line.startswith(f"python -m aetransfer.{module} ")]
    return [shlex.split(line, comments=True)[3:] for line in lines]


@pytest.mark.parametrize("words", commands("docs/cluster.md", "submit"), ids=" ".join)
def test_a_sweep_that_is_shown_with_a_labs_profile_means_runs(command, words, tmp_path, monkeypatch):
    for path, text in written_files((DOCS / "cluster.md").read_text()).items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setenv("AETRANSFER_CONFIG_DIR", str(tmp_path / "lab"))

    done = command(submit.main, *words, "--identity")

    assert done.code == 0, done.err
    assert done.out.count("run: ") == 12


# Tests run the commands of these pages.
RUN_ELSEWHERE = re.compile(r"add_.*|plugin|use_a_backbone")
PAGES = [DOCS.parent / "README.md", *(page for page in sorted(DOCS.glob("*.md")) if not RUN_ELSEWHERE.match(page.stem))]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_training_that_is_shown_means_runs(run_train, page, finished_pretraining, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, text in written_files(page.read_text()).items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)

    for words in commands(page, "train"):
        if "--cfg" in words or "allow=[my_lab]" in words:
            continue
        words = [word.replace("outputs/runs/NAME", str(finished_pretraining)) for word in words]
        done = run_train(*words, "--identity")
        assert done.code == 0, done.err
        assert done.out.startswith(("run: ", "pretraining: "))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_on_a_run_is_one_that_it_takes(page):
    for name in ("evaluate", "predict", "embed", "export"):
        for words in commands(page, name):
            composed(name, words)


def test_the_commands_that_are_listed_are_all_there_are():
    listed = [(row[0], row[1]) for row in rows_of((DOCS / "commands.md").read_text()) if len(row) == 3]
    scripts = {name.removeprefix("aetransfer-"): name for name in SCRIPTS}
    mains = {path.stem for path in (DOCS.parent / "src/aetransfer").glob("*.py") if "def main() ->" in path.read_text()}

    assert {name: script for name, script in listed if script.startswith("aetransfer-")} == scripts
    assert scripts.keys() >= mains - {"command_line"}


def test_what_troubleshooting_quotes_is_what_the_program_says():
    quoted = [row[0] for row in rows_of((DOCS / "troubleshooting.md").read_text())]
    texts = [
        node.value
        for path in (DOCS.parent / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]

    assert len(quoted) > 8
    assert [said for said in quoted if not any(said in text for text in texts)] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_folders_of_images_become_a_model_in_the_three_commands_that_are_shown(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_class_folder(tmp_path / "photos" / "train", {"cat": 12, "dog": 12}, size=32)
    write_class_folder(tmp_path / "unlabelled", {"a/b": 20, "c": 12}, size=32)
    write_class_folder(tmp_path / "new", {"": 3}, size=40)
    small = ["encoder.widths=[4,8,8,8]", "encoder.latent_dim=8", "logger=none", "callbacks=none"]
    small += ["trainer.max_epochs=1", "pretrain.trainer.max_epochs=1"]
    page = "docs/your_images.md"
    (train_words,), (predict_words,), (export_words,) = (
        commands(page, name) for name in ("train", "predict", "export")
    )

    done = command(train.main, *train_words, *small)
    assert done.code == 0, done.err
    (report,) = Path("outputs/sweeps").glob("*/report/index.html")
    assert "finetune – scratch" in report.read_text()
    (filters,) = (words[1:] for words in commands(page, "runs"))
    listed = command(runs.main, "list", *filters)
    chosen = re.search(r"transfer-image_folder-finetune\S*-s1-\S+", listed.out)
    assert chosen, listed.out

    for module, words in ((predict, predict_words), (export, export_words)):
        words = [word.replace("NAME", chosen[0]).replace("FOLDER", "new") for word in words]
        done = command(module.main, *words)
        assert done.code == 0, done.err
    predicted = pd.read_csv("predictions.csv")
    assert set(predicted["predicted"]) <= {"cat", "dog"} and len(predicted) == 3
    assert (Path("outputs/runs") / chosen[0] / "model.onnx").is_file()
    # Each word of the first command stands in the page's table.
    explained = " ".join(row[0] for row in rows_of((DOCS / "your_images.md").read_text())).split()
    assert [word for word in train_words if word not in explained] == []


def test_the_identities_that_are_shown_are_those_of_the_command(run_train):
    page = (DOCS / "sweep.md").read_text()
    shown = re.findall(r"^(run|pretraining): (\w+) \w+ outputs/runs/(.*)$", page, flags=re.M)
    words = next(words for words in commands("docs/sweep.md", "train") if "--identity" in words)

    found = re.findall(r"^(run|pretraining): (\w+) \w+ .*/runs/(.*)$", run_train(*words).out, flags=re.M)
    assert shown == found


def rows_of(page):
    """Return the cells of each row of a page's tables."""
    return [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")
    ]


def test_the_settings_name_every_option_of_a_group():
    rows = [row for row in rows_of((DOCS / "settings.md").read_text()) if row[0] in groups_of("train")]

    assert set(groups_of("train")) - {"paths", "training", "sweep"} <= {group for group, *_ in rows}
    for group, options, _ in rows:
        if not options.endswith("..."):
            assert set(choices_of(group)) - {"given", "declared"} <= set(re.split(r"\W+", options)), group


def test_the_packages_that_a_config_may_call_are_those_of_the_page():
    rows = rows_of((DOCS / "security.md").read_text())
    listed = {part: re.findall(r"[\w.]+", packages) for part, packages in rows}
    names = {"reader": "data.reader", "arm": "transfer", "callback": "callbacks"}
    names |= {"augmentation": "data.augment", "measure": "evaluation", "metric": "metrics"}

    assert listed == {names.get(role, role): list(packages) for role, packages in OWN.items()}


def test_the_bases_of_a_plugins_classes_are_those_of_the_page():
    rows = rows_of((DOCS / "plugin.md").read_text())
    names = {"reader": "data.reader", "callback": "callbacks"}

    listed = {part: tuple(re.findall(r"[\w.]+\.\w+", bases)) for part, bases in rows}
    assert listed == {names.get(role, role): bases for role, bases in BASES.items()}


def test_the_page_of_seats_names_every_seat_and_its_base():
    page = (DOCS / "seats.md").read_text()

    assert [base for bases in BASES.values() for base in bases if base.rpartition(".")[2] not in page] == []
    settings = {"data", "pretrain", "trainer", "paths", "experiment", "debug", "augment"}
    assert [group for group in groups_of("train") if group not in settings and f"`{group}" not in page] == []
    for target in re.findall(r"\((\w+\.md)", page):
        assert (DOCS / target).is_file()


def test_commands_on_the_store_do_what_is_shown(run_train, command, monkeypatch, tmp_path):
    run_train(*TINY, "transfer=finetune")
    monkeypatch.chdir(tmp_path)

    for words in commands("docs/sweep.md", "runs"):
        done = command(runs.main, *words)
        assert done.code == 0, done.err
    assert "photo_digits" in (tmp_path / "runs.csv").read_text()


def test_each_fault_that_a_run_survives_has_its_test():
    rows = [line for line in (DOCS / "reliability.md").read_text().splitlines() if line.startswith("| ")][1:]
    sources = "\n".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]

    assert all(named), "a row names no test"
    assert [name for names in named for name in names if f"def {name}(" not in sources] == []


@pytest.fixture
def at_a_finished_run(finished, tmp_path, monkeypatch):
    """A working directory where a finished run is called outputs/runs/NAME, and photos lie about."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "outputs/runs/NAME")
    write_class_folder(tmp_path / "photos", {"": 3})
    (tmp_path / "photos" / "0000.png").rename(tmp_path / "photos" / "cat.png")
    shutil.make_archive("photos", "zip", "photos")
    np.save("arrays.npy", np.arange(3 * 32 * 32, dtype=np.uint8).reshape(3, 1, 32, 32))


@pytest.mark.parametrize("page", ["docs/use_an_encoder.md", "README.md"])
def test_features_and_classes_come_as_shown(at_a_finished_run, command, page):
    for module in (embed, predict):
        for words in commands(page, module.__name__.rpartition(".")[2]):
            words = [word.replace("FOLDER", "photos") for word in words]
            done = command(module.main, *words)
            assert done.code == 0, done.err
            (out,) = (word.removeprefix("out=") for word in words if word.startswith("out="))
            assert Path(out).is_file()


@pytest.mark.slow
def test_encoders_are_exported_as_shown(at_a_finished_run, command):
    for words in commands("docs/use_an_encoder.md", "export"):
        done = command(export.main, *words)
        assert done.code == 0, done.err
    assert Path("outputs/runs/NAME/model.onnx").is_file()


def test_a_model_and_an_encoder_are_loaded_as_shown(at_a_finished_run):
    made = {}
    page = (DOCS / "use_an_encoder.md").read_text()
    for program in re.findall(r"```python\n(.*?)```", page, flags=re.S):
        exec(program, made)

    assert made["probabilities"].sum() == pytest.approx(1)
    assert made["codes"].shape == (1, 8)
    assert made["features"].shape == (1, 32)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells), "clear its outputs"
    # Jupyter keeps its connection files there.
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))

    nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()

    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    pictures = [output for cell in codes for output in cell.outputs if "image/png" in output.get("data", {})]
    text = "".join(output.get("text", "") for output in codes[-1].outputs)
    said = re.search(r"(\d+)% of them by their codes, (\d+)% by their raw pixels", text)
    assert len(pictures) == 2
    assert said is not None and int(said[1]) > 80
