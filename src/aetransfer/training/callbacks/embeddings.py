"""Codes of test examples in TensorBoard's Projector, with their classes and thumbnails.

The three files are plain and written here: torch's `add_embedding` spends 20 characters on each number, and makes a
folder for each step.
"""

import math
from typing import Annotated, Any

import torch
from google.protobuf import text_format
from PIL import Image
from pydantic import Field
from pytorch_lightning import Trainer
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch import Tensor
from torch.nn import functional as F

from aetransfer.data.module import data_of
from aetransfer.data.targets import Targets
from aetransfer.evaluation.features import extracted
from aetransfer.files import replace_file
from aetransfer.models.capabilities import Classifies, Regresses
from aetransfer.printable import printable
from aetransfer.training.callbacks.board import AtFinalTest, as_png, as_taken
from aetransfer.training.callbacks.drawing import View, view_of

BATCH = 500
FOLDER = "projector"
# Pixels; a browser shows a sprite of 8192 x 8192 at most, and so 20,000 thumbnails.
THUMBNAIL = 48
Count = Annotated[int, Field(gt=0, le=20_000)]


class Embeddings(AtFinalTest):
    """Write the codes (mu of a VAE) of test examples at the best epoch; of a classifier, what they were taken for too.

    Nothing is written where TensorBoard does not log: `python -m aetransfer.embed` gives codes as a table.
    """

    what = "The projector's embeddings"

    def __init__(self, directory: str, images: Count = 2000):
        """images: evenly spaced over the test split; 2,000 of 128-d take 3 MB of MNIST, 6.5 of CIFAR-10."""
        super().__init__(directory)
        self.images = images

    def look(self, trainer: Trainer, model: Any) -> None:
        if not self.writers:
            return
        data, view = data_of(trainer), view_of(trainer, model, THUMBNAIL, THUMBNAIL)
        thumbnails: list[Tensor] = []
        taken_for: list[Tensor] = []

        def codes_of(inputs: Tensor) -> Tensor:
            taken = as_taken(inputs, model)
            if view is not None:
                thumbnails.append(_thumbnails(view, taken))
            if isinstance(model, Classifies):
                taken_for.append(model(taken).argmax(1).cpu())
            elif isinstance(model, Regresses):
                taken_for.append(model.values(taken).cpu())
            return model.encoder(taken)

        codes, labels = extracted(codes_of, data.in_order("test", BATCH, model.device, self.images))
        columns = _columns(data.targets, labels, torch.cat(taken_for) if taken_for else None)
        self._write(data.noun, codes, columns, torch.cat(thumbnails) if thumbnails else None)

    def _write(self, noun: str, codes: Tensor, columns: dict[str, list[str]], thumbnails: Tensor | None) -> None:
        """Write codes (N, D), columns of N names each and thumbnails (N, 3, S, S) uint8. Raises WriteError.

        noun: what the examples are.
        """
        folder = self.directory / FOLDER
        folder.mkdir(exist_ok=True)
        lines = ["\t".join(f"{number:.5g}" for number in code) for code in codes.tolist()]
        replace_file(folder / "codes.tsv", "\n".join(lines) + "\n")
        # TensorBoard takes the only column of a table without a head for labels.
        heads = [tuple(columns)] if len(columns) > 1 else []
        rows = ["\t".join(row) for row in [*heads, *zip(*columns.values(), strict=True)]]
        replace_file(folder / "classes.tsv", "\n".join(rows) + "\n")
        config = ProjectorConfig()
        embedding = config.embeddings.add(
            tensor_name=f"codes of test {noun}",
            tensor_shape=codes.shape,
            tensor_path=f"{FOLDER}/codes.tsv",
            metadata_path=f"{FOLDER}/classes.tsv",
        )
        if thumbnails is not None:
            replace_file(folder / "thumbnails.png", as_png(sprite(thumbnails)))
            embedding.sprite.image_path = f"{FOLDER}/thumbnails.png"
            embedding.sprite.single_image_dim.extend(thumbnails.shape[-2:])
        # Where TensorBoard looks for it: beside the events.
        replace_file(self.directory / "projector_config.pbtxt", text_format.MessageToString(config))


def _columns(targets: Targets, labels: Tensor, predicted: Tensor | None) -> dict[str, list[str]]:
    """Return what colours the codes, by a column's head. labels: as a Batch has them. predicted: alike, of a model that
    predicts classes or values.
    """
    names = [printable(name).replace("\n", " ").replace("\t", " ") for name in targets.names]
    match targets.kind:
        case "none":
            return {"class": ["no label"] * len(labels)}
        case "classes":
            columns = {"class": [names[label] for label in labels.tolist()]}
            if predicted is not None:
                columns["taken for"] = [names[label] for label in predicted.tolist()]
                columns["is"] = ["right" if right else "wrong" for right in (predicted == labels).tolist()]
            return columns
        case "values":
            both = {"": labels} if predicted is None else {"": labels, "predicted ": predicted}
            # TensorBoard colours numbers along a scale.
            return {
                f"{head}{name}": [f"{value:.5g}" for value in values[:, place].tolist()]
                for place, name in enumerate(names)
                for head, values in both.items()
            }
    return {name: ["yes" if each else "no" for each in labels[:, place]] for place, name in enumerate(names)}


def sprite(thumbnails: Tensor) -> Image.Image:
    """Lay thumbnails (N, 3, S, S) uint8 out row by row in the smallest square that holds them."""
    side = math.ceil(math.sqrt(len(thumbnails)))
    filled = torch.cat([thumbnails, thumbnails.new_zeros(side * side - len(thumbnails), *thumbnails.shape[1:])])
    pixels = filled.unflatten(0, (side, side)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    return Image.fromarray(pixels.contiguous().numpy())


def _thumbnails(view: View, inputs: Tensor) -> Tensor:
    """Make (N, 3, S, S) uint8 on the CPU, S at most THUMBNAIL: what is oblong, in the middle of a black square."""
    colour = view.pictures(inputs)
    height, width = colour.shape[2:]
    side = min(THUMBNAIL, max(height, width))
    if max(height, width) > THUMBNAIL:
        height, width = (max(1, length * THUMBNAIL // max(height, width)) for length in (height, width))
        colour = F.interpolate(colour, size=(height, width), mode="area")
    top, left = (side - height) // 2, (side - width) // 2
    colour = F.pad(colour, (left, side - width - left, top, side - height - top))
    return (colour * 255).round().to(torch.uint8)
