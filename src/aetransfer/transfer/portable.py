"""A network in forms that need none of this program's classes: torch.export's and ONNX, with any number of inputs.

Each file is read back and must give the network's own outputs before it takes its place.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aetransfer.config.requests import Format
from aetransfer.errors import UserError
from aetransfer.files import replacing
from aetransfer.networks.encoder import Encoder

ENDINGS: dict[Format, str] = {"torch_export": ".pt2", "onnx": ".onnx"}
# Of the largest output: another runtime sums in another order.
TOLERANCE = 1e-4
# At least as many inputs as are needed for batches of 1, 2 and 7.
CHECKED_BATCHES = (1, 2, 7)
# Under which a file holds the description, as JSON.
DESCRIPTION = "aetransfer"


def write_portable(
    network: nn.Module, kind: Format, path: Path, inputs: Tensor, names: tuple[str, str], description: Mapping[str, Any]
) -> float:
    """Write a network to `path` and return its largest deviation from the network's outputs, relative to the largest.

    inputs: (N, *shape), to check it with. names: of an ONNX graph's input and output. description: plain data that the
    file holds as JSON. Raises UserError for a network that can't be exported, a deviation beyond TOLERANCE, or a folder
    that can't be written; the folder then is as it was.
    """
    write, read = {"torch_export": (_write_program, _read_program), "onnx": (_write_onnx, _read_onnx)}[kind]
    try:
        with replacing(path) as partial:
            try:
                with torch.no_grad():
                    write(network, partial, inputs[:2], names, json.dumps(description))
            except Exception as error:  # what a network makes the exporters stumble over is anybody's guess
                line = str(error).strip().partition("\n")[0]
                raise UserError(
                    f"This network can't be exported as {kind} ({type(error).__name__}: {line})."
                ) from error
            deviation = _deviation(network, read(partial), inputs)
            if not deviation <= TOLERANCE:
                raise UserError(
                    f"formats={kind}: the exported network's {names[1]} deviate by {deviation:.2g} of the largest, "
                    f"which is more than {TOLERANCE:g}: it is not kept."
                )
    except OSError as error:
        raise UserError(f"{path} can't be written ({error.strerror or error}).") from error
    return deviation


def made_inputs(encoder: Encoder) -> Tensor:
    """Return pixels in [0, 1], or numbers of the mean and deviation that the encoder was trained on."""
    generator = torch.Generator().manual_seed(0)
    shape = (max(CHECKED_BATCHES), *encoder.input_shape)
    if encoder.takes_pixels:
        return torch.rand(shape, generator=generator)
    return encoder.normalise.undone(torch.randn(shape, generator=generator))


def _write_program(network: nn.Module, path: Path, inputs: Tensor, names: tuple[str, str], description: str) -> None:
    program = torch.export.export(network, (inputs,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={DESCRIPTION: description})


def _read_program(path: Path) -> Callable[[Tensor], Tensor]:
    with path.open("rb") as file:
        return torch.export.load(file).module()


def _write_onnx(network: nn.Module, path: Path, inputs: Tensor, names: tuple[str, str], description: str) -> None:
    program = torch.onnx.export(
        network,
        (inputs,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=[names[0]],
        output_names=[names[1]],
        verbose=False,
    )
    assert program is not None, "torch returns the program that it was not told to write"
    program.model.metadata_props[DESCRIPTION] = description
    program.save(path, external_data=False)


def _read_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    from onnxruntime import InferenceSession

    session = InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())
    return lambda inputs: torch.from_numpy(session.run(None, {name: inputs.numpy()})[0])


def _deviation(network: nn.Module, exported: Callable[[Tensor], Tensor], inputs: Tensor) -> float:
    largest = 0.0
    with torch.inference_mode():
        for count in CHECKED_BATCHES:
            # A run with fewer inputs has them more than once.
            batch = inputs[torch.arange(count) % len(inputs)]
            outputs = network(batch)
            difference = (exported(batch.clone()) - outputs).abs().max() / outputs.abs().max().clamp_min(1e-12)
            largest = max(largest, difference.item())
    return largest
