"""An encoder of which training left a part as it began: what is carried of it, and what is said where it is used."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import aetransfer
from aetransfer import embed
from aetransfer.data.targets import Targets
from aetransfer.models.facts import ModelFacts
from aetransfer.store.directory import RunDirectory
from aetransfer.training.build import architecture_of, make_encoder
from aetransfer.transfer.card import write_cards
from aetransfer.transfer.exported import Preprocessing, read_description, write_encoder
from tests.integration.conftest import TINY, job_of

SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=1", *TINY[-2:])


@pytest.fixture
def source(finished_pretraining, tmp_path):
    """The run as if its model had not used the bottleneck: exported, and in a checkpoint."""
    job, run = RunDirectory(finished_pretraining).read_config(), tmp_path / "source"
    shutil.copytree(finished_pretraining, run)
    encoder = aetransfer.load_encoder(finished_pretraining)
    write_encoder(run / "encoder.safetensors", encoder, architecture_of(job), Preprocessing(), ("bottleneck",))
    best = run / "checkpoints" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    content["hyper_parameters"]["untrained"] = ("bottleneck",)
    torch.save(content, best)
    return run


def test_files_say_it_and_are_silent_where_all_was_trained(source, finished_pretraining, tmp_path):
    for run, untrained in ((source, ("bottleneck",)), (finished_pretraining, ())):
        for file in ("", "checkpoints/best.ckpt"):
            assert read_description(str(run / file)).untrained == untrained
            assert aetransfer.load_encoder(run / file).untrained == untrained
    assert b"untrained" not in (finished_pretraining / "encoder.safetensors").read_bytes()
    assert "untrained" not in json.loads((finished_pretraining / "encoder.json").read_text())

    job, result = job_of("model=ae", "data=digits"), json.loads((source / "result.json").read_text())
    directory = RunDirectory(tmp_path)
    write_cards(
        directory, job, make_encoder(job), ModelFacts(untrained=["bottleneck"]), result, Targets(), Preprocessing()
    )
    assert json.loads(directory.encoder_card.read_text())["untrained"] == ["bottleneck"]


@pytest.mark.parametrize("arm", ["frozen", "shuffled"])
@pytest.mark.parametrize("file", ["", "checkpoints/best.ckpt"])
def test_a_transfer_carries_the_rest_and_draws_the_part_afresh(run_train, source, arm, file):
    words = ("data=digits", f"transfer={arm}", *SHORT)
    done = run_train(*words, f"pretrain={source / file}")
    assert done.code == 0, done.err
    assert f"bottleneck starts fresh: {source / file} did not train it." in done.out

    before, carried = load_file(source / "encoder.safetensors"), done.encoder
    assert not torch.equal(carried["bottleneck.weight"], before["bottleneck.weight"])
    if arm == "frozen":
        assert all(torch.equal(carried[key], before[key]) for key in before if not key.startswith("bottleneck."))


def test_the_part_is_what_a_run_from_scratch_with_that_seed_begins_with(run_train, source):
    done = [
        run_train("data=digits", "encoder.widths=[4,8,8,8]", "encoder.latent_dim=8", f"transfer={arm}", *more, *SHORT)
        for arm, *more in (("frozen", f"pretrain={source}"), ("random_frozen",))
    ]
    fresh, scratch = (each.encoder for each in done)

    assert torch.equal(fresh["bottleneck.weight"], scratch["bottleneck.weight"])
    assert not torch.equal(fresh["convolutions.0.weight"], scratch["convolutions.0.weight"])


def test_codes_are_embedded_with_a_word_and_features_without(command, source, tmp_path):
    for layer, is_said in (("bottleneck", True), ("features", False)):
        done = command(embed.main, f"run={source}", "data=digits", f"layer={layer}", f"out={tmp_path}/{layer}.npz")

        assert done.code == 0, done.err
        assert ("codes are random projections of what layer=features gives" in done.out) == is_said
