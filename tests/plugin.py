"""A plugin, installed as far as importlib.metadata can tell: a package and what was noted of it, in a folder on the path."""

import sys
from contextlib import contextmanager

from aetransfer.config import plugins, signatures

PRETEXT = """
from aetransfer.models.base import Pretext
from aetransfer.models.facts import Quantity


class Noisy(Pretext):
    title = "pretext of my lab"
    metrics = {"mse": Quantity("mean squared error a pixel")}

    def __init__(self, encoder, sigma: float = 0.2):
        super().__init__(encoder)
        self.decoder, self.sigma = encoder.make_decoder(), sigma

    def step(self, batch):
        noisy = batch.inputs + self.sigma * batch.draws.normal_like(batch.inputs)
        error = (self.decoder(self.encoder(noisy)).sigmoid() - batch.inputs).square().mean((1, 2, 3))
        return {"loss": error, "mse": error}
"""
NETWORK = """
from aetransfer.networks.conv4 import Conv4


class Mine(Conv4):
    pass
"""
# What no config may call: each leaves a mark.
TOOLS = """
import os
from pathlib import Path

from my_lab.model import Noisy as made_elsewhere


def delete_all(**keys):
    Path("it-ran").mkdir(exist_ok=True)


class NoSeat:
    def __init__(self, **keys):
        delete_all()
"""
MODEL_FILE = """# @package _global_
defaults: [/optimizer: adam, /scheduler: none, _self_]
model:
  _target_: my_lab.model.Noisy
  name: noisy
  monitor: null
  sigma: 0.1
"""
EXPERIMENT = """# @package _global_
defaults:
  - override /model: noisy
  - override /data: digits
  - override /logger: none
  - override /callbacks: none
encoder: {widths: [4, 8, 8, 8], latent_dim: 8}
trainer: {max_epochs: 1, limit_train_batches: 3}
"""
ENCODER_FILE = "defaults: [conv4]\n_target_: my_lab.network.Mine\n"
FILES = {
    "my_lab/__init__.py": "",
    "my_lab/model.py": PRETEXT,
    "my_lab/network.py": NETWORK,
    "my_lab/tools.py": TOOLS,
    # Importing it leaves the mark.
    "my_lab/script.py": "from pathlib import Path\n\nPath('it-ran').mkdir(exist_ok=True)\n",
    "my_lab/configs/model/noisy.yaml": MODEL_FILE,
    "my_lab/configs/encoder/mine.yaml": ENCODER_FILE,
    "my_lab/configs/experiment/my_exp.yaml": EXPERIMENT,
}


def write_plugin(folder, files=FILES, package="my_lab"):
    """Write a plugin's package, and that it is one."""
    noted = {
        f"{package}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        f"{package}-1.0.dist-info/entry_points.txt": f"[aetransfer.plugins]\n{package} = {package}\n",
    }
    for name, text in (files | noted).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@contextmanager
def installed(folder):
    """Have a folder on this process's path meanwhile, and what was known of plugins forgotten."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    _forget()
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in {path.name for path in folder.iterdir()}:
                del sys.modules[name]
        _forget()


def _forget():
    plugins.plugins.cache_clear()
    signatures._source.cache_clear()
