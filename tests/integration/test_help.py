"""--help of each command: how it is used, three examples, and a sentence a key, within 80 columns."""

import re
from importlib import import_module

import pytest
import yaml

from aetransfer.config.plugins import config_directory

OF_CONFIGS = {name: name for name in ("train", "evaluate", "embed", "predict", "export")}
COMMANDS = {**OF_CONFIGS, "submit": "train", "batch_size": "train", "runs": None, "report.__main__": None, "new": None}


@pytest.mark.parametrize(("name", "config"), COMMANDS.items())
def test_help_has_a_usage_line_three_examples_and_a_sentence_for_each_key(command, name, config):
    done = command(import_module(f"aetransfer.{name}").main, "--help")

    called = f"python -m aetransfer.{name.removesuffix('.__main__')}"
    assert done.code == 0 and not done.err
    assert f"\nUsage: {called}" in done.out
    assert len(re.findall(rf"^  {called}", done.out.partition("Examples:")[2], re.MULTILINE)) == 3
    assert max(map(len, done.out.splitlines())) <= 80
    if config is not None:
        node = yaml.safe_load((config_directory() / f"{config}.yaml").read_text())
        keys = [key for key in node if key not in ("defaults", "hydra")]
        assert keys == re.findall(r"^  (\w+)=\S+ +\S", done.out.partition("Keys:")[2], re.MULTILINE)
    assert "is powered by Hydra" not in done.out
