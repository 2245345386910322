"""A finished run as what is measured: its model with the best epoch's weights, and data to measure it on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from pytorch_lightning import LightningModule

from aetransfer.config.schema import Job
from aetransfer.data.module import DataModule, Part
from aetransfer.errors import UserError
from aetransfer.models.facts import ModelFacts
from aetransfer.networks.encoder import Encoder
from aetransfer.runs.directory import RunDirectory
from aetransfer.runs.store import read
from aetransfer.sweeps.collect import moved
from aetransfer.transfer.loading import build_encoder


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
