"""A command line that can't be read, or asks for what there is not, ends in one sentence and exit code 1."""

import string

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from aetransfer.config.compose import composed
from tests.commands import run_command
from tests.integration.conftest import DATA_SETS, assert_is_one_sentence, assert_refused

SPECIAL = "write key=value, and quote a value with special characters"
UNREADABLE = [
    (["seed"], f"seed is no override (missing EQUAL at '<EOF>'): {SPECIAL}."),
    (["seed=[0"], f"seed=[0 is no override (no viable alternative at input '[0'): {SPECIAL}."),
    (["seed=${"], f"seed=${{ is no override (extraneous input '{{' expecting <EOF>): {SPECIAL}."),
    (["=3"], "=3 has no key before its =."),
    (["--seed", "3"], "unrecognized arguments: --seed (see --help)."),
    (["--cfg", "everything"], "argument --cfg/-c: invalid choice: 'everything' (choose from 'job', 'hydra', 'all') (see --help)."),
    (["--resolve"], "The --resolve flag can only be used in conjunction with --cfg or --help."),
    (["--cfg", "job", "sed=1"], "sed is no config key or group (did you mean seed)."),
    (["--config-dir", "nowhere"], "--config-dir nowhere is no folder."),
    (["--config-name", "mine"], "The command has one config: to set much at once, write DIR/experiment/NAME.yaml and add --config-dir DIR experiment=NAME."),
    (["seed=${sede}"], "seed refers to sede, which is no config key (did you mean seed)."),
    (["seed=${oc.env:NO_SUCH_SEED}"], "seed: Environment variable 'NO_SUCH_SEED' not found."),
    (["seed=${twice:1}"], "seed: Unsupported interpolation type twice."),
    (["seed=0,1"], "seed=0,1 is a sweep over several values: add -m to run them all."),
    (["transfer=scratch,frozen"], "transfer=scratch,frozen is a sweep over several values: add -m to run them all."),
    (["seed=range(0,3)"], "seed=range(0,3) is a sweep over several values: add -m to run them all."),
    (["pretrain=ae,./run"], "pretrain=ae,./run mixes paths with named pretrainings: sweep over one kind at a time."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), UNREADABLE)
def test_a_command_line_that_can_not_be_read_is_refused(torchless, words, sentence):
    done = torchless("train", *words)

    assert_refused(done, sentence)
    assert not done.torch


SWEEPS = [
    (["seed=0", "encoder.latent_dim=32,-1"], "encoder.latent_dim=-1 should be greater than 0."),
    (["seed=0,1,-1", "encoder.latent_dim=32,64"], "seed=-1 should be greater than or equal to 0."),
    (["seed=range(-1,2)"], "seed=-1 should be greater than or equal to 0."),
    (["transfer=scratch,froze"], "transfer=froze is no choice of transfer (did you mean frozen): there are finetune, finetune_layerwise, frozen, gradual, linear_probe, moments, random_frozen, random_linear_probe, scratch, shuffled, transplant, transplant_frozen."),
    (["data=digits,cifar10", "data@pretrain.data=digits", "pretrain.data.pad=2"], "The source's encoder takes 36x36 images, but digits gives 32x32 images: set pretrain.data.pad or data.pad so that both agree."),
    (["model=classifier,ae", "transfer=frozen"], "model=ae is a pretraining, so transfer=frozen has no meaning: leave it out."),
    (["experiment=glob(nothing*)"], "experiment=glob(nothing*) gives no value to run."),
    (["experiment=glob(*_ae)", "sed=1"], "sed is no config key or group (did you mean seed)."),
    (["seed=range(0,0)"], "seed=range(0,0) gives no value to run."),
    (["seed=interval(0,1)"], "seed=interval(0,1) has endlessly many values: list them, or use range(first,end)."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), SWEEPS)
def test_a_sweep_with_one_bad_value_is_refused_before_its_first_job(torchless, words, sentence):
    done = torchless("train", "-m", *words)

    assert_refused(done, sentence)
    assert not done.torch


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "run must be given: add run=... to the command."),
        (["rn=x"], "rn is no config key or group (did you mean run)."),
        (["run=x", "split=tset"], "split=tset should be 'val' or 'test'."),
        (["run=x", "data=mnst"], f"data=mnst is no choice of data (did you mean mnist): there are {DATA_SETS}."),
        (["run=x", "transfer=frozen"], "transfer is no config key or group."),
        (["run=x", "accelerator=cuda"], "accelerator=cuda should be 'auto', 'cpu', 'gpu', 'mps' or 'tpu'."),
    ],
)
def test_an_evaluation_that_asks_for_what_there_is_not_is_refused(torchless, words, sentence):
    done = torchless("evaluate", *words)

    assert_refused(done, sentence)
    assert not done.torch


@pytest.mark.parametrize(
    "words", [("train", "transfer=froze"), ("train", "-m", "seed=0", "encoder.latent_dim=32,-1"), ("evaluate", "rn=x")]
)
def test_a_new_process_says_the_same_and_leaves_nothing_behind(torchless, tmp_path, words):
    done = run_command(*words, cwd=tmp_path)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == torchless(*words).err
    assert not list(tmp_path.iterdir())


def dotted(node, prefix=""):
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, DictConfig):
            yield from dotted(value, f"{prefix}{key}.")


VALID_KEYS = sorted(dotted(composed("train", [])))


@st.composite
def misspellings(draw):
    """A valid key with one letter left out, put in, changed, or swapped with the next."""
    key = draw(st.sampled_from(VALID_KEYS))
    at = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from(string.ascii_lowercase + "_."))
    before, here, after = key[:at], key[at], key[at + 1 :]
    edited = draw(
        st.sampled_from([before + after, before + letter + here + after, before + letter + after, before + after[:1] + here + after[1:]])
    )  # fmt: skip
    assume(edited and edited not in VALID_KEYS)
    return edited


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=misspellings())
def test_every_key_with_one_wrong_letter_is_refused(torchless, key):
    done = torchless("train", f"{key}=1")

    assert done.code == 1, key
    assert_is_one_sentence(done.err)
    assert not done.torch
