"""An encoder in forms that need none of this program's classes: torch.export's and ONNX, with any number of inputs.

Each file is read back and must give the encoder's codes before it takes its place.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from aetransfer.config.requests import Format
from aetransfer.errors import UserError
from aetransfer.files import replacing
from aetransfer.networks.encoder import Encoder

FILES: dict[Format, str] = {"torch_export": "encoder.pt2", "onnx": "encoder.onnx"}
# Of the largest code: another runtime sums in another order.
TOLERANCE = 1e-4
CHECKED_BATCHES = (1, 2, 7)


def write_portable(encoder: Encoder, kind: Format, folder: Path) -> tuple[Path, float]:
    """Write an encoder to `folder` and return the file and its largest deviation from the encoder's codes, relative to
    the largest code.

    Raises UserError for a network that can't be exported, a deviation beyond TOLERANCE, or a folder that can't be
    written; the folder then is as it was.
    """
    path = folder / FILES[kind]
    write, read = {"torch_export": (_write_program, _read_program), "onnx": (_write_onnx, _read_onnx)}[kind]
    try:
        with replacing(path) as partial:
            try:
                write(encoder, partial)
            except Exception as error:  # what a network makes the exporters stumble over is anybody's guess
                line = str(error).strip().partition("\n")[0]
                raise UserError(
                    f"This encoder can't be exported as {kind} ({type(error).__name__}: {line})."
                ) from error
            deviation = _deviation(encoder, read(partial))
            if not deviation <= TOLERANCE:
                raise UserError(
                    f"formats={kind}: the exported encoder's codes deviate by {deviation:.2g} of the largest, which "
                    f"is more than {TOLERANCE:g}: it is not kept."
                )
    except OSError as error:
        raise UserError(f"{path} can't be written ({error.strerror or error}).") from error
    return path, deviation


def _inputs(encoder: Encoder, count: int) -> Tensor:
    """Return pixels in [0, 1], or numbers of the mean and deviation that the encoder was trained on."""
    generator = torch.Generator().manual_seed(count)
    if encoder.takes_pixels:
        return torch.rand(count, *encoder.input_shape, generator=generator)
    return encoder.normalise.undone(torch.randn(count, *encoder.input_shape, generator=generator))


def _name(encoder: Encoder) -> str:
    """What the input of an ONNX graph is called."""
    return "images" if len(encoder.input_shape) == 3 else "inputs"


def _write_program(encoder: Encoder, path: Path) -> None:
    program = torch.export.export(encoder, (_inputs(encoder, 2),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    with path.open("wb") as file:
        torch.export.save(program, file)


def _read_program(path: Path) -> Callable[[Tensor], Tensor]:
    with path.open("rb") as file:
        return torch.export.load(file).module()


def _write_onnx(encoder: Encoder, path: Path) -> None:
    program = torch.onnx.export(
        encoder,
        (_inputs(encoder, 2),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=[_name(encoder)],
        output_names=["codes"],
        verbose=False,
    )
    assert program is not None, "torch returns the program that it was not told to write"
    program.save(path, external_data=False)


def _read_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    from onnxruntime import InferenceSession

    session = InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())
    return lambda inputs: torch.from_numpy(session.run(None, {name: inputs.numpy()})[0])


def _deviation(encoder: Encoder, exported: Callable[[Tensor], Tensor]) -> float:
    largest = 0.0
    with torch.inference_mode():
        for count in CHECKED_BATCHES:
            inputs = _inputs(encoder, count)
            codes = encoder(inputs)
            difference = (exported(inputs.clone()) - codes).abs().max() / codes.abs().max().clamp_min(1e-12)
            largest = max(largest, difference.item())
    return largest
