"""What a measure is: a class whose keys are its `__init__`'s, called with a finished run.

One of one's own subclasses `Measure`, and stands in the `evaluation` group under a name of one's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningModule

from aetransfer.config.schema import Job
from aetransfer.data.module import DataModule, Part
from aetransfer.errors import UserError
from aetransfer.evaluation.outcome import Outcome
from aetransfer.models.facts import ModelFacts
from aetransfer.networks.encoder import Encoder
from aetransfer.report.collect import moved
from aetransfer.store.directory import RunDirectory
from aetransfer.store.query import read
from aetransfer.transfer.loading import build_encoder

# A finished run as what is measured: its model with the best epoch's weights, and data to measure it on.


@dataclass(frozen=True)
class Subject:
    """model: in eval mode on `device`. part: the split that is reported; what chooses anything uses the others.

    architecture: what builds the run's encoder afresh. called: which classes of the run the user says that some of the
    data's are.
    """

    directory: RunDirectory
    job: Job
    model: LightningModule
    data: DataModule
    part: Part
    device: torch.device
    architecture: dict[str, Any]
    called: Mapping[str, str] = field(default_factory=dict)

    @property
    def encoder(self) -> Encoder:
        encoder = self.model.encoder
        assert isinstance(encoder, Encoder)
        return encoder

    @property
    def facts(self) -> ModelFacts:
        """Return what the run says of its model."""
        return read(self.directory.path).model

    @property
    def classes(self) -> int:
        return len(self.data.class_names)

    def check_classes(self, measure: str) -> None:
        """Raise UserError where there is but one class, which every image is taken for."""
        if self.classes < 2:
            name = self.job.data.name
            raise UserError(f"evaluation={measure} tells classes apart, and {name} has one: choose other data.")

    @property
    def source(self) -> str | None:
        """Where the encoder lies that a transfer carried, also in a store that was moved since; None for a control."""
        told = (self.directory.result() or {}).get("source")
        return None if told is None else str(moved(told, self.directory.path.absolute().parent))

    def open(self, part: Part) -> None:
        """Make a part's images available. The test split is opened by being asked for, never before."""
        self.data.setup("test" if part == "test" else "fit")

    def random_encoder(self, seed: int) -> Encoder:
        """Return an encoder like the run's with fresh weights, which knows no more of the data than its statistics.

        Global random state stays.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = build_encoder(self.architecture, self.job.allow)
        self.open("train")
        encoder.normalise.set_statistics(*self.data.statistics())
        return encoder.eval().to(self.device)


class Measure(ABC):
    """needs: what a model must do to be measured, a key of `aetransfer.config.instantiate.NEEDS`, or nothing.

    needs_labels: whether the data must have classes, or the kinds of targets that will do (see
    `aetransfer.data.targets.Targets`). needs_memory: its keys on which depends how much memory it takes.
    These three are read from the source, before anything is trained: write them as plain values. name, settings: the
    key that it stands at in the config, and all of its keys with their values; filled in when it is built.
    """

    needs: ClassVar[str] = ""
    needs_labels: ClassVar[bool | tuple[str, ...]] = False
    needs_memory: ClassVar[tuple[str, ...]] = ()

    name: str = ""
    settings: Mapping[str, Any]

    def check_data(self, data: DataModule, name: str) -> None:
        """Raise UserError for data that it can't be taken on, before anything is trained. name: of the data."""
        return

    @abstractmethod
    def __call__(self, subject: Subject) -> Outcome:
        """Measure a run. Its cells and facts are plain numbers, texts or None; its notes say their units."""
