"""What a measure is: a class whose keys are its `__init__`'s, called with a finished run. How it is built and taken.

One of one's own subclasses `Measure`, and stands in the `evaluation` group under a name of one's own.
"""

import inspect
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from aetransfer.config.instantiate import NEEDS, bind, build, check_needs
from aetransfer.config.nodes import Target, chosen
from aetransfer.config.schema import Job
from aetransfer.data.module import DataModule, Part
from aetransfer.errors import UserError
from aetransfer.evaluation.features import Extract, extracted, fitted
from aetransfer.evaluation.outcome import Outcome, as_json, print_outcome, write_outcome
from aetransfer.models.facts import ModelFacts
from aetransfer.networks.encoder import Encoder
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import code_version, own_code
from aetransfer.store.identity import images_identity
from aetransfer.store.run import moved, read
from aetransfer.training import errors
from aetransfer.transfer.loading import build_encoder


@dataclass(frozen=True)
class Subject:
    """A finished run as what is measured: its model with the best epoch's weights, and data to measure it on.

    model: in eval mode on `device`. part: the split that is reported; what chooses anything uses the others.

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

    def extracted(self, extract: Extract, part: Part, batch: int, most: int | None = None) -> tuple[Tensor, Tensor]:
        """Open a part and gather features and targets, of `most` evenly spaced inputs. See `features.extracted`."""
        self.open(part)
        return extracted(extract, self.data.in_order(part, batch, self.device, most))

    def layers_of(self, encoder: Encoder, part: Part) -> list[str]:
        """Return the names of an encoder's layers, for inputs of a part that is open."""
        with torch.no_grad():
            inputs = fitted(self.data.first_inputs(part, 1).to(self.device), encoder)
            return list(encoder.layer_outputs(inputs))

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
    These three are read from the source, before anything is trained: write them as literals. name, settings: the
    key that it stands at in the config, and all of its keys with their values; filled in when it is built.
    """

    needs: ClassVar[str] = ""
    needs_labels: ClassVar[bool | tuple[str, ...]] = False
    needs_memory: ClassVar[tuple[str, ...]] = ()

    name: str = ""
    settings: Mapping[str, Any] = {}

    def check_data(self, data: DataModule, name: str) -> None:
        """Raise UserError for data that it can't be taken on, before anything is trained. name: of the data."""
        return

    @abstractmethod
    def __call__(self, subject: Subject) -> Outcome:
        """Measure a run. Its cells and facts are plain numbers, texts or None; its notes say their units."""


def measures_of(nodes: Mapping[str, Target | None], allow: Sequence[str]) -> list[Measure]:
    """Build the measures of a config. Raises UserError for what is none, or refuses its keys."""
    return [_built(name, node, allow) for name, node in chosen(nodes).items()]


def _built(name: str, node: Target, allow: Sequence[str]) -> Measure:
    call = bind(node, "measure", allow)
    kind = call.func
    if not (isinstance(kind, type) and issubclass(kind, Measure)) or inspect.isabstract(kind):
        raise UserError(
            f"_target_: {node.target} is no measure: subclass {Measure.__module__}.Measure and write its __call__."
        )
    if kind.needs not in ("", *NEEDS):
        raise UserError(f"{node.target}.needs is {kind.needs!r}: it should be one of {', '.join(NEEDS)}, or empty.")
    measure: Measure = build(node, "measure", allow)
    keys = inspect.signature(kind).bind(**call.keywords)
    keys.apply_defaults()
    measure.name, measure.settings = name, keys.arguments
    return measure


def check_measures(measures: Sequence[Measure], model: ModelFacts, module: DataModule, data: str) -> None:
    """Raise UserError for a measure that the model does not have, or that can't be taken on the data.

    data: their name.
    """
    for measure in measures:
        check_needs(measure.name, measure.needs, model.can, model.title)
        targets = module.targets
        kinds = ("classes",) if measure.needs_labels is True else measure.needs_labels or ()
        if kinds and targets.kind == "none":
            raise UserError(f"evaluation={measure.name} needs labels, and {data} has none: leave it out.")
        if kinds and targets.kind not in kinds:
            raise UserError(
                f"evaluation={measure.name} reads {' or '.join(kinds)}, and {data} has {targets}: leave it out."
            )
        measure.check_data(module, data)


def take(subject: Subject, measures: Sequence[Measure]) -> None:
    """Take, print and write each measure: `evaluation/<name>.json` in the run's directory.

    On another data set than the run's own the name is <name>-<data>, on one of the same name but other images or labels
    <name>-<data>-<digits>, on the validation split it ends in -val. The run's model has the measures
    (`check_measures`).
    """
    for measure in measures:
        keys = [f"evaluation.{measure.name}.{key}" for key in measure.needs_memory]
        with errors.memory_for(f"lower {' or '.join(keys)}" if keys else ""):
            outcome, path = taken(subject, measure)
        where = f"{subject.job.data.name}, {subject.part}"
        print_outcome(outcome, f"{measure.name} of {subject.directory.path.name} on {where}")
        print(f"{measure.name}: {path}")


def taken(subject: Subject, measure: Measure) -> tuple[Outcome, Path]:
    """Take one measure and write it. Returns what it found and its file. Raises as `take`."""
    outcome = _checked(measure(subject), measure)
    data = subject.job.data.name
    name = "-".join([measure.name, *_elsewhere(subject), *(["val"] if subject.part == "val" else [])])
    about = {
        "measure": measure.name,
        "run": subject.directory.path.name,
        "data": data,
        "split": subject.part,
        **({"classes": dict(subject.called)} if subject.called else {}),
        "class": _class_of(measure),
        "settings": measure.settings,
        "code": code_version(),
        "own_code": own_code(subject.job.allow),
    }
    return outcome, write_outcome(outcome, subject.directory.evaluation, name, about)


def _class_of(measure: Measure) -> str:
    return f"{type(measure).__module__}.{type(measure).__qualname__}"


def _checked(outcome: Any, measure: Measure) -> Outcome:
    """Return what a measure found. Raises UserError for what no table and no file can hold."""
    kind = _class_of(measure)
    if not isinstance(outcome, Outcome):
        raise UserError(f"{kind} gives {_type(outcome)}: give an {Outcome.__module__}.Outcome.")
    cells = [(heading, cell) for row in outcome.rows for heading, cell in row.items()]
    for heading, cell in cells:
        if isinstance(cell, bool) or not isinstance(cell, str | int | float | None):
            raise UserError(f"{kind} gives {_type(cell)} as {heading}: give a plain number, a text or None.")
        if isinstance(cell, float) and math.isnan(cell):
            raise UserError(f"{kind} gives NaN as {heading}: give None where there is no number.")
    if all(isinstance(cell, str | None) for _, cell in cells):
        raise UserError(f"{kind} gives rows without a number: measure something.")
    try:
        json.dumps(as_json({**outcome.facts, "notes": list(outcome.notes)}))
    except TypeError as error:
        raise UserError(
            f"{kind} gives facts that no JSON file holds ({error}): give plain numbers and texts."
        ) from error
    return outcome


def _type(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _elsewhere(subject: Subject) -> list[str]:
    """Return what a measure's name says of its data: nothing where they are the run's own."""
    own, data = subject.directory.read_config().data, subject.job.data
    identity = images_identity(data)
    if identity == images_identity(own):
        return []
    return [data.name] if data.name != own.name else [data.name, identity]
