"""What the encoder's first layer looks for, when training began and at the best epoch."""

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from aetransfer.callbacks.drawing import beside, sheet, signed
from aetransfer.callbacks.looking import LookAtTheTest
from aetransfer.callbacks.views import Signals
from aetransfer.networks.encoder import Encoder
from aetransfer.runs.directory import RunDirectory

COLUMNS = 8
# More are not told apart.
MOST = 64
# Of a filter that is a line, in pixels; a lane of a channel has at least a third of this height.
WIDTH, HEIGHT = 72, 56


class FirstLayerFilters(LookAtTheTest):
    """Draw the first layer's filters beside what they were, on one scale: of a transfer, as they were carried.

    Zero is mid-grey; filters of three channels are coloured, of more are shown their mean. Those of a convolution over
    signals are lines, a lane a channel. An encoder that does not begin with a convolution has no such picture.
    """

    what = "encoder/first_layer"

    def __init__(self, directory: str):
        super().__init__(directory)
        self._before: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        # A checkpoint that the run goes on from is loaded after this.
        if stage == "fit" and self.board.can_draw(trainer):
            with self.board.drawing(self.what, pl_module):
                self._before = first_filters(pl_module)

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if self._before is None:
            return
        after = first_filters(model)
        assert after is not None
        most = max(self._before.abs().max().item(), after.abs().max().item()) or 1.0
        if self._before.ndim == 3:
            lines = Signals(torch.tensor([-most, most]).expand(1, after.shape[1], 2), WIDTH, HEIGHT)
            halves = [sheet(lines.pictures(each[:MOST]), COLUMNS, drawn=True) for each in (self._before, after)]
        else:
            halves = [sheet(signed(each[:MOST], most), COLUMNS) for each in (self._before, after)]
        carried = (RunDirectory(self.board.directory).result() or {}).get("source") is not None
        ends = "bottom to top" if self._before.ndim == 3 else "white and black"
        heads = ["as carried" if carried else "before training", f"at the best epoch ({ends}: ±{most:.2g})"]
        self.board.show(self.what, beside(halves, heads), trainer.global_step, "first_layer")


def first_filters(model: LightningModule) -> Tensor | None:
    """Return a copy of the first convolution's weights on the CPU, (N, 1 or 3, H, W) or (N, C, K) of one over signals.

    Of more channels their mean is taken. None where it does not begin with a convolution.
    """
    assert isinstance(model.encoder, Encoder)
    first = next(module for module in model.encoder.modules_of_layers()[0] if list(module.parameters(recurse=False)))
    weight = getattr(first, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim not in (3, 4):
        return None
    copied = weight.detach().to("cpu", torch.float32, copy=True)
    return copied if weight.ndim == 3 or weight.shape[1] in (1, 3) else copied.mean(1, keepdim=True)
