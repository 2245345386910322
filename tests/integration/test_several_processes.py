"""Several processes: the numbers of one, however they are started."""

import json

import pytest
import torch
from safetensors.torch import load_file

from aetransfer.training.callbacks import resume
from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_refused
from tests.processes import by_hand, free_port, srun, together, torchrun

SHORT = ("logger=none", "callbacks=none", "trainer.log_every_n_steps=1")
# Of 143 validation images the last batch has one, so that one of the processes has none.
UNEVEN = ("data.batch_size=142", "trainer.limit_train_batches=3")
# The last batch of an epoch has one image.
LAST_OF_ONE = ("data.batch_size=16", "data.epoch_images=49")
BOTH_STAGES = (
    *TINY[:4], *SHORT, *LAST_OF_ONE, "transfer=finetune", "augment=[shift,flip]",
    "pretrain=vae", "pretrain.data.batch_size=142", "pretrain.trainer.limit_train_batches=3",
    "pretrain.trainer.max_epochs=2", "trainer.max_epochs=2",
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def curves(output_dir):
    """The rows of each run's history by its name without the identity, and its result."""
    found = {}
    for path in sorted((output_dir / "runs").glob("*/result.json")):
        result = json.loads(path.read_text())
        found[result["name"].rpartition("-")[0]] = json.loads((path.parent / "history.json").read_text()), result
    return found


def assert_same_curves(several, alone):
    assert several.keys() == alone.keys() and several
    for name, (rows, result) in several.items():
        expected_rows, expected = alone[name]
        assert len(rows) == len(expected_rows)
        for row, expected_row in zip(rows, expected_rows, strict=True):
            assert row == pytest.approx(expected_row, rel=2e-3, abs=2e-4), name
        assert result["metrics"] == pytest.approx(expected["metrics"], rel=2e-3, abs=2e-4)
        same = {"train", "val", "test", "epochs", "steps"}
        assert {key: result["counts"][key] for key in same} == {key: expected["counts"][key] for key in same}
        assert (result["counts"]["processes"], expected["counts"]["processes"]) == (2, 1)


@pytest.fixture
def alone(run_train, tmp_path, monkeypatch):
    """Run the words in one process, elsewhere, and return their curves."""

    def run(*words):
        with monkeypatch.context() as patch:
            patch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "alone"))
            assert run_train(*words, "trainer=cpu").code == 0
        return curves(tmp_path / "alone")

    return run


@pytest.mark.short
@pytest.mark.parametrize(
    "words",
    [
        (*TINY_PRETRAINING, *SHORT, "model=ae", *UNEVEN),
        (*TINY_PRETRAINING, *SHORT, "model=vae", *LAST_OF_ONE, "model.free_bits=0.05", "model.kl_warmup_epochs=1",
         "augment=flip", "trainer.gradient_clip_val=1", "trainer.accumulate_grad_batches=2"),
        (*TINY_PRETRAINING, *SHORT, "model=iwae", *LAST_OF_ONE),
        (*TINY_PRETRAINING, *SHORT, "model=contrastive", *UNEVEN),
        (*TINY_PRETRAINING, *SHORT, "model=denoising", "model.masked=0.2", *UNEVEN),
        (*TINY_PRETRAINING, *SHORT, "model=masked", *UNEVEN),
        (*TINY_PRETRAINING, *SHORT, "model=vicreg", *UNEVEN),
        BOTH_STAGES,
        (*BOTH_STAGES, "augment=[strong,cutmix]", "pretrain=classifier", "pretrain.augment=[simclr,mixup]"),
    ],
    ids=["ae", "vae", "iwae", "contrastive", "denoising", "masked", "vicreg", "both_stages", "augmented_and_mixed"],
)  # fmt: skip
def test_two_processes_reproduce_the_curves_of_one(run_train, alone, tmp_path, words):
    expected = alone(*words)

    done = run_train(*words, "trainer=ddp_sim")

    assert done.code == 0, done.err
    assert_same_curves(curves(tmp_path / "outputs"), expected)
    log = (done.run / "train.log").read_text()
    batch = next(word for word in words if word.startswith("data.batch_size")).partition("=")[2]
    assert f"images an epoch in batches of {batch} over 2 processes" in log


@pytest.mark.parametrize("environment", [torchrun, srun, by_hand], ids=["torchrun", "srun_on_two_nodes", "by_hand"])
def test_processes_that_were_started_elsewhere_follow_the_first_through_both_stages(alone, tmp_path, environment):
    nodes = () if environment is torchrun else ("trainer.devices=1", "trainer.num_nodes=2")
    expected, port = alone(*BOTH_STAGES), free_port()
    words = (*BOTH_STAGES, "trainer=ddp_sim", *nodes)

    first, second = together(words, environment(0, port), environment(1, port))

    assert first[0] == second[0] == 0, (first, second)
    assert_same_curves(curves(tmp_path / "outputs"), expected)
    assert first[1].splitlines()[-1].startswith("run: ")
    assert second[1:] == ("", "")


def test_processes_that_were_started_elsewhere_leave_a_finished_run_together(run_train):
    words, port = (*TINY_PRETRAINING, *SHORT, "model=ae", "trainer.limit_train_batches=1"), free_port()
    run_train(*words, "trainer=cpu")

    first, second = together((*words, "trainer=ddp_sim"), torchrun(0, port), torchrun(1, port))

    assert first[0] == second[0] == 0, (first, second)
    assert "is finished: its result is used" in first[1]


def test_sharded_weights_give_the_curves_of_one_process_and_a_whole_encoder(run_train, alone, tmp_path):
    # One layer is large enough to be gathered by itself.
    words = (*BOTH_STAGES, "callbacks=default", "encoder.hidden=[1000,1000]")
    expected = alone(*words)

    done = run_train(*words, "trainer=fsdp", "trainer.accelerator=cpu")

    assert done.code == 0, done.err
    assert_same_curves(curves(tmp_path / "outputs"), expected)
    (whole,) = (tmp_path / "alone" / "runs").glob("transfer-*")
    exported = load_file(whole / "encoder.safetensors")
    assert {key: value.shape for key, value in done.encoder.items()} == {
        key: value.shape for key, value in exported.items()
    }
    for key, value in done.encoder.items():
        torch.testing.assert_close(value, exported[key], rtol=1e-2, atol=1e-3)


def test_sharded_weights_are_not_probed(run_train):
    words = (*TINY_PRETRAINING, "logger=none", "model=ae", "trainer.limit_train_batches=2", "trainer.max_epochs=1")

    done = run_train(*words, "callbacks=probe", "trainer=fsdp", "trainer.accelerator=cpu")

    assert done.code == 0, done.err
    assert "val/probe_acc" not in json.loads((done.run / "history.json").read_text())[0]


def test_a_sharded_run_that_was_interrupted_goes_on_to_the_same_numbers(
    run_train, interrupted_at, monkeypatch, alone, tmp_path
):
    words = (*TINY_PRETRAINING, *SHORT, "model=ae", "trainer.limit_train_batches=4")
    expected, sharded = alone(*words), ("trainer=fsdp", "trainer.accelerator=cpu")
    with interrupted_at(step=6):
        assert run_train(*words, *sharded).code == 130

    done = run_train(*words, *sharded)

    assert "Resuming from" in done.out
    assert_same_curves(curves(tmp_path / "outputs"), expected)


def test_torchrun_itself_starts_them(tmp_path):
    words = (*TINY_PRETRAINING, *SHORT, "model=ae", *UNEVEN, "trainer=ddp_sim")
    command = (
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--master-port",
        free_port(),
        "-m",
        "aetransfer.train",
    )

    ((code, out, err),) = together((*words, "trainer.max_epochs=1"), {}, program=command)

    assert code == 0, err
    assert out.count("run: ") == 1
    ((_, result),) = curves(tmp_path / "outputs").values()
    assert result["counts"]["processes"] == 2


def test_each_node_with_one_process_starts_those_of_its_other_devices(alone, tmp_path):
    words = (*TINY_PRETRAINING, *SHORT, "model=ae", "data.batch_size=12", "trainer.limit_train_batches=2")
    expected, port = alone(*words), free_port()

    first, second = together((*words, "trainer=ddp_sim", "trainer.num_nodes=2"), by_hand(0, port), by_hand(1, port))

    assert first[0] == second[0] == 0, (first, second)
    ((rows, result),) = curves(tmp_path / "outputs").values()
    ((expected_rows, _),) = expected.values()
    assert result["counts"]["processes"] == 4
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected_row, rel=2e-3)


def test_a_launcher_that_started_other_processes_than_were_asked_for_is_refused_in_one_sentence():
    port = free_port()
    words = (*TINY_PRETRAINING, "model=ae", "trainer=cpu")

    first, second = together(words, torchrun(0, port), torchrun(1, port))

    assert (first[0], second[0]) == (1, 1)
    assert first[2] == (
        "error: torchrun started 2 processes on 1 nodes, but the config asks for trainer.devices=1 on "
        "trainer.num_nodes=1: let both agree.\n"
    )
    assert second[1:] == ("", "")


def test_one_task_of_a_slurm_shell_is_a_run_like_any_other(tmp_path):
    shell = {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_NTASKS_PER_NODE": "4"}
    step = {**shell, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"}
    words = (*TINY_PRETRAINING, *SHORT, "trainer.limit_train_batches=1", "model=ae", "trainer.max_epochs=1")

    outcomes = together((*words, "seed=1"), shell) + together((*words, "seed=2"), step)

    assert [code for code, _, _ in outcomes] == [0, 0], outcomes


def test_a_pretraining_that_one_process_began_goes_on_with_two_to_the_same_numbers(
    run_train, interrupted_at, monkeypatch, alone, tmp_path
):
    words = (*TINY_PRETRAINING, *SHORT, "model=vae", "trainer.limit_train_batches=8", "model.kl_warmup_epochs=1")
    expected = alone(*words)
    with monkeypatch.context() as patch:
        patch.setattr(resume, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        with interrupted_at(step=13):
            assert run_train(*words, "trainer=cpu").code == 130

    done = run_train(*words, "trainer=ddp_sim")

    assert "Resuming from" in done.out
    assert_same_curves(curves(tmp_path / "outputs"), expected)


def test_two_processes_that_were_interrupted_within_an_epoch_go_on_to_the_same_numbers(
    run_train, interrupted_at, monkeypatch, alone, tmp_path
):
    words = (*TINY_PRETRAINING, *SHORT, "model=ae", "trainer.limit_train_batches=25")
    expected = alone(*words)
    with monkeypatch.context() as patch:
        patch.setattr(resume, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        with interrupted_at(step=38):
            stopped = run_train(*words, "trainer=ddp_sim")
    assert stopped.code == 130, stopped.err

    done = run_train(*words, "trainer=ddp_sim")

    assert "Resuming from" in done.out
    assert_same_curves(curves(tmp_path / "outputs"), expected)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("trainer=ddp_sim", "data.batch_size=33"), "data.batch_size=33 is shared by 2 processes: choose a multiple of 2."),
        (("trainer=ddp_sim", "pretrain.data.batch_size=7", "transfer=frozen"),
         "pretrain.data.batch_size=7 is shared by 2 processes: choose a multiple of 2."),
        (("trainer=fsdp", "trainer.accelerator=cpu", "trainer.gradient_clip_val=1"),
         "trainer.strategy=fsdp can't clip by the norm of gradients that no process has: leave "
         "trainer.gradient_clip_val out."),
        (("trainer=ddp_sim", "trainer.num_nodes=2"),
         "trainer.num_nodes=2, but this is the only process: start the command on each node, by srun, by torchrun, or "
         "with NODE_RANK, MASTER_ADDR and MASTER_PORT set."),
    ],
    ids=["batch", "pretraining_batch", "clipping", "nodes"],
)  # fmt: skip
def test_what_several_processes_cannot_do_is_refused_before_anything_is_trained(run_train, tmp_path, words, sentence):
    assert_refused(run_train(*TINY, *words), sentence)
    assert not list((tmp_path / "outputs").glob("runs/*"))
