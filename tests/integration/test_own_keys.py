"""A misspelt key of a class of one's own: what is suggested is what that class takes, and nothing is imported for it."""

import sys

import pytest

from aetransfer import train
from tests.integration.conftest import CONV4, assert_refused

MY_LAB = """
import functools
from elsewhere import Base

raise ImportError("nothing imports this to make a suggestion")

class Net:
    def __init__(self, *, input_shape, latent_dim, width=8, depth=2):
        pass

class Earlier:
    def __init__(self, *, in_channels, image_size, latent_dim):
        pass

class Narrow(Net):
    pass

class Limited:
    def __init__(self, *, input_shape, latent_dim, width: Annotated[int, Field(le=WIDEST)] = 8, mode: Literal["a", B] = "a"):
        pass

class Foreign(Base):
    pass

@functools.cache
class Decorated:
    def __init__(self, *, width):
        pass

class Look:
    def __init__(self, every, where="."):
        pass

def read(split, folder, size=8):
    pass
"""
NET = ("encoder._target_=my_lab.Net", "allow=[my_lab]")
READER = ("data.reader={_target_:my_lab.read}", "allow=[my_lab]")


@pytest.fixture(params=["a module", "a package"])
def my_lab(request, tmp_path, monkeypatch):
    if request.param == "a module":
        (tmp_path / "my_lab.py").write_text(MY_LAB)
    else:
        (tmp_path / "my_lab").mkdir()
        (tmp_path / "my_lab" / "__init__.py").write_text(
            "from .nets import Decorated, Earlier, Foreign, Limited, Look, Narrow, Net, read\n"
        )
        (tmp_path / "my_lab" / "nets.py").write_text(MY_LAB)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert "my_lab" not in sys.modules


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([*NET, "encoder.wdith=3"], "encoder.wdith is no config key or group (did you mean encoder.width)."),
        ([*NET, "encoder.dept=3"], "encoder.dept is no config key or group (did you mean encoder.depth)."),
        ([*NET, "encoder.latent_dmi=3"], "encoder.latent_dmi is no config key or group (did you mean encoder.latent_dim)."),
        ([*NET, "pretrain.encoder.wdith=3"], "pretrain.encoder.wdith is no config key or group (did you mean encoder.width)."),
        ([*NET, "encoder.input_shap=3"], "encoder.input_shap is no config key or group (encoder takes latent_dim, width, depth)."),
        ([*NET, "encoder.width=3"], "encoder.width is in no file, but its class takes it: write +encoder.width=VALUE."),
        (["encoder._target_=my_lab.Narrow", "allow=[my_lab]", "encoder.wdith=3"], "encoder.wdith is no config key or group (did you mean encoder.width)."),
        (["encoder._target_=my_lab.Limited", "allow=[my_lab]", "encoder.wdith=3"], "encoder.wdith is no config key or group (did you mean encoder.width)."),
        (["encoder._target_=my_lab.Foreign", "allow=[my_lab]", "encoder.wdith=3"], "encoder.wdith is no config key or group."),
        (["encoder._target_=my_lab.Decorated", "allow=[my_lab]", "encoder.wdith=3"], "encoder.wdith is no config key or group."),
        (["encoder._target_=not_there.Net", "allow=[not_there]", "encoder.wdith=3"], "encoder.wdith is no config key or group."),
        ([*READER, "data.reader.rot=3"], "data.reader.rot is no config key or group (data.reader takes folder, size)."),
        ([*READER, "data.reader.floder=3"], "data.reader.floder is no config key or group (did you mean data.reader.folder)."),
        (["+callbacks.probe={_target_:my_lab.Look}", "allow=[my_lab]", "callbacks.probe.evry=3"], "callbacks.probe.evry is no config key or group (did you mean callbacks.probe.every)."),
        (["+callbacks.probe={_target_:my_lab.Look}", "allow=[my_lab]", "callbacks.probe.imags=3"], "callbacks.probe.imags is no config key or group (callbacks.probe takes every, where)."),
    ],
)  # fmt: skip
def test_a_key_is_suggested_from_the_class_at_hand(command, my_lab, words, sentence):
    assert_refused(command(train.main, "data=photo_digits", "data@pretrain.data=digits", *words), sentence)


def test_a_class_that_is_written_for_an_earlier_version_is_told_what_to_write(command, my_lab):
    removed = [f"~encoder.{key}" for key in CONV4]
    assert_refused(
        command(train.main, "data=digits", "model=ae", "encoder._target_=my_lab.Earlier", "allow=[my_lab]", *removed),
        "my_lab.Earlier takes in_channels and image_size, which an encoder is no longer given: have it take "
        "input_shape, which is (channels, height, width) of images, and hand that to super().__init__.",
    )


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("callbacks.traversals.every_n_epoch=2", "callbacks.traversals.every_n_epoch is no config key or group (did you mean callbacks.traversals.every_n_epochs)."),
        ("callbacks.reconstructions.colums=2", "callbacks.reconstructions.colums is no config key or group (did you mean callbacks.reconstructions.columns)."),
        ("data.reader.image_size=8", "data.reader.image_size belongs to data=image_folder, data=image_table, of which none is chosen."),
        ("logger.tensorboard.save_dri=x", "logger.tensorboard.save_dri is no config key or group (did you mean logger.tensorboard.save_dir)."),
    ],
)  # fmt: skip
def test_so_it_is_among_the_programs_own(torchless, word, sentence):
    assert_refused(torchless("train", "data=mnist", word), sentence)
