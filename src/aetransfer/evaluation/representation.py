"""What an encoder's layers hold: how many directions they use, and how alike they are to other encoders' layers.

Alike by linear CKA, by the minibatch estimator that a random batch's size does not bias: Nguyen et al. 2021, "Do wide
and deep networks learn the same things?", eqs. 2 and 3, with the unbiased HSIC_1 of Song et al. 2012, eq. 5.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from aetransfer.config.nodes import PositiveInt, Seed
from aetransfer.config.schema import GivenEncoder
from aetransfer.config.shapes import of_shape, with_channels
from aetransfer.data.draws import mixed_seed
from aetransfer.errors import UserError
from aetransfer.evaluation.features import check_finite, fitted, layer
from aetransfer.evaluation.measure import Measure, Subject
from aetransfer.evaluation.outcome import Cell, Outcome, known
from aetransfer.evaluation.pictures import heatmap
from aetransfer.evaluation.transferability import effective_rank
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.exported import FLOATS, read_description
from aetransfer.transfer.foreign import is_foreign, take_
from aetransfer.transfer.loading import load_encoder


def hsic1(one: Tensor, other: Tensor) -> Tensor:
    """Estimate HSIC without bias from two Gram matrices (n, n) of the same n >= 4 examples."""
    n = len(one)
    assert n >= 4 and one.shape == other.shape == (n, n), (one.shape, other.shape)
    one, other = one.clone().fill_diagonal_(0), other.clone().fill_diagonal_(0)
    trace = (one * other).sum()
    product = one.sum() * other.sum() / ((n - 1) * (n - 2))
    cross = (one.sum(0) * other.sum(0)).sum() * 2 / (n - 2)
    return (trace + product - cross) / (n * (n - 3))


class MinibatchCKA:
    """Collects HSIC_1 over batches for every pair of layers of two networks."""

    def __init__(self) -> None:
        self.names: tuple[list[str], list[str]] = ([], [])
        self._cross: list[Tensor] = []
        self._own: tuple[list[Tensor], list[Tensor]] = ([], [])

    def update(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
        """Add a random batch of at least 4 examples: layers' outputs (n, ...) of both networks by name."""
        self.names = (list(one), list(other))
        grams = [[_gram(output) for output in side.values()] for side in (one, other)]
        for place in (0, 1):
            self._own[place].append(torch.stack([hsic1(gram, gram) for gram in grams[place]]))
        self._cross.append(torch.stack([torch.stack([hsic1(left, right) for right in grams[1]]) for left in grams[0]]))

    def compute(self) -> Tensor:
        """Return CKA (layers of the one, layers of the other); about 0 to 1, and below 0 by chance where unrelated.

        NaN for a layer whose outputs are the same for all examples.
        """
        own = [torch.stack(values).mean(0).clamp_min(0).sqrt() for values in self._own]
        scale = own[0].unsqueeze(1) * own[1]
        return (torch.stack(self._cross).mean(0) / scale).where(scale > 0, torch.nan)


def _gram(outputs: Tensor) -> Tensor:
    flat = outputs.flatten(1).cpu().double()
    # HSIC doesn't see a shift, but rounding does.
    flat = flat - flat.mean(0)
    return flat @ flat.T


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
        for name in subject.layers_of(encoder, subject.part):
            extract = layer(encoder, name, self.max_features)
            features, _ = subject.extracted(extract, subject.part, self.batch, self.images)
            rows.append({"layer": name, "size": features.shape[1], "effective_rank": effective_rank(features)})
        own = [str(row["layer"]) for row in rows]
        matrices, pictures = {}, {}
        for name, other in {"itself": encoder, **others}.items():
            names, values = _cka(subject, encoder, other, self)
            matrices[name] = {"layers": names, "cka": [[known(value) for value in row] for row in values.tolist()]}
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
                    row[f"cka_{name}"] = None if at is None else known(values[own.index(str(row["layer"])), at].item())
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
    if (source := _source_of(subject)) is not None:
        others["source"] = source
    for path in settings.others:
        name = _name(path)
        if name in {"itself", *others}:
            raise UserError(f"evaluation.{settings.name}.others: there are two encoders called {name}: rename {path}.")
        others[name] = _load(path, subject)
    return others


def _load(path: str, subject: Subject) -> Encoder:
    """Build and load an encoder. Raises UserError for a file that holds none, or one for other inputs."""
    architecture = read_description(path).architecture
    shape, own = tuple(architecture["input_shape"]), subject.data.shape
    pixels = not architecture.get(FLOATS, False)
    converts = pixels and len(shape) == len(own) == 3 and {shape[0], own[0]} <= {1, 3}
    if shape[1:] != own[1:] or len(shape) != len(own) or (shape != own and not converts):
        said = of_shape if converts else with_channels
        raise UserError(f"{path} takes {said(shape)}, but the run's encoder takes {said(own)}: choose another.")
    if pixels != subject.encoder.takes_pixels:
        raise UserError(f"Either {path} or the run's encoder takes pixels, the other one does not: choose another.")
    return load_encoder(path, allow=subject.job.allow).to(subject.device)


def _source_of(subject: Subject) -> Encoder | None:
    """Return the encoder that a transfer carried, None where it is not there any more, or nothing was carried.

    Raises UserError as `_load`, and for others' weights that are no longer those of the network.
    """
    source, given = subject.source, subject.job.pretrain
    if source is None or not Path(source).exists():
        return None
    if not isinstance(given, GivenEncoder) or not is_foreign(source):
        return _load(source, subject)
    encoder = subject.random_encoder(subject.job.seed).cpu()
    take_(encoder, given.model_copy(update={"path": source}))
    return encoder.to(subject.device)


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


def _name(path: str) -> str:
    """Return the name of the run that a path belongs to, or of the folder that an encoder lies in."""
    place = Path(path).expanduser().absolute()
    if place.is_dir():
        return place.name
    folder = place.parent
    return folder.parent.name if folder.name == "checkpoints" else folder.name
