"""What docs/ tells a user to type works as printed, and stays short."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from aetransfer import submit
from aetransfer.runs import __main__ as runs
from tests.integration.conftest import TINY

DOCS = Path(__file__).parents[2] / "docs"


def written_files(page):
    """Return the code blocks that follow a line naming their file."""
    return dict(re.findall(r"^`([\w/]+\.\w+)`.*?:\n\n```\w+\n(.*?)```", page, flags=re.M | re.S))


@pytest.mark.parametrize("name", ["add_a_data_set", "add_an_encoder"])
def test_the_page_works_as_printed_in_under_30_lines_of_user_code(name, tmp_path):
    page = (DOCS / f"{name}.md").read_text()
    files = written_files(page)
    assert len(files) == 2
    for path, text in files.items():
        assert len(text.splitlines()) < 30
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    command = next(line for line in page.splitlines() if "allow=" in line and line.startswith("python -m "))
    words = [sys.executable, *shlex.split(command)[1:], "trainer.limit_train_batches=3", "logger=none"]
    environment = {**os.environ, "AETRANSFER_OUTPUT_DIR": str(tmp_path / "outputs"), "OMP_NUM_THREADS": "1"}

    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("run: ")


def commands(name, module):
    page = (DOCS / f"{name}.md").read_text()
    return [shlex.split(line)[3:] for line in page.splitlines() if line.startswith(f"python -m aetransfer.{module} ")]


@pytest.mark.parametrize("words", commands("cluster", "submit"), ids=" ".join)
def test_a_sweep_that_is_shown_with_a_labs_profile_means_runs(command, words, tmp_path, monkeypatch):
    for path, text in written_files((DOCS / "cluster.md").read_text()).items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setenv("AETRANSFER_CONFIG_DIR", str(tmp_path / "lab"))

    done = command(submit.main, *words, "--identity")

    assert done.code == 0, done.err
    assert done.out.count("run: ") == 12


@pytest.mark.parametrize("words", commands("sweep", "train"), ids=" ".join)
def test_a_sweep_that_is_shown_means_runs(run_train, words):
    done = run_train(*words, "--identity")

    assert done.code == 0, done.err
    assert done.out.startswith("run: ")


def test_commands_on_the_store_do_what_is_shown(run_train, command, monkeypatch, tmp_path):
    run_train(*TINY, "transfer=finetune")
    monkeypatch.chdir(tmp_path)

    for words in commands("sweep", "runs"):
        done = command(runs.main, *words)
        assert done.code == 0, done.err
    assert "photo_digits" in (tmp_path / "runs.csv").read_text()


def test_each_fault_that_a_run_survives_has_its_test():
    rows = [line for line in (DOCS / "reliability.md").read_text().splitlines() if line.startswith("| ")][1:]
    sources = "\n".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]

    assert all(named), "a row names no test"
    assert [name for names in named for name in names if f"def {name}(" not in sources] == []
