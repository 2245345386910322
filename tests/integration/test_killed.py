"""A process that is killed again and again, wherever it is: no file is ever unreadable, and the end is the same."""

import json
import random

import pytest
import yaml
from safetensors import safe_open

from aetransfer.config.schema import Job
from aetransfer.files import PARTIAL
from aetransfer.store.directory import RunDirectory, damage
from tests.faults import FILES, PRETRAINING_STEP, TRANSFER_STEP, Fault
from tests.integration.conftest import TINY
from tests.integration.test_resume import assert_same

KILLS = 25
TRANSFER = (
    *TINY,
    *("transfer=finetune", "pretrain.trainer.max_epochs=2", "pretrain.trainer.limit_train_batches=3"),
    *("trainer.max_epochs=4", "trainer.limit_train_batches=6"),
)
EVERY_STEP = {"aetransfer.training.callbacks.resume.SECONDS_BETWEEN_CHECKPOINTS": -1.0}
EVENTS = (PRETRAINING_STEP, TRANSFER_STEP, *FILES)


def runs_below(outputs):
    return [RunDirectory(path) for path in sorted((outputs / "runs").glob("[!.]*"))]


def assert_every_file_can_be_read(run):
    if run.config.exists():
        Job.model_validate(yaml.safe_load(run.config.read_text()))
    for path in (run.result_path, run.history):
        if path.exists():
            json.loads(path.read_text())
    for path in run.checkpoints.glob("*.ckpt"):
        assert damage(path) is None, path
    if run.encoder.exists():
        with safe_open(run.encoder, framework="pt") as opened:
            assert opened.keys()


@pytest.mark.slow
@pytest.mark.timeout(900)  # beside other work; two minutes on a core of its own
def test_a_transfer_and_its_pretraining_killed_25_times_end_in_the_same_bits(run_train, faulty, monkeypatch, tmp_path):
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "whole"))
    whole = run_train(*TRANSFER)
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "outputs"))

    moments = random.Random(0)
    kills, stages = 0, set()
    while kills < KILLS:
        # A start that is left alone makes some five of these calls before its first step, and four with each step.
        fault = Fault(EVENTS, moments.randint(1, 20), ["SIGKILL"], EVERY_STEP)
        ended = faulty(fault, "train", *TRANSFER)
        assert ended.code == -9, (kills, ended)
        kills += 1
        runs = runs_below(tmp_path / "outputs")
        stages |= {run.path.name.split("-")[0] for run in runs}
        for run in runs:
            assert_every_file_can_be_read(run)

    resumed = run_train(*TRANSFER)
    assert stages == {"pretrain", "transfer"}
    assert_same(resumed, whole)
    both = zip(runs_below(tmp_path / "outputs"), runs_below(tmp_path / "whole"), strict=True)
    assert all(left.encoder.read_bytes() == right.encoder.read_bytes() for left, right in both)
    assert not [path for path in (tmp_path / "outputs").rglob(".*") if PARTIAL.fullmatch(path.name)]
    print(f"{kills} of {KILLS} kills, the same bits")
