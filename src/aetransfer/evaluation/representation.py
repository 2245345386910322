"""What an encoder's layers hold: how many directions they use, and how alike they are to other encoders' layers."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from aetransfer.config.nodes import PositiveInt, Seed
from aetransfer.data.seeds import mixed_seed
from aetransfer.errors import UserError
from aetransfer.evaluation.encoders import fitted, load, source_of
from aetransfer.evaluation.features import extracted, layer
from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.numbers import check_finite
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.evaluation.pictures import heatmap
from aetransfer.evaluation.similarity import MinibatchCKA
from aetransfer.evaluation.subject import Subject
from aetransfer.evaluation.transferability import effective_rank
from aetransfer.networks.encoder import Encoder

# The unbiased estimate of HSIC divides by n - 3.
FEWEST = 4


class Representation(Measure):
    """CKA with other encoders (paths), and effective rank."""

    needs_memory = ("batch", "images", "max_features")

    def __init__(
        self,
        others: Sequence[str] = (),
        images: Annotated[PositiveInt, Field(ge=4)] = 2000,
        batch: Annotated[PositiveInt, Field(ge=4)] = 250,
        max_features: PositiveInt = 1024,
        seed: Seed = 0,
    ) -> None:
        self.others, self.images, self.batch = others, images, batch
        self.max_features, self.seed = max_features, seed

    def __call__(self, subject: Subject) -> Outcome:
        """Compare a run's encoder with its source, a random one and given ones.

        Raises UserError for a path without one, and for fewer than 4 inputs.
        """
        encoder = subject.encoder
        subject.open(subject.part)
        if (count := subject.data.count(subject.part)) < FEWEST:
            noun = subject.data.noun
            raise UserError(f"evaluation={self.name} compares {FEWEST} {noun} or more, and {subject.part} has {count}.")
        others = _others(subject, self)
        rows: list[dict[str, Cell]] = []
        for name in _names(subject, encoder):
            features, _ = extracted(
                layer(encoder, name, self.max_features),
                subject.data.in_order(subject.part, self.batch, subject.device, self.images),
            )
            rows.append({"layer": name, "size": features.shape[1], "effective_rank": effective_rank(features)})
        own = [str(row["layer"]) for row in rows]
        matrices, pictures = {}, {}
        for name, other in {"itself": encoder, **others}.items():
            names, values = _cka(subject, encoder, other, self)
            matrices[name] = {"layers": names, "cka": [[_known(value) for value in row] for row in values.tolist()]}
            pictures[f"cka_{name}"] = heatmap(
                values.clamp_min(0).tolist(),
                own,
                names,
                title=f"CKA on {subject.job.data.name}",
                row_label=subject.job.stage,
                column_label=name,
            )
            if name != "itself":
                for row in rows:
                    at = names.index(str(row["layer"])) if row["layer"] in names else None
                    row[f"cka_{name}"] = None if at is None else _known(values[own.index(str(row["layer"])), at].item())
        return Outcome(
            rows,
            facts={"cka": matrices},
            notes=[
                f"{self.images} {subject.data.noun} of {subject.part} at most. cka_X: linear CKA with the same layer "
                f"of X (random minibatches of {self.batch}, unbiased HSIC), – where a layer says the same of all; "
                "all pairs in the pictures and the file. effective_rank: of the layer's features, pooled to "
                f"{self.max_features} at most."
            ],
            pictures=pictures,
        )


def _others(subject: Subject, settings: Representation) -> dict[str, Encoder]:
    """Return what is compared with, by name. Raises UserError for a path without an encoder, or a name given twice."""
    # With the run's own seed the random encoder would be the one that the run itself began with.
    others = {"random": subject.random_encoder(mixed_seed("measure", settings.seed, 0))}
    if (source := source_of(subject)) is not None:
        others["source"] = source
    for path in settings.others:
        name = _name(path)
        if name in {"itself", *others}:
            raise UserError(f"evaluation.{settings.name}.others: there are two encoders called {name}: rename {path}.")
        others[name] = load(path, subject)
    return others


def _names(subject: Subject, encoder: Encoder) -> list[str]:
    with torch.no_grad():
        return list(encoder.layer_outputs(subject.data.first_inputs(subject.part, 1).to(subject.device)))


@torch.no_grad()
def _cka(subject: Subject, one: Encoder, other: Encoder, settings: Representation) -> tuple[list[str], Tensor]:
    cka = MinibatchCKA()
    for inputs in _batches(subject, settings):
        outputs = other.layer_outputs(fitted(inputs, other))
        for output in outputs.values():
            check_finite(output)
        cka.update(one.layer_outputs(inputs), outputs)
    return cka.names[1], cka.compute()


def _batches(subject: Subject, settings: Representation) -> Iterator[Tensor]:
    """Yield random batches: the mean over batches that hold a class or two, as a folder's do, would be biased."""
    drawn = torch.Generator().manual_seed(mixed_seed("measure", settings.seed, 1))
    batches = subject.data.in_order(subject.part, settings.batch, subject.device, settings.images, shuffled_by=drawn)
    for number, (inputs, _) in enumerate(batches):
        # The mean is over batches, so a last one of fewer would weigh too much.
        if number == 0 or len(inputs) == settings.batch:
            yield inputs


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _name(path: str) -> str:
    """Return the name of the run that a path belongs to, or of the folder that an encoder lies in."""
    place = Path(path).expanduser().absolute()
    if place.is_dir():
        return place.name
    folder = place.parent
    return folder.parent.name if folder.name == "checkpoints" else folder.name
