"""Images through a network, batch by batch, however many there are and whatever some of them look like."""

import csv
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import StringIO

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from aetransfer.config.requests import ImagesRequest
from aetransfer.errors import UserError
from aetransfer.inference.source import Batch, Source, source_of
from aetransfer.networks.encoder import Encoder
from aetransfer.runs import mishaps
from aetransfer.runs.files import replace_file

log = logging.getLogger(__name__)

# The command did what it could, and some images could not be read.
SOME_UNREADABLE = 2


@dataclass(frozen=True)
class Applied:
    """values: what the network gave, (N, D) float32. leading: names and, where there are any, targets, (N,) each."""

    leading: dict[str, np.ndarray]
    values: np.ndarray
    unreadable: list[tuple[str, str]]


def apply(request: ImagesRequest, encoder: Encoder, network: Callable[[Tensor], Tensor]) -> Applied:
    """Apply `network` to the request's images, prepared for `encoder`.

    network: from (n, C, S, S) in [0, 1] to (n, D). Raises UserError where no image can be read.
    """
    source = source_of(request, encoder)
    device = next(encoder.parameters()).device
    names, values, unreadable = [], [], []
    targets: dict[str, list[np.ndarray]] = {}
    for batch in _shown(source):
        unreadable += batch.unreadable
        if batch.names:
            with torch.inference_mode():
                images = source.preprocess.batch(batch.images.to(device))
                values.append(network(images).float().cpu().numpy())
            names += batch.names
            for name, column in batch.targets.items():
                targets.setdefault(name, []).append(column)
    if not values:
        raise UserError(f"None of the {source.count} image(s) can be read; the first: {unreadable[0][1]}")
    columns = {name: np.concatenate(parts) for name, parts in targets.items()}
    leading = {"image": np.array(names)} | columns
    gathered = np.concatenate(values)
    if spoilt := int((~np.isfinite(gathered)).any(1).sum()):
        log.warning("The network's outputs are NaN or infinite for %d of %d images.", spoilt, len(gathered))
    return Applied(leading, gathered, unreadable)


def memory_for(request: ImagesRequest) -> AbstractContextManager[None]:
    """Say meanwhile what to lower where memory does not suffice. A table is held whole until it is written."""
    fewer = ", give fewer images at a time" if request.data is None else ""
    return mishaps.memory_for(f"lower batch_size={request.batch_size}{fewer}")


def to_device(network: nn.Module, accelerator: str) -> None:
    """Move a network to a kind of device, in place. Raises UserError where this machine has none."""
    here = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if accelerator == "auto":
        accelerator = next(name for name, is_here in here.items() if is_here)
    if not here[accelerator]:
        raise UserError(f"accelerator={accelerator} is not to be had on this machine: choose auto or cpu.")
    network.to("cuda" if accelerator == "gpu" else accelerator)


def finish(request: ImagesRequest, applied: Applied) -> None:
    """Say what was written and, in a list beside it as well, what could not be read; in that case exit with 2."""
    sidecar = request.out.with_name(f"{request.out.name}.unreadable.csv")
    print(f"{len(applied.values)} image(s): {request.out}")
    if not applied.unreadable:
        sidecar.unlink(missing_ok=True)
        return
    written = StringIO()
    csv.writer(written, lineterminator="\n").writerows([("image", "reason"), *applied.unreadable])
    replace_file(sidecar, written.getvalue())
    for _, reason in applied.unreadable:
        print(f"unreadable: {reason}", file=sys.stderr)
    print(f"{len(applied.unreadable)} image(s) could not be read and were left out: {sidecar}", file=sys.stderr)
    sys.exit(SOME_UNREADABLE)


def _shown(source: Source) -> Iterator[Batch]:
    """Pass batches on, with a progress bar in a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("images", total=source.count)
        for batch in source.batches:
            yield batch
            progress.advance(task, len(batch.names) + len(batch.unreadable))
