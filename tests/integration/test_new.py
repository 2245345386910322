"""`python -m aetransfer.new`: a project that works at once, and that its own README tells how to change."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import aetransfer
from aetransfer import new, origin
from tests.integration.conftest import assert_refused
from tests.project import ROOT, install_beside


@pytest.fixture
def at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_project_is_called_as_its_folder(at, command):
    (at / "our_lab").mkdir()
    done = command(new.main, "our_lab")

    assert done.code == 0, done.err
    assert done.out == "our_lab is there. Next: cd our_lab && make quickstart\n"
    files = files_of(at / "our_lab")
    assert {".env.example", ".gitignore", ".github/workflows/ci.yml", "Makefile", "README.md"} <= set(files)
    assert {"data.py", "encoder.py", "pretext.py", "task.py"} <= {
        path.name for path in (at / "our_lab/src/our_lab").iterdir()
    }
    assert "_target_: our_lab.pretext.Restore" in files["configs/model/restore.yaml"]
    assert f'"aetransfer @ {ROOT.as_uri()}"' in files["pyproject.toml"]
    assert not [name for name, text in files.items() if "{{" in text or "package/" in name]


def test_what_is_written_is_clean(at, command):
    command(new.main, "my_lab")
    for words in (["format", "--check"], ["check"]):
        ruff = [sys.executable, "-m", "ruff", *words]
        done = subprocess.run(ruff, cwd=at / "my_lab", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("full", "full is there already, and not empty: choose another folder."),
        ("a_file", "a_file is there already, and not empty: choose another folder."),
        ("My-Lab", "My-Lab is no name of a Python package: write small letters, digits and _, as in my_lab."),
        ("class", "class is no name of a Python package: write small letters, digits and _, as in my_lab."),
        ("..", ".. is no name of a Python package: write small letters, digits and _, as in my_lab."),
        ("json", "json is the name of a package that is installed here: choose another."),
        ("sklearn", "sklearn is the name of a package that is installed here: choose another."),
        ("scikit_learn", "scikit_learn is the name of a package that is installed here: choose another."),
        ("a_file/my_lab", "a_file/my_lab/.env.example can't be written (Not a directory)."),
    ],
)
def test_what_would_overwrite_or_hide_something_is_refused(at, command, word, sentence):
    (at / "full").mkdir()
    (at / "full" / "thesis.tex").touch()
    (at / "a_file").touch()

    assert_refused(command(new.main, word), sentence)
    assert sorted(path.name for path in at.rglob("*")) == ["a_file", "full", "thesis.tex"]


@pytest.mark.parametrize("words", [(), ("a", "b")])
def test_it_takes_one_name(at, command, words):
    sentence = "Say what the project is to be called: python -m aetransfer.new my_lab."

    assert_refused(command(new.main, *words), sentence)
    assert command(new.main, "--help").code == 0


class Noted:
    """A distribution of which is noted where it came from."""

    def __init__(self, noted):
        self.noted = noted

    def read_text(self, name):
        return None if self.noted is None else json.dumps(self.noted)


@pytest.mark.parametrize(
    ("noted", "requirement"),
    [
        (None, f"aetransfer[onnx]=={aetransfer.__version__}"),
        ({"url": "file:///a%20b/aetransfer-0.2.0-py3-none-any.whl", "archive_info": {}}, "aetransfer[onnx] @ file:///a%20b/aetransfer-0.2.0-py3-none-any.whl"),
        ({"url": "https://git.lab/a.git", "vcs_info": {"vcs": "git", "commit_id": "1a2b"}}, "aetransfer[onnx] @ git+https://git.lab/a.git@1a2b"),
    ],
)  # fmt: skip
def test_the_aetransfer_that_ran_is_the_one_that_is_named_and_that_an_extra_is_added_to(
    monkeypatch, tmp_path, noted, requirement
):
    monkeypatch.setattr(aetransfer, "__file__", str(tmp_path / "site" / "aetransfer" / "__init__.py"))
    monkeypatch.setattr(origin, "distribution", lambda name: Noted(noted))

    assert origin.requirement("onnx") == requirement
    assert origin.requirement() == requirement.replace("[onnx]", "")
    assert origin.pip_install("onnx") == f"pip install '{requirement}'"


def test_an_extra_is_added_to_a_checkout_whatever_its_folder_is_called(monkeypatch, tmp_path):
    (tmp_path / "my work").mkdir()
    (tmp_path / "my work" / "pyproject.toml").touch()
    monkeypatch.setattr(aetransfer, "__file__", str(tmp_path / "my work" / "src" / "aetransfer" / "__init__.py"))

    assert origin.pip_install("onnx") == f"pip install -e '{tmp_path}/my work[onnx]'"


class Made:
    """A project made from the wheel, as somebody uses it who has read only its README."""

    def __init__(self, folder, site):
        self.folder = folder / "my_lab"
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site), "HOME": str(folder)}
        words = [sys.executable, "-m", "aetransfer.new", "my_lab"]
        subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)
        install_beside(self.folder, site)
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
        self.readme = (self.folder / "README.md").read_text()

    def __call__(self, *words):
        done = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def follow(self):
        """Write the files that the README shows, and change those of which it shows lines. Returns their names."""
        blocks = re.findall(r"^`([\w/.]+)`[^`\n]*:\n\n```(\w+)\n(.*?)```", self.readme, flags=re.M | re.S)
        for name, language, text in blocks:
            path = self.folder / name
            if language == "diff":
                text = changed(path.read_text(), text.splitlines())
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return {name for name, *_ in blocks}

    @property
    def sweep(self):
        (line,) = re.findall(r"^\.venv/bin/python -m aetransfer\.train -m .*$", self.readme, flags=re.M)
        return shlex.split(line)


def changed(text, lines):
    """Put lines with + in place of the one with - before them, or at the end."""
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("+"):
            old, new = f"{before[1:]}\n", f"{line[1:]}\n"
            assert not before.startswith("-") or text.count(old) == 1
            text = text.replace(old, new) if before.startswith("-") else text + new
    return text


@pytest.fixture(scope="module")
def made(tmp_path_factory, site):
    return Made(tmp_path_factory.mktemp("new"), site)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_tests_and_its_quickstart_pass_at_once(made):
    assert " passed" in made("make", "test")
    out = made("make", "quickstart")

    assert re.search(r"frozen . random_frozen: \+\S+ \[\S+ \S+\] helps relative to random_frozen", out), out
    assert (made.folder / "outputs").is_dir()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_reader_of_its_readme_changes_the_loss_adds_an_augmentation_and_sweeps_both(made):
    assert made.follow() >= {"src/my_lab/pretext.py", "src/my_lab/augmentation.py", "configs/augment/fade.yaml"}

    out = made(*made.sweep, "trainer.max_epochs=2", "pretrain.trainer.max_epochs=1", "logger=none", "callbacks=none")

    (page,) = re.findall(r"^report: (.*)/index\.html$", out, flags=re.M)
    rows = pd.read_csv(Path(page) / "results.csv").query("transfer == 'frozen' and metric == 'test/nll'")
    asked = set(zip(rows["pretrain.model.power"], rows["pretrain.augment"], strict=True))
    assert asked == {(1, "none"), (2, "none"), (1, "fade"), (2, "fade")}
    assert rows["mean"].nunique() == 4
    assert " passed" in made("make", "test")
