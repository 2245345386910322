"""Where one of several processes fails, dies or falls silent, none is left waiting and the first says why."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.integration.conftest import TINY_PRETRAINING
from tests.processes import free_port, torchrun

FAILING = """
import os, time
from pytorch_lightning import Callback

class Trouble(Callback):
    def __init__(self, how: str, rank: int = 1) -> None:
        self.how, self.rank = how, rank

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        if trainer.global_rank != self.rank or batch_idx != 2:
            return
        if self.how == "raise":
            raise RuntimeError("the disk is on fire")
        os.kill(os.getpid(), {"kill": 9, "stop": 19}[self.how])
"""
IMPATIENT = "from aetransfer.training import processes; processes.SILENCE, processes.GRACE = 5.0, 2.0; from aetransfer.train import main; main()"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("how", ["raise", "kill", "stop"])
@pytest.mark.parametrize("starts", ["itself", "torchrun"])
def test_a_process_that_fails_ends_all_within_bounded_time_and_the_first_says_why(tmp_path, monkeypatch, how, starts):
    (tmp_path / "trouble.py").write_text(FAILING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = (*TINY_PRETRAINING, "logger=none", "model=ae", "trainer=ddp_sim", "allow=[trouble]",
             "+callbacks.trouble._target_=trouble.Trouble", f"+callbacks.trouble.how={how}")  # fmt: skip
    port = free_port()
    environments = [torchrun(0, port), torchrun(1, port)] if starts == "torchrun" else [{}]
    began = time.monotonic()

    outcomes = together_despite_stop(words, environments)

    assert time.monotonic() - began < 240
    code, _, err = outcomes[0]
    said = {
        "raise": "Process 1 of 2 failed: the disk is on fire",
        "kill": "was killed by signal 9" if starts == "itself" else "ended without a word",
        "stop": "was not heard of for 5 seconds",
    }[how]
    sentences = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 1
    assert len(sentences) == 1 and said in sentences[0], err
    ((_, result),) = results(tmp_path).items()
    assert result["status"] == "failed" and said in result["error"]


def together_despite_stop(words, environments):
    """As `together`, with little patience; a process that was stopped is killed once the others have ended."""
    processes = [
        subprocess.Popen([sys.executable, "-c", IMPATIENT, *words], env={**os.environ, "OMP_NUM_THREADS": "1", **each},
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0)
        for each in environments
    ]  # fmt: skip
    outcomes = []
    try:
        processes[0].wait(timeout=600)
    finally:
        for process in processes:
            if process is not processes[0]:
                ended(process)
            os_kill_group(process.pid)
    for process in processes:
        outcomes.append((process.returncode, "", process.communicate()[1]))
    return outcomes


def ended(process):
    """Wait for a process to leave by itself. Nothing else than SIGKILL ends one that is stopped."""
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        assert psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def os_kill_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def results(tmp_path):
    found = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "runs").glob("*/result.json")]
    return {result["name"]: result for result in found}
