"""The two times at which a run is looked at: now and then while it trains, and once at its final test."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer

from aetransfer.callbacks.board import Board, last_step


class Looking(Callback):
    """What has a board, and follows where the training is logged. needs: what a model must do to be looked at."""

    needs: ClassVar[type] = LightningModule

    def __init__(self, directory: str) -> None:
        self.board = Board(directory)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.board.follow(trainer)


class PictureOfEpochs(Looking, ABC):
    """Of validation images, the same ones each time: after the first epoch, each n-th and the last."""

    tag: ClassVar[str]
    file: ClassVar[str]

    def __init__(self, directory: str, every_n_epochs: int) -> None:
        super().__init__(directory)
        self.every_n_epochs = every_n_epochs

    @abstractmethod
    def picture(self, trainer: Trainer, model: Any) -> Image.Image | None:
        """Draw a model that does what this `needs`; None where there is nothing to draw."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, self.needs) or not self.board.is_due(trainer, self.every_n_epochs):
            return
        with self.board.drawing(self.tag, pl_module):
            picture = self.picture(trainer, pl_module)
            if picture is not None:
                self.board.show(self.tag, picture, last_step(trainer), self.file)


class LookAtTheTest(Looking, ABC):
    """At the best epoch's final test, which chooses nothing, by the first process."""

    what: ClassVar[str]

    @abstractmethod
    def look(self, trainer: Trainer, model: Any) -> None:
        """Look at a model that does what this `needs`, and write what is seen."""

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, self.needs) and self.board.can_draw(trainer):
            with self.board.drawing(self.what, pl_module):
                self.look(trainer, pl_module)
