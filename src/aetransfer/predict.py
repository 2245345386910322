"""Write a table of what a finished transfer predicts for images or arrays.

Usage: python -m aetransfer.predict run=DIR images=FOLDER out=FILE [...]

Examples:
  python -m aetransfer.predict run=outputs/runs/NAME images=photos out=p.csv
  python -m aetransfer.predict run=outputs/runs/NAME inputs=a.npy out=p.npz
  python -m aetransfer.predict run=outputs/runs/NAME data=cifar10 out=p.parquet

Exit codes: 0 if all is written; 1 if nothing is written; 2 if some inputs could
not be read, and the others are written.
"""

import logging

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.requests import PredictRequest
from aetransfer.data.targets import listed
from aetransfer.inference.request import check_size, checked_request, described_at
from aetransfer.store.directory import RunDirectory
from aetransfer.training import logs
from aetransfer.transfer.card import targets_predicted

log = logging.getLogger(__name__)


def main() -> None:
    command_line.main(command_line.Command("predict", __doc__, check=_request, task=_predict, goes_on=False))


def _request(config: DictConfig, overrides: list[str]) -> PredictRequest:
    request = checked_request(config, overrides, PredictRequest)
    targets_predicted(RunDirectory.existing(request.run))
    check_size(request, described_at(request.run, request.allow))
    return request


def _predict(config: DictConfig, overrides: list[str]) -> None:
    request = _request(config, overrides)
    # torch takes seconds to import, and a config error must not.
    logs.say_torch()
    import numpy as np

    from aetransfer.inference.apply import apply, finish, memory_for, to_device, write_table
    from aetransfer.inference.predictor import load_classifier

    with memory_for(request):
        network = load_classifier(request.run, allow=request.allow)
        to_device(network, request.accelerator)
        applied = apply(request, network.encoder, network)
        leading, block, prefix = dict(applied.leading), "probabilities", "p"
        match network.kind:
            case "classes":
                classes = np.array(network.names)
                labels = leading["label"].tolist() if request.data is not None and "label" in leading else []
                if request.data is not None and (unknown := sorted(set(labels) - set(network.names))):
                    said = "The labels are the classes of %s. %s: the run has no such class, it predicts %s."
                    log.warning(said, request.data.name, listed(unknown), listed(network.names))
                # Of NaN the largest is the first class.
                spoilt = np.isnan(applied.values).any(1)
                leading["predicted"] = np.where(spoilt, "", classes[applied.values.argmax(1)])
                leading["probability"] = applied.values.max(1)
            case "values":
                block, prefix = "values", "predicted"
        columns = [f"{prefix}_{name}" for name in network.names]
        write_table(request.out, leading, block, applied.values, columns)
    finish(request, applied)


if __name__ == "__main__":
    main()
