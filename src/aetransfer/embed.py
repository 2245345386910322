"""Write a table of the features that an encoder gives for images or arrays.

Usage: python -m aetransfer.embed run=DIR images=FOLDER out=FILE [...]

Examples:
  python -m aetransfer.embed run=outputs/runs/NAME images=photos out=f.csv
  python -m aetransfer.embed run=outputs/runs/NAME inputs=a.npy out=f.npz
  python -m aetransfer.embed run=encoder.safetensors data=cifar10 out=f.parquet

Exit codes: 0 if all is written; 1 if nothing is written; 2 if some inputs could
not be read, and the others are written.
"""

import logging

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.requests import EmbedRequest
from aetransfer.inference.request import check_size, checked_request, described_at
from aetransfer.training import logs

log = logging.getLogger(__name__)


def main() -> None:
    command_line.main(command_line.Command("embed", __doc__, check=_request, task=_embed, goes_on=False))


def _request(config: DictConfig, overrides: list[str]) -> EmbedRequest:
    request = checked_request(config, overrides, EmbedRequest)
    check_size(request, described_at(request.run, request.allow))
    return request


def _embed(config: DictConfig, overrides: list[str]) -> None:
    request = _request(config, overrides)
    # torch takes seconds to import, and a config error must not.
    logs.say_torch()
    from aetransfer.inference.apply import apply, finish, memory_for, to_device, write_table
    from aetransfer.transfer.loading import load_encoder

    with memory_for(request):
        encoder = load_encoder(request.run, allow=request.allow)
        if request.layer == "bottleneck" and "bottleneck" in encoder.untrained:
            log.warning("The bottleneck was not trained: codes are random projections of what layer=features gives.")
        to_device(encoder, request.accelerator)
        applied = apply(request, encoder, encoder.features if request.layer == "features" else encoder)
        columns = [f"feature_{place}" for place in range(applied.values.shape[1])]
        write_table(request.out, applied.leading, "features", applied.values, columns)
    finish(request, applied)


if __name__ == "__main__":
    main()
