"""A result belongs to the code that made it: the program's, and that of every package that a command allows."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.integration.conftest import CONV4

WORDS = ("model=ae", "data=digits", "encoder.latent_dim=4", "trainer.max_epochs=1", "trainer.limit_train_batches=1",
         "logger=none", "callbacks=none", "trainer.accelerator=cpu", "encoder._target_=lab_nets.blocks.Net", "allow=[lab_nets]",
         *(f"~encoder.{key}" for key in CONV4))  # fmt: skip
NET = """
from math import prod

from torch import nn
from aetransfer.networks.encoder import Encoder
from {package}.layers import activation


class Net(Encoder):
    def __init__(self, *, input_shape, latent_dim):
        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=8)
        self.layers = nn.Sequential(nn.Conv2d(input_shape[0], 8, 3, stride=2), activation(), nn.AdaptiveAvgPool2d(1))

    def body(self, normalised):
        return self.layers(normalised).flatten(1)

    def make_decoder(self):
        return nn.Sequential(nn.Linear(self.latent_dim, prod(self.input_shape)), nn.Unflatten(1, self.input_shape))
"""


@pytest.fixture
def project(tmp_path):
    """Somebody's repository, beside the installed program."""
    package = tmp_path / "lab_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "blocks.py").write_text(NET.format(package="lab_nets"))
    (package / "layers.py").write_text("from torch.nn import ReLU as activation\n")
    git = ["git", "-c", "user.name=me", "-c", "user.email=me@lab"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*git, "add", "lab_nets"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "nets"], cwd=tmp_path, check=True)
    return tmp_path


def train(project, *words):
    return run_command("train", *WORDS, *words, cwd=project, env={"OMP_NUM_THREADS": "1"})


def result_of(done):
    return json.loads((Path(done.stdout.strip().splitlines()[-1].removeprefix("run: ")) / "result.json").read_text())


@pytest.mark.slow
def test_a_run_is_not_taken_for_that_of_changed_own_code_without_a_word(project):
    first = train(project)
    assert first.returncode == 0, first.stderr
    result = result_of(first)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True).stdout.strip()
    assert result["git"] == {"commit": commit, "dirty": False}
    assert train(project, "reuse=same_code").returncode == 0

    # Not the file of the encoder, but one that it imports.
    (project / "lab_nets" / "layers.py").write_text("from torch.nn import GELU as activation\n")
    warned, refused = train(project), train(project, "reuse=same_code")

    assert f"was made by lab_nets {result['own_code']['lab_nets']}, this is " in warned.stdout
    assert warned.stdout.count("it is used all the same") == 1
    assert refused.returncode == 1
    assert "rerun=true makes it afresh, reuse=any_code has it used" in refused.stderr
    afresh = train(project, "reuse=same_code", "rerun=true")
    assert afresh.returncode == 0, afresh.stderr
    assert result_of(afresh)["own_code"] != result["own_code"]
    assert result_of(afresh)["git"]["dirty"]
    assert train(project, "reuse=same_code").returncode == 0


def test_the_code_of_a_package_is_that_of_all_its_files_and_of_a_module_that_of_its_own(tmp_path, monkeypatch):
    from aetransfer.store import finished

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lone_module.py").write_text("x = 1\n")
    (tmp_path / "whole_package" / "inner").mkdir(parents=True)
    (tmp_path / "whole_package" / "inner" / "part.py").write_text("x = 1\n")

    def code():
        finished._own_code.cache_clear()
        return finished.own_code(["lone_module", "whole_package.inner", "not_there_at_all"])

    first = code()
    assert set(first) == {"lone_module", "whole_package"}
    (tmp_path / "another_module.py").write_text("")
    assert code() == first
    (tmp_path / "lone_module.py").write_text("x = 2\n")
    (tmp_path / "whole_package" / "inner" / "part.py").write_text("x = 2\n")
    assert all(code()[name] != digest for name, digest in first.items())
