"""What an encoder's layers hold: how many directions they use, and how alike they are to other encoders' layers."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from aetransfer.config.measures import Representation
from aetransfer.evaluation.encoders import fitted, load
from aetransfer.evaluation.features import extracted, layer
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.evaluation.pictures import heatmap
from aetransfer.evaluation.similarity import MinibatchCKA
from aetransfer.evaluation.subject import Subject
from aetransfer.evaluation.transferability import effective_rank
from aetransfer.networks.encoder import Encoder

LEAST = 4  # what the unbiased estimator needs in a batch


def representation(subject: Subject, settings: Representation) -> Outcome:
    """Compare a run's encoder with its source, a random one and given ones. Raises UserError for a path without one."""
    encoder = subject.model.encoder
    others = {"random": subject.random_encoder(settings.seed)}
    source = (subject.directory.result() or {}).get("source")
    if source is not None and Path(source).exists():
        others["source"] = load(source, subject)
    others |= {_name(path): load(path, subject) for path in settings.others}
    subject.open(subject.part)
    rows: list[dict[str, Cell]] = []
    for name in _names(subject, encoder):
        features, _ = extracted(
            layer(encoder, name, settings.max_features),
            subject.data.in_order(subject.part, settings.batch, subject.device, settings.images),
        )
        rows.append({"layer": name, "size": features.shape[1], "effective_rank": effective_rank(features)})
    own = [str(row["layer"]) for row in rows]
    matrices, pictures = {}, {}
    for name, other in {"itself": encoder, **others}.items():
        names, values = _cka(subject, encoder, other, settings)
        matrices[name] = {"layers": names, "cka": values.tolist()}
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
                row[f"cka_{name}"] = None if at is None else values[own.index(str(row["layer"])), at].item()
    return Outcome(
        rows,
        facts={"cka": matrices},
        notes=[
            f"{settings.images} images of {subject.part} at most. cka_X: linear CKA with the same layer of X "
            f"(minibatches of {settings.batch}, unbiased HSIC); all pairs in the pictures and the file. "
            f"effective_rank: of the layer's features, pooled to {settings.max_features} at most."
        ],
        pictures=pictures,
    )


def _names(subject: Subject, encoder: Encoder) -> list[str]:
    with torch.no_grad():
        return list(encoder.layer_outputs(subject.data.first_images(subject.part, 1).to(subject.device)))


@torch.no_grad()
def _cka(subject: Subject, one: Encoder, other: Encoder, settings: Representation) -> tuple[list[str], Tensor]:
    cka = MinibatchCKA()
    for images in _batches(subject, settings):
        cka.update(one.layer_outputs(images), other.layer_outputs(fitted(images, other)))
    return cka.names[1], cka.compute()


def _batches(subject: Subject, settings: Representation) -> Iterator[Tensor]:
    for images, _ in subject.data.in_order(subject.part, settings.batch, subject.device, settings.images):
        if len(images) >= LEAST:
            yield images


def _name(path: str) -> str:
    place = Path(path)
    return place.parent.name if place.suffix else place.name
