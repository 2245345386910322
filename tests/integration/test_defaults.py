"""A default stands once: what the schema or a class takes a missing key for is what the files of configs/ say."""

import inspect

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from aetransfer.config.choices import SweepFile
from aetransfer.config.compose import composed
from aetransfer.config.plugins import choices_of, config_directory
from aetransfer.config.schema import (
    Conv4Encoder,
    Data,
    Head,
    Trainer,
    Training,
    Transfer,
)
from aetransfer.config.sentences import SCHEMAS
from aetransfer.data.augmentation import Colour, Crop, Flip, Grey, ResizedCrop
from aetransfer.data.mixing import CutMix, Mixup
from aetransfer.networks.conv4 import Conv4
from aetransfer.store.query import default_output_dir
from tests.integration.conftest import job_of

# By the file that says what is usual, what takes its keys. The files beside it are other choices.
USUAL = {
    "data/_base": (Data,),
    "augment/crop_flip#crop": (Crop,),
    "augment/crop_flip#flip": (Flip,),
    "augment/simclr#resized_crop": (ResizedCrop,),
    "augment/simclr#colour": (Colour,),
    "augment/simclr#grey": (Grey,),
    "augment/mixup#mixup": (Mixup,),
    "augment/cutmix#cutmix": (CutMix,),
    "encoder/conv4": (Conv4Encoder, Conv4),
    "head/mlp": (Head,),
    "training/default": (Training, Trainer),
    "trainer/auto": (Trainer,),
    "sweep/tune": (SweepFile,),
    "transfer/gradual": (Transfer,),
    **{name: (schema,) for name, schema in SCHEMAS.items()},
}


def content(place):
    name, _, key = place.partition("#")
    node = yaml.safe_load((config_directory() / f"{name}.yaml").read_text())
    return node[key] if key else node


def defaults(taker):
    """What a schema or a class takes missing keys for, by key. None says that nothing is set, and is no number."""
    if isinstance(taker, type) and issubclass(taker, BaseModel):
        found = {field.alias or name: field.default for name, field in taker.model_fields.items()}
    else:
        found = {name: each.default for name, each in inspect.signature(taker).parameters.items()}
    return {
        key: value for key, value in found.items() if value not in (PydanticUndefined, inspect.Parameter.empty, None)
    }


def pairs(taker, node):
    """Each key's default with what the file says, in the nodes below too."""
    for key, default in defaults(taker).items():
        if key in node and not isinstance(default, BaseModel) and "${" not in str(node[key]):
            yield key, list(default) if isinstance(default, tuple) else default, node[key]
    for key, field in getattr(taker, "model_fields", {}).items():
        kinds = [each for each in getattr(field.annotation, "__args__", (field.annotation,)) if isinstance(each, type)]
        for kind in kinds:
            if issubclass(kind, BaseModel) and isinstance(node.get(key), dict):
                yield from pairs(kind, node[key])


@pytest.mark.parametrize(("place", "taker"), [(place, taker) for place, takers in USUAL.items() for taker in takers])
def test_a_missing_key_has_the_value_of_the_usual_file(place, taker):
    assert [pair for pair in pairs(taker, content(place)) if pair[1] != pair[2]] == []


@pytest.mark.parametrize(
    "place",
    [
        *(f"callbacks/{name}#{key}" for name in ("default", "probe") for key in content(f"callbacks/{name}")),
        *(f"model/{name}#model" for name in choices_of("model")),
        *(f"evaluation/{name}#{name}" for name in choices_of("evaluation")),
        *(f"scheduler/{name}" for name in choices_of("scheduler") if name != "none"),
    ],
)
def test_the_defaults_of_what_is_called_are_those_of_its_file(place):
    node = content(place)
    if place.endswith("#defaults"):
        return
    module, _, called = node["_target_"].rpartition(".")
    taker = getattr(__import__(module, fromlist=[called]), called)

    assert [pair for pair in pairs(taker, node) if pair[1] != pair[2]] == []


def test_the_length_of_a_training_is_said_once():
    assert job_of("model=ae").trainer.max_epochs == Training.model_fields["max_epochs"].default
    assert job_of().trainer.log_every_n_steps == Trainer.model_fields["log_every_n_steps"].default


def test_commands_without_a_config_look_for_runs_where_those_with_one_put_them(monkeypatch):
    monkeypatch.delenv("AETRANSFER_OUTPUT_DIR")

    assert composed("train", []).paths.output_dir == str(default_output_dir())
