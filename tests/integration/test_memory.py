"""Memory that does not suffice: what to lower is said, and the largest batch that fits can be asked for."""

import json

import pytest
import torch

from aetransfer import batch_size
from aetransfer.models.autoencoder import AutoEncoder
from tests.integration.conftest import TINY_PRETRAINING, assert_is_one_sentence, assert_refused

PRETRAINING = (*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=4", "logger=none", "callbacks=none")
ADVICE = (
    "lower data.batch_size (python -m aetransfer.batch_size finds one that fits), encoder.widths or "
    "data.max_memory_gb, or choose trainer.precision=bf16-mixed."
)
ON_A_GPU = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1 GiB is free."
)


@pytest.fixture
def memory_for(monkeypatch):
    """Let steps of more images than these end as they would on a device whose memory is full."""

    def limit(images, error):
        original = AutoEncoder.training_step

        def step(self, batch, *rest):
            if len(batch[0]) > images:
                raise error
            return original(self, batch, *rest)

        monkeypatch.setattr(AutoEncoder, "training_step", step)

    return limit


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ON_A_GPU, "CUDA out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"), "[enforce fail at alloc_cpu.cpp:127] err == 0"),
        (MemoryError(), "MemoryError"),
    ],
    ids=["gpu", "ram", "numpy"],
)  # fmt: skip
def test_what_to_lower_is_said_where_memory_does_not_suffice(run_train, memory_for, tmp_path, error, said):
    memory_for(0, error)

    assert_refused(run_train(*PRETRAINING), f"Out of memory ({said}): {ADVICE}")

    (run,) = (tmp_path / "outputs" / "runs").glob("[!.]*")
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "failed" and "data.batch_size" in result["error"]


def test_the_largest_batch_that_fits_is_found_and_nothing_is_kept(command, memory_for, tmp_path):
    memory_for(100, ON_A_GPU)

    done = command(batch_size.main, *PRETRAINING)

    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "The largest batch that fits, of those tried by doubling: data.batch_size=64"
    assert not (tmp_path / "outputs").exists()


def test_a_batch_is_never_larger_than_the_data(command, memory_for):
    done = command(batch_size.main, *PRETRAINING, "data.labels_per_class=3")

    assert done.code == 0, done.err
    assert int(done.out.rpartition("=")[2]) <= 30


def test_a_batch_size_is_found_for_one_job(command):
    done = command(batch_size.main, "-m", *PRETRAINING)

    assert done.code == 1
    assert_is_one_sentence(done.err)
