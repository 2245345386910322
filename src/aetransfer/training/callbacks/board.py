"""Where a callback's pictures go, and under which conditions they are made: a run's numbers are the same without them.

A picture is looked at, nothing depends on it. So one that fails is named in a warning, once, and the training goes on;
but a disk that fails would fail the next checkpoint as well, and ends the run in a sentence as it does elsewhere.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.trainer.states import TrainerFn
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from aetransfer.data.module import Part, data_of
from aetransfer.errors import UserError
from aetransfer.evaluation.features import NoNumbersError
from aetransfer.files import replace_file
from aetransfer.models.length import ends_epoch, falls_due
from aetransfer.training.strategy import is_sharded

log = logging.getLogger(__name__)

COMPRESSION = 3


class BoardCallback(Callback):
    """What writes to TensorBoard, where the run has it, and PNG files to the run's directory.

    needs: what a model must do to be drawn.
    """

    needs: ClassVar[type] = LightningModule

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.gave_up = False
        self._loggers: list[Logger] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # The final test has no loggers.
        if stage == "fit":
            self._loggers = list(trainer.loggers)

    @property
    def writers(self) -> list[SummaryWriter]:
        return [logger.experiment for logger in self._loggers if isinstance(logger, TensorBoardLogger)]

    def can_draw(self, trainer: Trainer) -> bool:
        """Tell whether this is the one process that draws, and has whole weights to do so."""
        return trainer.is_global_zero and not is_sharded(trainer) and not self.gave_up

    @contextmanager
    def drawing(self, what: str, model: LightningModule) -> Iterator[None]:
        """Let the model be looked at, which Lightning has in eval mode by then, without compiling it for other shapes.

        After an error nothing is drawn any more. Raises UserError and OSError, which are not the picture's.
        """
        try:
            with uncompiled(model):
                yield
        except NoNumbersError as error:
            self.gave_up = True
            log.warning("%s is left out from here on. %s", what, error)
        except (UserError, OSError):
            raise
        except Exception as error:
            self.gave_up = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            log.warning("%s could not be drawn and is left out from here on (%s). The run goes on.", what, reason)

    def show(self, tag: str, picture: Image.Image, step: int, name: str) -> None:
        """Write a picture to TensorBoard as `tag` and to `<name>.png`. Raises WriteError."""
        png = as_png(picture)
        # `add_image` would compress it once more.
        image = Summary.Image(height=picture.height, width=picture.width, colorspace=3, encoded_image_string=png)
        self.write(Event(summary=Summary(value=[Summary.Value(tag=tag, image=image)])), step)
        replace_file(self.directory / f"{name}.png", png)

    def tell(self, tag: str, text: str, step: int) -> None:
        """Write markdown to TensorBoard's Text tab."""
        # `add_text` would show it as <tag>/text_summary.
        self.write(Event(summary=text_pb(tag, text)), step)

    def write(self, event: Event, step: int) -> None:
        """Write what torch's writer has no method for to TensorBoard."""
        for writer in self.writers:
            writer._get_file_writer().add_event(event, step)


def as_png(picture: Image.Image) -> bytes:
    """Compress a picture: twice as fast as at Pillow's default, for a few more bytes."""
    png = BytesIO()
    picture.save(png, "png", compress_level=COMPRESSION)
    return png.getvalue()


def fixed_inputs(trainer: Trainer, part: Part, count: int, model: LightningModule) -> Tensor:
    """Return the same inputs of a part each time, evenly spaced, as the model takes them: (count or fewer, *shape)."""
    inputs, _ = next(data_of(trainer).in_order(part, count, model.device, count))
    return as_taken(inputs, model)


def as_taken(values: Tensor, model: LightningModule) -> Tensor:
    """Return inputs or codes on the model's device and in its precision."""
    dtype = model.dtype
    assert isinstance(dtype, torch.dtype)
    return values.to(model.device, dtype)


def uncompiled(model: torch.nn.Module) -> AbstractContextManager[None]:
    """Let a model be called with batches of other shapes than the training's.

    Each would be compiled anew, and might be what later batches are computed by.
    """
    if any(module._compiled_call_impl is not None for module in model.modules()):
        return torch.compiler.set_stance("force_eager")
    return nullcontext()


class EpochPicture(BoardCallback, ABC):
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
        if trainer.state.fn != TrainerFn.FITTING or not isinstance(pl_module, self.needs) or not self.can_draw(trainer):
            return
        epoch = trainer.current_epoch + 1
        is_first, is_last = epoch <= (trainer.check_val_every_n_epoch or 1), epoch == trainer.max_epochs
        if not ends_epoch(trainer) or not (is_first or is_last or falls_due(trainer, self.every_n_epochs)):
            return
        with self.drawing(self.tag, pl_module):
            picture = self.picture(trainer, pl_module)
            if picture is not None:
                # The step that was just done, counted from 0 as by the curves.
                self.show(self.tag, picture, max(trainer.global_step - 1, 0), self.file)


class AtFinalTest(BoardCallback, ABC):
    """At the best epoch's final test, which chooses nothing, by the first process."""

    what: ClassVar[str]

    @abstractmethod
    def look(self, trainer: Trainer, model: Any) -> None:
        """Look at a model that does what this `needs`, and write what is seen."""

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, self.needs) and self.can_draw(trainer):
            with self.drawing(self.what, pl_module):
                self.look(trainer, pl_module)
