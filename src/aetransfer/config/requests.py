"""The schemas of the commands that use a finished run's encoder: embed, predict, export."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from aetransfer.config.nodes import GreyLevel, Node, NonNegativeInt, PositiveInt, ValueRange
from aetransfer.config.schema import Data, Paths

TABLES = (".csv", ".npz", ".parquet")
# Of what images= names, where it is not to be done as for the run's training.
HOW_IMAGES_ARE_READ = ("pad", "background", "value_range", "frame")

Format = Literal["torch_export", "onnx"]


class InputsRequest(Node):
    """What a run's network is applied to: images of a folder or zip, a file's array, or a split of a data set."""

    run: str
    images: Path | None = None
    inputs: Path | None = None
    data: Data | None = None
    split: Literal["train", "test"] = "test"
    out: Path
    pad: NonNegativeInt | None = None
    background: GreyLevel | None = None
    value_range: ValueRange | None = None
    frame: NonNegativeInt | None = None
    batch_size: PositiveInt = 256
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    paths: Paths
    allow: list[str] = Field(default_factory=list)

    @field_validator("out")
    @classmethod
    def _has_a_known_ending(cls, out: Path) -> Path:
        if out.suffix not in TABLES:
            raise PydanticCustomError("ending", "should end in .csv, .npz or .parquet")
        return out

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(given is not None for given in (self.images, self.inputs, self.data)) != 1:
            raise ValueError(
                "Give one of images=FOLDER (or a .zip, or an image), inputs=FILE (.npy or .npz) and data=NAME"
            )
        if self.images is not None:
            return self
        for key in HOW_IMAGES_ARE_READ:
            if getattr(self, key) is not None:
                says = f"a data set has data.{key}" if self.data is not None else "arrays are taken as they are"
                raise ValueError(f"{key} belongs to images=: {says}")
        if self.data is None:
            return self
        if self.data.labels_per_class is not None or self.data.train_fraction is not None:
            raise ValueError("data.labels_per_class and data.train_fraction choose what is trained on: leave them out")
        if self.data.test_fraction is not None or self.data.folds is not None:
            raise ValueError(
                "data.test_fraction and data.folds choose what is tested on: take split=train, which has all"
            )
        return self


class EmbedRequest(InputsRequest):
    layer: Literal["bottleneck", "features"] = "bottleneck"


class PredictRequest(InputsRequest):
    """The same, through the run's classifier."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ExportRequest(Node):
    """part: null for the whole model of a transfer, and the encoder of anything else."""

    run: str
    part: Literal["model", "encoder"] | None = None
    formats: Annotated[list[Format], BeforeValidator(_as_list), Field(min_length=1)]
    paths: Paths
    allow: list[str] = Field(default_factory=list)
