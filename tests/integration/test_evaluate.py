"""python -m aetransfer.evaluate: the run's own numbers again, and numbers on other data."""

import pytest
import torch

from tests.integration.conftest import TINY, TINY_PRETRAINING


def numbers(done):
    return {name: float(value) for name, value in (line.split() for line in done.out.splitlines() if "/" in line)}


@pytest.mark.short
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_run_measured_again_gives_its_own_numbers_digit_for_digit(run_train, run_evaluate, split):
    for words in ((*TINY, "transfer=finetune"), (*TINY_PRETRAINING, "model=vae", "logger=none")):
        done = run_train(*words)
        again = run_evaluate(f"run={done.run}", f"split={split}")

        expected = {name: value for name, value in done.result["metrics"].items() if name.startswith(split)}
        assert numbers(again) == expected


def test_another_data_set_is_measured_through_the_same_encoder(run_train, run_evaluate):
    done = run_train(*TINY, "transfer=scratch")
    other = run_evaluate(f"run={done.run}", "data=digits")

    assert other.code == 0
    assert numbers(other)["test/nll"] != done.result["metrics"]["test/nll"]


def test_evaluation_leaves_the_run_as_it_was(run_train, run_evaluate):
    done = run_train(*TINY, "transfer=scratch")
    before = {path: path.read_bytes() for path in done.run.rglob("*") if path.is_file()}
    run_evaluate(f"run={done.run}")

    assert {path: path.read_bytes() for path in done.run.rglob("*") if path.is_file()} == before


def test_a_run_from_before_the_encoder_had_a_setting_is_measured_with_its_default(run_train, run_evaluate):
    done = run_train(*TINY, "transfer=scratch")
    best = done.run / "checkpoints" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    del content["hyper_parameters"]["architecture"]["kernel_size"]
    torch.save(content, best)

    assert numbers(run_evaluate(f"run={done.run}"))["test/acc"] == done.result["metrics"]["test/acc"]
