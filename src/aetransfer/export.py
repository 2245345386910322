"""Write the model of a finished run as a file that works without aetransfer.

Usage: python -m aetransfer.export run=DIR formats=FORMAT [KEY=VALUE ...]

Examples:
  python -m aetransfer.export run=outputs/runs/NAME formats=onnx
  python -m aetransfer.export run=outputs/runs/NAME formats=torch_export
  python -m aetransfer.export run=DIR formats=[onnx,torch_export]

Of a transfer it writes encoder and head: model.onnx or model.pt2. Of a
pretraining, or with part=encoder, it writes encoder.onnx or encoder.pt2. A file
is kept only if it gives the same outputs as the run for the run's own inputs.
"""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.compose import checked
from aetransfer.config.instantiate import check_allow
from aetransfer.config.requests import ExportRequest
from aetransfer.errors import UserError
from aetransfer.inference.request import described_at
from aetransfer.origin import pip_install
from aetransfer.store.directory import RunDirectory
from aetransfer.training import logs
from aetransfer.transfer.card import PREDICTED, targets_predicted
from aetransfer.transfer.exported import read_description

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

# What writes the file, and what runs it to see that it is right.
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def main() -> None:
    command_line.main(command_line.Command("export", __doc__, check=_request, task=_export, goes_on=False))


def _request(config: DictConfig, overrides: list[str]) -> ExportRequest:
    request = checked(config, ExportRequest)
    check_allow(request.allow, overrides)
    if "onnx" in request.formats and (missing := [name for name in ONNX_PACKAGES if find_spec(name) is None]):
        raise UserError(f"formats=onnx needs {', '.join(missing)}: {pip_install('onnx')}.")
    described_at(request.run, request.allow)
    directory = RunDirectory(Path(request.run).expanduser())
    is_transfer = directory.config.is_file() and directory.read_config().stage == "transfer"
    if request.part == "model" and not is_transfer:
        raise UserError(
            f"{request.run} has no head, as it is no transfer's directory: part=encoder exports its encoder."
        )
    part = request.part or ("model" if is_transfer else "encoder")
    if part == "model":
        targets_predicted(directory)
    return request.model_copy(update={"part": part})


def _export(config: DictConfig, overrides: list[str]) -> None:
    request = _request(config, overrides)
    # torch takes seconds to import, and a config error must not.
    logs.say_torch()
    from aetransfer.inference.predictor import METHODS, Predictor, load_classifier
    from aetransfer.transfer.loading import load_encoder
    from aetransfer.transfer.portable import ENDINGS, made_inputs, write_portable

    run = Path(request.run).expanduser()
    network = (load_classifier if request.part == "model" else load_encoder)(request.run, allow=request.allow)
    encoder = network.encoder if isinstance(network, Predictor) else network
    description: dict[str, Any] = {"run": run.resolve().name, "input": {"shape": ["N", *encoder.input_shape]}}
    description["input"] |= {"range": [0, 1]} if encoder.takes_pixels else {"units": "the training data's"}
    if (preprocessing := read_description(request.run).preprocessing) is not None:
        description["input"] |= preprocessing.plain()
    output = "codes"
    if isinstance(network, Predictor):
        output = METHODS[network.kind][0].removeprefix("label_")
        description |= {"output": PREDICTED[network.kind][1], network.kind: list(network.names)}
    own = _own_inputs(run, request.allow)
    inputs = made_inputs(encoder) if own is None else own
    names = ("images" if len(encoder.input_shape) == 3 else "inputs", output)
    for kind in request.formats:
        path = (run if run.is_dir() else run.parent) / f"{request.part}{ENDINGS[kind]}"
        deviation = write_portable(network, kind, path, inputs, names, description)
        checked_on = "made-up inputs" if own is None else "the run's own inputs"
        print(f"{kind}: {path} ({output} deviate by {deviation:.1e} of the largest, on {checked_on})")


def _own_inputs(run: Path, allow: list[str]) -> "Tensor | None":
    """Return the first validation inputs of a run, as its model takes them; None where its data are not there."""
    from aetransfer.training.build import make_data
    from aetransfer.transfer.portable import CHECKED_BATCHES

    directory = RunDirectory(run)
    if not directory.config.is_file():
        return None
    job = directory.read_config()
    try:
        data = make_data(job.data.as_it_is, job.seed, allow, job.stage)
        data.setup("fit")
        return data.first_inputs("val", max(CHECKED_BATCHES)).float()
    except UserError as error:
        log.warning("The run's own data can't be read, so made-up inputs are what the export is checked on: %s", error)
        return None


if __name__ == "__main__":
    main()
