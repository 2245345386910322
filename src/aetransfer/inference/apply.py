"""Inputs through a network, batch by batch, however many there are and whatever some of them look like; and the table
that they end in: CSV, NPZ or Parquet, whole or not there.
"""

import csv
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from aetransfer.config.requests import InputsRequest
from aetransfer.config.shapes import one_of
from aetransfer.errors import UserError
from aetransfer.files import replace_file, replacing
from aetransfer.inference.source import Batch, Source, source_of
from aetransfer.networks.encoder import Encoder
from aetransfer.training import errors

log = logging.getLogger(__name__)

# The command did what it could, and some inputs could not be read.
SOME_UNREADABLE = 2


@dataclass(frozen=True)
class Applied:
    """values: what the network gave, (N, D) float32. leading: names and, where there are any, targets, (N,) each. noun:
    what a row is of.
    """

    noun: str
    leading: dict[str, np.ndarray]
    values: np.ndarray
    unreadable: list[tuple[str, str]]


def apply(request: InputsRequest, encoder: Encoder, network: Callable[[Tensor], Tensor]) -> Applied:
    """Apply `network` to what the request names, prepared for `encoder`.

    network: from (n, *input_shape) to (n, D). Raises UserError where no input can be read.
    """
    source, noun = source_of(request, encoder), one_of(encoder.input_shape)
    device = next(encoder.parameters()).device
    names, values, unreadable = [], [], []
    targets: dict[str, list[np.ndarray]] = {}
    for batch in _shown(source, f"{noun}s"):
        unreadable += batch.unreadable
        if batch.names:
            with torch.inference_mode():
                inputs = source.prepare(batch.inputs.to(device))
                values.append(network(inputs).float().cpu().numpy())
            names += batch.names
            for name, column in batch.targets.items():
                targets.setdefault(name, []).append(column)
    if not values:
        raise UserError(f"None of the {source.count} {noun}(s) can be read; the first: {unreadable[0][1]}")
    columns = {name: np.concatenate(parts) for name, parts in targets.items()}
    leading = {noun: np.array(names)} | columns
    gathered = np.concatenate(values)
    if spoilt := int((~np.isfinite(gathered)).any(1).sum()):
        log.warning("The network's outputs are NaN or infinite for %d of %d %ss.", spoilt, len(gathered), noun)
    return Applied(noun, leading, gathered, unreadable)


def memory_for(request: InputsRequest) -> AbstractContextManager[None]:
    """Say meanwhile what to lower where memory does not suffice. A table is held whole until it is written."""
    fewer = "" if request.data is not None else f", give fewer {'inputs' if request.inputs else 'images'} at a time"
    return errors.memory_for(f"lower batch_size={request.batch_size}{fewer}")


def to_device(network: nn.Module, accelerator: str) -> None:
    """Move a network to a kind of device, in place. Raises UserError where this machine has none."""
    here = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if accelerator == "auto":
        accelerator = next(name for name, is_here in here.items() if is_here)
    if not here[accelerator]:
        raise UserError(f"accelerator={accelerator} is not to be had on this machine: choose auto or cpu.")
    network.to("cuda" if accelerator == "gpu" else accelerator)


def finish(request: InputsRequest, applied: Applied) -> None:
    """Say what was written and, in a list beside it as well, what could not be read; in that case exit with 2."""
    sidecar = request.out.with_name(f"{request.out.name}.unreadable.csv")
    print(f"{len(applied.values)} {applied.noun}(s): {request.out}")
    if not applied.unreadable:
        sidecar.unlink(missing_ok=True)
        return
    written = StringIO()
    csv.writer(written, lineterminator="\n").writerows([(applied.noun, "reason"), *applied.unreadable])
    replace_file(sidecar, written.getvalue())
    for _, reason in applied.unreadable:
        print(f"unreadable: {reason}", file=sys.stderr)
    print(
        f"{len(applied.unreadable)} {applied.noun}(s) could not be read and were left out: {sidecar}", file=sys.stderr
    )
    sys.exit(SOME_UNREADABLE)


def _shown(source: Source, noun: str) -> Iterator[Batch]:
    """Pass batches on, with a progress bar in a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn(noun), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(noun, total=source.count)
        for batch in source.batches:
            yield batch
            progress.advance(task, len(batch.names) + len(batch.unreadable))


def write_table(
    path: Path, leading: dict[str, np.ndarray], name: str, values: np.ndarray, columns: Sequence[str]
) -> None:
    """Write a row for each input, in the format of the path's ending. Raises UserError where that fails.

    leading: columns by name, (N,) each. name, values: the block of numbers (N, D) float32, an array of its own in an
    .npz. columns: its D names in the other two formats.
    """
    try:
        with replacing(path) as partial:
            match path.suffix:
                case ".csv":
                    with partial.open("w", newline="", encoding="utf-8") as file:
                        writer = csv.writer(file, lineterminator="\n")
                        writer.writerow([*leading, *columns])
                        for *first, numbers in zip(*leading.values(), values, strict=True):
                            # As NumPy writes a float32, it is read back to the bit.
                            writer.writerow([*first, *numbers])
                case ".npz":
                    arrays: dict[str, Any] = {**leading, name: values, "columns": np.array(columns)}
                    with partial.open("wb") as file:
                        np.savez(file, **arrays)
                case ".parquet":
                    import pyarrow
                    from pyarrow import parquet

                    block = zip(columns, map(np.ascontiguousarray, values.T), strict=True)
                    parquet.write_table(pyarrow.table({**leading, **dict(block)}), partial)
    except OSError as error:
        raise UserError(f"out={path} can't be written ({error.strerror or error}).") from error
