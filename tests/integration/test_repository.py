"""What stands beside the program in its repository: the editors' schema, the docs site, who is to be cited."""

import json
import re
import subprocess
import sys
import tomllib

import jsonschema
import pytest
import yaml

from aetransfer.config.plugins import choices_of
from scripts.config_schema import PATH, schema
from tests.project import ROOT

GLOBAL = [
    path
    for path in sorted((ROOT / "configs").glob("*/*.yaml"))
    if "# @package _global_" in path.read_text() and path.parent.name not in ("sweep", "launcher")
]


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft202012Validator(schema())


def test_the_schema_that_editors_read_is_that_of_a_job():
    assert json.loads(PATH.read_text()) == schema(), "make schema"


@pytest.mark.parametrize("path", [ROOT / "configs/train.yaml", *GLOBAL], ids=lambda path: path.stem)
def test_an_editor_finds_nothing_wrong_with_ours(validator, path):
    assert [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))] == []
    assert "quickstart" in choices_of("experiment")


@pytest.mark.parametrize(
    "wrong",
    [
        {"sed": 1},
        {"trainer": {"max_epochs": 0}},
        {"data": {"batchsize": 3}},
        {"pretrain": {"trainer": {"max_epoch": 3}}},
    ],
)
def test_an_editor_finds_what_the_program_refuses(validator, wrong):
    assert not validator.is_valid(wrong)


def test_the_version_to_cite_is_the_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert (cited["version"], cited["license"]) == (project["version"], project["license"])


def test_what_runs_before_a_commit_is_what_make_lint_runs():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"].removeprefix(".venv/bin/") for hook in repository["hooks"]]

    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert [line.removeprefix("\t$(BIN)/") for line in lint.splitlines()[1:]] == entries


def test_every_page_is_in_the_site(tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in (tmp_path / "site").glob("*.html")}


def test_who_contributes_is_told_of_every_folder():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`src/(\w+/\w*)/?`", text)) | {"hydra_plugins/"}
    there = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src/aetransfer").iterdir() if path.is_dir()}

    assert named - {"hydra_plugins/"} == there - {"aetransfer/__pycache__"}
    for place in re.findall(r"\]\(([\w/]+\.md)\)", text):
        assert (ROOT / place).is_file()
