"""An encoder without this program: python -m aetransfer.export run=DIR formats=onnx (or torch_export, or both in []).

Writes encoder.onnx or encoder.pt2 beside encoder.safetensors, once each was found to give the same codes.
"""

from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.compose import checked
from aetransfer.config.instantiate import check_allow
from aetransfer.config.requests import ExportRequest
from aetransfer.errors import UserError
from aetransfer.inference.request import described_at
from aetransfer.origin import pip_install

# What writes the file, and what runs it to see that it is right.
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def main() -> None:
    command_line.main(command_line.Command("export", check=_request, task=_export, goes_on=False))


def _request(config: DictConfig, overrides: list[str]) -> ExportRequest:
    request = checked(config, ExportRequest)
    check_allow(request.allow, overrides)
    if "onnx" in request.formats and (missing := [name for name in ONNX_PACKAGES if find_spec(name) is None]):
        raise UserError(f"formats=onnx needs {', '.join(missing)}: {pip_install('onnx')}.")
    described_at(request.run, request.allow)
    return request


def _export(config: DictConfig, overrides: list[str]) -> None:
    request = _request(config, overrides)
    # torch takes seconds to import, and a config error must not.
    from aetransfer.transfer.loading import load_encoder
    from aetransfer.transfer.portable import write_portable

    encoder = load_encoder(request.run, allow=request.allow)
    run = Path(request.run).expanduser()
    for kind in request.formats:
        path, deviation = write_portable(encoder, kind, run if run.is_dir() else run.parent)
        print(f"{kind}: {path} (codes deviate by {deviation:.1e} of the largest)")


if __name__ == "__main__":
    main()
