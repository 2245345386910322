"""What a run is, in TensorBoard's Text tab: its composed config, and the command that was typed."""

import textwrap

from pytorch_lightning import Callback, LightningModule, Trainer

from aetransfer.callbacks.board import Board
from aetransfer.commands import again
from aetransfer.runs.directory import RunDirectory
from aetransfer.secrets import without_secrets


class About(Callback):
    """Write run/config and run/command when training begins, and when it goes on. Secrets are hidden, as in the files.

    Nothing is said of a training that no command began.
    """

    def __init__(self, directory: str):
        self.board = Board(directory)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        run = RunDirectory(self.board.directory)
        begun = run.result()
        if not trainer.is_global_zero or begun is None:
            return
        self.board.follow(trainer)
        self.board.tell("run/command", as_code(without_secrets(again(begun))), trainer.global_step)
        self.board.tell("run/config", as_code(run.config.read_text()), trainer.global_step)


def as_code(text: str) -> str:
    """Return markdown that shows a text as it is: what is indented can't end the block, whatever it holds."""
    return textwrap.indent(text, "    ", lambda line: True)
