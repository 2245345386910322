"""A run's identity: the same for the same numbers, another for others."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pytorch_lightning import callbacks

from aetransfer.config.choices import with_source_chosen
from aetransfer.config.compose import checked, composed
from aetransfer.config.nodes import LIGHTNINGS_LOOK, Callback
from aetransfer.config.schema import Job
from aetransfer.errors import UserError
from aetransfer.store.identity import identity, run_name
from aetransfer.transfer.resolve import pretraining_of, resolve

TRANSFER = ("data=photo_digits", "data@pretrain.data=digits", "transfer=frozen")


def job_of(*overrides):
    words = [part for word in overrides for part in with_source_chosen(word)]
    return resolve(checked(composed("train", words), Job), words)


def identity_of(*overrides):
    return identity(job_of(*TRANSFER, *overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        ["encoder.latent_dim=128"],
        ["encoder.latent_dim=128.0", "optimizer.weight_decay=0.050"],
        ["pretrain.seed=0"],
        ["pretrain.optimizer.lr=0.001"],
        ["paths.output_dir=/elsewhere", "paths.data_dir=/images", "paths.cache_dir=/scratch"],
        ["logger=csv", "trainer.progress=false", "trainer.log_every_n_steps=1", "trainer.profiler=simple"],
        ["callbacks=none"],
        ["callbacks.reconstructions.every_n_epochs=1"],
        ["+callbacks.further={_target_:pytorch_lightning.callbacks.lr_monitor.LearningRateMonitor,log_momentum:true}"],
        ["+callbacks.further={_target_:tests.made.Watcher,only_looks:true}", "allow=[tests]"],
        ["data.workers=7", "data.max_memory_gb=1"],
        ["pretrain.data.workers=7"],
    ],
)
def test_what_decides_no_number_makes_no_difference(overrides):
    assert identity_of(*overrides) == identity_of()


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=1"],
        ["pretrain.seed=1"],
        ["encoder.latent_dim=64"],
        ["transfer=finetune"],
        ["head.hidden=[]"],
        ["data.val_fraction=0.2"],
        ["data.labels_per_class=10"],
        ["augment=flip"],
        ["optimizer.encoder_lr=1e-4"],
        ["trainer.max_epochs=21"],
        ["trainer.precision=bf16-mixed"],
        ["trainer=cpu"],
        ["pretrain.trainer.max_epochs=11"],
        ["pretrain.optimizer.lr=0.002"],
        ["pretrain=vae"],
        ["transfer.channels=grey"],
        ["callbacks=early_stopping"],
        ["+callbacks.further={_target_:tests.made.Watcher}", "allow=[tests]"],
        ["+callbacks.further={_target_:tests.made.Watcher,only_looks:false}", "allow=[tests]"],
    ],
)
def test_what_decides_numbers_makes_a_difference(overrides):
    assert identity_of(*overrides) != identity_of()


def test_a_control_does_not_depend_on_the_pretraining_it_ignores():
    assert identity(job_of("transfer=scratch")) == identity(
        job_of("transfer=scratch", "pretrain=vae", "pretrain.seed=9")
    )


def test_a_pretraining_is_shared_by_accelerators_and_device_counts():
    names = {
        run_name(pretraining_of(job_of(*TRANSFER, *overrides)))
        for overrides in ([], ["trainer=cpu"], ["trainer=ddp", "trainer.devices=4"], ["transfer=finetune"])
    }

    assert len(names) == 1


PLAIN = OmegaConf.to_container(composed("train", [*TRANSFER, "data.labels_per_class=9"]), resolve=True)
# Keys below these decide no number of a run, or only restate what another one says.
LOOKS_ONLY = re.compile(
    r"(paths|logger|callbacks|(pretrain\.)?model\.name|pretrain\.head|allow|(pretrain\.)?rerun|reuse|sweep|transfer\.(name|control|channels|linear_head|unfrozen_by|layer_decay))\b"
    r"|trainer\.(strategy|profiler|detect_anomaly|log_every_n_steps|progress)$"
    r"|.*(workers|max_memory_gb|root|cache_dir|digest|_target_)$"
    r"|pretrain\.encoder\b"
)


def job_from(plain):
    return resolve(Job.model_validate(plain), [])


def leaves(node, place=()):
    if isinstance(node, dict):
        return [leaf for key, value in node.items() for leaf in leaves(value, (*place, key))]
    return [(place, node)]


def with_value(node, place, value):
    if not place:
        return value
    return {**node, place[0]: with_value(node.get(place[0]), place[1:], value)}


def reordered(node, draw):
    if not isinstance(node, dict):
        return node
    return {key: reordered(node[key], draw) for key in draw(st.permutations(list(node)))}


def another(value, draw):
    """A value of the same kind that is not the same."""
    match value:
        case bool():
            return not value
        case int():
            return value + draw(st.integers(1, 3))
        case float():
            return value * draw(st.sampled_from([0.5, 0.75])) + 1e-4
        case str():
            return draw(st.sampled_from(["vae", "adam", "adamw", "sgd", "none", "cosine", "one_cycle", "gaussian", "torch",
                                         "bernoulli", "frozen", "trained", "pretrained", "bf16-mixed", "other"]))  # fmt: skip
        case list():
            return [*value, 8]
    return draw(st.integers(1, 9))


BASE = job_from(PLAIN)
DECISIVE = [(place, value) for place, value in leaves(PLAIN) if not LOOKS_ONLY.match(".".join(map(str, place)))]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_same_meaning_written_otherwise_is_the_same_run(data):
    plain = PLAIN
    for place, value in data.draw(st.lists(st.sampled_from(leaves(PLAIN)), unique_by=str, max_size=8)):
        if isinstance(value, int) and not isinstance(value, bool):
            plain = with_value(plain, place, float(value))
    for place, value in data.draw(st.lists(st.sampled_from(ONLY_LOOKED_AT), unique_by=str)):
        plain = with_value(plain, place, value)
    for group, key in data.draw(st.lists(st.sampled_from(DEFAULTS), unique=True)):
        plain = {**plain, group: {name: value for name, value in plain[group].items() if name != key}}

    assert identity(job_from(reordered(plain, data.draw))) == identity(BASE)


ONLY_LOOKED_AT = [
    (("paths", "output_dir"), "/elsewhere"),
    (("paths", "data_dir"), "/images"),
    (("logger",), {}),
    (("callbacks",), {}),
    (("trainer", "progress"), False),
    (("trainer", "log_every_n_steps"), 7),
    (("trainer", "profiler"), "simple"),
    (("data", "workers"), 5),
    (("data", "max_memory_gb"), 0.5),
    (("pretrain", "data", "workers"), 5),
    (("pretrain", "seed"), 0),
    (("rerun",), True),
    (("reuse",), "same_code"),
    (("sweep",), {"params": {"seed": "0,1"}}),
]
# Written out in the files, and what the schema would take them for if they were not.
DEFAULTS = [("encoder", "batch_norm"), ("encoder", "hidden"), ("encoder", "init"), ("data", "pad"), ("data", "workers"),
            ("trainer", "accumulate_grad_batches"), ("trainer", "compile"), ("transfer", "layer_decay")]  # fmt: skip
DEFAULTS = [(group, key) for group, key in DEFAULTS if key in PLAIN[group]]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_other_numbers_are_another_run(data):
    place, value = data.draw(st.sampled_from(DECISIVE))
    try:
        changed = job_from(with_value(PLAIN, place, another(value, data.draw)))
    except (ValueError, UserError):
        assume(False)  # a value that no run can have

    assume(changed != BASE)
    assert identity(changed) != identity(BASE)


def test_an_interpolation_and_the_value_it_stands_for_are_the_same():
    assert identity_of("seed=3", "pretrain.seed=${seed}") == identity_of("seed=3", "pretrain.seed=3")


def test_a_name_says_what_the_run_is():
    assert run_name(job_of(*TRANSFER, "seed=2")).startswith("transfer-photo_digits-frozen-from-digits-ae-d128-s2-")
    assert run_name(job_of("model=vae", "data=mnist", "encoder.latent_dim=8")).startswith("pretrain-mnist-vae-d8-s0-")


def test_whether_a_callback_of_ones_own_counts_is_said_by_its_node_alone():
    plain, false = (
        identity_of(f"+callbacks.further={{_target_:tests.made.Watcher,every:2{said}}}", "allow=[tests]")
        for said in ("", ",only_looks:false")
    )

    assert plain == false != identity_of()


@pytest.mark.parametrize("name", callbacks.__all__)
def test_of_lightnings_callbacks_those_that_only_look_are_known(name):
    further = Callback.model_validate({"_target_": f"pytorch_lightning.callbacks.{name}"})
    job = job_of(*TRANSFER)

    same = identity(job.model_copy(update={"callbacks": {**job.callbacks, "further": further}})) == identity(job)

    assert same == (name in LIGHTNINGS_LOOK)


def test_it_says_so_with_yes_or_no():
    with pytest.raises(UserError, match=r"callbacks.further has only_looks, which should be true or false"):
        job_of("+callbacks.further={_target_:tests.made.Watcher,only_looks:perhaps}", "allow=[tests]")
